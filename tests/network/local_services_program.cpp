// SPDX-License-Identifier: Apache-2.0
// For local_services_test.py: each line of standard input is a frame in hexadecimal digits; a line comes back with the answer, or why there is none.
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "dataplane/arp.hpp"
#include "dataplane/dhcpv4.hpp"
#include "dataplane/dhcpv6.hpp"
#include "dataplane/gateway_ping.hpp"
#include "dataplane/neighbor_discovery.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;

namespace {

std::vector<std::uint8_t> from_hex(const std::string& line) {
  std::vector<std::uint8_t> bytes(line.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    std::from_chars(line.data() + 2 * i, line.data() + 2 * i + 2, bytes[i], 16);
  return bytes;
}

}  // namespace

int main() {
  const std::array dns_v4{IpAddress::parse("10.0.0.53").value(), IpAddress::parse("10.0.0.54").value()};
  const std::array dns_v6{IpAddress::parse("2001:db8::53").value()};
  LocalServices told;
  told.gateway_mac = MacAddress::parse("02:00:00:00:00:fe").value();
  told.ipv4 = IpAddress::parse("10.1.2.3").value();
  told.ipv6 = IpAddress::parse("2001:db8::3").value();
  told.hostname = "web-1";
  told.mtu = 1450;
  told.dns_v4 = dns_v4;
  told.dns_v6 = dns_v6;
  told.boot = NetworkBoot{.server_v4 = IpAddress::parse("10.0.0.9").value(),
                          .server_v6 = IpAddress::parse("2001:db8::9").value(),
                          .path = "/boot"};
  for (std::string line; std::getline(std::cin, line);) {
    const auto frame = from_hex(line);
    std::array<std::uint8_t, 2048> reply;
    Answer answer;
    for (const auto service : {answer_arp, answer_neighbor_discovery, answer_dhcpv4, answer_dhcpv6, answer_ping}) {
      answer = service(frame, told, reply);
      if (answer.why != NoReply::not_mine) break;
    }
    if (answer.length == 0) std::printf("none %d", static_cast<int>(answer.why));
    for (const auto byte : std::span(reply).first(answer.length)) std::printf("%02x", byte);
    std::printf("\n");
    std::fflush(stdout);
  }
}
