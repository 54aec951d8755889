// SPDX-License-Identifier: Apache-2.0
// The rule that wins, against looking at all of them.
#include "dataplane/classifier.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "dataplane/headers.hpp"

using namespace ironcore::network::dataplane;

namespace {

using Rule = Classifier::Rule;
using Query = Classifier::Query;

bool covers(Classifier::Prefix prefix, PrefixBits address) {
  return first_bits(prefix.bits, prefix.length) == first_bits(address, prefix.length);
}

bool covers(Classifier::Ports ports, std::uint16_t port) {
  return ports.first <= port && port <= ports.last;
}

bool is_all(Classifier::Ports ports) {
  return ports.first == 0 && ports.last == 0xffff;
}

bool is_met(const Rule& rule, const Query& query) {
  if (rule.is_v6 != query.is_v6) return false;
  if (!covers(rule.source, query.source) || !covers(rule.destination, query.destination)) return false;
  if (rule.protocol && *rule.protocol != query.protocol) return false;
  const bool has_ports = query.has_transport && (query.protocol == protocol_tcp || query.protocol == protocol_udp ||
                                                 query.protocol == protocol_sctp);
  const bool has_icmp = query.has_transport && query.protocol == (query.is_v6 ? protocol_icmpv6 : protocol_icmp);
  if (!is_all(rule.source_ports) && !(has_ports && covers(rule.source_ports, query.source_port))) return false;
  if (!is_all(rule.destination_ports) && !(has_ports && covers(rule.destination_ports, query.destination_port)))
    return false;
  if (rule.icmp_type && !(has_icmp && *rule.icmp_type == query.icmp_type)) return false;
  return !rule.icmp_code || (has_icmp && *rule.icmp_code == query.icmp_code);
}

std::uint16_t winner(const std::vector<Rule>& rules, const Query& query) {
  std::uint16_t best = Classifier::nothing;
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (is_met(rules[i], query) && (best == Classifier::nothing || rules[i].priority < rules[best].priority))
      best = static_cast<std::uint16_t>(i);
  return best;
}

PrefixBits v4(std::uint32_t address) {
  return {static_cast<std::uint64_t>(address) << 32, 0};
}

Query tcp(std::uint32_t source, std::uint32_t destination, std::uint16_t port) {
  return {.source = v4(source),
          .destination = v4(destination),
          .protocol = protocol_tcp,
          .has_transport = true,
          .source_port = 40'000,
          .destination_port = port};
}

/// Values near each other and at the ends, so that rules overlap and are met.
class Random {
 public:
  explicit Random(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t count) { return random_() % count; }

  std::uint16_t port() {
    const std::uint16_t all[] = {0, 1, 2, 22, 80, 81, 443, 1023, 1024, 65'534, 65'535};
    return below(4) == 0 ? static_cast<std::uint16_t>(random_()) : all[below(std::size(all))];
  }
  std::uint8_t protocol() {
    const std::uint8_t all[] = {protocol_icmp, protocol_tcp, protocol_udp, protocol_icmpv6, protocol_sctp, 0, 47, 255};
    return all[below(std::size(all))];
  }
  std::uint8_t small() {
    const std::uint8_t all[] = {0, 1, 3, 8, 128, 254, 255};
    return all[below(std::size(all))];
  }
  PrefixBits address(bool is_v6) {
    PrefixBits bits{random_() & random_() & random_(), random_() & random_() & random_()};
    if (below(2) == 0) bits.high &= 0xf000'0001'0000'0000, bits.low &= 1;
    if (below(8) == 0) bits = {~bits.high, ~bits.low};
    if (!is_v6) bits = first_bits(bits, 32);
    return bits;
  }
  Classifier::Prefix prefix(bool is_v6) {
    const unsigned width = is_v6 ? 128 : 32;
    if (below(3) == 0) return {address(is_v6), below(2) == 0 ? 0 : width};
    return {address(is_v6), static_cast<unsigned>(below(width + 1))};
  }
  Classifier::Ports ports() {
    if (below(2) == 0) return {};
    const auto first = port(), last = port();
    if (below(20) == 0) return {first, last};  // perhaps the wrong way around
    return {std::min(first, last), below(2) == 0 ? std::min(first, last) : std::max(first, last)};
  }
  Rule rule() {
    Rule made{.priority = static_cast<std::uint32_t>(below(5)), .is_v6 = below(2) == 0};
    made.source = prefix(made.is_v6);
    made.destination = prefix(made.is_v6);
    if (below(3) != 0) made.protocol = protocol();
    if (below(2) == 0) made.source_ports = ports(), made.destination_ports = ports();
    if (below(5) == 0) made.icmp_type = small();
    if (below(5) == 0) made.icmp_code = small();
    return made;
  }
  Query query(const std::vector<Rule>& rules) {
    Query made{.is_v6 = below(2) == 0};
    made.source = address(made.is_v6);
    made.destination = address(made.is_v6);
    made.protocol = protocol();
    made.source_port = port();
    made.destination_port = port();
    made.icmp_type = small();
    made.icmp_code = small();
    made.has_transport = below(5) != 0;
    if (rules.empty() || below(4) == 0) return made;
    // At the edge of some rule.
    const auto& rule = rules[below(rules.size())];
    made.is_v6 = rule.is_v6;
    const auto edge = [&](Classifier::Prefix prefix) {
      auto bits = first_bits(prefix.bits, prefix.length);
      const auto first = first_bits({~std::uint64_t{0}, ~std::uint64_t{0}}, prefix.length);
      if (below(2) == 0) bits = {bits.high | ~first.high, bits.low | ~first.low};
      return made.is_v6 ? bits : first_bits(bits, 32);
    };
    made.source = edge(rule.source);
    made.destination = edge(rule.destination);
    if (rule.protocol) made.protocol = *rule.protocol;
    const auto beside = [&](std::uint16_t value) { return static_cast<std::uint16_t>(value + below(3) - 1); };
    if (below(2) == 0) made.source_port = beside(below(2) == 0 ? rule.source_ports.first : rule.source_ports.last);
    if (below(2) == 0)
      made.destination_port = beside(below(2) == 0 ? rule.destination_ports.first : rule.destination_ports.last);
    if (rule.icmp_type) made.icmp_type = *rule.icmp_type;
    if (rule.icmp_code) made.icmp_code = *rule.icmp_code;
    return made;
  }

 private:
  std::mt19937_64 random_;  // NOLINT: the same in every run
};

}  // namespace

TEST_CASE("without rules nothing is found") {
  CHECK(Classifier().find(tcp(1, 2, 80)) == Classifier::nothing);
  CHECK(Classifier(std::vector<Rule>{}).find({.is_v6 = true}) == Classifier::nothing);
  CHECK(Classifier().bytes() == 0);
}

TEST_CASE("the lowest priority wins, then the first") {
  const std::vector<Rule> rules{{.priority = 7}, {.priority = 3, .protocol = protocol_tcp}, {.priority = 3}};
  const Classifier table(rules);
  CHECK(table.find(tcp(1, 2, 80)) == 1);
  auto query = tcp(1, 2, 80);
  query.protocol = protocol_udp;
  CHECK(table.find(query) == 2);
  query.is_v6 = true;
  CHECK(table.find(query) == Classifier::nothing);
}

TEST_CASE("a later fragment meets only rules that name neither ports nor ICMP's fields") {
  const std::vector<Rule> rules{{.protocol = protocol_tcp, .destination_ports = {80, 80}},
                                {.icmp_type = 0},
                                {.source_ports = {0, 0xfffe}},
                                {.protocol = protocol_tcp}};
  const Classifier table(rules);
  auto query = tcp(1, 2, 80);
  CHECK(table.find(query) == 0);
  query.has_transport = false;
  CHECK(table.find(query) == 3);
}

// The original's ICMP rules do not look at the prefixes, and treat both kinds of ICMP alike.
TEST_CASE("an ICMP rule looks at the prefixes, and knows its family's ICMP") {
  const std::vector<Rule> rules{
      {.source = {v4(0x0a000000), 8}, .icmp_type = 8, .icmp_code = 0},
      {.is_v6 = true, .icmp_type = 8},
  };
  const Classifier table(rules);
  Query query{.source = v4(0x0a000001), .protocol = protocol_icmp, .has_transport = true, .icmp_type = 8};
  CHECK(table.find(query) == 0);
  query.source = v4(0x0b000001);
  CHECK(table.find(query) == Classifier::nothing);
  query.is_v6 = true;
  CHECK(table.find(query) == Classifier::nothing);
  query.protocol = protocol_icmpv6;
  CHECK(table.find(query) == 1);
}

TEST_CASE("a port range that ends before it begins matches nothing") {
  const std::vector<Rule> rules{{.destination_ports = {81, 79}}, {.priority = 1}};
  CHECK(Classifier(rules).find(tcp(1, 2, 80)) == 1);
}

TEST_CASE("random rules and packets are as the model says") {
  for (const std::size_t count : {1U, 2U, 8U, 63U, 64U, 65U, 130U, 1000U, 4096U}) {
    std::size_t found = 0;
    for (unsigned seed = 1; seed <= (count <= 130 ? 20U : 2U); ++seed) {
      Random random(seed * 7919 + static_cast<unsigned>(count));
      std::vector<Rule> rules(count);
      for (auto& rule : rules) rule = random.rule();
      const Classifier table(rules);
      for (int round = 0; round < 2000; ++round) {
        const auto query = random.query(rules);
        const auto expected = winner(rules, query);
        REQUIRE(table.find(query) == expected);
        if (expected != Classifier::nothing) ++found;
      }
    }
    CHECK(found > 500);
  }
}

TEST_CASE("the rule that wins may be in any word") {
  std::vector<Rule> rules(Classifier::max_rules);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    rules[i].priority = static_cast<std::uint32_t>(i);
    rules[i].destination = {v4(static_cast<std::uint32_t>(i)), 32};
  }
  const Classifier table(rules);
  for (std::uint32_t i = 0; i < rules.size(); ++i) REQUIRE(table.find(tcp(1, i, 80)) == i);
  CHECK(table.find(tcp(1, 4096, 80)) == Classifier::nothing);
}

TEST_CASE("the memory stays within what the header says") {
  const struct {
    std::size_t rules;
    std::size_t bytes;
  } limits[] = {{64, 35'000}, {1000, 1'400'000}, {4096, 19'000'000}};
  for (const auto limit : limits) {
    // No two ends alike: as many intervals and different sets as there can be.
    std::mt19937_64 random(1);  // NOLINT: the same in every run
    std::vector<Rule> rules(limit.rules);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      auto& rule = rules[i];
      rule.is_v6 = true;
      rule.source = {{random(), random()}, 100};
      rule.destination = {{random(), random()}, 100};
      const auto port = static_cast<std::uint16_t>(1 + 7 * i);
      rule.source_ports = {port, static_cast<std::uint16_t>(port + 3)};
      rule.destination_ports = {port, static_cast<std::uint16_t>(port + 4)};
      rule.protocol = static_cast<std::uint8_t>(i);
    }
    CHECK(Classifier(rules).bytes() < limit.bytes);
    for (auto& rule : rules) rule = {.destination_ports = {80, 80}};
    CHECK(Classifier(rules).bytes() < 10'000);
  }
}
