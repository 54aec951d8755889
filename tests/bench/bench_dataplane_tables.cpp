// SPDX-License-Identifier: Apache-2.0
// How long the packet engine's tables take, each alone and with its memory in the cache. One JSON line per figure.
//
// bench_dataplane_tables [ROUNDS]   a million of each unless told otherwise
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "dataplane/classifier.hpp"
#include "dataplane/flow_table.hpp"
#include "dataplane/headers.hpp"
#include "dataplane/meter.hpp"
#include "dataplane/nat_ports.hpp"
#include "figures.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;

namespace {

using Random = std::mt19937_64;

std::uint64_t sink = 0;  // so that nothing is optimised away
const volatile std::uint64_t unknown = 0;
const std::uint64_t nought = unknown;  // and nobody knows that

/// Nanoseconds for each of `rounds`.
template <class Work>
double measure(std::size_t rounds, Work work) {
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t round = 0; round < rounds; ++round) sink += work(round);
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() /
         static_cast<double>(rounds);
}

PrefixBits address(Random& random, bool is_v6) {
  if (is_v6) return {0xfd00'0000'0000'0000 | (random() & 0xff'ffff) << 8, random() & 0xffff};
  return {std::uint64_t{0x0a00'0000 | (random() & 0xff'ffff)} << 32, 0};
}

/// As of a security group: a service, for a network, a host or everybody.
Classifier::Rule rule(Random& random, bool is_v6) {
  Classifier::Rule made{.priority = static_cast<std::uint32_t>(random() % 1000), .is_v6 = is_v6};
  const auto prefix = [&]() -> Classifier::Prefix {
    const unsigned v4_lengths[] = {0, 0, 16, 24, 28, 32}, v6_lengths[] = {0, 0, 40, 48, 64, 128};
    return {address(random, is_v6), (is_v6 ? v6_lengths : v4_lengths)[random() % 6]};
  };
  made.source = prefix();
  made.destination = prefix();
  // A thousand rules for everybody and everything decide nothing.
  if (made.source.length == 0 && made.destination.length == 0)
    made.destination = {address(random, is_v6), is_v6 ? 128U : 32U};
  switch (random() % 10) {
    case 0:
      made.protocol = is_v6 ? protocol_icmpv6 : protocol_icmp;
      break;
    case 1:
      break;
    case 2:
    case 3:
      made.protocol = protocol_udp;
      break;
    default:
      made.protocol = protocol_tcp;
  }
  if (made.protocol == protocol_tcp || made.protocol == protocol_udp) {
    const auto port = static_cast<std::uint16_t>(random() % 20'000);
    if (random() % 4 != 0)
      made.destination_ports = {port, static_cast<std::uint16_t>(port + (random() % 3 == 0 ? random() % 1000 : 0))};
    if (random() % 10 == 0) made.source_ports = {1024, 0xffff};
  }
  return made;
}

Classifier::Query query(Random& random, const std::vector<Classifier::Rule>& rules, bool is_v6) {
  Classifier::Query made{.is_v6 = is_v6,
                         .source = address(random, is_v6),
                         .destination = address(random, is_v6),
                         .protocol = random() % 3 == 0 ? protocol_udp : protocol_tcp,
                         .has_transport = true,
                         .source_port = static_cast<std::uint16_t>(random() | 0x8000),
                         .destination_port = static_cast<std::uint16_t>(random() % 20'000)};
  if (random() % 2 == 0) return made;  // most of these meet nothing
  const auto& meant = rules[random() % rules.size()];
  if (meant.source.length != 0) made.source = meant.source.bits;
  if (meant.destination.length != 0) made.destination = meant.destination.bits;
  if (meant.protocol) made.protocol = *meant.protocol;
  if (meant.destination_ports.first != 0) made.destination_port = meant.destination_ports.first;
  return made;
}

void classify(std::size_t rounds) {
  for (const bool is_v6 : {false, true}) {
    for (const std::size_t count : {1U, 8U, 64U, 1000U, 4096U}) {
      Random random(count);
      std::vector<Classifier::Rule> rules(count);
      for (auto& made : rules) made = rule(random, is_v6);
      std::vector<Classifier::Query> queries(65'536);
      for (auto& made : queries) made = query(random, rules, is_v6);
      const auto start = std::chrono::steady_clock::now();
      const Classifier table(rules);
      const double build = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
      std::size_t met = 0;
      for (const auto& made : queries)
        if (table.find(made) != Classifier::nothing) ++met;
      const std::string params = R"("rules":)" + std::to_string(count) + R"(,"family":")" + (is_v6 ? "v6" : "v4") +
                                 R"(","bytes":)" + std::to_string(table.bytes()) + R"(,"met":)" +
                                 std::to_string(static_cast<double>(met) / static_cast<double>(queries.size()));
      bench::print("dataplane/classifier/find",
                   measure(rounds, [&](std::size_t round) { return table.find(queries[round % queries.size()]); }),
                   "ns", params);
      // The next question waits for the answer: what one new flow waits, not what a burst of them costs.
      std::uint64_t answer = 0;
      bench::print("dataplane/classifier/find_one",
                   measure(rounds,
                           [&](std::size_t round) {
                             answer = table.find(queries[(round + (answer & nought)) % queries.size()]);
                             return answer;
                           }),
                   "ns", params);
      bench::print("dataplane/classifier/build", build, "us", params);
    }
  }
}

Inside inside(std::uint64_t i) {
  return {.address = {std::uint64_t{0x0a00'0000 | (i >> 8 & 0xff'ffff)} << 32, 0},
          .vni = 7,
          .port = static_cast<std::uint16_t>(i << 8)};
}

Outside outside(std::uint64_t i) {
  return {.address = {std::uint64_t{0x2d00'0000 + i} << 32, 0}, .port = 443};
}

void map_ports(std::size_t rounds) {
  constexpr PortRange all{1024, 0xffff};
  NatPorts ports(all, 1);
  const std::string params =
      R"("ports":)" + std::to_string(all.size()) + R"(,"bytes":)" + std::to_string(ports.bytes());
  std::vector<std::uint16_t> taken(all.size() / 2);
  for (std::size_t i = 0; i < taken.size(); ++i) taken[i] = *ports.take(inside(i));
  // Half of them are in use; the oldest makes place for the next.
  bench::print("dataplane/nat_ports/take_and_release",
               measure(rounds,
                       [&](std::size_t round) {
                         auto& oldest = taken[round % taken.size()];
                         ports.release(PortSpace::tcp, oldest);
                         oldest = *ports.take(inside(round + taken.size()));
                         return oldest;
                       }),
               "ns", params);
  NatPorts full(all, 1);
  for (std::size_t i = 0; i < all.size(); ++i) full.take(inside(i));
  bench::print("dataplane/nat_ports/take_again",
               measure(rounds, [&](std::size_t round) { return *full.take(inside(round * 7919 % all.size())); }), "ns",
               params);
  std::size_t found = 0;
  bench::print("dataplane/nat_ports/refuse",
               measure(rounds,
                       [&](std::size_t round) {
                         found += full.take(inside(all.size() + round)).has_value();
                         return found;
                       }),
               "ns", params);
  if (found != 0) bench::fail("an exhausted range gave a port");
}

void share_ports(std::size_t rounds) {
  constexpr PortRange all{1024, 0xffff};
  constexpr std::uint32_t flows = 1'000'000;
  struct Flow {
    std::uint16_t port;
    std::uint32_t outside;
  };
  // Outsides from many, for which any port will do, to one, of whose ports half or nearly all are taken.
  const struct {
    const char* name;
    std::uint32_t outsides;
    std::uint32_t used;
  } cases[] = {
      {"many", 1'000'000, flows - 1}, {"hundred", 100, flows - 1}, {"half", 1, 32'000}, {"nearly_all", 1, 61'000}};
  for (const auto& each : cases) {
    SharedNatPorts ports(all, flows, 1);
    Random random(1);
    std::vector<Flow> open;
    for (std::uint64_t i = 0; i < each.used; ++i) {
      const auto to = static_cast<std::uint32_t>(random() % each.outsides);
      if (const auto port = ports.take(inside(random()), outside(to))) open.push_back({*port, to});
    }
    std::size_t refused = 0;
    const double time = measure(rounds, [&](std::size_t round) {
      auto& oldest = open[round * 7919 % open.size()];
      const auto to = static_cast<std::uint32_t>(random() % each.outsides);
      const auto port = ports.take(inside(random()), outside(to));
      if (!port) return ++refused;
      ports.release(oldest.port, outside(oldest.outside));
      oldest = {*port, to};
      return std::size_t{*port};
    });
    bench::print((std::string("dataplane/shared_nat_ports/take_and_release/") + each.name).c_str(), time, "ns",
                 R"("outsides":)" + std::to_string(each.outsides) + R"(,"used":)" + std::to_string(open.size()) +
                     R"(,"bytes":)" + std::to_string(ports.bytes()) + R"(,"refused":)" +
                     std::to_string(static_cast<double>(refused) / static_cast<double>(rounds)));
  }
  SharedNatPorts full(all, flows, 1);
  for (std::uint64_t i = 0; i < 20 * all.size(); ++i) full.take(inside(i), outside(1));
  std::size_t given = 0;
  const double time = measure(rounds, [&](std::size_t round) {
    given += full.take(inside(round << 32 >> 5), outside(1)).has_value();
    return given;
  });
  bench::print("dataplane/shared_nat_ports/refuse", time, "ns",
               R"("used":)" + std::to_string(full.used()) + R"(,"given":)" + std::to_string(given));
}

void meter(std::size_t rounds) {
  const struct {
    const char* name;
    Meter::Kind kind;
  } kinds[] = {{"single_rate", Meter::Kind::single_rate},
               {"two_rates", Meter::Kind::two_rates},
               {"peak_and_committed", Meter::Kind::peak_and_committed}};
  for (const auto& each : kinds) {
    const Meter limits({.kind = each.kind,
                        .committed_rate = 1'250'000'000,
                        .committed_burst = 1'000'000,
                        .excess_rate = 2'500'000'000,
                        .excess_burst = 1'000'000},
                       2'600'000'000);
    auto state = limits.start(0);
    bench::print((std::string("dataplane/meter/mark/") + each.name).c_str(),
                 measure(rounds,
                         [&](std::size_t round) {
                           const auto bytes = static_cast<std::uint32_t>(64 + (round * 2654435761 >> 7) % 1437);
                           return static_cast<std::uint64_t>(limits.mark(state, round * 1000, bytes));
                         }),
                 "ns");
  }
}

// ---- flows ----

FlowKey flow_key(std::uint32_t number) {
  std::uint8_t ip[20] = {};
  Headers headers;
  headers.protocol = protocol_udp;
  headers.source_port = static_cast<std::uint16_t>(number);
  headers.destination_port = static_cast<std::uint16_t>(number >> 16);
  std::memcpy(ip + 12, &number, 4);
  return FlowKey(FlowScope::machine(1), ip, headers);
}

/// As an engine does it: a burst in three passes, then what a known flow writes.
void find_flows(std::size_t rounds) {
  constexpr std::size_t burst = 64;
  for (const std::uint32_t count : {1U, 1000U, 60'000U, 1'000'000U}) {
    FlowTable table(std::max<std::uint32_t>(count, 1024), 7);
    std::vector<FlowKey> keys;
    for (std::uint32_t i = 0; i < count; ++i) {
      keys.push_back(flow_key(i * 7));
      if (table.insert(keys.back(), keys.back().reversed(FlowScope::machine(2)), 0, 30).connection == nullptr)
        bench::fail("a flow found no room");
    }
    Random random(1);
    std::shuffle(keys.begin(), keys.end(), random);
    std::array<std::uint64_t, burst> hashes{};
    std::array<FlowTable::Reference, burst> found{};
    const auto ns = measure(rounds / burst + 1, [&](std::size_t round) -> std::uint64_t {
      const std::size_t start = round * burst % count;
      const auto key = [&](std::size_t i) -> const FlowKey& { return keys[(start + i) % count]; };
      for (std::size_t i = 0; i < burst; ++i) table.prefetch(hashes[i] = table.hash(key(i)));
      for (std::size_t i = 0; i < burst; ++i) found[i] = table.candidate(hashes[i]);
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < burst; ++i) {
        const auto reference = table.find(key(i), hashes[i], found[i]);
        auto& connection = table[reference.connection()];
        connection.state.seen = static_cast<Tick>(round);
        ++connection.state.packets[0];
        connection.state.bytes[0] += 64;
        sum += connection.side(reference.direction()).action.out + 1;
      }
      return sum;
    });
    bench::print("dataplane.tables.flow_find", ns / burst, "ns", "\"flows\":" + std::to_string(count));
  }
}

/// A table that is half full of flows which die as fast as others come.
void replace_flows(std::size_t rounds) {
  constexpr std::uint32_t capacity = 1'000'000;
  FlowTable table(capacity, 7);
  std::uint32_t number = 0;
  Tick now = 0;
  constexpr std::uint32_t per_second = capacity / 60;  // so that a timeout of 30 s keeps the table half full
  const auto ns = measure(rounds, [&](std::size_t) -> std::uint64_t {
    if (++number % per_second == 0) ++now;
    const auto key = flow_key(number);
    table.expire(
        now, 2, [](void*, Connection&) noexcept {}, nullptr);
    return table.insert(key, key.reversed(FlowScope::machine(2)), now, 30).connection != nullptr;
  });
  bench::print("dataplane.tables.flow_replace", ns, "ns", "\"flows\":" + std::to_string(table.size()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  if (rounds == 0) bench::fail("ROUNDS is a positive number");
  classify(rounds);
  map_ports(rounds);
  share_ports(rounds);
  meter(rounds);
  find_flows(rounds * 10);
  replace_flows(rounds * 3);
  if (sink == 0) bench::fail("nothing was found");
}
