// SPDX-License-Identifier: Apache-2.0
// Reading, writing and removing Secrets, only ever one's own.
#include "volume_secrets.hpp"

#include <algorithm>

#include "ironcore/base/base64.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::control {

namespace {

template <class T>
OwnedSecret secret_of(const T& object, std::string_view prefix, std::string_view type) {
  return {.namespace_ = object.metadata.namespace_,
          .name = std::string(prefix) + object.metadata.uid,
          .type = std::string(type),
          .owner = {.api_version = api::kind_of<T>().api_version(),
                    .kind = std::string(T::info.kind),
                    .name = object.metadata.name,
                    .uid = object.metadata.uid,
                    .controller = true}};
}

}  // namespace

Result<storage::EncryptionKey> encryption_key_in(const api::Secret& secret) {
  const auto& name = secret.metadata.name;
  const auto entry = secret.data.find(encryption_key_entry);
  if (entry == secret.data.end())
    return Error(ErrorCode::invalid, "secret " + name + " has no entry " + encryption_key_entry +
                                         "; put 256 random bits there, in base64 (openssl rand -base64 32)");
  std::string_view text = entry->second.value;
  if (text.size() == storage::EncryptionKey::size) return storage::EncryptionKey::from_bytes(as_bytes(text));
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  auto decoded = base64_decode(text);
  if (!decoded || decoded->size() != storage::EncryptionKey::size) {
    if (decoded) crypto::wipe(*decoded);
    return Error(ErrorCode::invalid, "entry " + std::string(encryption_key_entry) + " of secret " + name +
                                         " must be 256 random bits: 44 characters of base64, or the 32 bytes as they "
                                         "are; it has " +
                                         std::to_string(text.size()));
  }
  auto key = storage::EncryptionKey::from_bytes(as_bytes(*decoded));
  crypto::wipe(*decoded);
  return key;
}

Result<void> check_random(const storage::EncryptionKey& key, const api::Secret& secret) {
  const auto bytes = key.bytes();
  if (std::ranges::any_of(bytes, [&](auto byte) { return byte != bytes.front(); })) return {};
  return Error(ErrorCode::invalid, "entry " + std::string(encryption_key_entry) + " of secret " + secret.metadata.name +
                                       " is no key, all its bytes are the same; put 256 random bits there, in base64 "
                                       "(openssl rand -base64 32)");
}

std::string encryption_key_text(const storage::EncryptionKey& key) {
  return base64_encode(key.bytes());
}

OwnedSecret owned_secret_of(const api::Volume& volume) {
  return secret_of(volume, "volume-", api::volume_auth_secret_type);
}
OwnedSecret owned_secret_of(const api::VolumeSnapshot& snapshot) {
  return secret_of(snapshot, "volumesnapshot-", api::volume_encryption_secret_type);
}
OwnedSecret wrapped_key_secret_of(const api::Volume& volume) {
  return secret_of(volume, "volumekey-", api::volume_wrapped_key_secret_type);
}
OwnedSecret wrapped_key_secret_of(const api::VolumeSnapshot& snapshot) {
  return secret_of(snapshot, "volumekey-", api::volume_wrapped_key_secret_type);
}
OwnedSecret owned_secret_of(const api::Bucket& bucket) {
  return secret_of(bucket, "bucket-", api::bucket_access_secret_type);
}

Result<store::Shared<api::Secret>> read_secret(store::Store& store, const OwnedSecret& secret) {
  auto found = store::get<api::Secret>(store, secret.namespace_, secret.name);
  if (!found) {
    if (found.error().code() == ErrorCode::not_found) return store::Shared<api::Secret>();
    return found.error().within("secret " + secret.name);
  }
  const auto& owners = (*found)->metadata.owner_references;
  if (std::none_of(owners.begin(), owners.end(), [&](const auto& owner) { return owner.uid == secret.owner.uid; }))
    return Error(ErrorCode::already_exists,
                 "secret " + secret.name + " exists, but does not belong to " + secret.owner.name + "; delete it");
  return found;
}

api::Secret new_secret(const OwnedSecret& secret) {
  api::Secret made;
  made.metadata.namespace_ = secret.namespace_;
  made.metadata.name = secret.name;
  made.metadata.owner_references = {secret.owner};
  made.type = secret.type;
  return made;
}

api::Secret filled(const OwnedSecret& secret, const store::Shared<api::Secret>& found,
                   const std::map<std::string, std::string>& data) {
  auto wanted = found ? *found : new_secret(secret);
  wanted.data.clear();
  for (const auto& [name, value] : data) wanted.data[name].value = value;
  return wanted;
}

std::optional<store::Operation> secret_operation(const OwnedSecret& secret, const store::Shared<api::Secret>& found,
                                                 const std::map<std::string, std::string>& data) {
  auto wanted = filled(secret, found, data);
  if (!found) return store::Create{store::Object::of(std::move(wanted))};
  if (wanted == *found) return std::nullopt;
  const auto before = store::Object::of(*found);
  return store::Patch{store::key_of(before), api::merge_patch(before, store::Object::of(std::move(wanted)))};
}

Result<void> write_secret(store::Store& store, const OwnedSecret& secret,
                          const std::map<std::string, std::string>& data) {
  IRONCORE_TRY(const auto found, read_secret(store, secret));
  auto operation = secret_operation(secret, found, data);
  if (!operation) return {};
  if (const auto written = store::commit_one(store, std::move(*operation)); !written)
    return written.error().within("write secret " + secret.name);
  return {};
}

Result<void> remove_secret(store::Store& store, const OwnedSecret& secret) {
  const auto found = read_secret(store, secret);
  if (!found && found.error().code() == ErrorCode::already_exists) return {};  // somebody else's
  if (!found) return found.error();
  if (!*found) return {};
  const auto gone = store::commit_one(
      store,
      store::Delete{.key = store::key<api::Secret>(secret.namespace_, secret.name), .uid = (*found)->metadata.uid});
  if (gone || gone.error().code() == ErrorCode::not_found) return {};
  return gone.error().within("remove secret " + secret.name);
}

std::string content_of(const api::Secret& secret) {
  crypto::Hasher hasher;
  const auto add = [&hasher](std::string_view text) {
    hasher.update(std::to_string(text.size()) + ":");
    hasher.update(text);
  };
  add(std::to_string(secret.metadata.owner_references.size()));
  for (const auto& owner : secret.metadata.owner_references) add(owner.uid);
  for (const auto& [name, value] : secret.data) {
    add(name);
    add(value.value);
  }
  return hasher.finish().hex();
}

}  // namespace ironcore::control
