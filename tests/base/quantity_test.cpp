// SPDX-License-Identifier: Apache-2.0
// Quantities are read, compared and printed as Kubernetes does it.
#include "ironcore/base/quantity.hpp"

#include <doctest/doctest.h>

#include <unordered_set>

#include "ironcore/base/random.hpp"

using namespace ironcore;

namespace {

Quantity q(std::string_view text) {
  return Quantity::parse(text).value();
}

}  // namespace

TEST_CASE("quantities are printed in the canonical form of Kubernetes") {
  const std::pair<const char*, const char*> cases[] = {
      {"0", "0"},
      {"-0", "0"},
      {"0Ki", "0"},
      {"0.0", "0"},
      {"0e5", "0"},
      {"1", "1"},
      {"+1", "1"},
      {"-1", "-1"},
      {"1.5", "1500m"},
      {"0.5", "500m"},
      {".5", "500m"},
      {"5.", "5"},
      {"500m", "500m"},
      {"1000m", "1"},
      {"1500m", "1500m"},
      {"1000", "1k"},
      {"1000k", "1M"},
      {"1024", "1024"},
      {"100", "100"},
      {"123000", "123k"},
      {"10Gi", "10Gi"},
      {"1.5Gi", "1536Mi"},
      {"1024Mi", "1Gi"},
      {"2048Ki", "2Mi"},
      {"0.5Ki", "512"},
      {"1Ki", "1Ki"},
      {"1023Ki", "1023Ki"},
      {"1000Ki", "1000Ki"},
      {"0.0009765625Ki", "1"},
      {"1025.5Ki", "1050112"},
      {"1.1Ki", "1126400m"},
      {"-1.5Gi", "-1536Mi"},
      {"-0.5Ki", "-512"},
      {"1e3", "1e3"},
      {"1E3", "1e3"},
      {"1e0", "1"},
      {"1e+3", "1e3"},
      {"1500e-3", "1500e-3"},
      {"1e-3", "1e-3"},
      {"12e2", "1200"},
      {"1.5e3", "1500"},
      {"1E", "1E"},
      {"1e9", "1e9"},
      {"1e1", "10"},
      {"1e2", "100"},
      {"1e4", "10e3"},
      {"3.001e3", "3001"},
      {"8Ei", "overflow"},
      {"7Ei", "7Ei"},
      {"9E", "9E"},
      {"1n", "1n"},
      {"1000n", "1u"},
      {"0.1n", "1n"},
      {"-0.1n", "-1n"},
      {"1.0000000001", "1000000001n"},
      {"0.000001m", "1n"},
      {"00001.500", "1500m"},
      {"9223372036854775807", "9223372036854775807"},
      {"-9223372036854775807", "-9223372036854775807"},
  };
  for (const auto& row : cases) {
    const auto* text = row.first;
    const auto* canonical = row.second;
    CAPTURE(text);
    if (std::string_view(canonical) == "overflow") {
      CHECK(Quantity::parse(text).has_error());
      continue;
    }
    CHECK(q(text).to_text() == canonical);
  }
}

TEST_CASE("quantities are compared by value, whatever their family") {
  CHECK(q("1Gi") == q("1024Mi"));
  CHECK(q("1") == q("1000m"));
  CHECK(q("1e3") == q("1k"));
  CHECK(q("1Ki") > q("1k"));
  CHECK(q("-1") < q("-0.5"));
  CHECK(q("-0.5") < q("0"));
  CHECK(q("999999999n") < q("1"));
  CHECK(std::hash<Quantity>()(q("1Gi")) == std::hash<Quantity>()(q("1073741824")));
}

TEST_CASE("whole numbers and thousandths are rounded away from zero") {
  CHECK(q("1.5").value() == 2);
  CHECK(q("-1.5").value() == -2);
  CHECK(q("1n").value() == 1);
  CHECK(q("2").value() == 2);
  CHECK(q("10Gi").value() == 10737418240);
  CHECK(q("500m").milli_value().value() == 500);
  CHECK(q("1u").milli_value().value() == 1);
  CHECK(q("-1u").milli_value().value() == -1);
  CHECK(q("9E").value() == 9'000'000'000'000'000'000);
  CHECK(q("9E").milli_value().error().code() == ErrorCode::invalid);
  CHECK(q("9223372036854775807").value() == INT64_MAX);
}

TEST_CASE("quantities are made from numbers") {
  CHECK(Quantity::bytes(1536 * 1024).to_text() == "1536Ki");
  CHECK(Quantity(4).to_text() == "4");
  CHECK(Quantity::milli(1500).to_text() == "1500m");
  CHECK(Quantity::milli(INT64_MIN).to_text() == "-9223372036854775808m");
  CHECK(Quantity(INT64_MIN).value() == -INT64_MAX);
  CHECK(Quantity().is_zero());
  CHECK(q("-1n").sign() == -1);
  CHECK(q("0").sign() == 0);
  CHECK(q("1n").sign() == 1);
}

TEST_CASE("sums keep the family and refuse to overflow") {
  CHECK(Quantity::add(q("1Gi"), q("512Mi")).value().to_text() == "1536Mi");
  CHECK(Quantity::add(Quantity(), q("1Gi")).value().to_text() == "1Gi");
  CHECK(Quantity::subtract(q("1"), q("1500m")).value().to_text() == "-500m");
  CHECK(Quantity::add(q("9E"), q("9E")).error().code() == ErrorCode::invalid);
  CHECK(Quantity::subtract(q("-9E"), q("9E")).error().code() == ErrorCode::invalid);
}

TEST_CASE("malformed quantities are refused") {
  for (const auto* text : {"",      " ",     "1 ",  " 1",  "-",    "+",     ".",     "-.",   "m",   "Ki",  "1.2.3",
                           "1,5",   "1K",    "1ki", "1mi", "1g",   "1kk",   "1KiKi", "1Ki5", "1e",  "1e+", "1ee3",
                           "1e3.5", "1e3Ki", "--1", "+-1", "0x10", "1_000", "1\n",   "inf",  "nan", "1i",  "1Eii"}) {
    CAPTURE(text);
    const auto result = Quantity::parse(text);
    REQUIRE(result.has_error());
    CHECK(result.error().code() == ErrorCode::invalid);
  }
  CHECK(Quantity::parse(std::string(129, '1')).has_error());
}

TEST_CASE("a quantity out of range is refused, not capped") {
  for (const auto* text : {"9223372036854775808", "-9223372036854775808", "9223372036854775807.1", "10E", "8Ei", "1e19",
                           "1e400", "1e99999999999999999999", "99999999999999999999Ei", "0.00001e30"}) {
    CAPTURE(text);
    const auto result = Quantity::parse(text);
    REQUIRE(result.has_error());
    CHECK(result.error().message().find("out of range") != std::string::npos);
  }
  CHECK(q("0e400").is_zero());
  CHECK(q("0.0000000000000000000000000001e30").value() == 100);
  CHECK(q("1e-400").to_text() == "1e-9");
}

TEST_CASE("any quantity survives being printed and read, value and text") {
  SeededRandom random(17);
  const char* endings[] = {"",   "n",  "u",  "m",  "k",  "M",  "G",  "T",   "P",  "E",
                           "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "e-3", "e7", "E-9"};
  int accepted = 0;
  for (int i = 0; i < 50000; ++i) {
    std::string text = random.below(4) == 0 ? "-" : "";
    for (auto digits = 1 + random.below(12); digits > 0; --digits) text += static_cast<char>('0' + random.below(10));
    if (random.below(2) == 0) {
      text += '.';
      for (auto digits = random.below(12); digits > 0; --digits) text += static_cast<char>('0' + random.below(10));
    }
    text += endings[random.below(std::size(endings))];
    const auto parsed = Quantity::parse(text);
    if (!parsed) continue;
    ++accepted;
    const auto printed = parsed->to_text();
    const auto again = Quantity::parse(printed);
    const bool same =
        again.has_value() && *again == *parsed && again->to_text() == printed && printed.find('.') == std::string::npos;
    if (!same) FAIL_CHECK(text << " was printed as " << printed);
  }
  CHECK(accepted > 20000);
}

TEST_CASE("printing agrees with exact arithmetic in a wider type") {
  // The value in billionths, computed here from the text by another way than the library's.
  SeededRandom random(23);
  for (int i = 0; i < 20000; ++i) {
    const auto mantissa = random.below(1'000'000'000);
    const auto shift = random.below(4) * 10;  // "", Ki, Mi, Gi
    const char* suffix[] = {"", "Ki", "Mi", "Gi"};
    const auto places = random.below(4);
    std::string text = std::to_string(mantissa);
    if (places > 0) {
      if (text.size() <= places) text.insert(0, places + 1 - text.size(), '0');
      text.insert(text.size() - places, ".");
    }
    text += suffix[shift / 10];
    long double expected = mantissa;
    for (unsigned k = 0; k < places; ++k) expected /= 10;
    expected *= static_cast<long double>(1ULL << shift);
    const auto value = static_cast<long double>(q(text).value());
    if (value < expected - 1e-3L || value >= expected + 1) FAIL_CHECK(text << " has value " << q(text).value());
  }
}
