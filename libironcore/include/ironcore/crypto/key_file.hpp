// SPDX-License-Identifier: Apache-2.0
// KeyFile: key-encryption keys in a file on this host.
#pragma once

#include <filesystem>
#include <memory>

#include "ironcore/crypto/key_management.hpp"

namespace ironcore::crypto {

/// KeyManagement on a file that only this user (or root) may read: any mode beyond 0600 is `forbidden`. Lines of text, `#` begins a comment:
///
///     id rack-1
///     1 3q2+7w… (32 bytes in base64)
///     2 8J+Ykg…
///
/// The name of the key first, then each version with its key, growing; the last one wraps. To rotate, add a line and `reload`; take a line away
/// only when nothing is wrapped with it any more. Wrapped is sealed (aead.hpp) with the context. Keys are held in memory until the destruction, and wiped then.
/// Thread: any.
class KeyFile final : public KeyManagement {
 public:
  /// `invalid` names the line, never what is in it.
  static Result<std::unique_ptr<KeyFile>> open(std::filesystem::path path);
  ~KeyFile() override;

  /// Reads the file again; after an error the keys of before stay. `wrong_state` if the key has another name now, or a version another key: what was wrapped would be lost.
  Result<void> reload();

  Result<std::vector<KeyVersion>> versions() override;
  Result<WrappedKey> wrap(const SealKey& key, BytesView context) override;
  Result<SealKey> unwrap(const WrappedKey& wrapped, BytesView context) override;

 private:
  struct State;
  explicit KeyFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ironcore::crypto
