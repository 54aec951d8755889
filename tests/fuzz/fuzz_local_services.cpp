// SPDX-License-Identifier: Apache-2.0
// Any frame into every local service of the packet engine, and as one from an uplink: what comes back is a packet that the engine itself can read, to who asked.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "dataplane/arp.hpp"
#include "dataplane/bytes.hpp"
#include "dataplane/checksum.hpp"
#include "dataplane/dhcpv4.hpp"
#include "dataplane/dhcpv6.hpp"
#include "dataplane/gateway_ping.hpp"
#include "dataplane/local_frames.hpp"
#include "dataplane/neighbor_discovery.hpp"
#include "dataplane/router_neighbor.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;

static void require(bool holds) {
  if (!holds) std::abort();
}

static const IpAddress dns_v4[] = {IpAddress::v4(0x0a000035), IpAddress::v4(0x0a000036)};
static const IpAddress dns_v6[] = {IpAddress::v6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53})};

/// By the bits of the first byte of the input, so that the corpus covers all kinds of machines.
static LocalServices machine(std::uint8_t kind) {
  LocalServices told;
  told.gateway_mac = MacAddress({2, 0, 0, 0, 0, 0xfe});
  if ((kind & 1) == 0) told.ipv4 = IpAddress::v4(0x0a010203);
  if ((kind & 2) == 0) told.ipv6 = IpAddress::v6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3});
  if ((kind & 4) == 0) {
    told.hostname = "web-1";
    told.dns_v4 = dns_v4;
    told.dns_v6 = dns_v6;
  }
  if ((kind & 8) == 0) told.boot = NetworkBoot{.server_v4 = dns_v4[0], .server_v6 = dns_v6[0], .path = "/boot"};
  if ((kind & 16) != 0) told.lease_seconds = 3600;
  if ((kind & 32) != 0) told.mtu = 100;
  return told;
}

/// Few inputs have right checksums by chance, and behind them is what this is about.
static void fill_in_checksums(std::span<std::uint8_t> frame) {
  if (frame.size() < ethernet_bytes + 20) return;
  auto* header = frame.data() + ethernet_bytes;
  const auto type = load16(frame.data() + 12);
  const std::size_t header_bytes = std::size_t{header[0] & 15U} * 4;
  if (type == ethertype_ipv4 && header_bytes >= 20 && ethernet_bytes + header_bytes <= frame.size()) {
    store16(header + 10, 0);
    ChecksumSum sum;
    sum.add({header, header_bytes});
    store16(header + 10, sum.finish());
  }
  Received received;
  if (receive_ip(frame, type, received) != NoReply::none || !received.headers.has_transport) return;
  const auto protocol = received.headers.protocol;
  const auto at =
      static_cast<std::size_t>(received.transport.data() - frame.data()) + (protocol == protocol_udp ? 6 : 2);
  if (at + 2 > frame.size()) return;
  store16(frame.data() + at, 0);
  ChecksumSum sum;
  if (protocol != protocol_icmp) {
    sum.add(received.source.bytes());
    sum.add(received.destination.bytes());
    sum.add16(protocol);
    sum.add32(static_cast<std::uint32_t>(received.transport.size()));
  }
  sum.add(received.transport);
  store16(frame.data() + at, sum.finish());
}

static void check_reply(std::span<const std::uint8_t> reply, const LocalServices& told) {
  require(load_mac(reply.data()) != MacAddress() && load_mac(reply.data() + 6) == told.gateway_mac);
  const auto type = load16(reply.data() + 12);
  if (type == ethertype_arp) {
    require(reply.size() == 42);
    return;
  }
  Received received;
  require(receive_ip(reply, type, received) == NoReply::none);
  require(has_right_checksum(received));
  require(received.source == gateway_v4 || received.source == gateway_v6);
  require(received.headers.length + ethernet_bytes == reply.size());
}

/// fe80::1 is the router here, so that what is about it means something on both sides.
static void from_uplink(std::span<const std::uint8_t> frame, const MacAddress& own, std::span<std::uint8_t> reply) {
  const auto read = read_uplink_frame(frame, own, &gateway_v6, reply);
  require((read.kind == UplinkFrame::Kind::question) == (read.reply != 0) && read.reply <= reply.size());
  if (read.kind == UplinkFrame::Kind::told) require(!read.told.mac || is_station(*read.told.mac));
  if (read.reply == 0) return;
  Received received;
  require(receive_ip(reply.first(read.reply), ethertype_ipv6, received) == NoReply::none);
  require(has_right_checksum(received) && received.source == link_local_of(own) && received.source_mac == own);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto told = machine(data[0]);
  // In memory of their own sizes, where a sanitizer sees a step beyond.
  std::vector<std::uint8_t> frame(data + 1, data + size);
  if ((data[0] & 64) != 0) fill_in_checksums(frame);
  std::vector<std::uint8_t> reply((data[0] & 128) != 0 ? 400 : 2048);
  for (const auto service : {answer_arp, answer_neighbor_discovery, answer_dhcpv4, answer_dhcpv6, answer_ping}) {
    const auto answer = service(frame, told, reply);
    require(answer.length <= reply.size());
    require((answer.length != 0) == (answer.why == NoReply::none));
    if (answer.claim) require(is_station(answer.claim->mac));
    if (answer.length != 0) check_reply(std::span(reply).first(answer.length), told);
  }
  from_uplink(frame, told.gateway_mac, reply);
  return 0;
}
