// SPDX-License-Identifier: Apache-2.0
// The machine's clocks, and time as text.
#include "ironcore/base/clock.hpp"

#include <array>
#include <cstdint>
#include <limits>

#include "digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore {

Instant SystemClock::now() const {
  return std::chrono::steady_clock::now();
}
WallTime SystemClock::wall() const {
  return std::chrono::system_clock::now();
}

bool SystemClock::wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop,
                       Instant deadline, const std::function<bool()>& ready) {
  return condition.wait_until(lock, std::move(stop), deadline, ready);
}

bool sleep_until(Clock& clock, Instant deadline, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any nothing_to_hear;
  std::unique_lock lock(mutex);
  clock.wait(lock, nothing_to_hear, stop, deadline, [] { return false; });
  return !stop.stop_requested();
}

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

void append_padded(std::string& out, std::int64_t value, std::size_t width) {
  const auto digits = std::to_string(value);
  if (digits.size() < width) out.append(width - digits.size(), '0');
  out += digits;
}

/// Writes `.5` for half of `unit_in_ns`, nothing for zero; trailing zeros are dropped.
void append_fraction(std::string& out, std::uint64_t rest, std::size_t digits) {
  if (rest == 0) return;
  out += '.';
  append_padded(out, static_cast<std::int64_t>(rest), digits);
  while (out.back() == '0') out.pop_back();
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Takes exactly `width` digits off the front of `text`, or returns -1.
int take_number(std::string_view& text, std::size_t width) {
  if (text.size() < width) return -1;
  int value = 0;
  for (std::size_t i = 0; i < width; ++i) {
    if (!is_digit(text[i])) return -1;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(width);
  return value;
}

bool take(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

Error bad_time(std::string_view text, std::string_view why) {
  return Error(ErrorCode::invalid,
               in_quotes(text) + " is not a time: " + std::string(why) + "; write it like 2026-11-23T01:45:08Z");
}

Error bad_duration(std::string_view text, std::string_view why) {
  return Error(ErrorCode::invalid,
               in_quotes(text) + " is not a duration: " + std::string(why) + "; write it like 90s, 5m, 1h30m or 250ms");
}

}  // namespace

std::string to_rfc3339(WallTime time) {
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::string text;
  append_padded(text, static_cast<int>(date.year()), 4);
  text += '-';
  append_padded(text, static_cast<unsigned>(date.month()), 2);
  text += '-';
  append_padded(text, static_cast<unsigned>(date.day()), 2);
  text += 'T';
  append_padded(text, clock.hours().count(), 2);
  text += ':';
  append_padded(text, clock.minutes().count(), 2);
  text += ':';
  append_padded(text, clock.seconds().count(), 2);
  append_fraction(text, static_cast<std::uint64_t>(clock.subseconds().count()), 9);
  text += 'Z';
  return text;
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  auto rest = text;
  const int year = take_number(rest, 4);
  const bool dash_1 = take(rest, '-');
  const int month = take_number(rest, 2);
  const bool dash_2 = take(rest, '-');
  const int day = take_number(rest, 2);
  if (year < 0 || month < 0 || day < 0 || !dash_1 || !dash_2) return bad_time(text, "the date is malformed");
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return bad_time(text, "there is no such day");
  // 64 bits of nanoseconds reach from 1677 to 2262; whole years keep the arithmetic below from overflowing.
  if (year < 1678 || year > 2261) return bad_time(text, "the year is outside 1678 to 2261");

  if (!take(rest, 'T')) return bad_time(text, "a capital T must separate date and time");
  const int hour = take_number(rest, 2);
  const bool colon_1 = take(rest, ':');
  const int minute = take_number(rest, 2);
  const bool colon_2 = take(rest, ':');
  const int second = take_number(rest, 2);
  if (hour < 0 || minute < 0 || second < 0 || !colon_1 || !colon_2)
    return bad_time(text, "the time of day is malformed");
  if (hour > 23 || minute > 59 || second > 59) return bad_time(text, "there is no such time of day");

  std::int64_t fraction = 0;
  if (take(rest, '.')) {
    std::size_t count = 0;
    while (!rest.empty() && is_digit(rest.front())) {
      if (++count > 9) return bad_time(text, "the fraction has more than nine digits");
      fraction = fraction * 10 + (rest.front() - '0');
      rest.remove_prefix(1);
    }
    if (count == 0) return bad_time(text, "the fraction has no digits");
    for (; count < 9; ++count) fraction *= 10;
  }

  minutes offset{0};
  if (!take(rest, 'Z')) {
    const bool east = !rest.empty() && rest.front() == '+';
    if (!take(rest, '+') && !take(rest, '-')) return bad_time(text, "the zone (Z or +hh:mm) is missing");
    const int zone_hour = take_number(rest, 2);
    const bool colon = take(rest, ':');
    const int zone_minute = take_number(rest, 2);
    if (zone_hour < 0 || zone_minute < 0 || !colon || zone_hour > 23 || zone_minute > 59)
      return bad_time(text, "the zone is malformed");
    offset = hours(zone_hour) + minutes(zone_minute);
    if (!east) offset = -offset;
  }
  if (!rest.empty()) return bad_time(text, "something follows the zone");
  return WallTime(std::chrono::sys_days(date)) + hours(hour) + minutes(minute) + seconds(second) +
         nanoseconds(fraction) - offset;
}

std::string to_text(Duration span) {
  const auto count = span.count();
  if (count == 0) return "0s";
  // The magnitude as unsigned: the most negative count has no positive counterpart.
  auto left = count < 0 ? 0 - static_cast<std::uint64_t>(count) : static_cast<std::uint64_t>(count);
  std::string text = count < 0 ? "-" : "";
  constexpr std::uint64_t microsecond = 1'000, millisecond = 1'000'000, second = 1'000'000'000;
  const auto with_fraction = [&](std::uint64_t unit, std::size_t digits, std::string_view suffix) {
    text += std::to_string(left / unit);
    append_fraction(text, left % unit, digits);
    text += suffix;
  };
  if (left < microsecond) {
    with_fraction(1, 0, "ns");
  } else if (left < millisecond) {
    with_fraction(microsecond, 3, "us");
  } else if (left < second) {
    with_fraction(millisecond, 6, "ms");
  } else {
    if (const auto whole = left / (3600 * second)) text += std::to_string(whole) + "h";
    left %= 3600 * second;
    if (const auto whole = left / (60 * second)) text += std::to_string(whole) + "m";
    left %= 60 * second;
    if (left != 0) with_fraction(second, 9, "s");
  }
  return text;
}

Result<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t nanoseconds;
  };
  // Longer names first where one is a prefix of the other.
  static constexpr std::array<Unit, 8> units{{{"ns", 1},
                                              {"us", 1'000},
                                              {"\u00b5s", 1'000},
                                              {"\u03bcs", 1'000},
                                              {"ms", 1'000'000},
                                              {"s", 1'000'000'000},
                                              {"m", 60'000'000'000},
                                              {"h", 3'600'000'000'000}}};
  constexpr auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  auto rest = text;
  const bool negative = take(rest, '-');
  if (!negative) take(rest, '+');
  if (rest == "0") return Duration(0);
  if (rest.empty()) return bad_duration(text, "it is empty");

  std::uint64_t total = 0;
  while (!rest.empty()) {
    std::uint64_t whole = 0;
    bool digits = false;
    for (; !rest.empty() && is_digit(rest.front()); rest.remove_prefix(1)) {
      digits = true;
      if (whole > limit / 10) return bad_duration(text, "it is too long");
      whole = whole * 10 + static_cast<std::uint64_t>(rest.front() - '0');
    }
    std::uint64_t fraction = 0, scale = 1;
    if (take(rest, '.')) {
      for (; !rest.empty() && is_digit(rest.front()); rest.remove_prefix(1)) {
        digits = true;
        if (scale >= 1'000'000'000) continue;  // below what a nanosecond can hold
        fraction = fraction * 10 + static_cast<std::uint64_t>(rest.front() - '0');
        scale *= 10;
      }
    }
    if (!digits) return bad_duration(text, "a number is missing");
    const Unit* unit = nullptr;
    for (const auto& candidate : units) {
      if (rest.starts_with(candidate.name)) {
        unit = &candidate;
        break;
      }
    }
    if (unit == nullptr) return bad_duration(text, "a unit (ns, us, ms, s, m, h) is missing");
    rest.remove_prefix(unit->name.size());
    if (whole > limit / unit->nanoseconds) return bad_duration(text, "it is too long");
    // fraction < scale ≤ 10^9. Units of a second and more divide by the scale; the product with smaller ones fits.
    const auto part =
        unit->nanoseconds % scale == 0 ? fraction * (unit->nanoseconds / scale) : fraction * unit->nanoseconds / scale;
    const auto value = whole * unit->nanoseconds;
    if (value > limit - part || value + part > limit - total) return bad_duration(text, "it is too long");
    total += value + part;
  }
  const auto count = static_cast<std::int64_t>(total);
  return Duration(negative ? -count : count);
}

}  // namespace ironcore
