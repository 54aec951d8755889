// SPDX-License-Identifier: Apache-2.0
// What is wrong with options and ports is found without DPDK.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "ironcore/network/dpdk.hpp"

namespace ironcore::tests {

using namespace network;
using network::dpdk::check;

namespace {

PortSpec port(std::string name, std::string device) {
  return {.name = std::move(name), .device = std::move(device), .mtu = 1500, .mac = std::nullopt};
}

std::vector<std::string> fields_of(const Result<void>& result) {
  std::vector<std::string> names;
  if (result) return names;
  const auto error = result.error();
  for (const auto& field : error.fields()) names.push_back(field.field);
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("ports that cannot be together are found before anything is opened") {
  const dpdk::EalOptions eal{.cards = {"0000:01:00.0"}};
  const auto fields = [&](const std::vector<PortSpec>& ports) { return fields_of(check(eal, {}, ports)); };
  CHECK(fields({port("a", "tap:a"), port("b", "tap:b"), port("c", "null"), port("d", "null")}).empty());
  CHECK(fields({port("a", "tap:a"), port("b", "tap:a")}) == Names{"ports[1].device"});
  CHECK(fields({port("a", "vhost:/run/a"), port("b", "vhost:/run/a"), port("a", "tap:c")}) ==
        Names{"ports[1].device", "ports[2].name"});
  CHECK(fields({port("a", "pcap:rx=f"), port("b", "pcap:rx=f")}).empty());
  CHECK(fields({port("a", "pci:0000:01:00.0")}).empty());
  CHECK(fields({port("a", "pci:0000:01:00.0"), port("b", "pci:0000:01:00.0")}) == Names{"ports[1].device"});
  CHECK(fields({port("a", "pci:0000:02:00.0"), port("b", "tpa:x")}) == Names{"ports[0].device", "ports[1].device"});
}

TEST_CASE("buffers that do not fit into the memory, and cards that are named twice, are found") {
  CHECK(check(dpdk::EalOptions{}, {}, {}).has_value());
  CHECK(check(dpdk::EalOptions{.memory_mib = 16}, {.buffers = 1024}, {}).has_value());
  CHECK(fields_of(check(dpdk::EalOptions{.memory_mib = 16}, {.buffers = 16'384}, {})) == Names{"buffers"});
  CHECK(fields_of(check({}, {.buffers = 16'384, .buffer_bytes = 60'000}, {})) == Names{"buffers"});
  CHECK(fields_of(check(dpdk::EalOptions{.cards = {"0000:01:00.0", "1:0.0", "0000:01:00.0"}})) ==
        Names{"cards[1]", "cards[2]"});
  CHECK(fields_of(check(dpdk::PortsOptions{.queues = 65, .buffers = 1, .buffer_bytes = 1})) ==
        Names{"queues", "buffers", "buffer_bytes"});
}

}  // namespace ironcore::tests
