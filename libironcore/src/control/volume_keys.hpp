// SPDX-License-Identifier: Apache-2.0
// Where the keys of encrypted volumes and snapshots are kept, and that all of them are wrapped with the newest version.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/volume_provider.hpp"
#include "ironcore/crypto/digest.hpp"
#include "trouble.hpp"
#include "volume_secrets.hpp"

namespace ironcore::control {

/// Reason of a Trouble: there is encrypted data, and none of the keys that are kept opens it.
inline constexpr const char* key_is_lost = "EncryptionKeyLost";

/// Encrypted data that is there. Keys are proven against it: what is in a Secret may have been changed by anybody.
struct KeyedData {
  storage::BlockStore& store;
  storage::BlockId id;
};

/// With a KeyManagement a key lies wrapped in a Secret of its own (`volumekey-UID`); without one, as it is, in the Secret that the provider makes for the volume
/// or snapshot. `trouble` says what the KeyManagement, or what is kept, has against it. Thread: any.
class VolumeKeys {
 public:
  VolumeKeys(store::Store& store, EventRecorder& events, const VolumeProviderOptions& options, Clock& clock, Log& log)
      : store_(store), events_(events), options_(options), clock_(clock), log_(log) {}

  bool is_wrapping() const noexcept { return options_.keys != nullptr; }

  /// Nothing if none was kept.
  template <class T>
  Result<std::optional<storage::EncryptionKey>> find(const T& object, std::optional<Trouble>& trouble) {
    return find(place_of(object), trouble);
  }
  /// Before there is any data. The key that is kept from now on: another one if there was one already.
  template <class T>
  Result<storage::EncryptionKey> keep(const T& object, const storage::EncryptionKey& key,
                                      std::optional<Trouble>& trouble) {
    return keep(place_of(object), key, trouble);
  }
  /// Whether it opens the data. What did so once does so for ever, and is not asked again.
  Result<bool> opens(const KeyedData& data, const storage::EncryptionKey& key, std::optional<Trouble>& trouble);
  /// The same without asking: the data was made with it.
  void note(const storage::BlockId& id, const storage::EncryptionKey& key);
  /// The one that opens the data; nothing if none of those that are kept does. `plain` is the object's own Secret, or null. If it has the right key the
  /// KeyManagement is not asked.
  template <class T>
  Result<std::optional<storage::EncryptionKey>> find_for(const KeyedData& data, const T& object,
                                                         const store::Shared<api::Secret>& plain,
                                                         std::optional<Trouble>& trouble) {
    return find_for(data, place_of(object), plain, trouble);
  }
  template <class T>
  Result<std::optional<storage::EncryptionKey>> find_for(const KeyedData& data, const T& object,
                                                         std::optional<Trouble>& trouble) {
    const auto place = place_of(object);
    IRONCORE_TRY(const auto plain, read_own(place));
    return find_for(data, place, plain, trouble);
  }
  /// What to do about data for which there is none.
  template <class T>
  Trouble lost(const T& object) const {
    return lost(place_of(object));
  }
  /// A key that opens the data takes the place of whatever is kept.
  template <class T>
  Result<void> bring_back(const T& object, const storage::EncryptionKey& key, std::optional<Trouble>& trouble) {
    return bring_back(place_of(object), key, trouble);
  }
  /// Only with a KeyManagement: afterwards the key that opens the data opens from its wrapped form, so that the one in `plain` may go. False: what lay there was
  /// another one, and was not kept.
  template <class T>
  Result<bool> secure(const KeyedData& data, const T& object, const api::Secret& plain,
                      std::optional<Trouble>& trouble) {
    return secure(data, place_of(object), plain, trouble);
  }
  /// That what lay in the object's own Secret was not kept.
  template <class T>
  void tell_restored(const T& object) {
    tell_restored(reference_to(object), place_of(object));
  }
  /// A key that lay there as it is before there was a KeyManagement lies there wrapped afterwards.
  Result<void> wrap_old(const KeyedData& data, const api::VolumeSnapshot& snapshot, std::optional<Trouble>& trouble);
  /// With its object.
  template <class T>
  Result<void> remove(const T& object) {
    const auto place = place_of(object);
    IRONCORE_CHECK(remove_secret(store_, place.wrapped));
    return remove_secret(store_, place.plain);
  }
  /// The object is gone.
  void forget(const std::string& uid);

  /// Wraps all that are not wrapped with the newest version, if that is due, and sees which versions nobody needs. Thread: one.
  void look(std::stop_token stop);
  /// Condition `KeysCurrent` of the pool; none without a KeyManagement.
  void tell(const api::VolumePool& pool, api::VolumePoolStatus& status);

 private:
  struct Place {
    std::string name;  ///< for people: `volume data`
    OwnedSecret wrapped;
    OwnedSecret plain;
    std::string context;  ///< what the wrapped key is bound to
  };
  struct Round;
  static Place place_of(const api::Volume& volume);
  static Place place_of(const api::VolumeSnapshot& snapshot);
  Result<std::optional<storage::EncryptionKey>> find(const Place& place, std::optional<Trouble>& trouble);
  Result<storage::EncryptionKey> keep(const Place& place, const storage::EncryptionKey& key,
                                      std::optional<Trouble>& trouble);
  /// Nothing if there is none.
  Result<std::optional<storage::EncryptionKey>> find_wrapped(const Place& place, std::optional<Trouble>& trouble);
  /// Null if there is none, or somebody else's.
  Result<store::Shared<api::Secret>> read_own(const Place& place);
  Result<std::optional<storage::EncryptionKey>> find_for(const KeyedData& data, const Place& place,
                                                         const store::Shared<api::Secret>& plain,
                                                         std::optional<Trouble>& trouble);
  Trouble lost(const Place& place) const;
  Result<void> bring_back(const Place& place, const storage::EncryptionKey& key, std::optional<Trouble>& trouble);
  Result<bool> secure(const KeyedData& data, const Place& place, const api::Secret& plain,
                      std::optional<Trouble>& trouble);
  void tell_restored(api::ObjectReference about, const Place& place);
  Result<void> write_wrapped(const Place& place, const store::Shared<api::Secret>& found,
                             const storage::EncryptionKey& key, std::optional<Trouble>& trouble);
  Result<void> mark(const Place& place, const api::Secret& secret);
  template <class T>
  Result<std::optional<Place>> place_for(const api::Secret& secret, const api::OwnerReference& owner);
  Result<std::optional<Place>> place_of_owner(const api::Secret& secret);
  Result<void> look_at(const api::Secret& secret, Round& round);
  Result<Round> go_round(std::vector<crypto::KeyVersion> versions, std::stop_token stop);
  void conclude(const Round& round);

  store::Store& store_;
  EventRecorder& events_;
  const VolumeProviderOptions& options_;
  Clock& clock_;
  Log& log_;

  // Of `look` alone.
  std::optional<crypto::KeyVersion> clean_with_;  ///< the newest version when a round last found nothing to do
  Instant next_round_{};

  std::mutex mutex_;
  std::map<Uid, crypto::Digest> proven_;  ///< of the key that opens the data of that name
  bool has_looked_ = false;
  std::optional<Trouble> trouble_;
  std::string message_;
};

}  // namespace ironcore::control
