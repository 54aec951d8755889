// SPDX-License-Identifier: Apache-2.0
// What a packet costs a worker beside a generator, without any port: of a known flow, of a new one, with many rules and routes, while connections
// grow old and while the configuration changes. One JSON line per figure; on a quiet machine.
//
// bench_worker [PACKETS [FIGURE]]   four million for each figure unless told otherwise; one figure of known or refused flows alone, as `vm_vm.1k`
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/bytes.hpp"
#include "dataplane/compiler.hpp"
#include "dataplane/worker.hpp"
#include "figures.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;

namespace {

constexpr std::size_t burst = 32;
constexpr std::size_t headroom = 128;
constexpr std::size_t buffer_bytes = 2048;
constexpr std::uint64_t second = 1'000'000'000;

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}
Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}

Interface machine(const std::string& id, std::uint32_t address) {
  Interface out;
  out.id = id;
  out.port = id;
  out.vni = Vni::make(100).value();
  out.ipv4 = IpAddress::v4(address);
  out.mac = MacAddress({2, 0, 0, 0, 0, static_cast<std::uint8_t>(address)});
  return out;
}
FirewallRule allow(const std::string& id) {
  FirewallRule out;
  out.interface = id;
  out.id = "all";
  out.source = out.destination = prefix("0.0.0.0/0");
  return out;
}

struct Host {
  explicit Host(std::uint32_t connections, bool has_firewall = true)
      : desired(prefix("2001:db8:0:1::/64"), 1),
        compiler(prefix("2001:db8:0:1::/64"), {.connections = connections, .secret = 7}),
        snapshots(1, compiler.compile(desired, {}, generations)) {
    WorkerOptions options;
    options.connections = connections;
    options.secret = 7;
    options.has_firewall = has_firewall;
    worker = std::make_unique<Worker>(snapshots, 0, generations, learned, options);
    compiler.add_uplink({0, MacAddress({2, 9, 9, 9, 9, 9}), 1, true}, MacAddress({2, 8, 8, 8, 8, 8}));
    compiler.add_port("a", 1, MacAddress({2, 1, 1, 1, 1, 1}));
    compiler.add_port("b", 2, MacAddress({2, 1, 1, 1, 1, 2}));
    const Route way{Vni::make(100).value(), prefix("0.0.0.0/0"), {{ip("2001:db8:0:2:d000::1"), 1}}};
    change({machine("a", 0x0a000001), machine("b", 0x0a000002), allow("a"), allow("b"), way});
  }
  void change(const std::vector<Change>& changes) {
    auto dirty = desired.apply(changes);
    if (!dirty) bench::fail(dirty.error().message());
    snapshots.publish(compiler.compile(desired, *dirty, generations));
  }

  Desired desired;
  Compiler compiler;
  Generations generations;
  Published<Snapshot> snapshots;
  LearnedMacs learned{4096};
  std::unique_ptr<Worker> worker;
};

/// A UDP packet of 64 bytes with its frame check sequence, whose ends a number changes.
struct Source {
  std::array<std::uint8_t, 128> frame{};
  std::uint32_t bytes = 60;
  std::uint32_t ip = 14;
  std::uint32_t port = 1;
  std::function<void(std::uint8_t* ip, std::uint64_t flow)> vary;
};

Source from_machine(std::uint32_t destination) {
  Source out;
  auto* f = out.frame.data();
  const std::array<std::uint8_t, 14> ethernet{2, 1, 1, 1, 1, 1, 2, 0, 0, 0, 0, 1, 8, 0};
  std::memcpy(f, ethernet.data(), ethernet.size());
  auto* ip = f + 14;
  ip[0] = 0x45;
  store16(ip + 2, 46);
  ip[8] = 64;
  ip[9] = protocol_udp;
  store32(ip + 12, 0x0a000001);
  store32(ip + 16, destination);
  store16(ip + 20, 1000);
  store16(ip + 22, 53);
  store16(ip + 24, 26);
  return out;
}

void finish_header(std::uint8_t* ip) {
  store16(ip + 10, 0);
  std::uint32_t sum = 0;
  for (int i = 0; i < 20; i += 2) sum += load16(ip + i);
  sum = (sum & 0xffff) + (sum >> 16);
  store16(ip + 10, static_cast<std::uint16_t>(~(sum + (sum >> 16))));
}

/// By the source port and the last bits of an address, as a million flows of one machine have them.
void vary_ports(std::uint8_t* ip, std::uint64_t flow) {
  store16(ip + 20, static_cast<std::uint16_t>(1024 + flow % 50'000));
  store16(ip + 22, static_cast<std::uint16_t>(1 + flow / 50'000));
}

Source from_wire(const Host& host) {
  Source out;
  const Source inner = from_machine(0x0a000001);
  auto* f = out.frame.data();
  f[12] = 0x86;
  f[13] = 0xdd;
  auto* outer = f + 14;
  outer[0] = 0x60;
  store16(outer + 4, 46);
  outer[6] = 4;
  outer[7] = 64;
  const auto source = ip("2001:db8:0:2:d000::1");
  const auto destination = *host.desired.interfaces().at({"a"}).underlay;
  std::memcpy(outer + 8, source.bytes().data(), 16);
  std::memcpy(outer + 24, destination.bytes().data(), 16);
  std::memcpy(f + 54, inner.frame.data() + 14, 46);
  store32(f + 54 + 12, 0x0a090001);
  store32(f + 54 + 16, 0x0a000001);
  out.bytes = 100;
  out.ip = 54;
  out.port = 0;
  return out;
}

struct Memory {
  std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(burst * buffer_bytes);
  std::array<Packet, burst> packets;
};

/// Nanoseconds a packet. Without a worker: what making the packets takes.
double run(Host* host, const Source& source, std::uint64_t flows, std::uint64_t packets, std::uint64_t& now) {
  static Memory memory;
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t flow = 0;
  constexpr std::uint64_t stride = 7919;  // a prime: neighbours in time are none in memory
  for (std::uint64_t sent = 0; sent < packets; sent += burst) {
    for (std::size_t i = 0; i < burst; ++i) {
      Packet& packet = memory.packets[i];
      packet = Packet();
      packet.frame = memory.bytes.data() + i * buffer_bytes + headroom;
      packet.bytes = packet.frame_bytes = source.bytes;
      packet.headroom = headroom;
      packet.room = buffer_bytes - headroom;
      packet.port = source.port;
      std::memcpy(packet.frame, source.frame.data(), source.bytes);
      std::uint8_t* ip = packet.frame + source.ip;
      if (source.vary) source.vary(ip, flow);
      finish_header(ip);
      flow = flows > stride ? (flow + stride) % flows : (flow + 1) % flows;
    }
    now += 3000;
    if (host != nullptr) host->worker->process(memory.packets, now);
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  return took.count() / static_cast<double>(packets);
}

void report(const std::string& name, double ns) {
  bench::print(("worker." + name).c_str(), ns, "ns/packet", "\"mpps\":" + std::to_string(1000 / ns));
}
void report_ratio(const std::string& name, double ratio) {
  bench::print(("dataplane." + name + ".ratio").c_str(), ratio, "");
}

std::uint64_t forwarded(const Host& host) {
  return host.worker->packets()[0];
}

void check_forwarded(const Host& host, std::uint64_t packets, const std::string& name) {
  if (forwarded(host) >= packets) return;
  std::fprintf(stderr, "%s: only %llu of %llu packets went on\n", name.c_str(),
               static_cast<unsigned long long>(forwarded(host)), static_cast<unsigned long long>(packets));
  for (std::size_t i = 0; i < drop_reasons; ++i)
    if (host.worker->packets()[i] > 0)
      std::fprintf(stderr, "  %s %llu\n", std::string(network::name(static_cast<Drop>(i))).c_str(),
                   static_cast<unsigned long long>(host.worker->packets()[i]));
  std::exit(1);
}

/// A million connections. `bursts`: so many calls a second, as a worker at full speed makes them.
void ageing() {
  constexpr std::uint32_t count = 1'000'000;
  constexpr Tick timeout = 120;
  constexpr std::uint64_t bursts = 1'000'000;
  constexpr std::uint32_t budget = 8 + burst;
  FlowTable flows(count, 7);
  bench::print("dataplane.conn1m.mb", static_cast<double>(flows.bytes()) / 1e6, "MB");
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto end = [&](std::uint32_t address) {
      std::array<std::uint8_t, 4> bytes;
      store32(bytes.data(), address);
      return bytes;
    };
    const auto from = end(i), to = end(~i);
    const FlowKey key(FlowScope::machine(1), false, protocol_udp, {from.data(), 1}, {to.data(), 2});
    // They begin in the course of a whole time-out.
    const auto began = static_cast<Tick>(1 + std::uint64_t{i} * timeout / count);
    if (flows.insert(key, key.reversed(FlowScope::machine(2)), began, timeout).connection == nullptr)
      bench::fail("no room for a million connections");
  }
  using Clock = std::chrono::steady_clock;
  std::uint64_t died = 0;
  const auto on_expired = [](void* at, Connection&) noexcept { ++*static_cast<std::uint64_t*>(at); };
  Clock::duration spent{};
  constexpr Tick seconds = 3 * timeout;
  for (Tick now = timeout; now < timeout + seconds; ++now) {
    // Each flow has a packet now and then, so that none dies.
    flows.visit(0, count, [&](Connection& connection) { connection.state.seen = now; });
    const auto start = Clock::now();
    for (std::uint64_t i = 0; i < bursts; ++i) flows.expire(now, budget, on_expired, &died);
    spent += Clock::now() - start;
  }
  if (died != 0) bench::fail("a live connection died");
  bench::print("dataplane.age.share", std::chrono::duration<double>(spent).count() / seconds, "",
               R"("connections":1000000,"timeout_s":120,"bursts_per_s":1000000)");
  // All die at once, and those that follow a burst with them.
  std::vector<double> took;
  for (const Tick now = 3 * seconds; flows.size() > 0;) {
    const auto start = Clock::now();
    flows.expire(now, budget, on_expired, &died);
    took.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  std::sort(took.begin(), took.end());
  bench::print("dataplane.age.burst_p999.us", took[took.size() * 999 / 1000], "us",
               "\"bursts\":" + std::to_string(took.size()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t packets = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4'000'000;
  const std::string only = argc > 2 ? argv[2] : "";
  std::uint64_t now = second;
  auto known = [&](const std::string& name, Host& host, Source source, std::uint64_t flows) {
    if (!only.empty() && only != name) return 0.0;
    source.vary = vary_ports;
    run(&host, source, flows, std::max(flows, packets / 4), now);
    const auto before = forwarded(host);
    const double ns = run(&host, source, flows, packets, now);
    check_forwarded(host, before + packets, name);
    report(name, ns);
    return ns;
  };
  {
    Source source = from_machine(0x0a000002);
    source.vary = vary_ports;
    report("source", run(nullptr, source, 1000, packets, now));
  }
  for (const auto& [flows, text] :
       {std::pair<std::uint64_t, const char*>{1, "1"}, {1000, "1k"}, {60'000, "60k"}, {1'000'000, "1m"}}) {
    Host host(2'000'000);
    known(std::string("vm_vm.") + text, host, from_machine(0x0a000002), flows);
  }
  for (const auto& [flows, text] : {std::pair<std::uint64_t, const char*>{1, "1"}, {1000, "1k"}, {60'000, "60k"}}) {
    Host host(2'000'000);
    known(std::string("vm_wire.") + text, host, from_machine(0x0a090001), flows);
    known(std::string("wire_vm.") + text, host, from_wire(host), flows);
  }
  {
    Host host(2'000'000);
    host.change({Nat{"a", ip("192.0.2.1"), 1024, 65'535, Nat::Ports::shared, {}, {}}});
    known("nat.1k", host, from_machine(0xc6336407), 1000);
    known("nat.60k", host, from_machine(0xc6336407), 60'000);
  }
  // Nothing is remembered of these: each asks the configuration.
  const auto refused = [&](const std::string& name, const std::vector<Change>& changes, Drop why, Source source) {
    if (!only.empty() && only != name) return;
    Host host(2'000'000);
    host.change(changes);
    source.vary = vary_ports;
    const auto dropped = [&] { return host.worker->packets()[static_cast<std::size_t>(why)]; };
    run(&host, source, 1000, 1000, now);
    const auto before = dropped();
    const double ns = run(&host, source, 1000, packets, now);
    if (dropped() - before < packets) bench::fail("not all packets were refused");
    report(name, ns);
  };
  refused("refused.rule", {FirewallRuleKey{"b", "all"}}, Drop::ingress_rule, from_machine(0x0a000002));
  std::vector<Change> others{FirewallRuleKey{"b", "all"}};
  for (std::uint32_t i = 0; i < 1000; ++i) {
    auto rule = allow("b");
    rule.id = std::to_string(i);
    rule.source = Prefix::host(IpAddress::v4(0x0b000000 + i));
    others.emplace_back(rule);
  }
  refused("refused.1k_rules", others, Drop::ingress_rule, from_machine(0x0a000002));
  refused("refused.route", {RouteKey{Vni::make(100).value(), prefix("0.0.0.0/0")}}, Drop::route,
          from_machine(0x0a090001));
  if (!only.empty()) return 0;
  const auto new_flows = [&](const std::string& name, Host& host, Source source, bool is_random_address) {
    source.vary = [is_random_address](std::uint8_t* ip, std::uint64_t flow) {
      if (is_random_address)
        store32(ip + 16, 0x0b000000 | (static_cast<std::uint32_t>(flow * 2654435761U) & 0xff'ffff));
      store16(ip + 20, static_cast<std::uint16_t>(flow));
      store16(ip + 22, static_cast<std::uint16_t>(flow >> 16));
    };
    // Half full, and the flows die as fast as they come.
    constexpr std::uint64_t alive = 500'000;
    Memory memory;
    std::uint64_t flow = 0;
    const auto each = [&](std::uint64_t count) {
      const auto start = std::chrono::steady_clock::now();
      for (std::uint64_t sent = 0; sent < count; sent += burst) {
        for (std::size_t i = 0; i < burst; ++i, ++flow) {
          Packet& packet = memory.packets[i];
          packet = Packet();
          packet.frame = memory.bytes.data() + i * buffer_bytes + headroom;
          packet.bytes = packet.frame_bytes = source.bytes;
          packet.headroom = headroom;
          packet.room = buffer_bytes - headroom;
          packet.port = source.port;
          std::memcpy(packet.frame, source.frame.data(), source.bytes);
          source.vary(packet.frame + source.ip, flow);
          finish_header(packet.frame + source.ip);
        }
        now += second * 120 * burst / alive;
        host.worker->process(memory.packets, now);
      }
      const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
      return took.count() / static_cast<double>(count);
    };
    each(2 * alive);
    const auto before = forwarded(host);
    const double ns = each(packets / 2);
    check_forwarded(host, before + packets / 2, name);
    report(name, ns);
    return ns;
  };
  double plain = 0;
  {
    Host host(1'000'000, false);
    plain = new_flows("new_flows", host, from_machine(0x0a000002), false);
    bench::print("dataplane.new_flows.mfps", 1000 / plain, "M/s",
                 R"("connections":1000000,"alive":500000,"timeout_s":120)");
  }
  {
    Host host(1'000'000);
    std::vector<Change> rules;
    for (int i = 0; i < 1000; ++i) {
      FirewallRule rule = allow("b");
      rule.id = "r" + std::to_string(i);
      rule.priority = static_cast<std::uint32_t>(i);
      rule.action = FirewallRule::Action::deny;
      rule.source = Prefix::make(IpAddress::v4(0x0b000000U + static_cast<std::uint32_t>(i) * 256), 24).value();
      rule.protocol = protocol_udp;
      rules.push_back(rule);
    }
    host.change(rules);
    report_ratio("firewall.1k_rules", plain / new_flows("new_flows.1k_rules", host, from_machine(0x0a000002), false));
  }
  const auto routes = [&](std::uint32_t count) {
    std::vector<Change> out;
    for (std::uint32_t i = 0; i < count; ++i)
      out.push_back(Route{Vni::make(100).value(),
                          Prefix::make(IpAddress::v4(0x0b000000U | (i * 167 & 0xff'ffff) << 0), 32).value(),
                          {{ip("2001:db8:0:3:d000::1"), 1}}});
    return out;
  };
  {
    Host host(1'000'000);
    const double before = bench::resident_mb();
    host.change(routes(999'999));
    bench::print("dataplane.routes.1m.mb", bench::resident_mb() - before, "MiB");
    new_flows("new_flows.1m_routes", host, from_machine(0), true);
  }
  {
    Host few(1'000'000), many(1'000'000);
    few.change(routes(1000));
    many.change(routes(100'000));
    const double a = new_flows("new_flows.1k_routes", few, from_machine(0), true);
    const double b = new_flows("new_flows.100k_routes", many, from_machine(0), true);
    report_ratio("routes.100k", a / b);
    auto more = routes(110'000);
    more.erase(more.begin(), more.begin() + 100'000);
    const auto start = std::chrono::steady_clock::now();
    many.change(more);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    bench::print("worker.apply.10k_routes.ms", took.count(), "ms");
  }
  {
    Host host(2'000'000);
    const double quiet = known("revalidate.quiet.1m", host, from_machine(0x0a000002), 1'000'000);
    Source source = from_machine(0x0a000002);
    source.vary = vary_ports;
    // Control has a thread of its own, as it has in a Dataplane.
    std::jthread control([&](const std::stop_token& stop) {
      for (std::uint32_t changes = 1; !stop.stop_requested(); ++changes) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        host.change({Route{Vni::make(100).value(),
                           Prefix::make(IpAddress::v4(0x14000000U + changes % 4096 * 65'536), 24).value(),
                           {{ip("2001:db8:0:3:d000::1"), 1}}}});
      }
    });
    const double changing = run(&host, source, 1'000'000, packets * 2, now);
    control = {};
    report("revalidate.changing.1m", changing);
    report_ratio("revalidate", quiet / changing);
  }
  ageing();
  return 0;
}
