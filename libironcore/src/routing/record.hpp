// SPDX-License-Identifier: Apache-2.0
// A route, or the end of one, in 64 bytes: the same in memory and on the wire.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ironcore/routing/route.hpp"

namespace ironcore::routing {

enum class Operation : std::uint8_t {
  announce = 1,
  withdraw = 2,     ///< of one route; what is no part of the key is 0
  origin_gone = 3,  ///< of all routes of an origin in a VNI; everything else is 0
};

/// One cache line, little-endian (docs/wire.md). `version` orders what an origin said of the same route, by whatever way it comes.
struct alignas(8) Record {
  std::array<std::uint8_t, 16> prefix{};    ///< network order; IPv4 in the first four
  std::array<std::uint8_t, 16> next_hop{};  ///< likewise
  std::uint64_t origin = 0;
  std::uint64_t version = 0;
  std::uint32_t vni_and_length = 0;     ///< VNI in the lower 24 bits, prefix length above
  std::uint32_t target_and_weight = 0;  ///< target VNI in the lower 24 bits, weight above
  std::uint32_t mobility_and_kind =
      0;  ///< mobility in the lower 24 bits; operation 2 bits, type 2, prefix is v6 1, next hop is v6 1, 2 of zero
  std::uint16_t nat_from = 0;
  std::uint16_t nat_to = 0;

  std::uint32_t vni() const noexcept { return vni_and_length & 0xff'ffffU; }
  unsigned length() const noexcept { return vni_and_length >> 24; }
  std::uint32_t mobility() const noexcept { return mobility_and_kind & 0xff'ffffU; }
  Operation operation() const noexcept { return static_cast<Operation>(mobility_and_kind >> 24 & 3U); }
  RouteType type() const noexcept { return static_cast<RouteType>(mobility_and_kind >> 26 & 3U); }
  bool is_v6() const noexcept { return (mobility_and_kind >> 28 & 1U) != 0; }
  bool has_v6_next_hop() const noexcept { return (mobility_and_kind >> 29 & 1U) != 0; }

  friend bool operator==(const Record&, const Record&) noexcept = default;
};
static_assert(sizeof(Record) == 64 && std::endian::native == std::endian::little);

/// Of a route that passes `check`.
Record announcement(const Route& route, OriginId origin, std::uint64_t version) noexcept;
/// The end of the route that `record` announces.
Record withdrawal(const Record& record, std::uint64_t version) noexcept;
Record gone(std::uint32_t vni, OriginId origin) noexcept;
/// Of an announcement or a withdrawal that is valid; what a withdrawal does not say has its default.
Route route_of(const Record& record) noexcept;

/// Null if it can be what its operation says; else what is wrong with it. For bytes from outside: every bit is looked at.
const char* fault_of(const Record& record) noexcept;

inline std::array<std::uint64_t, 8> words_of(const Record& record) noexcept {
  return std::bit_cast<std::array<std::uint64_t, 8>>(record);
}
/// Of what makes it the same route of the same origin.
inline std::array<std::uint64_t, 7> key_words(const Record& record) noexcept {
  const auto words = words_of(record);
  return {words[0], words[1], words[2], words[3], words[4], words[6] & 0xffff'ffffU, words[7] & 0xffff'ffff'3c00'0000U};
}
/// All that is said, but when: key and values without version and operation.
inline std::array<std::uint64_t, 7> content_words(const Record& record) noexcept {
  const auto words = words_of(record);
  return {words[0], words[1], words[2], words[3], words[4], words[6], words[7] & ~std::uint64_t{0x0300'0000}};
}
inline bool is_same_key(const Record& a, const Record& b) noexcept {
  return key_words(a) == key_words(b);
}
inline bool is_same_content(const Record& a, const Record& b) noexcept {
  return content_words(a) == content_words(b);
}
/// What digests are the sum of; the same on every host.
std::uint64_t content_hash(const Record& record) noexcept;

}  // namespace ironcore::routing
