// SPDX-License-Identifier: Apache-2.0
// Routes to records and back.
#include "record.hpp"

#include <algorithm>

#include "../base/hash.hpp"

namespace ironcore::routing {

namespace {

constexpr std::uint32_t kind_bits(Operation operation, RouteType type) noexcept {
  return static_cast<std::uint32_t>(operation) << 24 | static_cast<std::uint32_t>(type) << 26;
}

std::array<std::uint8_t, 16> bytes_of(const IpAddress& address) noexcept {
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(address.bytes(), bytes.begin());
  return bytes;
}

IpAddress address_of(const std::array<std::uint8_t, 16>& bytes, bool is_v6) noexcept {
  if (is_v6) return IpAddress::v6(bytes);
  return IpAddress::v4(static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
                       static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3]);
}

/// No bit is set behind the first `length`.
bool is_zero_behind(const std::array<std::uint8_t, 16>& bytes, unsigned length) noexcept {
  std::size_t i = length / 8;
  if (length % 8 != 0) {
    if ((bytes[i] & (0xffU >> (length % 8))) != 0) return false;
    ++i;
  }
  return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.end(), [](auto byte) { return byte == 0; });
}

const char* fault_of_route(const Record& record) noexcept {
  if (record.length() > (record.is_v6() ? 128U : 32U)) return "the prefix is longer than its addresses";
  if (!is_zero_behind(record.prefix, record.length())) return "the prefix has host bits";
  if (!record.has_v6_next_hop() && !is_zero_behind(record.next_hop, 32)) return "the next hop is no IPv4 address";
  const auto next_hop = address_of(record.next_hop, record.has_v6_next_hop());
  if (next_hop.is_unspecified() || next_hop.is_multicast()) return "the next hop is no address of a host";
  switch (record.type()) {
    case RouteType::standard:
    case RouteType::load_balancer_target:
      if (record.nat_from != 0 || record.nat_to != 0) return "only routes of type nat have ports";
      break;
    case RouteType::nat:
      if (record.nat_from == 0 || record.nat_from > record.nat_to) return "the NAT ports are no range from 1 to 65535";
      break;
    default:
      return "there is no such type of route";
  }
  return nullptr;
}

}  // namespace

OriginId origin_id(std::string_view name) noexcept {
  std::uint64_t hash = name.size();
  for (std::size_t i = 0; i < name.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, name.data() + i, std::min<std::size_t>(8, name.size() - i));
    hash = fold_product(hash ^ word ^ hash_seeds[0], hash_seeds[1]);
  }
  hash = fold_product(hash ^ hash_seeds[2], hash_seeds[3]);
  return OriginId{hash == 0 ? 1 : hash};
}

Record announcement(const Route& route, OriginId origin, std::uint64_t version) noexcept {
  const auto& destination = route.destination;
  return {.prefix = bytes_of(destination.address()),
          .next_hop = bytes_of(route.next_hop),
          .origin = static_cast<std::uint64_t>(origin),
          .version = version,
          .vni_and_length = route.vni.value() | destination.length() << 24,
          .target_and_weight = route.target_vni.value() | std::uint32_t{route.weight} << 24,
          .mobility_and_kind = route.mobility | kind_bits(Operation::announce, route.type) |
                               (destination.is_v4() ? 0U : 1U << 28) | (route.next_hop.is_v4() ? 0U : 1U << 29),
          .nat_from = route.nat_ports.from,
          .nat_to = route.nat_ports.to};
}

Record withdrawal(const Record& record, std::uint64_t version) noexcept {
  auto end = record;
  end.version = version;
  end.target_and_weight = 0;
  end.mobility_and_kind = (record.mobility_and_kind & 0x3c00'0000U) | kind_bits(Operation::withdraw, RouteType{});
  return end;
}

Record gone(std::uint32_t vni, OriginId origin) noexcept {
  return {.origin = static_cast<std::uint64_t>(origin),
          .vni_and_length = vni,
          .mobility_and_kind = kind_bits(Operation::origin_gone, RouteType{})};
}

Route route_of(const Record& record) noexcept {
  Route route;
  route.vni = *Vni::make(record.vni());
  route.destination = *Prefix::make(address_of(record.prefix, record.is_v6()), record.length());
  route.next_hop = address_of(record.next_hop, record.has_v6_next_hop());
  route.type = record.type();
  route.nat_ports = {record.nat_from, record.nat_to};
  if (record.operation() != Operation::announce) return route;
  route.target_vni = *Vni::make(record.target_and_weight & 0xff'ffffU);
  route.weight = static_cast<std::uint8_t>(record.target_and_weight >> 24);
  route.mobility = record.mobility();
  return route;
}

const char* fault_of(const Record& record) noexcept {
  if (record.origin == 0) return "the origin is missing";
  if (record.mobility_and_kind >> 30 != 0) return "reserved bits are set";
  switch (record.operation()) {
    case Operation::announce:
      if (record.version == 0) return "the version is missing";
      if (record.target_and_weight >> 24 == 0) return "the weight is 0";
      return fault_of_route(record);
    case Operation::withdraw:  // of version 0: not known any more, by whoever says it
      if (record.target_and_weight != 0 || record.mobility() != 0) return "a withdrawal has values";
      return fault_of_route(record);
    case Operation::origin_gone:
      return record == gone(record.vni(), OriginId{record.origin}) ? nullptr
                                                                   : "the end of an origin has more than its name";
    default:
      return "there is no such operation";
  }
}

std::uint64_t content_hash(const Record& record) noexcept {
  return hash_words(content_words(record));
}

}  // namespace ironcore::routing
