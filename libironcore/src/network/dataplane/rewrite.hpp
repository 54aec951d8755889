// SPDX-License-Identifier: Apache-2.0
// Addresses and ports of packets change, and their checksums with them.
#pragma once

#include <cstdint>

#include "connection.hpp"
#include "headers.hpp"
#include "ironcore/network/packet.hpp"

namespace ironcore::network::dataplane {

/// Notes in the action what rewriting packets of `key` does: their ends become those of `opposite`, the key of the answers, turned round.
void compile_rewrite(Action& action, const FlowKey& key, const FlowKey& opposite) noexcept;

/// A packet that is rewritten. `ip` is where its inner header begins in the frame.
struct Rewritten {
  Packet& packet;
  std::uint32_t ip;
  const Headers& headers;
};

/// Ports of SCTP become others, and its checksum with them. It is a CRC over the ports, but not over the addresses (RFC 9260 §6.8); therefore
/// draft-ietf-behave-sctpnat leaves the ports alone, which a NAT that has only some ports of its address cannot. The checksum changes by what the
/// ports do, so one that was wrong stays wrong, and the rest of the packet need not be there. Addresses that an association tells its peer (in
/// INIT, for multihoming) are not translated: it uses one path. `sctp` begins with the ports; `bytes` counts all of the packet from there on.
void change_sctp_ports(std::uint8_t* sctp, std::size_t bytes, std::uint16_t source, std::uint16_t destination) noexcept;

/// Carries out what `compile_rewrite` noted, for a packet that is no ICMP error. Pieces of a datagram change as far as they go. False, and nothing
/// has changed: the ports of a piece of SCTP would have to, but its checksum is over the whole.
bool rewrite(const Rewritten& at, const Action& action, const FlowKey& opposite) noexcept;

/// An ICMP error about a packet of `opposite`'s direction, on its way along `key`: the quoted packet becomes what it was for who sent it, and
/// so do the error's destination and, if the error comes from the flow's end itself, its source. False: not all of it is there or right, or it comes
/// from somebody whose address may not be seen there.
bool rewrite_error(const Rewritten& at, const FlowKey& key, const FlowKey& opposite) noexcept;

}  // namespace ironcore::network::dataplane
