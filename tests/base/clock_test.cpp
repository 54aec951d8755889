// SPDX-License-Identifier: Apache-2.0
// Time as text, and waiting on the machine's clock.
#include "ironcore/base/clock.hpp"

#include <doctest/doctest.h>

#include <random>
#include <thread>

using namespace ironcore;
using namespace std::chrono_literals;

TEST_CASE("a wall time is written in UTC and read back") {
  const auto time = parse_rfc3339("2026-11-23T01:45:08Z").value();
  CHECK(time.time_since_epoch() == 1795398308s);
  CHECK(to_rfc3339(time) == "2026-11-23T01:45:08Z");
  CHECK(to_rfc3339(WallTime{}) == "1970-01-01T00:00:00Z");
  CHECK(to_rfc3339(time + 250ms) == "2026-11-23T01:45:08.25Z");
  CHECK(to_rfc3339(time + 1ns) == "2026-11-23T01:45:08.000000001Z");
  CHECK(to_rfc3339(WallTime{} - 1ns) == "1969-12-31T23:59:59.999999999Z");
}

TEST_CASE("a zone offset is taken into account") {
  CHECK(parse_rfc3339("2026-11-23T01:45:08+01:00").value() == parse_rfc3339("2026-11-23T00:45:08Z").value());
  CHECK(parse_rfc3339("2026-11-23T01:45:08.5-00:30").value() == parse_rfc3339("2026-11-23T02:15:08.5Z").value());
}

TEST_CASE("any wall time survives being written and read") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    const WallTime time{Duration(static_cast<std::int64_t>(random()) / 2)};
    CHECK(parse_rfc3339(to_rfc3339(time)).value() == time);
  }
}

TEST_CASE("malformed times are refused") {
  for (const auto* text :
       {"", "2026", "2026-11-23", "2026-11-23 01:45:08Z", "2026-11-23T01:45:08", "2026-11-23t01:45:08z",
        "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T01:60:08Z",
        "2026-11-23T01:45:60Z", "2026-11-23T01:45:08.Z", "2026-11-23T01:45:08.1234567890Z", "2026-11-23T01:45:08+1:00",
        "2026-11-23T01:45:08Zx", "1600-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2026-11-23T-1:45:08Z",
        "+026-11-23T01:45:08Z"}) {
    CAPTURE(text);
    const auto time = parse_rfc3339(text);
    REQUIRE(time.has_error());
    CHECK(time.error().code() == ErrorCode::invalid);
  }
}

TEST_CASE("durations are read in Go's notation") {
  CHECK(parse_duration("90s").value() == 90s);
  CHECK(parse_duration("1h30m").value() == 90min);
  CHECK(parse_duration("250ms").value() == 250ms);
  CHECK(parse_duration("1.5h").value() == 90min);
  CHECK(parse_duration(".5s").value() == 500ms);
  CHECK(parse_duration("-2m").value() == -2min);
  CHECK(parse_duration("+3us").value() == 3us);
  CHECK(parse_duration("3\u00b5s").value() == 3us);
  CHECK(parse_duration("0").value() == 0s);
  CHECK(parse_duration("1m1m").value() == 2min);
}

TEST_CASE("durations are written without empty parts") {
  CHECK(to_text(Duration(0)) == "0s");
  CHECK(to_text(90s) == "1m30s");
  CHECK(to_text(5min) == "5m");
  CHECK(to_text(90min) == "1h30m");
  CHECK(to_text(250ms) == "250ms");
  CHECK(to_text(1500us) == "1.5ms");
  CHECK(to_text(999ns) == "999ns");
  CHECK(to_text(-1500ms) == "-1.5s");
  CHECK(to_text(1h + 1ns) == "1h0.000000001s");
  CHECK(to_text(Duration::min()) == "-2562047h47m16.854775808s");
}

TEST_CASE("any duration survives being written and read") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 2000; ++i) {
    const Duration span(static_cast<std::int64_t>(random()) >> (random() % 64));
    CHECK(parse_duration(to_text(span)).value() == span);
  }
}

TEST_CASE("malformed durations are refused") {
  for (const auto* text : {"", "-", "+", "s", "1", "1.", ".s", "1x", "1 s", "1s ", "--1s", "1e3s",
                           "99999999999999999999h", "2562048h", "9223372036854775807s", "2562047h2562047h"}) {
    CAPTURE(text);
    const auto span = parse_duration(text);
    REQUIRE(span.has_error());
    CHECK(span.error().code() == ErrorCode::invalid);
  }
}

TEST_CASE("a sleep ends when a stop is requested") {
  SystemClock clock;
  std::jthread sleeper([&](std::stop_token stop) { CHECK_FALSE(sleep_for(clock, 1h, stop)); });
  sleeper.request_stop();
}

TEST_CASE("a sleep ends at its deadline") {
  SystemClock clock;
  const auto before = clock.now();
  CHECK(sleep_for(clock, 2ms, {}));
  CHECK(clock.now() >= before + 2ms);
}

TEST_CASE("a wait ends when its condition is met, and tells whether it was") {
  SystemClock clock;
  std::mutex mutex;
  std::condition_variable_any changed;
  bool ready = false;
  std::jthread setter([&] {
    std::lock_guard lock(mutex);
    ready = true;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  CHECK(clock.wait(lock, changed, {}, clock.now() + 1h, [&] { return ready; }));
  CHECK_FALSE(clock.wait(lock, changed, {}, clock.now() + 1ms, [] { return false; }));
  CHECK(clock.wait(lock, changed, {}, Instant::max(), [&] { return ready; }));
}
