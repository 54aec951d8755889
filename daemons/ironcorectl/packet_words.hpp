// SPDX-License-Identifier: Apache-2.0
// A packet in three words: `udp 10.0.0.1:1000 10.0.0.2:53`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::ctl {

/// A frame with a packet of a protocol, by its name or number, between two ends of a family: `tcp` and `sctp` (that open a connection) and `udp` between
/// `ADDRESS:PORT` or `[ADDRESS]:PORT`, `icmp` (an echo request) and all others between addresses. All lengths and checksums are right.
Result<std::vector<std::uint8_t>> frame_of(const std::string& protocol, const std::string& source,
                                           const std::string& destination, const MacAddress& source_mac);

}  // namespace ironcore::ctl
