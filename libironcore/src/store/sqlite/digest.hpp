// SPDX-License-Identifier: Apache-2.0
// A checksum for each record: SQLite itself does not notice a damaged byte inside a value.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ironcore::store::sqlite {

/// 64 bits over numbers and texts. Each step is a bijection of the state and of the eight bytes that it takes
/// in, so any damage within eight bytes is found for certain, and other damage but for one case in 2^64. No
/// protection against intent.
class Digest {
 public:
  void add(std::uint64_t value) noexcept {
    state_ ^= value;
    state_ *= 0x9e3779b97f4a7c15ULL;
    state_ ^= state_ >> 32;
  }
  void add(std::string_view text) noexcept {
    add(text.size());
    while (text.size() >= sizeof(std::uint64_t)) {
      add(word(text, sizeof(std::uint64_t)));
      text.remove_prefix(sizeof(std::uint64_t));
    }
    if (!text.empty()) add(word(text, text.size()));
  }
  /// As SQLite stores it.
  std::int64_t value() const noexcept { return static_cast<std::int64_t>(state_); }

 private:
  /// Little-endian, whatever the machine: a store may be copied to another one.
  static std::uint64_t word(std::string_view text, std::size_t size) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, text.data(), size);
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
    return value;
  }
  std::uint64_t state_ = 0x6972636f72650001ULL;
};

}  // namespace ironcore::store::sqlite
