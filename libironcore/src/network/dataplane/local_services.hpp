// SPDX-License-Identifier: Apache-2.0
// What the gateway of a machine knows about it, and how it answers: shared by ARP, neighbor discovery, DHCP and ping.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/prefix.hpp"

namespace ironcore::network::dataplane {

/// The gateway has the same addresses for every machine on every host, so that a machine that moves notices nothing.
inline constexpr IpAddress gateway_v4 = IpAddress::v4(0xa9fe0001);  // 169.254.0.1
inline constexpr IpAddress gateway_v6 = IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

inline constexpr std::uint32_t infinite_lease = 0xffffffff;

/// Where a machine boots from over the network: firmware (PXE) fetches `loader` by TFTP, and the loader (iPXE) fetches `path` by HTTP, each
/// from the server of its own family; a family without one has no network boot.
struct NetworkBoot {
  std::optional<IpAddress> server_v4;
  std::optional<IpAddress> server_v6;
  std::string_view path;  ///< with or without a slash in front
  std::string_view loader = "ipxe/x86_64/ipxe.new";
};

/// What is told to one machine. The spans and texts belong to the caller, for the time of the call.
struct LocalServices {
  MacAddress gateway_mac;
  std::optional<MacAddress> machine_mac;  ///< as far as known; never decides whether an answer is given
  std::optional<IpAddress> ipv4;          ///< absent: the machine has no IPv4
  std::optional<IpAddress> ipv6;          ///< likewise
  std::string_view hostname;              ///< empty: none is told
  std::uint16_t mtu = 1500;
  std::span<const IpAddress> dns_v4;  ///< the best one first
  std::span<const IpAddress> dns_v6;
  /// IPv4 prefixes that the gateway reaches although 169.254.0.0/16, which is on the link, contains them.
  std::span<const Prefix> routes_v4;
  std::optional<NetworkBoot> boot;
  std::uint32_t lease_seconds = infinite_lease;  ///< of both families
};

/// Why a frame got no answer.
enum class NoReply : std::uint8_t {
  none,          ///< it got one
  not_mine,      ///< it is for none of what the function serves: it goes on its way; with all that follow, it ends here
  malformed,     ///< lengths or fixed fields are wrong
  checksum,      ///< of ICMP or UDP
  not_on_link,   ///< a hop limit below 255 says that it crossed a router (RFC 4861)
  fragment,      ///< a part of a datagram, which is not put together here
  relayed,       ///< DHCP through a relay: there is none between a machine and its gateway
  other_target,  ///< it asks for, or speaks to, somebody else
  other_server,  ///< the machine chose another DHCP server
  no_address,    ///< the machine has no address of this family
  not_asked,     ///< it needs no answer
  no_room,       ///< the answer is longer than the machine takes, or than the caller has room for
};
inline constexpr std::size_t no_reply_kinds = static_cast<std::size_t>(NoReply::no_room) + 1;

/// Who the machine says to be. Only a claim: whether to believe it is for the caller to decide.
struct Claim {
  MacAddress mac;
  std::optional<IpAddress> address;  ///< absent: it does not say, as in a probe
  friend bool operator==(const Claim&, const Claim&) = default;
};

struct Answer {
  std::size_t length = 0;  ///< of the frame to be sent back to the machine; 0 = none
  NoReply why = NoReply::not_mine;
  std::optional<Claim> claim;  ///< also without a reply
};

// All functions `answer_…` take an untagged Ethernet frame as the machine sent it, of which nothing is believed, and write the answer into
// `reply`, which must not overlap it; 2,048 bytes are enough for all but a ping that is longer. A checksum that the machine left to its
// network card is filled in by the caller before. The destination MAC is not looked at: a machine that was moved may know that of another
// host. Nothing is remembered from one call to the next. Thread: any.

}  // namespace ironcore::network::dataplane
