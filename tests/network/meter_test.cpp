// SPDX-License-Identifier: Apache-2.0
// How much passes, in short and in long times, and at the ends of the numbers.
#include "dataplane/meter.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

using namespace ironcore::network::dataplane;

namespace {

__extension__ using Wide = unsigned __int128;
using Kind = Meter::Kind;

constexpr std::uint64_t second = 1'000'000'000;
constexpr std::uint64_t forever = ~std::uint64_t{0};

/// The RFCs' text, in numbers that cannot overflow.
class Model {
 public:
  Model(const Meter::Policy& policy, std::uint64_t ticks, std::uint64_t now)
      : policy_(policy),
        ticks_(ticks),
        committed_(Wide{policy.committed_burst} * ticks),
        excess_(Wide{policy.excess_burst} * ticks),
        last_(now) {}

  Color mark(std::uint64_t now, std::uint32_t bytes) {
    const Wide elapsed = now - std::min(now, last_);
    last_ = std::max(now, last_);
    const Wide committed_size = Wide{policy_.committed_burst} * ticks_,
               excess_size = Wide{policy_.excess_burst} * ticks_;
    committed_ += elapsed * policy_.committed_rate;
    if (policy_.kind != Kind::single_rate)
      excess_ += elapsed * policy_.excess_rate;
    else if (committed_ > committed_size)
      excess_ += committed_ - committed_size;
    committed_ = std::min(committed_, committed_size);
    excess_ = std::min(excess_, excess_size);

    const Wide cost = Wide{bytes} * ticks_;
    const bool fits_committed = cost <= committed_, fits_excess = cost <= excess_;
    if (policy_.kind == Kind::peak_and_committed) {
      if (!fits_excess) return Color::red;
      excess_ -= cost;
      if (!fits_committed) return Color::yellow;
      committed_ -= cost;
      return Color::green;
    }
    if (fits_committed) {
      committed_ -= cost;
      return Color::green;
    }
    if (!fits_excess) return Color::red;
    excess_ -= cost;
    return Color::yellow;
  }

 private:
  Meter::Policy policy_;
  std::uint64_t ticks_;
  Wide committed_;
  Wide excess_;
  std::uint64_t last_;
};

/// Bytes by colour.
using Passed = std::array<std::uint64_t, 3>;

std::uint64_t of(const Passed& passed, Color color) {
  return passed[static_cast<std::size_t>(color)];
}

/// At most `burst` and what comes in `elapsed`.
bool is_within(std::uint64_t bytes, std::uint64_t rate, std::uint64_t burst, std::uint64_t elapsed,
               std::uint64_t ticks) {
  return Wide{bytes} * ticks <= Wide{rate} * elapsed + Wide{burst} * ticks;
}

}  // namespace

TEST_CASE("a meter made by default limits nothing") {
  const Meter meter;
  auto state = meter.start(5);
  CHECK(meter.is_unlimited());
  for (int i = 0; i < 100; ++i) CHECK(meter.mark(state, 5, 0xffff'ffff) == Color::green);
}

TEST_CASE("a policy of zeros blocks") {
  for (const auto kind : {Kind::single_rate, Kind::two_rates, Kind::peak_and_committed}) {
    const Meter meter({.kind = kind}, second);
    auto state = meter.start(0);
    CHECK(!meter.is_unlimited());
    CHECK(meter.mark(state, 0, 1) == Color::red);
    CHECK(meter.mark(state, forever, 1) == Color::red);
    const Meter no_bucket({.kind = kind, .committed_rate = forever, .excess_rate = forever}, second);
    state = no_bucket.start(0);
    CHECK(no_bucket.mark(state, second, 1) == Color::red);
  }
}

TEST_CASE("single rate: what the committed bucket cannot take fills the excess bucket") {
  const Meter meter({.committed_rate = 1000, .committed_burst = 100, .excess_burst = 50}, second);
  auto state = meter.start(0);
  CHECK(meter.mark(state, 0, 100) == Color::green);
  CHECK(meter.mark(state, 0, 50) == Color::yellow);
  CHECK(meter.mark(state, 0, 1) == Color::red);
  // 120 bytes come: 100 for the one, 20 for the other.
  CHECK(meter.mark(state, 120 * second / 1000, 100) == Color::green);
  CHECK(meter.mark(state, 120 * second / 1000, 21) == Color::red);
  CHECK(meter.mark(state, 120 * second / 1000, 20) == Color::yellow);
}

TEST_CASE("two rates: each bucket fills at its own") {
  const Meter meter({.kind = Kind::two_rates,
                     .committed_rate = 1000,
                     .committed_burst = 100,
                     .excess_rate = 500,
                     .excess_burst = 100},
                    second);
  auto state = meter.start(0);
  CHECK(meter.mark(state, 0, 100) == Color::green);
  CHECK(meter.mark(state, 0, 100) == Color::yellow);
  CHECK(meter.mark(state, 0, 1) == Color::red);
  CHECK(meter.mark(state, second / 50, 20) == Color::green);
  CHECK(meter.mark(state, second / 50, 11) == Color::red);
  CHECK(meter.mark(state, second / 50, 10) == Color::yellow);
}

TEST_CASE("peak and committed: green counts towards the peak") {
  const Meter meter({.kind = Kind::peak_and_committed,
                     .committed_rate = 1000,
                     .committed_burst = 100,
                     .excess_rate = 2000,
                     .excess_burst = 150},
                    second);
  auto state = meter.start(0);
  CHECK(meter.mark(state, 0, 100) == Color::green);
  CHECK(meter.mark(state, 0, 51) == Color::red);
  CHECK(meter.mark(state, 0, 50) == Color::yellow);
  CHECK(meter.mark(state, second / 100, 20) == Color::yellow);
  CHECK(meter.mark(state, second / 100, 1) == Color::red);
  CHECK(meter.mark(state, second / 50, 20) == Color::green);
}

TEST_CASE("random packets are marked as the model says, and never more than is granted") {
  std::mt19937_64 random(1);  // NOLINT: the same in every run
  const std::uint64_t clocks[] = {1, 1000, second, 2'599'999'873, Meter::max_ticks_per_second};
  for (int run = 0; run < 300; ++run) {
    const auto ticks = clocks[random() % std::size(clocks)];
    // 1 kbit/s to 1 Tbit/s: 125 bytes a second times up to 10^9.
    const auto rate = [&] {
      std::uint64_t result = 125 + random() % 10;
      for (auto zeros = random() % 10; zeros > 0; --zeros) result *= 10;
      return random() % 10 == 0 ? 0 : result;
    };
    const auto burst = [&] {
      const std::uint64_t all[] = {0, 1500, 66'000, random() % Meter::max_burst, Meter::max_burst};
      return all[random() % std::size(all)];
    };
    const Meter::Policy policy{.kind = static_cast<Kind>(random() % 3),
                               .committed_rate = rate(),
                               .committed_burst = burst(),
                               .excess_rate = rate(),
                               .excess_burst = burst()};
    const Meter meter(policy, ticks);
    const auto begin = random() >> (random() % 64);
    std::uint64_t now = begin, latest = begin;
    auto state = meter.start(now);
    Model model(policy, ticks, now);
    Passed passed{};
    const auto typical = std::max<std::uint64_t>(1, ticks * 1000 / std::max<std::uint64_t>(policy.committed_rate, 1));
    for (int i = 0; i < 3000; ++i) {
      switch (random() % 200) {
        case 0:
          now += random() >> (random() % 64);
          break;  // far ahead, perhaps around the end of the numbers
        case 1:
          now -= random() % (ticks + 1);
          break;  // back
        case 2:
        case 3:
        case 4:
          break;
        default:
          now += random() % (2 * typical);
      }
      latest = std::max(latest, now);
      const auto bytes = random() % 500 == 0
                             ? static_cast<std::uint32_t>(random())
                             : static_cast<std::uint32_t>(random() % 100 == 0 ? 0 : 64 + random() % 1437);
      const auto color = meter.mark(state, now, bytes);
      REQUIRE(color == model.mark(now, bytes));
      passed[static_cast<std::size_t>(color)] += bytes;
    }
    const auto elapsed = latest - begin;
    const auto green = of(passed, Color::green), yellow = of(passed, Color::yellow);
    CHECK(is_within(green, policy.committed_rate, policy.committed_burst, elapsed, ticks));
    switch (policy.kind) {
      case Kind::single_rate:
        CHECK(is_within(green + yellow, policy.committed_rate, policy.committed_burst + policy.excess_burst, elapsed,
                        ticks));
        break;
      case Kind::two_rates:
        CHECK(is_within(yellow, policy.excess_rate, policy.excess_burst, elapsed, ticks));
        break;
      case Kind::peak_and_committed:
        CHECK(is_within(green + yellow, policy.excess_rate, policy.excess_burst, elapsed, ticks));
    }
  }
}

TEST_CASE("a sender that never stops gets the rate, from 1 kbit/s to 1 Tbit/s, on any clock") {
  std::mt19937_64 random(1);  // NOLINT: the same in every run
  for (const std::uint64_t ticks : {second, std::uint64_t{2'599'999'873}, Meter::max_ticks_per_second}) {
    for (std::uint64_t rate = 125; rate <= 125'000'000'000; rate *= 10) {
      for (const auto kind : {Kind::single_rate, Kind::two_rates, Kind::peak_and_committed}) {
        const Meter::Policy policy{.kind = kind,
                                   .committed_rate = rate,
                                   .committed_burst = 66'000,
                                   .excess_rate = rate * 2,
                                   .excess_burst = kind == Kind::single_rate ? 0U : 66'000U};
        const Meter meter(policy, ticks);
        // The buckets are empty at first, so that the burst does not help.
        Meter::State state{.last = 1'000'000};
        std::uint64_t now = state.last;
        Passed passed{};
        // Twice as much as passes in any way, in uneven steps, so that a rounding would add up.
        const auto step = std::max<std::uint64_t>(1, ticks * 1000 / (rate * 6));
        while (of(passed, Color::green) < 20'000'000) {
          now += step / 2 + random() % (step + 1);
          const auto bytes = static_cast<std::uint32_t>(500 + random() % 1001);
          passed[static_cast<std::size_t>(meter.mark(state, now, bytes))] += bytes;
        }
        const double time = static_cast<double>(now - 1'000'000) / static_cast<double>(ticks);
        const double green = static_cast<double>(of(passed, Color::green)) / time;
        const double yellow = static_cast<double>(of(passed, Color::yellow)) / time;
        const auto expected = static_cast<double>(rate);
        CHECK(green <= expected);
        CHECK(green >= expected * 0.999);
        if (kind == Kind::two_rates) CHECK(yellow == doctest::Approx(2 * expected).epsilon(0.001));
        if (kind == Kind::peak_and_committed) CHECK(green + yellow == doctest::Approx(2 * expected).epsilon(0.001));
      }
    }
  }
}

TEST_CASE("a clock that stands still, goes back or jumps to its end overflows nothing") {
  const Meter::Policy largest{.kind = Kind::single_rate,
                              .committed_rate = forever,
                              .committed_burst = Meter::max_burst,
                              .excess_rate = forever,
                              .excess_burst = Meter::max_burst};
  for (const auto kind : {Kind::single_rate, Kind::two_rates}) {
    auto policy = largest;
    policy.kind = kind;
    const Meter meter(policy, Meter::max_ticks_per_second);
    Meter::State state;
    CHECK(meter.mark(state, 0, 1) == Color::red);
    CHECK(meter.mark(state, forever, 0xffff'ffff) == Color::red);
    CHECK(meter.mark(state, forever, Meter::max_burst) == Color::green);
    CHECK(meter.mark(state, forever, Meter::max_burst) == Color::yellow);
    CHECK(meter.mark(state, forever, 1) == Color::red);
    CHECK(meter.mark(state, 0, 1) == Color::red);
    CHECK(state.last == forever);
  }
}

TEST_CASE("buckets go on under another policy, but hold no more than it says") {
  const Meter large({.committed_rate = 1000, .committed_burst = 1000, .excess_burst = 1000}, second);
  const Meter small({.committed_rate = 1000, .committed_burst = 100, .excess_burst = 50}, second);
  auto state = large.start(0);
  CHECK(small.mark(state, 0, 101) == Color::red);
  CHECK(small.mark(state, 0, 100) == Color::green);
  CHECK(small.mark(state, 0, 51) == Color::red);
  CHECK(small.mark(state, 0, 50) == Color::yellow);
  CHECK(large.mark(state, 0, 1) == Color::red);
}
