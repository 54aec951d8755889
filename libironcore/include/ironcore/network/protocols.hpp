// SPDX-License-Identifier: Apache-2.0
// Numbers of the protocols above IP: https://www.iana.org/assignments/protocol-numbers
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace ironcore::network {

inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_icmpv6 = 58;
inline constexpr std::uint8_t protocol_sctp = 132;

/// Those that are called by a word, in the configuration and where it is shown.
inline constexpr std::array<std::pair<std::string_view, std::uint8_t>, 5> protocol_words{{{"TCP", protocol_tcp},
                                                                                          {"UDP", protocol_udp},
                                                                                          {"SCTP", protocol_sctp},
                                                                                          {"ICMP", protocol_icmp},
                                                                                          {"ICMPv6", protocol_icmpv6}}};
/// The word, or else the number.
inline std::string protocol_text(std::uint8_t protocol) {
  for (const auto& [word, number] : protocol_words)
    if (number == protocol) return std::string(word);
  return std::to_string(protocol);
}

}  // namespace ironcore::network
