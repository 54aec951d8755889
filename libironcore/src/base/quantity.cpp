// SPDX-License-Identifier: Apache-2.0
// Exact decimal arithmetic for Kubernetes quantities.
#include "ironcore/base/quantity.hpp"

#include <array>
#include <limits>
#include <optional>

#include "digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore {

namespace {

// 2^63 × 10^9 needs 93 bits.
__extension__ typedef __int128 Wide;
__extension__ typedef unsigned __int128 UnsignedWide;

constexpr std::int64_t billion = 1'000'000'000;
constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

struct Suffix {
  std::string_view text;
  Quantity::Family family;
  int exponent;  // of ten, or of two in the binary family
};

constexpr std::array<Suffix, 16> suffixes{{{"", Quantity::Family::decimal, 0},
                                           {"n", Quantity::Family::decimal, -9},
                                           {"u", Quantity::Family::decimal, -6},
                                           {"m", Quantity::Family::decimal, -3},
                                           {"k", Quantity::Family::decimal, 3},
                                           {"M", Quantity::Family::decimal, 6},
                                           {"G", Quantity::Family::decimal, 9},
                                           {"T", Quantity::Family::decimal, 12},
                                           {"P", Quantity::Family::decimal, 15},
                                           {"E", Quantity::Family::decimal, 18},
                                           {"Ki", Quantity::Family::binary, 10},
                                           {"Mi", Quantity::Family::binary, 20},
                                           {"Gi", Quantity::Family::binary, 30},
                                           {"Ti", Quantity::Family::binary, 40},
                                           {"Pi", Quantity::Family::binary, 50},
                                           {"Ei", Quantity::Family::binary, 60}}};

std::string_view suffix_of(Quantity::Family family, int exponent) {
  for (const auto& suffix : suffixes)
    if (suffix.exponent == exponent && (suffix.family == family || exponent == 0)) return suffix.text;
  return "";
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// `e3`, `E-3`, `e+3`: the exponent, clamped to what can still matter.
std::optional<Suffix> exponent_suffix(std::string_view text) {
  if (text.size() < 2 || (text.front() != 'e' && text.front() != 'E')) return std::nullopt;
  text.remove_prefix(1);
  const bool negative = text.front() == '-';
  if (negative || text.front() == '+') text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  int value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    value = value < 10'000 ? value * 10 + (c - '0') : value;
  }
  return Suffix{"", Quantity::Family::exponent, negative ? -value : value};
}

std::optional<Suffix> find_suffix(std::string_view text) {
  for (const auto& suffix : suffixes)
    if (suffix.text == text) return suffix;
  return exponent_suffix(text);
}

/// Multiplies a number written in decimal digits (most significant first) by 2^`shift`, `shift` ≤ 60: 9 × 2^60 and
/// the carry fit 64 bits.
std::string times_power_of_two(std::string_view digits, int shift) {
  std::string reversed;
  std::uint64_t carry = 0;
  for (auto i = digits.size(); i-- > 0;) {
    const auto value = (static_cast<std::uint64_t>(digits[i] - '0') << shift) + carry;
    reversed += static_cast<char>('0' + value % 10);
    carry = value / 10;
  }
  for (; carry != 0; carry /= 10) reversed += static_cast<char>('0' + carry % 10);
  return {reversed.rbegin(), reversed.rend()};
}

/// The number `digits` × 10^`exponent`, rounded up; nothing if it is far out of range.
std::optional<Wide> scaled(std::string_view digits, std::int64_t exponent) {
  while (!digits.empty() && digits.front() == '0') digits.remove_prefix(1);
  if (digits.empty()) return Wide{0};
  const auto whole_digits = static_cast<std::int64_t>(digits.size()) + exponent;
  if (whole_digits > 29) return std::nullopt;  // 2^63 × 10^9 has 28
  Wide value = 0;
  bool rest = false;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(digits.size()); ++i) {
    const char c = digits[static_cast<std::size_t>(i)];
    if (i < whole_digits)
      value = value * 10 + (c - '0');
    else
      rest = rest || c != '0';
  }
  for (auto i = static_cast<std::int64_t>(digits.size()); i < whole_digits; ++i) value *= 10;
  return value + (rest ? 1 : 0);
}

std::string wide_text(UnsignedWide value) {
  std::string reversed;
  do {
    reversed += static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  return {reversed.rbegin(), reversed.rend()};
}

Error out_of_range(std::string_view what) {
  return Error(ErrorCode::invalid, std::string(what) + " is out of range: it must be less than 8Ei (about 9.2E)");
}

}  // namespace

/// Everything that handles the value as one number of billionths.
struct Quantity::Parts {
  static Wide nanos(const Quantity& quantity) { return static_cast<Wide>(quantity.whole_) * billion + quantity.nanos_; }

  static std::optional<Quantity> make(Wide nanos, Family family) {
    constexpr Wide limit = static_cast<Wide>(most) * billion;
    if (nanos > limit || nanos < -limit) return std::nullopt;
    auto whole = nanos / billion, rest = nanos % billion;
    if (rest < 0) {
      whole -= 1;
      rest += billion;
    }
    Quantity quantity;
    quantity.whole_ = static_cast<std::int64_t>(whole);
    quantity.nanos_ = static_cast<std::uint32_t>(rest);
    quantity.family_ = family;
    return quantity;
  }

  /// Divides, rounding away from zero.
  static Wide divide_up(Wide value, Wide divisor) {
    const auto quotient = value / divisor;
    if (value % divisor == 0) return quotient;
    return value < 0 ? quotient - 1 : quotient + 1;
  }
};

Quantity Quantity::milli(std::int64_t thousandths) noexcept {
  // A thousand times smaller than what fits, so there is always a value.
  return *Parts::make(static_cast<Wide>(thousandths) * 1'000'000, Family::decimal);
}

Result<Quantity> Quantity::parse(std::string_view text) {
  constexpr std::size_t longest = 128;
  const auto wrong = [&](std::string_view why) {
    return Error(ErrorCode::invalid, in_quotes(text) + " is not a quantity: " + std::string(why) +
                                         "; write it like 500m, 1.5, 10Gi or 2e3");
  };
  if (text.empty()) return wrong("it is empty");
  if (text.size() > longest) return wrong("it has more than 128 characters");
  auto rest = text;
  const bool negative = rest.front() == '-';
  if (negative || rest.front() == '+') rest.remove_prefix(1);

  std::string digits;
  std::int64_t fraction_digits = 0;
  for (bool in_fraction = false; !rest.empty(); rest.remove_prefix(1)) {
    if (is_digit(rest.front())) {
      digits += rest.front();
      if (in_fraction) ++fraction_digits;
    } else if (rest.front() == '.' && !in_fraction) {
      in_fraction = true;
    } else {
      break;
    }
  }
  if (digits.empty()) return wrong("it must start with a number");
  const auto suffix = find_suffix(rest);
  if (!suffix)
    return wrong("the suffix " + in_quotes(rest) + " is none of n u m k M G T P E Ki Mi Gi Ti Pi Ei or an exponent");

  auto exponent = 9 - fraction_digits;
  if (suffix->family == Family::binary)
    digits = times_power_of_two(digits, suffix->exponent);
  else
    exponent += suffix->exponent;
  const auto nanos = scaled(digits, exponent);
  const auto quantity = nanos ? Parts::make(negative ? -*nanos : *nanos, suffix->family) : std::nullopt;
  if (!quantity) return out_of_range(in_quotes(text));
  return *quantity;
}

std::int64_t Quantity::value() const noexcept {
  // Within range even after rounding: at the limits of the range the fraction is zero.
  return static_cast<std::int64_t>(Parts::divide_up(Parts::nanos(*this), billion));
}

Result<std::int64_t> Quantity::milli_value() const {
  const auto milli = Parts::divide_up(Parts::nanos(*this), 1'000'000);
  if (milli > most || milli < -most) return out_of_range("the number of thousandths of " + to_text());
  return static_cast<std::int64_t>(milli);
}

std::string Quantity::to_text() const {
  if (is_zero()) return "0";
  const auto nanos = Parts::nanos(*this);
  auto number = static_cast<UnsignedWide>(nanos < 0 ? -nanos : nanos);
  std::string text = nanos < 0 ? "-" : "";

  if (family_ == Family::binary && number % billion == 0 && number / billion >= 1024) {
    number /= billion;
    int exponent = 0;
    for (; number % 1024 == 0 && exponent < 60; exponent += 10) number /= 1024;
    return text + wide_text(number) + std::string(suffix_of(Family::binary, exponent));
  }
  int exponent = -9;
  for (; number % 1000 == 0; exponent += 3) number /= 1000;
  text += wide_text(number);
  if (family_ != Family::exponent) return text + std::string(suffix_of(Family::decimal, exponent));
  return exponent == 0 ? text : text + "e" + std::to_string(exponent);
}

Result<Quantity> Quantity::add(const Quantity& a, const Quantity& b) {
  const auto sum = Parts::make(Parts::nanos(a) + Parts::nanos(b), a.is_zero() ? b.family_ : a.family_);
  if (!sum) return out_of_range("the sum of " + a.to_text() + " and " + b.to_text());
  return *sum;
}

Result<Quantity> Quantity::subtract(const Quantity& a, const Quantity& b) {
  const auto difference = Parts::make(Parts::nanos(a) - Parts::nanos(b), a.is_zero() ? b.family_ : a.family_);
  if (!difference) return out_of_range("the difference of " + a.to_text() + " and " + b.to_text());
  return *difference;
}

}  // namespace ironcore
