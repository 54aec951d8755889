// SPDX-License-Identifier: Apache-2.0
// Sizes are rounded, limits follow the class.
#include "ironcore/storage/volume.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace ironcore::storage;
using namespace std::chrono_literals;

TEST_CASE("a size is rounded up to a MiB, and from a GiB on to a GiB") {
  constexpr std::uint64_t mib = 1 << 20, gib = 1 << 30;
  CHECK_FALSE(rounded_size(0));
  CHECK(rounded_size(1) == mib);
  CHECK(rounded_size(mib) == mib);
  CHECK(rounded_size(mib + 1) == 2 * mib);
  CHECK(rounded_size(gib - 1) == gib);
  CHECK(rounded_size(gib) == gib);
  CHECK(rounded_size(gib + 1) == 2 * gib);
  CHECK(rounded_size(max_size) == max_size);
  CHECK_FALSE(rounded_size(max_size + 1));
  CHECK_FALSE(rounded_size(std::numeric_limits<std::uint64_t>::max()));
}

TEST_CASE("limits are the class's capabilities, bursts a multiple of them") {
  CHECK(limits_of(100, 1'000'000, {}) == Limits{100, 1'000'000, 1'000, 10'000'000, 15s});
  CHECK(limits_of(100, 1'000'000, {.factor = 2, .span = 3s}) == Limits{100, 1'000'000, 200, 2'000'000, 3s});
  CHECK(limits_of(0, 0, {}) == Limits{0, 0, 0, 0, 15s});
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  CHECK(limits_of(most / 2, most, {}).burst_iops == most);
  CHECK(limits_of(most / 2, most, {}).burst_bytes_per_second == most);
}
