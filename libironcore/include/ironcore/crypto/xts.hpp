// SPDX-License-Identifier: Apache-2.0
// Enciphering the sectors of a disk in place (AES-256-XTS: IEEE 1619-2018, NIST SP 800-38E).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::crypto {

/// Keeps content secret, and nothing else: who can write the disk can change it unnoticed. The tweak of a sector is its place in units of 512 bytes, little
/// endian (`plain64` of dm-crypt and LUKS). The key is wiped when it is destroyed. Thread: any.
class XtsCipher {
 public:
  static constexpr std::size_t key_size = 64;  ///< two keys of 256 bits, one after the other
  /// `sector_size` is 512 to 4096, a power of 2. `invalid` for another one, and for a key of another size or with equal halves.
  static Result<XtsCipher> create(BytesView key, std::size_t sector_size);
  XtsCipher(XtsCipher&&) noexcept;
  XtsCipher& operator=(XtsCipher&&) noexcept;
  ~XtsCipher();

  std::size_t sector_size() const noexcept;
  /// Whole sectors; `offset` is the place of the first on the disk, in bytes, a multiple of the sector size.
  void encrypt(std::uint64_t offset, std::span<std::byte> sectors) const;
  void decrypt(std::uint64_t offset, std::span<std::byte> sectors) const;

 private:
  struct Body;
  explicit XtsCipher(std::unique_ptr<Body> body) noexcept;
  std::unique_ptr<Body> body_;
};

}  // namespace ironcore::crypto
