// SPDX-License-Identifier: Apache-2.0
// Addresses, prefixes, MAC addresses and network identifiers as values.
#include <doctest/doctest.h>

#include <random>
#include <unordered_set>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/base/vni.hpp"

using namespace ironcore;

namespace {

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}
Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}

}  // namespace

TEST_CASE("an IPv4 address is read and written") {
  CHECK(ip("10.0.0.1") == IpAddress::v4(0x0a000001));
  CHECK(ip("10.0.0.1").v4_value() == 0x0a000001);
  CHECK(ip("255.255.255.255").to_text() == "255.255.255.255");
  CHECK(IpAddress().to_text() == "0.0.0.0");
}

TEST_CASE("an IPv6 address is written as RFC 5952 asks") {
  const std::pair<const char*, const char*> cases[] = {
      {"::", "::"},
      {"::1", "::1"},
      {"1::", "1::"},
      {"2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"},
      {"2001:0db8::0001", "2001:db8::1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"0:0:0:0:0:0:0:0", "::"},
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"::ffff:10.0.0.1", "::ffff:10.0.0.1"},
      {"64:ff9b::10.0.0.1", "64:ff9b::a00:1"},
      {"1:2:3:4:5:6:7.8.9.10", "1:2:3:4:5:6:708:90a"},
      {"fe80::1", "fe80::1"},
  };
  for (const auto& row : cases) {
    const auto* text = row.first;
    const auto* canonical = row.second;
    CAPTURE(text);
    CHECK(ip(text).to_text() == canonical);
    CHECK(ip(canonical) == ip(text));
  }
}

TEST_CASE("any address survives being written and read") {
  SeededRandom random(3);
  for (int i = 0; i < 3000; ++i) {
    std::array<std::uint8_t, 16> bytes{};
    random.fill(std::as_writable_bytes(std::span(bytes)));
    for (auto& byte : bytes)
      if (random.below(2) == 0) byte = 0;  // runs of zeros are where mistakes live
    const auto six = IpAddress::v6(bytes);
    const auto four = IpAddress::from_bytes(std::span(bytes).first(4)).value();
    CHECK(ip(six.to_text()) == six);
    CHECK(ip(four.to_text()) == four);
  }
}

TEST_CASE("malformed addresses are refused") {
  for (const auto* text : {"",
                           " ",
                           "1",
                           "1.2.3",
                           "1.2.3.4.5",
                           "1.2.3.256",
                           "01.2.3.4",
                           "1.2.3.4 ",
                           " 1.2.3.4",
                           "1.2.3.",
                           ".1.2.3",
                           "1..2.3",
                           "-1.2.3.4",
                           "1.2.3.0x4",
                           ":",
                           ":::",
                           "1:2:3:4:5:6:7",
                           "1:2:3:4:5:6:7:8:9",
                           "1:2:3:4:5:6:7:8::",
                           "::1::",
                           "12345::",
                           "g::",
                           "1:",
                           ":1",
                           "fe80::1%eth0",
                           "::1.2.3",
                           "1.2.3.4::",
                           "1:2:3:4:5:6:7:1.2.3.4",
                           "::1.2.3.4:5",
                           "[::1]"}) {
    CAPTURE(text);
    const auto address = IpAddress::parse(text);
    REQUIRE(address.has_error());
    CHECK(address.error().code() == ErrorCode::invalid);
  }
  CHECK(IpAddress::from_bytes(std::array<std::uint8_t, 5>{}).has_error());
}

TEST_CASE("hostile text is quoted, cut and without control characters in the message") {
  const auto error = IpAddress::parse(std::string(1000, 'x') + "\n").error();
  CHECK(error.message().size() < 200);
  CHECK(IpAddress::parse("1\n2").error().message().find('\n') == std::string::npos);
}

TEST_CASE("special ranges are recognised") {
  CHECK(ip("0.0.0.0").is_unspecified());
  CHECK(ip("::").is_unspecified());
  CHECK(ip("127.3.2.1").is_loopback());
  CHECK(ip("::1").is_loopback());
  CHECK_FALSE(ip("::2").is_loopback());
  CHECK_FALSE(ip("1::1").is_loopback());
  CHECK(ip("224.0.0.1").is_multicast());
  CHECK(ip("ff02::1").is_multicast());
  CHECK_FALSE(ip("223.255.255.255").is_multicast());
  CHECK(ip("169.254.1.1").is_link_local());
  CHECK(ip("febf::").is_link_local());
  CHECK_FALSE(ip("fec0::").is_link_local());
}

TEST_CASE("addresses are ordered by family and value, and hashed") {
  CHECK(ip("9.0.0.0") < ip("10.0.0.0"));
  CHECK(ip("255.0.0.0") < ip("::"));
  CHECK(ip("::") != ip("0.0.0.0"));
  std::unordered_set<IpAddress> seen;
  for (std::uint32_t i = 0; i < 1000; ++i) seen.insert(IpAddress::v4(i));
  CHECK(seen.size() == 1000);
}

TEST_CASE("a prefix keeps its host bits and can clear them") {
  const auto given = prefix("10.1.2.3/20");
  CHECK(given.to_text() == "10.1.2.3/20");
  CHECK(given.network() == prefix("10.1.0.0/20"));
  CHECK(given != given.network());
  CHECK(given.first() == ip("10.1.0.0"));
  CHECK(given.last() == ip("10.1.15.255"));
  CHECK(prefix("2001:db8::1/33").network().to_text() == "2001:db8::/33");
  CHECK(prefix("2001:db8::/127").last() == ip("2001:db8::1"));
  CHECK(prefix("0.0.0.0/0").last() == ip("255.255.255.255"));
  CHECK(Prefix::host(ip("10.0.0.1")) == prefix("10.0.0.1/32"));
  CHECK(Prefix::host(ip("::1")).is_host());
}

TEST_CASE("a prefix contains its addresses and its parts") {
  CHECK(prefix("10.0.0.9/8").contains(ip("10.255.0.1")));
  CHECK_FALSE(prefix("10.0.0.0/8").contains(ip("11.0.0.0")));
  CHECK_FALSE(prefix("0.0.0.0/0").contains(ip("::")));
  CHECK(prefix("::/0").contains(ip("ff::")));
  CHECK(prefix("10.0.0.0/8").contains(prefix("10.2.0.0/16")));
  CHECK_FALSE(prefix("10.2.0.0/16").contains(prefix("10.0.0.0/8")));
  CHECK(prefix("10.2.0.0/16").overlaps(prefix("10.0.0.0/8")));
  CHECK_FALSE(prefix("10.2.0.0/16").overlaps(prefix("10.3.0.0/16")));
}

TEST_CASE("malformed prefixes are refused") {
  for (const auto* text :
       {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/8/8", "/8",
        "10.0.0.0 /8", "10.0.0.0/8 ", "10.0.0.0/99999999999", "10.0.0.0/255.0.0.0"}) {
    CAPTURE(text);
    const auto result = Prefix::parse(text);
    REQUIRE(result.has_error());
    CHECK(result.error().code() == ErrorCode::invalid);
  }
  CHECK(Prefix::make(ip("10.0.0.0"), 33).has_error());
  CHECK(Prefix::make(ip("10.0.0.0"), 32).value() == prefix("10.0.0.0/32"));
}

TEST_CASE("a MAC address is read in both notations and written with colons") {
  const auto mac = MacAddress::parse("52-54-00-AB-cd-09").value();
  CHECK(mac.to_text() == "52:54:00:ab:cd:09");
  CHECK(MacAddress::parse(mac.to_text()).value() == mac);
  CHECK(mac.is_local());
  CHECK_FALSE(mac.is_multicast());
  CHECK(MacAddress::parse("01:00:5e:00:00:01").value().is_multicast());
  for (const auto* text : {"", "52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:567", "52:54-00:12:34:56",
                           "525400123456", "5g:54:00:12:34:56", "52.54.00.12.34.56"}) {
    CAPTURE(text);
    CHECK(MacAddress::parse(text).has_error());
  }
}

TEST_CASE("a VNI has 24 bits") {
  CHECK(Vni::parse("16777215").value().value() == Vni::max);
  CHECK(Vni::parse("0").value() == Vni());
  CHECK(Vni::make(100).value().to_text() == "100");
  CHECK(Vni::make(Vni::max + 1).error().code() == ErrorCode::invalid);
  for (const auto* text : {"", "16777216", "-1", "+1", "01", "1 ", "0x1", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK(Vni::parse(text).has_error());
  }
}
