// SPDX-License-Identifier: Apache-2.0
// Sealing bytes with a key so that nobody without it can read or change them (AES-256-GCM).
#pragma once

#include <array>
#include <cstddef>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::crypto {

/// 256 bits, wiped on destruction. At most 2^32 seals under one key: nonces are random (NIST SP 800-38D §8.3).
class SealKey {
 public:
  static constexpr std::size_t size = 32;
  static SealKey random();
  /// `invalid` unless there are exactly `size` bytes.
  static Result<SealKey> from_bytes(BytesView bytes);
  SealKey(const SealKey&) = default;
  SealKey& operator=(const SealKey&) = default;
  ~SealKey();
  BytesView bytes() const noexcept { return bytes_; }

 private:
  SealKey() = default;
  std::array<std::byte, size> bytes_{};
};

/// What `seal` adds: 4 bytes of header (`IC`, version 1, algorithm 1), 12 of nonce, 16 of tag at the end.
constexpr std::size_t seal_overhead = 32;

/// `associated` is bound to the result but not contained in it: name there what the secret belongs to, so that it
/// cannot be moved elsewhere. Header and nonce are authenticated too.
Bytes seal(const SealKey& key, BytesView plain, BytesView associated);

/// `corrupt` if key, associated bytes or a single bit differ; `unsupported` for another version of the format.
Result<Bytes> unseal(const SealKey& key, BytesView sealed, BytesView associated);

}  // namespace ironcore::crypto
