// SPDX-License-Identifier: Apache-2.0
// Secrets of volumes and buckets: the ones that their providers make, and the keys in those of users.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "ironcore/api/core.hpp"
#include "ironcore/api/storage.hpp"
#include "ironcore/storage/volume.hpp"
#include "ironcore/store/typed.hpp"

namespace ironcore::control {

/// Where a Secret keeps the key of a volume: 256 bits, in base64 or as they are.
inline constexpr const char* encryption_key_entry = "encryptionKey";

/// `invalid` says what is wrong, without a word of what is in it.
Result<storage::EncryptionKey> encryption_key_in(const api::Secret& secret);
/// `invalid` for a key that anybody guesses, such as zeros. Only for data that is not there yet: what is there has the key that it has.
Result<void> check_random(const storage::EncryptionKey& key, const api::Secret& secret);
/// The entry that `encryption_key_in` reads.
std::string encryption_key_text(const storage::EncryptionKey& key);

/// The one Secret that goes with an object and that the provider makes: its name is derived from the object's uid.
struct OwnedSecret {
  std::string namespace_;
  std::string name;
  std::string type;
  api::OwnerReference owner;
};
OwnedSecret owned_secret_of(const api::Volume& volume);
OwnedSecret owned_secret_of(const api::VolumeSnapshot& snapshot);
OwnedSecret owned_secret_of(const api::Bucket& bucket);
/// The same for the one with the wrapped key.
OwnedSecret wrapped_key_secret_of(const api::Volume& volume);
OwnedSecret wrapped_key_secret_of(const api::VolumeSnapshot& snapshot);
/// With nothing in it yet.
api::Secret new_secret(const OwnedSecret& secret);

/// Null if there is none; `already_exists` if somebody else has made one of that name.
Result<store::Shared<api::Secret>> read_secret(store::Store& store, const OwnedSecret& secret);
/// With exactly `data` in what was `found` (null = nothing).
api::Secret filled(const OwnedSecret& secret, const store::Shared<api::Secret>& found,
                   const std::map<std::string, std::string>& data);
/// What makes that of what was `found`; nothing if it is so.
std::optional<store::Operation> secret_operation(const OwnedSecret& secret, const store::Shared<api::Secret>& found,
                                                 const std::map<std::string, std::string>& data);
/// Exactly this is in it afterwards.
Result<void> write_secret(store::Store& store, const OwnedSecret& secret,
                          const std::map<std::string, std::string>& data);
Result<void> remove_secret(store::Store& store, const OwnedSecret& secret);

/// Differs when what is in a Secret differs, or whose it is; nothing can be read in it.
std::string content_of(const api::Secret& secret);

}  // namespace ironcore::control
