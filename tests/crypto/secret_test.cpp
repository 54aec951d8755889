// SPDX-License-Identifier: Apache-2.0
// Secret bytes are compared, made and forgotten.
#include "ironcore/crypto/secret.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace ironcore;
using namespace ironcore::crypto;

TEST_CASE("bytes are equal only if length and content are") {
  CHECK(constant_time_equal(as_bytes("abc"), as_bytes("abc")));
  CHECK_FALSE(constant_time_equal(as_bytes("abc"), as_bytes("abd")));
  CHECK_FALSE(constant_time_equal(as_bytes("abc"), as_bytes("ab")));
  CHECK(constant_time_equal({}, {}));
}

TEST_CASE("random bytes differ") {
  CHECK(random_bytes(32).size() == 32);
  CHECK(random_bytes(32) != random_bytes(32));
  CHECK(random_bytes(0).empty());
}

TEST_CASE("wiped bytes are zero") {
  auto bytes = random_bytes(100);
  wipe(bytes);
  CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; }));
  std::string text = "a passphrase";
  const char* data = text.data();
  wipe(text);
  CHECK(text.empty());
  CHECK(data[0] == '\0');
}
