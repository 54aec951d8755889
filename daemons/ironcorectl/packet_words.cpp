// SPDX-License-Identifier: Apache-2.0
// From words to bytes.
#include "ironcorectl/packet_words.hpp"

#include <algorithm>
#include <boost/crc.hpp>
#include <charconv>
#include <optional>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/network/protocols.hpp"

namespace ironcore::ctl {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct End {
  IpAddress address;
  std::uint16_t port = 0;
};

Error wrong_end(const std::string& text, const char* expected) {
  return {ErrorCode::invalid, '"' + text + "\": expected " + expected};
}

Result<End> parse_end(const std::string& text, bool has_port) {
  const char* expected = has_port ? "ADDRESS:PORT or [ADDRESS]:PORT" : "an address without a port";
  std::string address = text;
  End end;
  if (has_port) {
    const auto colon = text.rfind(':');
    if (colon == std::string::npos) return wrong_end(text, expected);
    const char* first = text.data() + colon + 1;
    const char* last = text.data() + text.size();
    const auto read = std::from_chars(first, last, end.port);
    if (read.ec != std::errc() || read.ptr != last || first == last) return wrong_end(text, expected);
    address.resize(colon);
    const bool is_in_brackets = address.size() > 2 && address.front() == '[' && address.back() == ']';
    if (is_in_brackets) address = address.substr(1, address.size() - 2);
    if (!is_in_brackets && address.find(':') != std::string::npos) return wrong_end(text, expected);
  }
  const auto parsed = IpAddress::parse(address);
  if (!parsed) return wrong_end(text, expected);
  end.address = *parsed;
  return end;
}

void put16(Bytes& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}
void put(Bytes& out, const IpAddress& address) {
  out.insert(out.end(), address.bytes().begin(), address.bytes().end());
}

/// RFC 1071, of an even number of bytes.
void set_checksum(Bytes& bytes, std::size_t at, const Bytes& covered) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < covered.size(); i += 2)
    sum += static_cast<std::uint32_t>(covered[i] << 8 | covered[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  bytes[at] = static_cast<std::uint8_t>(~sum >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(~sum);
}

/// What `explain` is told about the protocol: `tcp`, `SCTP`, `47`.
Result<std::uint8_t> parse_protocol(const std::string& word) {
  const auto is_same = [](char a, char b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return lower(a) == lower(b);
  };
  for (const auto& [name, number] : network::protocol_words)
    if (std::equal(word.begin(), word.end(), name.begin(), name.end(), is_same)) return number;
  std::uint8_t number = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (failed == std::errc() && end == word.data() + word.size()) return number;
  return Error(ErrorCode::invalid,
               in_quotes(word) + ": expected tcp, udp, sctp, icmp or the number of a protocol, 0 to 255");
}

bool has_ports(std::uint8_t protocol) {
  return protocol == network::protocol_tcp || protocol == network::protocol_udp || protocol == network::protocol_sctp;
}

/// What begins a connection in TCP and SCTP, an echo in ICMP, eight bytes of nothing in what we do not know.
Bytes transport_of(std::uint8_t protocol, const End& source, const End& destination) {
  constexpr std::uint8_t syn = 2;
  constexpr std::uint8_t echo_v4 = 8;
  constexpr std::uint8_t echo_v6 = 128;
  if (protocol == network::protocol_icmp) return {echo_v4, 0, 0, 0, 0, 1, 0, 1};
  if (protocol == network::protocol_icmpv6) return {echo_v6, 0, 0, 0, 0, 1, 0, 1};
  Bytes out;
  if (!has_ports(protocol)) {
    out.resize(8);
    return out;
  }
  put16(out, source.port);
  put16(out, destination.port);
  if (protocol == network::protocol_udp) {
    put16(out, 8);
    put16(out, 0);
  } else if (protocol == network::protocol_sctp) {
    // RFC 9260 §3.3.2: an INIT of one stream each way.
    out.insert(out.end(), {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1});
  } else {
    out.resize(20);
    out[12] = 0x50;
    out[13] = syn;
    out[14] = out[15] = 0xff;
  }
  return out;
}

/// Over the transport, and what is counted in besides.
void finish_checksum(Bytes& transport, std::uint8_t protocol, const End& from, const End& to) {
  if (protocol == network::protocol_sctp) {
    boost::crc_optimal<32, 0x1edc6f41, 0xffffffff, 0xffffffff, true, true> crc32c;
    crc32c.process_bytes(transport.data(), transport.size());
    for (std::size_t i = 0; i < 4; ++i) transport[8 + i] = static_cast<std::uint8_t>(crc32c.checksum() >> (8 * i));
    return;
  }
  const std::size_t at = protocol == network::protocol_tcp ? 16 : protocol == network::protocol_udp ? 6 : 2;
  const bool is_icmp = protocol == network::protocol_icmp || protocol == network::protocol_icmpv6;
  if (!is_icmp && !has_ports(protocol)) return;
  Bytes covered;
  if (protocol != network::protocol_icmp) {
    put(covered, from.address);
    put(covered, to.address);
    put16(covered, protocol);
    put16(covered, transport.size());
  }
  covered.insert(covered.end(), transport.begin(), transport.end());
  set_checksum(transport, at, covered);
}

}  // namespace

Result<Bytes> frame_of(const std::string& protocol, const std::string& source, const std::string& destination,
                       const MacAddress& source_mac) {
  IRONCORE_TRY(auto number, parse_protocol(protocol));
  IRONCORE_TRY(const End from, parse_end(source, has_ports(number)));
  IRONCORE_TRY(const End to, parse_end(destination, has_ports(number)));
  if (from.address.is_v6() != to.address.is_v6())
    return Error(ErrorCode::invalid, "both ends must be of one family, IPv4 or IPv6");
  const bool is_v6 = from.address.is_v6();
  // Whoever says icmp means the one of these addresses.
  if (is_v6 && number == network::protocol_icmp) number = network::protocol_icmpv6;
  Bytes transport = transport_of(number, from, to);
  finish_checksum(transport, number, from, to);

  constexpr std::uint8_t hop_limit = 64;
  Bytes ip;
  if (is_v6) {
    ip = {0x60, 0, 0, 0};
    put16(ip, transport.size());
    ip.push_back(number);
    ip.push_back(hop_limit);
  } else {
    ip = {0x45, 0};
    put16(ip, 20 + transport.size());
    ip.insert(ip.end(), {0, 0, 0x40, 0, hop_limit, number, 0, 0});
  }
  put(ip, from.address);
  put(ip, to.address);
  if (!is_v6) set_checksum(ip, 10, ip);

  constexpr std::size_t least_frame = 60;
  Bytes frame{2, 0, 0, 0, 0, 1};  // whichever: the gateway hears to all
  frame.insert(frame.end(), source_mac.bytes().begin(), source_mac.bytes().end());
  put16(frame, is_v6 ? 0x86dd : 0x0800);
  frame.insert(frame.end(), ip.begin(), ip.end());
  frame.insert(frame.end(), transport.begin(), transport.end());
  frame.resize(std::max(frame.size(), least_frame));
  return frame;
}

}  // namespace ironcore::ctl
