// SPDX-License-Identifier: Apache-2.0
// KeyManagement: the seam towards whoever keeps the keys that keys are wrapped with: a file, a key server, a simulation.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/crypto/aead.hpp"

namespace ironcore::crypto {

/// One version of a key-encryption key. It is public: it says which one, not what it is.
struct KeyVersion {
  std::string id;             ///< of the key: letters, digits, `.`, `_`, `-`, 64 at most
  std::uint32_t version = 0;  ///< from 1; a larger one is newer
  /// `rack-1/3`.
  std::string to_text() const;
  static Result<KeyVersion> parse(std::string_view text);
  friend auto operator<=>(const KeyVersion&, const KeyVersion&) = default;
};

/// A key that only the KeyManagement can open which made it. What it looks like inside is the body's own affair; it may lie where others read it.
struct WrappedKey {
  KeyVersion by;
  Bytes bytes;  ///< not empty, 64 KiB at most
  /// `rack-1/3:` and the bytes in base64.
  std::string to_text() const;
  /// `corrupt` for anything else.
  static Result<WrappedKey> parse(std::string_view text);
  friend bool operator==(const WrappedKey&, const WrappedKey&) = default;
};

/// Wraps and unwraps keys with one key-encryption key that has versions. The newest version wraps; all that are still there unwrap. Nothing changes by a call, so every
/// call can be repeated. Errors: `unavailable`, `timeout` (repeat later), `forbidden` (this program may not; somebody has to allow it), `not_found` (of `unwrap`: the
/// version, or the whole key, is not there; if it comes back, what it wrapped opens again), `corrupt` (of `unwrap`: the bytes or the context are others). No
/// error says a word of a key. Calls may block, for seconds at most. Thread: any.
class KeyManagement {
 public:
  virtual ~KeyManagement() = default;

  /// All that unwrap, oldest first, never none: the last one wraps. What is here may be asked often: a body that asks a server says how old an answer may be.
  virtual Result<std::vector<KeyVersion>> versions() = 0;
  /// `context` is bound to the result but not contained in it: name there what the key belongs to, so that it cannot be moved elsewhere.
  virtual Result<WrappedKey> wrap(const SealKey& key, BytesView context) = 0;
  virtual Result<SealKey> unwrap(const WrappedKey& wrapped, BytesView context) = 0;
};

}  // namespace ironcore::crypto
