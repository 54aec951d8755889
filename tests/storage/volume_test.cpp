// SPDX-License-Identifier: Apache-2.0
// Sizes are rounded, limits follow the class.
#include "ironcore/storage/volume.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "ironcore/storage/store_mark.hpp"

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

TEST_CASE("the mark of a store is one line, and anything else is corrupt") {
  using ironcore::Uid;
  const StoreMark mark{.store = Uid::random(), .pool = Uid::random(), .pool_name = "rack-1.example"};
  const auto text = mark.to_text();
  CHECK(text ==
        "ironcore store 1: " + mark.store.to_text() + " of volume pool " + mark.pool.to_text() + " rack-1.example\n");
  CHECK(*StoreMark::parse(text) == mark);
  const auto refused = [](const std::string& wrong) {
    const auto parsed = StoreMark::parse(wrong);
    return !parsed && parsed.error().code() == ironcore::ErrorCode::corrupt;
  };
  for (std::size_t size = 0; size < text.size(); ++size) CHECK(refused(text.substr(0, size)));
  CHECK(refused(text + "x"));
  CHECK(refused(text + "\n"));
  CHECK(refused(std::string(text).replace(18, 1, "g")));
  CHECK(refused(StoreMark{.store = {}, .pool = mark.pool, .pool_name = "a"}.to_text()));
  CHECK(refused(StoreMark{.store = mark.store, .pool = {}, .pool_name = "a"}.to_text()));
  CHECK(refused(StoreMark{.store = mark.store, .pool = mark.pool, .pool_name = "A B"}.to_text()));
}
