// SPDX-License-Identifier: Apache-2.0
// From words to bytes.
#include "ironcorectl/packet_words.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "ironcore/base/ip_address.hpp"
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

struct Transport {
  std::uint8_t protocol;
  Bytes bytes;
  std::size_t checksum_at;
};

Transport transport_of(const std::string& protocol, const End& source, const End& destination) {
  constexpr std::uint8_t syn = 2;
  constexpr std::uint8_t echo_v4 = 8;
  constexpr std::uint8_t echo_v6 = 128;
  Transport out{network::protocol_icmp, {}, 2};
  if (protocol == "icmp") {
    const bool is_v6 = source.address.is_v6();
    if (is_v6) out.protocol = network::protocol_icmpv6;
    out.bytes = {is_v6 ? echo_v6 : echo_v4, 0, 0, 0, 0, 1, 0, 1};
    return out;
  }
  put16(out.bytes, source.port);
  put16(out.bytes, destination.port);
  if (protocol == "udp") {
    out.protocol = network::protocol_udp;
    out.checksum_at = 6;
    put16(out.bytes, 8);
    put16(out.bytes, 0);
    return out;
  }
  out.protocol = network::protocol_tcp;
  out.checksum_at = 16;
  out.bytes.resize(20);
  out.bytes[12] = 0x50;
  out.bytes[13] = syn;
  out.bytes[14] = out.bytes[15] = 0xff;
  return out;
}

}  // namespace

Result<Bytes> frame_of(const std::string& protocol, const std::string& source, const std::string& destination,
                       const MacAddress& source_mac) {
  if (protocol != "tcp" && protocol != "udp" && protocol != "icmp")
    return Error(ErrorCode::invalid, '"' + protocol + "\": expected tcp, udp or icmp");
  const bool has_ports = protocol != "icmp";
  IRONCORE_TRY(const End from, parse_end(source, has_ports));
  IRONCORE_TRY(const End to, parse_end(destination, has_ports));
  if (from.address.is_v6() != to.address.is_v6())
    return Error(ErrorCode::invalid, "both ends must be of one family, IPv4 or IPv6");
  const bool is_v6 = from.address.is_v6();
  Transport transport = transport_of(protocol, from, to);
  Bytes covered;
  if (transport.protocol != network::protocol_icmp) {
    put(covered, from.address);
    put(covered, to.address);
    put16(covered, transport.protocol);
    put16(covered, transport.bytes.size());
  }
  covered.insert(covered.end(), transport.bytes.begin(), transport.bytes.end());
  set_checksum(transport.bytes, transport.checksum_at, covered);

  constexpr std::uint8_t hop_limit = 64;
  Bytes ip;
  if (is_v6) {
    ip = {0x60, 0, 0, 0};
    put16(ip, transport.bytes.size());
    ip.push_back(transport.protocol);
    ip.push_back(hop_limit);
  } else {
    ip = {0x45, 0};
    put16(ip, 20 + transport.bytes.size());
    ip.insert(ip.end(), {0, 0, 0x40, 0, hop_limit, transport.protocol, 0, 0});
  }
  put(ip, from.address);
  put(ip, to.address);
  if (!is_v6) set_checksum(ip, 10, ip);

  constexpr std::size_t least_frame = 60;
  Bytes frame{2, 0, 0, 0, 0, 1};  // whichever: the gateway hears to all
  frame.insert(frame.end(), source_mac.bytes().begin(), source_mac.bytes().end());
  put16(frame, is_v6 ? 0x86dd : 0x0800);
  frame.insert(frame.end(), ip.begin(), ip.end());
  frame.insert(frame.end(), transport.bytes.begin(), transport.bytes.end());
  frame.resize(std::max(frame.size(), least_frame));
  return frame;
}

}  // namespace ironcore::ctl
