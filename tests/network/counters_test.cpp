// SPDX-License-Identifier: Apache-2.0
// Times of bursts, the names of what is counted, and MACs that were heard too late.
#include "ironcore/network/counters.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "dataplane/learned_macs.hpp"

using namespace ironcore;
using namespace ironcore::network;

TEST_CASE("each time has one bucket, and bounds double") {
  CHECK(BurstTimes::bucket_of(0) == 0);
  CHECK(BurstTimes::bucket_of(255) == 0);
  CHECK(BurstTimes::bucket_of(256) == 1);
  CHECK(BurstTimes::bucket_of(UINT64_MAX) == BurstTimes::buckets - 1);
  for (std::size_t i = 0; i + 2 < BurstTimes::buckets; ++i) {
    const auto bound = BurstTimes::bound_ns(i);
    CHECK(BurstTimes::bucket_of(bound - 1) == i);
    CHECK(BurstTimes::bucket_of(bound) == i + 1);
    CHECK(BurstTimes::bound_ns(i + 1) == 2 * bound);
  }
}

TEST_CASE("a share of bursts stays below a bound") {
  BurstTimes times;
  CHECK(times.quantile_ns(0.5) == 0);
  times.count[2] = 90;
  times.count[5] = 9;
  times.count[BurstTimes::buckets - 1] = 1;
  CHECK(times.bursts() == 100);
  CHECK(times.quantile_ns(0.5) == BurstTimes::bound_ns(2));
  CHECK(times.quantile_ns(0.9) == BurstTimes::bound_ns(2));
  CHECK(times.quantile_ns(0.95) == BurstTimes::bound_ns(5));
  CHECK(times.quantile_ns(1) == BurstTimes::bound_ns(BurstTimes::buckets - 2));
}

TEST_CASE("stages and services have names of their own") {
  std::set<std::string> names;
  for (std::size_t i = 0; i < stages; ++i) names.emplace(name(static_cast<Stage>(i)));
  CHECK(names.size() == stages);
  CHECK(names.count("") == 0);
  names.clear();
  for (std::size_t i = 0; i < gateway_services; ++i) names.emplace(name(static_cast<GatewayService>(i)));
  CHECK(names.size() == gateway_services);
  CHECK(names.count("") == 0);
}

TEST_CASE("what is heard of a number is marked with when it was given") {
  dataplane::LearnedMacs macs(4);
  const auto mac = MacAddress::parse("fe:dc:ba:98:76:54").value();
  int heard = 0;
  for (const std::uint64_t born : {std::uint64_t{0}, std::uint64_t{65'534}, std::uint64_t{65'535}, UINT64_MAX - 1}) {
    macs.hear(3, born, mac);
    macs.hear(4, born, mac);  // of nobody
    macs.take([&](std::uint32_t interface, std::uint16_t mark, const MacAddress& address) {
      CHECK(interface == 3);
      CHECK(mark == dataplane::LearnedMacs::mark_of(born));
      CHECK(mark != dataplane::LearnedMacs::mark_of(born + 1));
      CHECK(address == mac);
      ++heard;
    });
  }
  CHECK(heard == 4);
  macs.take([&](auto...) { ++heard; });
  CHECK(heard == 4);
}
