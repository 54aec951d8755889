// SPDX-License-Identifier: Apache-2.0
// Ethernet, IP and UDP around what the gateway says.
#include "local_frames.hpp"

#include <array>

#include "checksum.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t v4_bytes = 20;
constexpr std::size_t v6_bytes = 40;
constexpr std::uint8_t usual_hop_limit = 64;
constexpr std::uint16_t dont_fragment = 0x4000;

/// The checksum of the transport, as if none were in it: of a right one that is in it, 0.
std::uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                                 ConstBytes transport) noexcept {
  ChecksumSum sum;
  if (protocol != protocol_icmp) {
    sum.add(source.bytes());
    sum.add(destination.bytes());
    sum.add16(protocol);
    sum.add32(static_cast<std::uint32_t>(transport.size()));
  }
  sum.add(transport);
  return sum.finish();
}

}  // namespace

MacAddress load_mac(const std::uint8_t* at) noexcept {
  std::array<std::uint8_t, 6> bytes;
  std::copy_n(at, bytes.size(), bytes.begin());
  return MacAddress(bytes);
}

IpAddress load_v4(const std::uint8_t* at) noexcept {
  return IpAddress::v4(load32(at));
}

IpAddress load_v6(const std::uint8_t* at) noexcept {
  std::array<std::uint8_t, 16> bytes;
  std::copy_n(at, bytes.size(), bytes.begin());
  return IpAddress::v6(bytes);
}

MacAddress multicast_mac(const IpAddress& group) noexcept {
  const auto bytes = group.bytes().last(4);
  return MacAddress({0x33, 0x33, bytes[0], bytes[1], bytes[2], bytes[3]});
}

bool is_station(const MacAddress& mac) noexcept {
  return !mac.is_multicast() && mac != MacAddress();
}

bool is_host_address(const IpAddress& address) noexcept {
  if (address.is_unspecified() || address.is_multicast() || address.is_loopback()) return false;
  return address.is_v6() || (address.bytes()[0] != 0 && address.bytes()[0] < 240);
}

NoReply receive_ip(ConstBytes frame, std::uint16_t ethertype, Received& received) noexcept {
  if (frame.size() < ethernet_bytes) return NoReply::malformed;
  if (load16(frame.data() + 12) != ethertype) return NoReply::not_mine;
  received.source_mac = load_mac(frame.data() + 6);
  const auto packet = frame.subspan(ethernet_bytes);
  auto& headers = received.headers;
  if (parse(packet, packet.size(), headers) != Malformed::none || headers.is_v6 != (ethertype == ethertype_ipv6))
    return NoReply::malformed;
  if (!is_station(received.source_mac)) return NoReply::malformed;
  if (headers.is_v6) {
    received.source = load_v6(packet.data() + 8);
    received.destination = load_v6(packet.data() + 24);
  } else {
    received.source = load_v4(packet.data() + 12);
    received.destination = load_v4(packet.data() + 16);
  }
  received.transport = packet.first(headers.length).subspan(headers.transport);
  // Its length was checked, except in a fragment.
  if (headers.protocol == protocol_udp && headers.has_transport && !headers.is_fragment)
    received.transport = received.transport.first(load16(received.transport.data() + 4));
  return NoReply::none;
}

bool has_right_checksum(const Received& received) noexcept {
  const auto& headers = received.headers;
  if (headers.protocol == protocol_udp && load16(received.transport.data() + 6) == 0) return !headers.is_v6;
  return transport_checksum(received.source, received.destination, headers.protocol, received.transport) == 0;
}

void begin_ip(Writer& out, const LocalServices& services, const Destination& to, std::uint8_t protocol,
              std::uint8_t hop_limit) noexcept {
  out.put(to.mac);
  out.put(services.gateway_mac);
  if (to.address.is_v6()) {
    out.put16(ethertype_ipv6);
    out.put32(0x60000000);
    out.put16(0);
    out.put8(protocol);
    out.put8(hop_limit);
    out.put(gateway_v6);
  } else {
    out.put16(ethertype_ipv4);
    out.put16(0x4500);
    out.put16(0);
    out.put16(0);  // needs no identification, for it is never fragmented (RFC 6864)
    out.put16(dont_fragment);
    out.put8(hop_limit);
    out.put8(protocol);
    out.put16(0);
    out.put(gateway_v4);
  }
  out.put(to.address);
}

void begin_udp(Writer& out, const LocalServices& services, const Destination& to, std::uint16_t source_port,
               std::uint16_t destination_port) noexcept {
  begin_ip(out, services, to, protocol_udp, usual_hop_limit);
  out.put16(source_port);
  out.put16(destination_port);
  out.put32(0);
}

Answer finish_ip(Writer& out) noexcept {
  if (out.is_cut()) return {.length = 0, .why = NoReply::no_room, .claim = {}};
  const auto packet = out.written().subspan(ethernet_bytes);
  const bool is_v6 = packet[0] >> 4 == 6;
  const auto header = is_v6 ? v6_bytes : v4_bytes;
  const auto protocol = is_v6 ? packet[6] : packet[9];
  const auto transport = packet.subspan(header);
  const auto transport_at = ethernet_bytes + header;
  if (is_v6) {
    out.set16(ethernet_bytes + 4, static_cast<std::uint16_t>(transport.size()));
  } else {
    out.set16(ethernet_bytes + 2, static_cast<std::uint16_t>(packet.size()));
    ChecksumSum sum;
    sum.add(packet.first(v4_bytes));
    out.set16(ethernet_bytes + 10, sum.finish());
  }
  const auto source = is_v6 ? gateway_v6 : gateway_v4;
  const auto destination = is_v6 ? load_v6(packet.data() + 24) : load_v4(packet.data() + 16);
  if (protocol == protocol_udp) {
    out.set16(transport_at + 4, static_cast<std::uint16_t>(transport.size()));
    const auto checksum = transport_checksum(source, destination, protocol, transport);
    out.set16(transport_at + 6, checksum == 0 ? 0xffff : checksum);  // 0 says that there is none
  } else {
    out.set16(transport_at + 2, transport_checksum(source, destination, protocol, transport));
  }
  return {.length = out.size(), .why = NoReply::none, .claim = {}};
}

}  // namespace ironcore::network::dataplane
