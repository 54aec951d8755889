// SPDX-License-Identifier: Apache-2.0
// A worker with its configuration: machines on ports, and a wire to other hosts.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "checked_packets.hpp"
#include "configuration_objects.hpp"
#include "dataplane/compiler.hpp"
#include "dataplane/local_frames.hpp"
#include "dataplane/worker.hpp"

namespace ironcore::network::tests {

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

inline constexpr std::uint32_t uplink_port = 0;
inline constexpr std::uint32_t second_uplink_port = 1;
inline constexpr std::uint32_t first_machine_port = 10;
inline constexpr std::uint64_t second = 1'000'000'000;

inline MacAddress mac(std::uint8_t kind, std::uint8_t number) {
  return MacAddress({2, 0, 0, 0, kind, number});
}
inline MacAddress machine_mac(std::uint8_t number) {
  return mac(1, number);
}
inline MacAddress port_mac(std::uint32_t port) {
  return mac(2, static_cast<std::uint8_t>(port));
}
inline const MacAddress router = mac(3, 0);

inline Bytes bytes_of(const MacAddress& address) {
  return {address.bytes().begin(), address.bytes().end()};
}
inline Bytes ethernet(const MacAddress& destination, const MacAddress& source, const Bytes& ip) {
  const Bytes type = ip[0] >> 4 == 6 ? Bytes{0x86, 0xdd} : Bytes{0x08, 0x00};
  return bytes_of(destination) + bytes_of(source) + type + ip;
}
/// What a router makes of a packet.
inline Bytes passed_on(Bytes ip) {
  if (ip[0] >> 4 == 6) {
    --ip[7];
    return ip;
  }
  --ip[8];
  put16(ip, 10, 0);
  put16(ip, 10, checksum_of({ip.begin(), ip.begin() + (ip[0] & 15) * 4}));
  return ip;
}

/// Where a frame went, and how it looked then.
struct Went {
  Drop drop = Drop::none;
  std::uint32_t port = 0;
  Bytes frame;
  Bytes ip() const { return slice(frame, 14); }
};

struct Host {
  explicit Host(std::uint8_t number, WorkerOptions with = {})
      : underlay(prefix("2001:db8:0:" + std::to_string(number) + "::/64")),
        desired(underlay, number),
        compiler(underlay, {.maglev_size = 251, .connections = 1000}),
        snapshots(1, compiler.compile(desired, {}, generations)),
        worker(snapshots, 0, generations, learned, options(with)) {
    compiler.add_uplink({uplink_port, router, 1, true}, port_mac(uplink_port));
    change({});
  }
  static WorkerOptions options(WorkerOptions with) {
    if (with.connections == WorkerOptions().connections) with.connections = 1000;
    with.fragments = 64;
    with.interfaces = 64;
    // Silent, but where a test wants to hear of it.
    if (with.gateway.icmp_errors_at_once == GatewayOptions().icmp_errors_at_once) with.gateway.icmp_errors_at_once = 0;
    return with;
  }

  void change(const std::vector<Change>& changes) {
    auto dirty = desired.apply(changes);
    REQUIRE_MESSAGE(dirty.has_value(), dirty.error().message());
    snapshots.publish(compiler.compile(desired, *dirty, generations));
  }
  /// A machine with an address, a port and a MAC; anybody may talk to it.
  void add(std::uint8_t number, std::string_view ipv4, std::uint32_t network = 100, std::string_view ipv6 = "") {
    const auto id = "m" + std::to_string(number);
    auto machine = interface(id, ipv4, network);
    machine.mac = machine_mac(number);
    if (!ipv6.empty()) machine.ipv6 = ip(ipv6);
    auto all_v6 = rule(id, "all-v6");
    all_v6.source = all_v6.destination = prefix("::/0");
    change({machine, rule(id, "all-v4"), all_v6});
    compiler.add_port("port-" + id, first_machine_port + number, port_mac(first_machine_port + number));
    change({});
  }
  /// Of what shall come to it by the wire.
  IpAddress underlay_of(std::uint8_t number) const {
    return *desired.interfaces().at({"m" + std::to_string(number)}).underlay;
  }

  Went send(std::uint32_t port, const Bytes& frame) {
    constexpr std::size_t headroom = 128;
    Bytes memory = Bytes(headroom, 0xee) + frame + Bytes(2048, 0xee);
    Packet packet;
    packet.frame = memory.data() + headroom;
    packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
    packet.headroom = headroom;
    packet.room = static_cast<std::uint32_t>(memory.size() - headroom);
    packet.port = port;
    worker.process({&packet, 1}, now * second + now_ns);
    return {packet.drop, packet.port, Bytes(packet.frame, packet.frame + packet.bytes)};
  }
  Went from_machine(std::uint8_t number, const Bytes& packet) {
    const std::uint32_t port = first_machine_port + number;
    return send(port, ethernet(port_mac(port), machine_mac(number), packet));
  }
  Went from_wire(const Bytes& frame) { return send(uplink_port, frame); }

  Prefix underlay;
  Desired desired;
  Compiler compiler;
  Generations generations;
  Published<Snapshot> snapshots;
  LearnedMacs learned{64};
  Worker worker;
  Tick now = 1000;
  std::uint64_t now_ns = 0;  ///< beyond `now`
};

inline Bytes outer(const IpAddress& source, const IpAddress& destination, const Bytes& inner) {
  Bytes header(40);
  header[0] = 0x60;
  put16(header, 4, static_cast<std::uint16_t>(inner.size()));
  header[6] = inner[0] >> 4 == 6 ? 41 : 4;
  header[7] = 64;
  std::copy(source.bytes().begin(), source.bytes().end(), header.begin() + 8);
  std::copy(destination.bytes().begin(), destination.bytes().end(), header.begin() + 24);
  return header + inner;
}
inline Bytes wire_frame(const IpAddress& source, const IpAddress& destination, const Bytes& inner) {
  return ethernet(port_mac(uplink_port), router, outer(source, destination, inner));
}
inline IpAddress other_host(int number = 1) {
  return ip("2001:db8:0:99:d000::" + std::to_string(number));
}

inline Bytes udp_v4(std::string_view from, std::string_view to, std::uint16_t port = 1000, std::uint8_t ttl = 64) {
  return v4(udp(port, 53, Bytes{1, 2, 3}), {.source = from, .destination = to, .ttl = ttl});
}
inline Bytes udp_v6(std::string_view from, std::string_view to) {
  return v6(udp(1000, 53, Bytes{1, 2, 3}), {.source = from, .destination = to});
}

}  // namespace ironcore::network::tests
