// SPDX-License-Identifier: Apache-2.0
// Key-encryption keys in memory.
#include "ironcore/sim/key_management.hpp"

#include "ironcore/crypto/secret.hpp"

namespace ironcore::sim {

using crypto::KeyVersion;
using crypto::SealKey;
using crypto::WrappedKey;

Result<void> KeyManagement::begin(std::string_view call) const {
  if (!faults_) return {};
  if (auto fault = faults_(call)) return *fault;
  return {};
}

Result<std::vector<KeyVersion>> KeyManagement::versions() {
  const std::lock_guard lock(mutex_);
  IRONCORE_CHECK(begin("versions"));
  std::vector<KeyVersion> all;
  for (const auto& [number, version] : versions_)
    if (!version.is_lost) all.push_back({id_, number});
  return all;
}

Result<WrappedKey> KeyManagement::wrap(const SealKey& key, BytesView context) {
  const std::lock_guard lock(mutex_);
  IRONCORE_CHECK(begin("wrap"));
  auto newest = versions_.rbegin();
  while (newest->second.is_lost) ++newest;
  return WrappedKey{{id_, newest->first}, crypto::seal(newest->second.key, key.bytes(), context)};
}

Result<SealKey> KeyManagement::unwrap(const WrappedKey& wrapped, BytesView context) {
  const std::lock_guard lock(mutex_);
  IRONCORE_CHECK(begin("unwrap"));
  const auto found = versions_.find(wrapped.by.version);
  if (wrapped.by.id != id_ || found == versions_.end() || found->second.is_lost)
    return Error(ErrorCode::not_found, "key " + wrapped.by.to_text() + " is not there: bring it back");
  IRONCORE_TRY(auto plain, crypto::unseal(found->second.key, wrapped.bytes, context));
  auto key = SealKey::from_bytes(plain);
  crypto::wipe(plain);
  if (!key) return Error(ErrorCode::corrupt, "what is wrapped is no key");
  return key;
}

void KeyManagement::add_version() {
  const std::lock_guard lock(mutex_);
  const auto number = versions_.empty() ? 1 : versions_.rbegin()->first + 1;
  versions_.emplace(number, Version{.key = SealKey::random()});
}

void KeyManagement::lose(std::uint32_t version) {
  const std::lock_guard lock(mutex_);
  std::size_t left = 0;
  for (const auto& [number, each] : versions_)
    if (!each.is_lost && number != version) ++left;
  const auto found = versions_.find(version);
  if (left > 0 && found != versions_.end()) found->second.is_lost = true;
}

void KeyManagement::bring_back(std::uint32_t version) {
  const std::lock_guard lock(mutex_);
  const auto found = versions_.find(version);
  if (found != versions_.end()) found->second.is_lost = false;
}

void KeyManagement::set_faults(std::function<std::optional<Error>(std::string_view)> faults) {
  const std::lock_guard lock(mutex_);
  faults_ = std::move(faults);
}

}  // namespace ironcore::sim
