// SPDX-License-Identifier: Apache-2.0
// Amounts as people read them.
#include "ironcore/base/byte_text.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>

#include "ironcore/base/quantity.hpp"
#include "ironcore/base/random.hpp"

using namespace ironcore;

TEST_CASE("an amount is written in the largest unit, with one digit more at most, and never as more than it is") {
  constexpr std::int64_t gibibyte = std::int64_t{1} << 30;
  const std::pair<std::int64_t, const char*> cases[] = {{0, "0"},
                                                        {1023, "1023"},
                                                        {1024, "1Ki"},
                                                        {1536, "1.5Ki"},
                                                        {2047, "1.9Ki"},
                                                        {66806874116, "62.2Gi"},
                                                        {4831838212, "4.5Gi"},
                                                        {10 * gibibyte, "10Gi"},
                                                        {1023 * gibibyte, "1023Gi"},
                                                        {1024 * gibibyte, "1Ti"},
                                                        {-3 * gibibyte / 2, "-1.5Gi"},
                                                        {INT64_MAX, "7.9Ei"},
                                                        {INT64_MIN, "-8Ei"}};
  for (const auto& [bytes, text] : cases) CHECK(byte_text(bytes) == text);
  SeededRandom random(7);
  for (int i = 0; i < 10'000; ++i) {
    const auto bytes = ((std::int64_t{random.below(1U << 31)} << 32) | random.below(UINT32_MAX)) >> random.below(63);
    const auto read = Quantity::parse(byte_text(bytes)).value().value();
    CAPTURE(bytes);
    // The quantity rounds up what is no whole number of bytes.
    REQUIRE(read <= bytes + 1);
    REQUIRE(read >= bytes - bytes / 10 - 1);
  }
}
