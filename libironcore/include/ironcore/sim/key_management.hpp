// SPDX-License-Identifier: Apache-2.0
// Key-encryption keys in memory, with everything that may go wrong with a key server.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ironcore/crypto/key_management.hpp"

namespace ironcore::sim {

/// It really wraps (aead.hpp). Begins with version 1. Thread: any.
class KeyManagement final : public crypto::KeyManagement {
 public:
  explicit KeyManagement(std::string id = "sim") : id_(std::move(id)) { add_version(); }

  Result<std::vector<crypto::KeyVersion>> versions() override;
  Result<crypto::WrappedKey> wrap(const crypto::SealKey& key, BytesView context) override;
  Result<crypto::SealKey> unwrap(const crypto::WrappedKey& wrapped, BytesView context) override;

  // ---- the script ----

  /// A new version, which wraps from now on.
  void add_version();
  /// A version is not there any more, until `bring_back`. The last one that is there cannot be lost: nothing happens.
  void lose(std::uint32_t version);
  void bring_back(std::uint32_t version);
  /// Asked before every call, by its name: `versions`, `wrap`, `unwrap`. May be empty. Must not call back.
  void set_faults(std::function<std::optional<Error>(std::string_view call)> faults);

 private:
  struct Version {
    crypto::SealKey key;
    bool is_lost = false;
  };
  Result<void> begin(std::string_view call) const;

  mutable std::mutex mutex_;
  const std::string id_;
  std::map<std::uint32_t, Version> versions_;
  std::function<std::optional<Error>(std::string_view)> faults_;
};

}  // namespace ironcore::sim
