// SPDX-License-Identifier: Apache-2.0
// What one worker of a Dataplane forwards, from a repeated capture file to nowhere, as a part of what dpdk-testpmd does with the same file. As
// root, on a quiet machine: bench_dataplane [SECONDS]
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "figures.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/network/dpdk.hpp"
#include "testpmd.hpp"

using namespace ironcore;
using namespace ironcore::network;
using bench::Frame;
using bench::must;

namespace {

constexpr std::uint32_t most_flows = 1'000'000;

IpAddress ip(const std::string& text) {
  return must(IpAddress::parse(text));
}

void put16(Frame& frame, std::size_t at, std::uint32_t value) {
  frame[at] = static_cast<std::uint8_t>(value >> 8);
  frame[at + 1] = static_cast<std::uint8_t>(value);
}
void put_address(Frame& frame, std::size_t at, const IpAddress& address) {
  std::copy(address.bytes().begin(), address.bytes().end(), frame.begin() + static_cast<std::ptrdiff_t>(at));
}

/// A UDP packet of 46 bytes; its ports are those of a flow.
Frame udp_packet(const IpAddress& source, const IpAddress& destination, std::uint32_t flow) {
  constexpr std::uint32_t ports = 50'000;
  Frame out(46);
  out[0] = 0x45;
  put16(out, 2, 46);
  out[8] = 64;
  out[9] = 17;
  put_address(out, 12, source);
  put_address(out, 16, destination);
  put16(out, 20, 1024 + flow % ports);
  put16(out, 22, 1 + flow / ports);
  put16(out, 24, 26);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < 20; i += 2) sum += static_cast<std::uint32_t>(out[i] << 8 | out[i + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  put16(out, 10, ~(sum + (sum >> 16)) & 0xffff);
  return out;
}

Frame in_frame(const MacAddress& source, std::uint16_t type, const Frame& packet) {
  Frame out{2, 0, 0, 0, 0, 9};
  out.insert(out.end(), source.bytes().begin(), source.bytes().end());
  out.push_back(static_cast<std::uint8_t>(type >> 8));
  out.push_back(static_cast<std::uint8_t>(type));
  out.insert(out.end(), packet.begin(), packet.end());
  return out;
}

const MacAddress machine_mac({2, 0, 0, 0, 0, 1});

Frame from_machine(const IpAddress& destination, std::uint32_t flow) {
  return in_frame(machine_mac, 0x0800, udp_packet(ip("10.0.0.1"), destination, flow));
}
Frame from_wire(const IpAddress& underlay, std::uint32_t flow) {
  const Frame inner = udp_packet(ip("10.9.0.1"), ip("10.0.0.1"), flow);
  Frame outer(40);
  outer[0] = 0x60;
  put16(outer, 4, static_cast<std::uint32_t>(inner.size()));
  outer[6] = 4;
  outer[7] = 64;
  put_address(outer, 8, ip("2001:db8:0:2:d000::1"));
  put_address(outer, 24, underlay);
  outer.insert(outer.end(), inner.begin(), inner.end());
  return in_frame(MacAddress({2, 0, 0, 0, 0, 7}), 0x86dd, outer);
}

struct Case {
  const char* name;
  const char* in;  ///< the port that the capture file feeds
  bool has_nat;
  std::function<Frame(Dataplane& dataplane, std::uint32_t flow)> frame_of;
};

IpAddress address_of(const char* text) {
  return ip(text);
}

Interface machine(const std::string& id, const std::string& address) {
  Interface out;
  out.id = out.port = id;
  out.vni = must(Vni::make(100));
  out.ipv4 = ip(address);
  out.mac = machine_mac;
  return out;
}
FirewallRule allow(const std::string& id) {
  FirewallRule out;
  out.interface = id;
  out.id = "all";
  out.source = out.destination = must(Prefix::parse("0.0.0.0/0"));
  return out;
}

/// Forwarded packets a second.
double measure(dpdk::Eal& eal, const Case& what, std::uint32_t flows, int seconds, double& bound) {
  NullLog log;
  SystemClock clock;
  const std::uint32_t buffers = flows + 100'000;
  auto ports = must(dpdk::create_ports(eal, {.buffers = buffers}, log));
  DataplaneOptions options;
  options.underlay = must(Prefix::parse("2001:db8:0:1::/64"));
  options.uplinks = {{"uplink", MacAddress({2, 0, 0, 0, 0, 7}), 1}};
  options.connections = 2 * most_flows;
  options.announces = false;
  const auto dataplane = must(Dataplane::create(options, *ports, clock, log));
  const Route way{must(Vni::make(100)), must(Prefix::parse("0.0.0.0/0")), {{ip("2001:db8:0:2:d000::1"), 1}}};
  std::vector<Change> batch{machine("a", "10.0.0.1"), machine("b", "10.0.0.2"), allow("a"), allow("b"), way};
  if (what.has_nat) batch.emplace_back(Nat{"a", ip("192.0.2.1"), 1024, 65'535, Nat::Ports::own, {}, {}});
  must(dataplane->apply(batch));
  const bench::CaptureFile file(flows, [&](std::uint32_t flow) { return what.frame_of(*dataplane, flow); });
  for (const std::string name : {"a", "b", "uplink"}) {
    const auto device = name == what.in ? "pcap:rx=" + file.path() + ",infinite_rx=1" : std::string("null");
    must(ports->open({.name = name, .device = device, .mtu = 1600, .mac = {}}));
  }
  double rate = 0;
  {
    const std::jthread worker([&](std::stop_token stop) { dataplane->run(0, stop); });
    const auto forwarded = [&] { return dataplane->counters().packets[0]; };
    // Until all flows are known.
    const auto begin = std::chrono::steady_clock::now();
    while (forwarded() < 2 * std::uint64_t{flows} + 1000) {
      if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(60)) bench::fail("nothing is forwarded");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    const auto before = forwarded();
    const auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    rate = static_cast<double>(forwarded() - before) / took.count();
    const auto counters = dataplane->counters();
    std::uint64_t dropped = 0;
    for (std::size_t i = 1; i < drop_reasons; ++i) dropped += counters.packets[i];
    if (dropped > counters.packets[0] / 1000) bench::fail(std::string(what.name) + ": packets were dropped");
  }
  for (const char* name : {"a", "b", "uplink"}) must(ports->close(name));
  bound = bench::testpmd(file.path(), seconds, buffers, 4096);
  if (bound == 0) bench::fail("dpdk-testpmd does not run: ./dev setup tools");
  return rate;
}

}  // namespace

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 5;
  if (seconds <= 0) bench::fail("usage: bench_dataplane [SECONDS]");
  NullLog log;
  const auto eal = must(dpdk::Eal::create({.memory_mib = 4096, .prefix = "bench"}, log), "DPDK");
  const Case to_machine{"vm_vm", "a", false,
                        [](Dataplane&, std::uint32_t flow) { return from_machine(address_of("10.0.0.2"), flow); }};
  const Case to_wire{"vm_wire", "a", false,
                     [](Dataplane&, std::uint32_t flow) { return from_machine(address_of("10.9.0.1"), flow); }};
  const Case by_nat{"nat", "a", true,
                    [](Dataplane&, std::uint32_t flow) { return from_machine(address_of("198.51.100.7"), flow); }};
  const Case to_us{"wire_vm", "uplink", false, [](Dataplane& dataplane, std::uint32_t flow) {
                     return from_wire(*must(dataplane.get<Interface>(InterfaceKey{"a"})).underlay, flow);
                   }};
  const auto run = [&](const Case& what, std::uint32_t flows, const char* text) {
    double bound = 0;
    const double rate = measure(*eal, what, flows, seconds, bound);
    const auto name = std::string("dataplane.") + what.name + "." + text;
    bench::print(name.c_str(), rate / 1e6, "Mpps", "\"testpmd\":" + std::to_string(bound / 1e6));
    bench::print((name + ".ratio").c_str(), rate / bound, "");
  };
  for (const auto* what : {&to_machine, &to_wire, &to_us}) {
    run(*what, 1, "1");
    run(*what, 1000, "1k");
    run(*what, 60'000, "60k");
  }
  run(to_machine, most_flows, "1m");
  run(by_nat, 1000, "1k");
  return 0;
}
