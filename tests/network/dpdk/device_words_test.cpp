// SPDX-License-Identifier: Apache-2.0
// Nothing that people write reaches a driver unread.
#include "dpdk/device_words.hpp"

#include <doctest/doctest.h>

#include <array>

namespace ironcore::tests {

using network::dpdk::Kind;
using network::dpdk::parse_device;

TEST_CASE("the words of a device are read") {
  CHECK(parse_device("pci:0000:01:00.0").value().name == "0000:01:00.0");
  CHECK(parse_device("tap:machine-1").value().kind == Kind::tap);
  CHECK(parse_device("af_packet:eth0.5").value().name == "eth0.5");
  CHECK(parse_device("null").value().kind == Kind::null);
  CHECK(parse_device("ring:wire_1").value().name == "wire_1");
  CHECK(parse_device("vhost:/run/guest.sock").value().name == "/run/guest.sock");
  const auto memif = parse_device("memif:role=client,socket=/run/a.sock,id=7").value();
  CHECK(memif.socket == "/run/a.sock");
  CHECK(memif.role == "client");
  CHECK(memif.id == 7);
  const auto pcap = parse_device("pcap:rx=/tmp/in.pcap,tx=out.pcap,infinite_rx=1").value();
  CHECK(pcap.rx == "/tmp/in.pcap");
  CHECK(pcap.tx == "out.pcap");
  CHECK(pcap.is_infinite);
  CHECK(parse_device("pcap:tx=out.pcap").value().rx.empty());
}

TEST_CASE("what a driver could read as something else is refused, and the field is named") {
  const std::string long_path(108, 'a');
  for (const std::string text : {"",
                                 "x",
                                 "pcap",
                                 "tapp:x",
                                 "tap",
                                 "tap:",
                                 "tap:a,mac=fixed",
                                 "tap:a b",
                                 "tap:a/b",
                                 "tap:..",
                                 "tap:0123456789abcdef",
                                 "tap:a\n",
                                 "af_packet:eth0,qpairs=9",
                                 "af_packet:",
                                 "pci:01:00.0",
                                 "pci:0000:01:00.8",
                                 "pci:0000:01:00.0,x=1",
                                 "pci:0000:01:00.g",
                                 "null:",
                                 "null:no-rx=0",
                                 "ring:",
                                 "vhost",
                                 "vhost:",
                                 "vhost:/a,b",
                                 "ring:a.b",
                                 "ring:a,b",
                                 "ring:012345678901234567890",
                                 "memif:",
                                 "memif:socket=/a",
                                 "memif:socket=/a,role=both",
                                 "memif:socket=/a,role=server,id=-1",
                                 "memif:socket=/a,role=server,id=4294967296",
                                 "memif:socket=/a,role=server,id=1x",
                                 "memif:socket=/a,socket=/b,role=server",
                                 "memif:socket=/a,role=server,secret=x",
                                 "memif:socket,role=server",
                                 "pcap:",
                                 "pcap:rx=",
                                 "pcap:rx=/a,iface=eth0",
                                 "pcap:rx=/a,infinite_rx=2",
                                 "pcap:tx=/a,infinite_rx=1",
                                 "pcap:rx=[/a]",
                                 "pcap:rx=/a b",
                                 "pcap:rx=/a\"b"}) {
    CAPTURE(text);
    const auto result = parse_device(text);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == ErrorCode::invalid);
    REQUIRE(result.error().fields().size() == 1);
    CHECK(result.error().fields()[0].field == "device");
  }
  CHECK_FALSE(parse_device("pcap:rx=" + long_path).has_value());
  CHECK_FALSE(parse_device(std::string("tap:a\0b", 7)).has_value());
  CHECK(parse_device("af_paket:x").error().message().find("did you mean \"af_packet\"") != std::string::npos);
  CHECK(parse_device("pcap:rx=/a,infinite=1").error().message().find("did you mean \"infinite_rx\"") !=
        std::string::npos);
}

}  // namespace ironcore::tests
