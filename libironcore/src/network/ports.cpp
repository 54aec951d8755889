// SPDX-License-Identifier: Apache-2.0
// What all adapters check and derive in the same way.
#include "ironcore/network/ports.hpp"

#include <algorithm>

namespace ironcore::network {

Result<void> check(const PortSpec& spec) {
  using Reason = FieldError::Reason;
  constexpr std::size_t longest_name = 63;
  constexpr std::uint16_t least_mtu = 68;  // RFC 791
  constexpr std::uint16_t most_mtu = 9000;
  const auto is_legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  std::vector<FieldError> errors;
  if (spec.name.empty()) errors.push_back({"name", Reason::required, "must not be empty"});
  if (spec.name.size() > longest_name)
    errors.push_back({"name", Reason::too_long, "must not be longer than 63 characters"});
  if (!std::all_of(spec.name.begin(), spec.name.end(), is_legal))
    errors.push_back({"name", Reason::invalid, "must be made of letters, digits, - and _"});
  if (spec.mtu < least_mtu || spec.mtu > most_mtu)
    errors.push_back({"mtu", Reason::invalid, "must be 68 to 9000, and is " + std::to_string(spec.mtu)});
  if (spec.mac && (spec.mac->is_multicast() || *spec.mac == MacAddress()))
    errors.push_back({"mac", Reason::invalid, "must be the address of one station"});
  if (!errors.empty()) return Error(std::move(errors));
  return {};
}

MacAddress mac_of_port(std::string_view name) noexcept {
  // FNV-1a, and the finish of MurmurHash3: short names that differ little must differ in what is used.
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
  for (const char c : name) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100'0000'01b3;
  hash ^= hash >> 33;
  hash *= 0xff51'afd7'ed55'8ccd;
  hash ^= hash >> 33;
  std::array<std::uint8_t, 6> bytes{};
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(hash);
    hash >>= 8;
  }
  bytes[0] = static_cast<std::uint8_t>((bytes[0] & 0xfc) | 0x02);
  return MacAddress(bytes);
}

}  // namespace ironcore::network
