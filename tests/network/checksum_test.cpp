// SPDX-License-Identifier: Apache-2.0
// Checksums and their changes, against the sum over all bytes.
#include "dataplane/checksum.hpp"

#include <doctest/doctest.h>

#include <random>

#include "packets.hpp"

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

TEST_CASE("the sum is that of RFC 1071 for any length") {
  // The example of RFC 1071 §3.
  ChecksumSum example;
  example.add(Bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7});
  CHECK(example.folded() == 0xddf2);
  std::mt19937 random(2);  // NOLINT
  for (std::size_t size = 0; size < 300; ++size) {
    Bytes bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    ChecksumSum sum;
    sum.add(bytes);
    CHECK(sum.finish() == checksum_of(bytes));
  }
}

TEST_CASE("a change of words gives the checksum of the changed bytes") {
  // The example of RFC 1624 §4, where equation 2 of RFC 1141 is wrong.
  ChecksumDelta example;
  example.replace16(0x5555, 0x3285);
  CHECK(example.apply(0xdd2f) == 0x0000);

  std::mt19937 random(3);  // NOLINT
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes(64);
    // Zeros and ones are where one's complement has two forms of the same number.
    for (auto& byte : bytes)
      byte = random() % 3 == 0 ? 0 : random() % 3 == 0 ? 0xff : static_cast<std::uint8_t>(random());
    bytes[0] = 0x45;
    const auto before = checksum_of(bytes);
    ChecksumDelta delta;
    for (auto changes = random() % 6; changes > 0; --changes) {
      const auto at = 2 + 2 * (random() % 31);
      const auto value = static_cast<std::uint16_t>(random() % 4 == 0 ? 0 : random());
      delta.replace16(static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]), value);
      put16(bytes, at, value);
    }
    REQUIRE(delta.apply(before) == checksum_of(bytes));
  }
}

TEST_CASE("addresses of different length can replace each other") {
  const Bytes v4{10, 0, 0, 1}, v6{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1}, rest{1, 2, 3, 4};
  ChecksumDelta delta;
  delta.replace(v6, v4);
  CHECK(delta.apply(checksum_of(v6 + rest)) == checksum_of(v4 + rest));
  ChecksumDelta back;
  back.replace(v4, v6);
  CHECK(back.apply(checksum_of(v4 + rest)) == checksum_of(v6 + rest));
}

TEST_CASE("UDP without a checksum stays without, and a sum of zero is written as ones") {
  ChecksumDelta delta;
  delta.replace16(1, 2);
  CHECK(delta.apply_udp(0) == 0);
  ChecksumDelta to_zero;
  to_zero.replace16(0x5555, 0x3285);
  CHECK(to_zero.apply_udp(0xdd2f) == 0xffff);
}
