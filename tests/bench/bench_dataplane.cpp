// SPDX-License-Identifier: Apache-2.0
// What the workers of a Dataplane forward, from repeated capture files to nowhere, as a part of what dpdk-testpmd does with the same file and
// devices. Needs root and a quiet machine.
//
// bench_dataplane [SECONDS [CASE]]   3 seconds for each rate unless told otherwise; one case alone, as `vm_vm.1k`
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
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
constexpr int memory_mib = 8192;  // a million frames in buffers of 2 KiB, and room to spare

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

/// One kind of traffic.
struct Case {
  const char* name;
  const char* in;  ///< the port that the capture file feeds
  std::function<Frame(Dataplane& dataplane, std::uint32_t flow)> frame_of;
  std::optional<Nat> nat;
  Drop outcome = Drop::none;  ///< of every packet, once its flow is known
};

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

DataplaneOptions options_for_all() {
  DataplaneOptions out;
  out.underlay = must(Prefix::parse("2001:db8:0:1::/64"));
  out.uplinks = {{"uplink", MacAddress({2, 0, 0, 0, 0, 7}), 1}};
  out.connections = 2 * most_flows;
  out.announces = false;
  return out;
}
const Route& way_out() {
  static const Route out{must(Vni::make(100)), must(Prefix::parse("0.0.0.0/0")), {{ip("2001:db8:0:2:d000::1"), 1}}};
  return out;
}

/// Packets of this outcome a second, of all of them together, as soon as `flows` are known to each.
double rate_of(const std::vector<Dataplane*>& dataplanes, Drop outcome, std::uint64_t flows, int seconds,
               const std::string& name) {
  const auto index = static_cast<std::size_t>(outcome);
  std::vector<std::jthread> workers;
  for (auto* dataplane : dataplanes)
    for (std::size_t i = 0; i < dataplane->workers(); ++i)
      workers.emplace_back([dataplane, i](std::stop_token stop) { dataplane->run(i, stop); });
  const auto packets = [&] {
    std::array<std::uint64_t, drop_reasons> out{};
    for (auto* dataplane : dataplanes)
      for (std::size_t i = 0; i < drop_reasons; ++i) out[i] += dataplane->counters().packets[i];
    return out;
  };
  const auto begin = std::chrono::steady_clock::now();
  for (const auto* dataplane : dataplanes) {
    while (dataplane->counters().packets[index] < 3 * flows + 100'000) {
      if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(60))
        bench::fail(name + ": nothing is forwarded");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  const auto before = packets();
  const auto start = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const auto after = packets();
  std::uint64_t others = 0;
  for (std::size_t i = 0; i < drop_reasons; ++i)
    if (i != index && i != static_cast<std::size_t>(Drop::elsewhere)) others += after[i] - before[i];
  const auto counted = after[index] - before[index];
  if (others > counted / 200) bench::fail(name + ": " + std::to_string(others) + " packets had another outcome");
  return static_cast<double>(counted) / took.count();
}

struct Measured {
  double rate = 0;
  double bound = 0;    ///< testpmd with the same devices
  double one_way = 0;  ///< testpmd when nothing comes back from the sink
};

/// One worker. With `has_peer`, testpmd after it.
Measured measure(dpdk::Eal& eal, const Case& what, std::uint32_t flows, int seconds, bool has_peer) {
  NullLog log;
  SystemClock clock;
  const std::uint32_t buffers = flows + 100'000;
  auto ports = must(dpdk::create_ports(eal, {.buffers = buffers}, log));
  const auto dataplane = must(Dataplane::create(options_for_all(), *ports, clock, log));
  std::vector<Change> batch{machine("a", "10.0.0.1"), machine("b", "10.0.0.2"), allow("a"), allow("b"), way_out()};
  if (what.nat) batch.emplace_back(*what.nat);
  must(dataplane->apply(batch));
  const bench::CaptureFile file(flows, [&](std::uint32_t flow) { return what.frame_of(*dataplane, flow); });
  for (const std::string name : {"a", "b", "uplink"}) {
    const auto device = name == what.in ? "pcap:rx=" + file.path() + ",infinite_rx=1" : std::string("null");
    must(ports->open({.name = name, .device = device, .mtu = 1600, .mac = {}}));
  }
  Measured out;
  out.rate = rate_of({dataplane.get()}, what.outcome, flows, seconds, what.name);
  for (const char* name : {"a", "b", "uplink"}) must(ports->close(name));
  if (!has_peer) return out;
  out.bound = bench::testpmd(file.path(), seconds, bench::Sink::both_ways, buffers, memory_mib);
  out.one_way = bench::testpmd(file.path(), seconds, bench::Sink::one_way, buffers, memory_mib);
  if (out.bound == 0 || out.one_way == 0) bench::fail("dpdk-testpmd does not run: ./dev setup tools");
  return out;
}

/// Machines, each with its own file and flows, that send to others of this host.
class Senders {
 public:
  static constexpr std::uint32_t flows = 1000;

  Senders(dpdk::Eal& eal, std::size_t workers, std::size_t count)
      : ports_(must(dpdk::create_ports(eal, {.queues = workers, .buffers = 100'000}, log_))),
        dataplane_(must(Dataplane::create(options_for_all(), *ports_, clock_, log_))) {
    std::vector<Change> batch;
    for (std::size_t i = 0; i < count; ++i) {
      const auto sender = "s" + std::to_string(i);
      const auto receiver = "r" + std::to_string(i);
      const auto from = "10.0.1." + std::to_string(i + 1);
      const auto to = "10.0.2." + std::to_string(i + 1);
      batch.insert(batch.end(), {machine(sender, from), machine(receiver, to), allow(sender), allow(receiver)});
      files_.push_back(std::make_unique<bench::CaptureFile>(flows, [&](std::uint32_t flow) {
        return in_frame(machine_mac, 0x0800, udp_packet(ip(from), ip(to), flow));
      }));
    }
    must(dataplane_->apply(batch));
    for (std::size_t i = 0; i < count; ++i)
      open("s" + std::to_string(i), "pcap:rx=" + files_[i]->path() + ",infinite_rx=1");
    for (std::size_t i = 0; i < count; ++i) open("r" + std::to_string(i), "null");
  }
  ~Senders() {
    for (const auto& name : names_) must(ports_->close(name));
  }
  Senders(const Senders&) = delete;
  Senders& operator=(const Senders&) = delete;
  Dataplane& dataplane() { return *dataplane_; }

 private:
  void open(const std::string& name, const std::string& device) {
    must(ports_->open({.name = name, .device = device, .mtu = 1600, .mac = {}}));
    names_.push_back(name);
  }

  NullLog log_;
  SystemClock clock_;
  std::unique_ptr<Ports> ports_;
  std::unique_ptr<Dataplane> dataplane_;
  std::vector<std::unique_ptr<bench::CaptureFile>> files_;
  std::vector<std::string> names_;
};

/// Two workers of one dataplane, and what two dataplanes with one worker each do: as much as this machine's two processors can.
void two_workers(dpdk::Eal& eal, int seconds) {
  constexpr std::size_t senders = 6;  // and as many receivers, twice: a process has 31 devices
  const auto rate = [&](const std::vector<Dataplane*>& dataplanes) {
    return rate_of(dataplanes, Drop::none, senders * Senders::flows, seconds, "workers2");
  };
  double one = 0, two = 0, apart = 0;
  {
    Senders all(eal, 1, senders);
    one = rate({&all.dataplane()});
  }
  {
    Senders all(eal, 2, senders);
    two = rate({&all.dataplane()});
  }
  {
    Senders left(eal, 1, senders), right(eal, 1, senders);
    apart = rate({&left.dataplane(), &right.dataplane()});
  }
  bench::print("dataplane.workers2", two / 1e6, "Mpps",
               "\"one\":" + std::to_string(one / 1e6) + ",\"two_apart\":" + std::to_string(apart / 1e6));
  bench::print("dataplane.workers2.ratio", two / one, "", "\"apart\":" + std::to_string(apart / one));
}

}  // namespace

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 3;
  const std::string only = argc > 2 ? argv[2] : "";
  if (seconds <= 0) bench::fail("usage: bench_dataplane [SECONDS [CASE]]");
  NullLog log;
  const auto eal = must(dpdk::Eal::create({.memory_mib = memory_mib, .prefix = "bench"}, log), "DPDK");
  const auto is_wanted = [&](const std::string& name) { return only.empty() || only == name; };
  const auto run = [&](const Case& what, std::uint32_t flows, const std::string& name) {
    if (!is_wanted(name)) return;
    const auto measured = measure(*eal, what, flows, seconds, true);
    bench::print(("dataplane." + name).c_str(), measured.rate / 1e6, "Mpps",
                 "\"testpmd\":" + std::to_string(measured.bound / 1e6) +
                     ",\"testpmd_one_way\":" + std::to_string(measured.one_way / 1e6));
    bench::print(("dataplane." + name + ".ratio").c_str(), measured.rate / measured.bound, "");
  };
  const auto to = [](const char* address) {
    return [address](Dataplane&, std::uint32_t flow) { return from_machine(ip(address), flow); };
  };
  const auto nat = [](std::uint16_t last_port) {
    return Nat{"a", ip("192.0.2.1"), 1024, last_port, Nat::Ports::own, {}, {}};
  };
  const Case to_machine{"vm_vm", "a", to("10.0.0.2"), {}};
  const Case to_wire{"vm_wire", "a", to("10.9.0.1"), {}};
  const Case to_us{"wire_vm",
                   "uplink",
                   [](Dataplane& dataplane, std::uint32_t flow) {
                     return from_wire(*must(dataplane.get<Interface>(InterfaceKey{"a"})).underlay, flow);
                   },
                   {}};
  for (const auto* what : {&to_machine, &to_wire, &to_us})
    for (const auto& [flows, text] : {std::pair{1U, "1"}, {1000U, "1k"}, {60'000U, "60k"}})
      run(*what, flows, std::string(what->name) + "." + text);
  run(to_machine, most_flows, "vm_vm.1m");
  const Case by_nat{"nat", "a", to("198.51.100.7"), nat(65'535)};
  run(by_nat, 1000, "nat.1k");
  if (is_wanted("nat.exhausted")) {
    // The same flows; of the small range nearly all are refused.
    const Case refused{"nat.exhausted", "a", to("198.51.100.7"), nat(1055), Drop::nat_ports};
    const double all = measure(*eal, by_nat, 60'000, seconds, false).rate;
    const double none = measure(*eal, refused, 60'000, seconds, false).rate;
    bench::print("dataplane.nat.exhausted", none / 1e6, "Mpps", "\"unexhausted\":" + std::to_string(all / 1e6));
    bench::print("dataplane.nat.exhausted.ratio", none / all, "");
  }
  if (is_wanted("workers2")) two_workers(*eal, seconds);
  return 0;
}
