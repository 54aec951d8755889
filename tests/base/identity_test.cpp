// SPDX-License-Identifier: Apache-2.0
// Random bytes, UUIDs and base64.
#include <doctest/doctest.h>

#include <set>
#include <unordered_set>

#include "ironcore/base/base64.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/base/uid.hpp"

using namespace ironcore;

TEST_CASE("a random UUID is of version 4 and never the same") {
  std::unordered_set<Uid> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto uid = Uid::random();
    CHECK(uid.version() == 4);
    CHECK((uid.bytes()[8] & 0xc0U) == 0x80);
    CHECK(Uid::parse(uid.to_text()).value() == uid);
    seen.insert(uid);
  }
  CHECK(seen.size() == 1000);
}

TEST_CASE("a UUID is read in either case and written in lower case") {
  const auto uid = Uid::parse("123E4567-e89b-42d3-A456-426614174000").value();
  CHECK(uid.to_text() == "123e4567-e89b-42d3-a456-426614174000");
  CHECK_FALSE(uid.is_nil());
  CHECK(Uid().is_nil());
  CHECK(Uid().to_text() == "00000000-0000-0000-0000-000000000000");
  for (const auto* text : {"", "123e4567e89b42d3a456426614174000", "123e4567-e89b-42d3-a456-42661417400",
                           "123e4567-e89b-42d3-a456-4266141740000", "123e4567-e89b-42d3-a456_426614174000",
                           "123e4567-e89b-42d3-a456-42661417400g", "{23e4567-e89b-42d3-a456-426614174000}"}) {
    CAPTURE(text);
    CHECK(Uid::parse(text).has_error());
  }
}

TEST_CASE("the same seed gives the same randomness") {
  SeededRandom first(5), second(5), third(6);
  const auto a = Uid::random(first), b = Uid::random(second), c = Uid::random(third);
  CHECK(a == b);
  CHECK(a != c);
  CHECK(random_suffix(5, first) == random_suffix(5, second));
}

TEST_CASE("a random suffix uses the alphabet of Kubernetes") {
  std::set<char> seen;
  SystemRandom random;
  for (int i = 0; i < 1000; ++i) {
    const auto text = random_suffix(5, random);
    REQUIRE(text.size() == 5);
    CHECK(text.find_first_not_of("bcdfghjklmnpqrstvwxz2456789") == std::string::npos);
    seen.insert(text.begin(), text.end());
  }
  CHECK(seen.size() == 27);
  CHECK(random_suffix(0).empty());
}

TEST_CASE("numbers below a bound are below it and reach all values") {
  SeededRandom random(1);
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.below(7));
  CHECK(seen.size() == 7);
  CHECK(*seen.rbegin() == 6);
  CHECK(random.below(0) == 0);
  CHECK(random.below(1) == 0);
}

TEST_CASE("base64 agrees with the examples of RFC 4648") {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : cases) {
    CHECK(base64_encode(std::string_view(plain)) == coded);
    CHECK(base64_decode(coded).value() == plain);
  }
}

TEST_CASE("any bytes survive base64") {
  SeededRandom random(9);
  for (std::size_t size = 0; size < 300; ++size) {
    Bytes bytes(size);
    random.fill(bytes);
    CHECK(base64_decode(base64_encode(bytes)).value() == as_text(bytes));
  }
}

TEST_CASE("malformed base64 is refused without telling its content") {
  for (const auto* text :
       {"Z", "Zg", "Zg=", "Zg==Zg==", "Zm9v\n", "Z===", "====", "Zh==", "Zm9=", "Zm-_", " Zg==", "Zg= =", "=Zg="}) {
    CAPTURE(text);
    const auto result = base64_decode(text);
    REQUIRE(result.has_error());
    CHECK(result.error().code() == ErrorCode::invalid);
    CHECK(result.error().message().find("Z") == std::string::npos);
  }
}
