// SPDX-License-Identifier: Apache-2.0
// What `PortSpec::device` says, checked: nothing of it reaches a driver unread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore::network::dpdk {

enum class Kind : std::uint8_t { pci, tap, af_packet, memif, pcap, null, ring, vhost };

struct DeviceWords {
  Kind kind = Kind::null;
  std::string name;  ///< address, interface, ring or path of a socket
  // memif
  std::string socket;
  std::string role;
  std::uint32_t id = 0;
  // pcap
  std::string rx;
  std::string tx;
  bool is_infinite = false;
};

/// In bytes, as the kernel has it.
inline constexpr std::size_t longest_socket_path = 107;

/// `invalid` names the field `device`.
Result<DeviceWords> parse_device(std::string_view text);

/// Letters, digits, `-` and `_`.
bool is_word_character(char c) noexcept;
/// `0000:01:00.0`
bool is_pci_address(std::string_view text) noexcept;

}  // namespace ironcore::network::dpdk
