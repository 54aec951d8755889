// SPDX-License-Identifier: Apache-2.0
// The CRC of SCTP, against its definition bit by bit.
#include "dataplane/crc32c.hpp"

#include <doctest/doctest.h>

#include <string_view>

#include "checked_packets.hpp"
#include "dataplane/rewrite.hpp"

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

}  // namespace

TEST_CASE("known checksums (RFC 3720 appendix B.4)") {
  CHECK(crc32c(Bytes(32, 0)) == 0x8a9136aa);
  CHECK(crc32c(Bytes(32, 0xff)) == 0x62a8ab43);
  CHECK(crc32c(bytes_of("123456789")) == 0xe3069283);
  CHECK(crc32c({}) == 0);
  CHECK(crc32c_of(bytes_of("123456789")) == 0xe3069283);
}

TEST_CASE("a checksum of pieces is that of the whole") {
  RandomPackets random(1);
  for (int round = 0; round < 200; ++round) {
    const auto all = random.bytes(random.below(300));
    const auto cut = random.below(static_cast<std::uint32_t>(all.size()) + 1);
    CHECK(crc32c(slice(all, cut), crc32c(slice(all, 0, cut))) == crc32c(all));
    CHECK(crc32c(all) == crc32c_of(all));
  }
}

TEST_CASE("what four bytes change is what a new sum would say") {
  RandomPackets random(2);
  for (int round = 0; round < 500; ++round) {
    const auto behind = round < 20 ? static_cast<std::size_t>(round) : random.below(70'000);
    const auto front = random.bytes(4);
    const auto other = random.bytes(4);
    const auto rest = random.bytes(behind);
    CHECK((crc32c(front + rest) ^ crc32c(other + rest)) == crc32c_change(get32(front, 0) ^ get32(other, 0), behind));
  }
}

TEST_CASE("new ports leave a right SCTP packet right, and a wrong one as wrong as it was") {
  RandomPackets random(3);
  for (int round = 0; round < 200; ++round) {
    auto packet = sctp_summed(random.bytes(12 + random.below(1500)));
    const auto error = round % 2 == 0 ? 0 : 1 + random.below(0xffff);
    put32(packet, 8, get32(packet, 8) ^ error);
    const auto source = random.word();
    const auto destination = random.word();
    auto expected = packet;
    put16(expected, 0, source);
    put16(expected, 2, destination);
    expected = sctp_summed(expected);
    put32(expected, 8, get32(expected, 8) ^ error);
    change_sctp_ports(packet.data(), packet.size(), source, destination);
    CHECK(packet == expected);
  }
}
