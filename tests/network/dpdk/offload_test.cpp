// SPDX-License-Identifier: Apache-2.0
// Checksums that a sender left open are right on the wire, and long packets leave as several right ones.
#include <doctest/doctest.h>

#include <numeric>

#include "dataplane/bytes.hpp"
#include "environment.hpp"
#include "ironcore/network/protocols.hpp"

namespace ironcore::tests {

namespace {

using network::dataplane::load16;
using network::dataplane::load32;

struct Shape {
  const char* name;
  bool is_v6;
  bool is_tcp;
  bool has_tunnel;
};
constexpr std::array<Shape, 8> shapes{{{"TCP", false, true, false},
                                       {"UDP", false, false, false},
                                       {"TCP in IPv6", true, true, false},
                                       {"UDP in IPv6", true, false, false},
                                       {"TCP in a tunnel", false, true, true},
                                       {"UDP in a tunnel", false, false, true},
                                       {"TCP in IPv6 in a tunnel", true, true, true},
                                       {"UDP in IPv6 in a tunnel", true, false, true}}};

std::size_t ip_at(const Shape& shape) {
  return shape.has_tunnel ? 54 : 14;
}
std::size_t transport_at(const Shape& shape) {
  return ip_at(shape) + (shape.is_v6 ? 40 : 20);
}
std::size_t headers_of(const Shape& shape) {
  return transport_at(shape) + (shape.is_tcp ? 32 : 8);
}
std::size_t checksum_at(const Shape& shape) {
  return transport_at(shape) + (shape.is_tcp ? 16 : 6);
}

/// What the transport's checksum covers beside the transport.
Bytes pseudo_header(const Shape& shape, const Bytes& frame, std::size_t transport_bytes) {
  const auto ip = frame.begin() + static_cast<std::ptrdiff_t>(ip_at(shape));
  Bytes out = shape.is_v6 ? Bytes(ip + 8, ip + 40) : Bytes(ip + 12, ip + 20);
  out = out + Bytes{0, static_cast<std::uint8_t>(shape.is_tcp ? 6 : 17), 0, 0};
  put16(out, out.size() - 2, static_cast<std::uint16_t>(transport_bytes));
  return out;
}

/// A frame whose checksum field holds only the sum of the pseudo header.
Bytes unfinished(const Shape& shape, std::size_t payload) {
  Bytes frame(headers_of(shape) + payload);
  std::iota(frame.begin() + static_cast<std::ptrdiff_t>(headers_of(shape)), frame.end(), std::uint8_t{3});
  const Bytes macs{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  std::copy(macs.begin(), macs.end(), frame.begin());
  put16(frame, 12, shape.is_v6 || shape.has_tunnel ? 0x86dd : 0x0800);
  const auto ip = ip_at(shape);
  const auto ip_bytes = frame.size() - ip;
  if (shape.has_tunnel) {
    frame[14] = 0x60;
    put16(frame, 18, static_cast<std::uint16_t>(ip_bytes));
    frame[20] = shape.is_v6 ? 41 : 4;
    frame[21] = 64;
    put_address(frame, 22, "fc00::1");
    put_address(frame, 38, "fc00::2");
  }
  if (shape.is_v6) {
    frame[ip] = 0x60;
    put16(frame, ip + 4, static_cast<std::uint16_t>(ip_bytes - 40));
    frame[ip + 6] = shape.is_tcp ? 6 : 17;
    frame[ip + 7] = 64;
    put_address(frame, ip + 8, "2001:db8::1");
    put_address(frame, ip + 24, "2001:db8::2");
  } else {
    frame[ip] = 0x45;
    put16(frame, ip + 2, static_cast<std::uint16_t>(ip_bytes));
    put16(frame, ip + 4, 0xfffe);
    frame[ip + 8] = 64;
    frame[ip + 9] = shape.is_tcp ? 6 : 17;
    put_address(frame, ip + 12, "10.0.0.1");
    put_address(frame, ip + 16, "10.0.0.2");
    const auto begin = frame.begin() + static_cast<std::ptrdiff_t>(ip);
    put16(frame, ip + 10, checksum_of(Bytes(begin, begin + 20)));
  }
  const auto transport = transport_at(shape);
  put16(frame, transport, 4000);
  put16(frame, transport + 2, 5000);
  if (shape.is_tcp) {
    frame[transport + 4] = 0xff;  // the sequence number wraps
    frame[transport + 5] = 0xff;
    frame[transport + 6] = 0xff;
    frame[transport + 7] = 0x00;
    frame[transport + 12] = 0x80;
    frame[transport + 13] = 0x80 | 0x10 | 0x08 | 0x01;  // CWR, ACK, PSH, FIN
  } else {
    put16(frame, transport + 4, static_cast<std::uint16_t>(8 + payload));
  }
  const auto sum = checksum_of(pseudo_header(shape, frame, frame.size() - transport));
  put16(frame, checksum_at(shape), static_cast<std::uint16_t>(~sum));
  return frame;
}

void check_checksums(const Shape& shape, const Bytes& frame) {
  const auto transport = transport_at(shape);
  const auto begin = frame.begin() + static_cast<std::ptrdiff_t>(transport);
  CHECK(checksum_of(pseudo_header(shape, frame, frame.size() - transport) + Bytes(begin, frame.end())) == 0);
  const auto ip = frame.begin() + static_cast<std::ptrdiff_t>(ip_at(shape));
  if (!shape.is_v6) CHECK(checksum_of(Bytes(ip, ip + 20)) == 0);
}

/// Two ends of a wire; what is sent at one comes out at the other.
class Wire {
 public:
  explicit Wire(std::uint16_t mtu = 1500, std::size_t buffer_bytes = 2048)
      : near_(dpdk_ports({.buffers = 2048, .buffer_bytes = buffer_bytes})), far_(dpdk_ports()) {
    near_number_ = open_port(*near_, dpdk_port("near", "ring:offload", mtu)).number;
    far_number_ = open_port(*far_, dpdk_port("far", "ring:offload", 9000)).number;
    wait_up(*near_, "near");
    near_->quiesce(0);
    far_->quiesce(0);
  }
  std::vector<Bytes> pass(const Bytes& frame, const network::PacketOffload& offload) {
    auto packet = near_->allocate(0);
    REQUIRE(packet.has_value());
    put(*packet, frame);
    packet->offload = offload;
    packet->port = near_number_;
    near_->send(0, {&*packet, 1});
    std::vector<Bytes> out;
    std::array<network::Packet, 64> came;
    while (const auto count = far_->receive(far_number_, 0, came)) {
      for (const auto& one : std::span(came).first(count)) out.push_back(bytes_of(one));
      far_->release(std::span(came).first(count));
    }
    return out;
  }
  network::PortCounters counters() { return near_->counters("near").value(); }

 private:
  std::unique_ptr<network::Ports> near_;
  std::unique_ptr<network::Ports> far_;
  std::uint32_t near_number_ = 0;
  std::uint32_t far_number_ = 0;
};

}  // namespace

TEST_CASE("a checksum that was left open is finished, in a tunnel too") {
  Wire wire;
  for (const auto& shape : shapes) {
    for (const std::size_t payload : {0, 1, 2, 31, 1000}) {
      CAPTURE(shape.name);
      CAPTURE(payload);
      const auto frame = unfinished(shape, payload);
      const auto out = wire.pass(frame, {.needs_checksum = true});
      REQUIRE(out.size() == 1);
      check_checksums(shape, out[0]);
      auto same = out[0];
      put16(same, checksum_at(shape), load16(&frame[checksum_at(shape)]));
      CHECK(same == frame);
      CHECK(wire.pass(frame, {}) == Frames{frame});
    }
  }
}

TEST_CASE("padding behind the packet is in no checksum") {
  Wire wire;
  auto frame = unfinished(shapes[1], 4);
  frame.resize(60, 0xee);
  auto out = wire.pass(frame, {.needs_checksum = true});
  REQUIRE(out.size() == 1);
  CHECK(out[0].size() == 60);
  out[0].resize(14 + 20 + 8 + 4);
  check_checksums(shapes[1], out[0]);
}

TEST_CASE("a UDP checksum that comes out as 0 is written as all ones (RFC 768)") {
  Wire wire;
  const auto& shape = shapes[1];
  auto frame = unfinished(shape, 2);
  const auto at = headers_of(shape);
  put16(frame, at, 0);
  auto out = wire.pass(frame, {.needs_checksum = true});
  put16(frame, at, load16(&out.at(0)[checksum_at(shape)]));  // with it the sum is all ones
  out = wire.pass(frame, {.needs_checksum = true});
  CHECK(load16(&out.at(0)[checksum_at(shape)]) == 0xffff);
}

TEST_CASE("a long packet leaves as several, each right by itself") {
  Wire wire(1500, 16384);
  for (const auto& shape : shapes) {
    for (const std::uint16_t segment : std::initializer_list<std::uint16_t>{1, 100, 1000, 1380}) {
      CAPTURE(shape.name);
      CAPTURE(segment);
      const std::size_t payload = segment == 1 ? 700 : 5003;
      const auto frame = unfinished(shape, payload);
      const auto out = wire.pass(frame, {.needs_checksum = true, .segment_bytes = segment});
      REQUIRE(out.size() == (payload + segment - 1) / segment);
      const auto headers = headers_of(shape);
      const auto transport = transport_at(shape);
      Bytes joined;
      for (std::size_t i = 0; i < out.size(); ++i) {
        const auto& one = out[i];
        const bool is_last = i + 1 == out.size();
        REQUIRE(one.size() == headers + (is_last ? payload - i * segment : segment));
        check_checksums(shape, one);
        const auto ip = ip_at(shape);
        if (shape.has_tunnel) CHECK(load16(&one[18]) == one.size() - 54);
        if (shape.is_v6) {
          CHECK(load16(&one[ip + 4]) == one.size() - ip - 40);
        } else {
          CHECK(load16(&one[ip + 2]) == one.size() - ip);
          CHECK(load16(&one[ip + 4]) == static_cast<std::uint16_t>(0xfffe + i));
        }
        if (shape.is_tcp) {
          CHECK(load32(&one[transport + 4]) == static_cast<std::uint32_t>(0xffffff00 + i * segment));
          CHECK(one[transport + 13] == ((i == 0 ? 0x80 : 0) | 0x10 | (is_last ? 0x08 | 0x01 : 0)));
        } else {
          CHECK(load16(&one[transport + 4]) == one.size() - transport);
        }
        joined.insert(joined.end(), one.begin() + static_cast<std::ptrdiff_t>(headers), one.end());
      }
      CHECK(joined == Bytes(frame.begin() + static_cast<std::ptrdiff_t>(headers), frame.end()));
    }
  }
  CHECK(wire.counters().unsent == 0);
}

TEST_CASE("what cannot be done is counted, and does not leave") {
  Wire wire(1500, 16384);
  const auto& tcp = shapes[0];
  std::uint64_t unsent = 0;
  const auto refused = [&](const char* what, const Bytes& frame, const network::PacketOffload& offload) {
    CAPTURE(what);
    CHECK(wire.pass(frame, offload).empty());
    const auto now = wire.counters().unsent;
    CHECK(now > unsent);
    unsent = now;
  };
  refused("more than 1,024 packets", unfinished(tcp, 5000), {.needs_checksum = true, .segment_bytes = 1});
  refused("segments beyond the MTU", unfinished(tcp, 5000), {.needs_checksum = true, .segment_bytes = 1500});
  refused("longer than the MTU", unfinished(tcp, 1600), {.needs_checksum = true});
  refused("longer than the MTU without anything to do", unfinished(tcp, 1600), {});
  auto frame = unfinished(tcp, 100);
  frame[14 + 9] = 132;
  put16(frame, 14 + 10, 0);
  put16(frame, 14 + 10, checksum_of(Bytes(frame.begin() + 14, frame.begin() + 34)));
  refused("SCTP", frame, {.needs_checksum = true});
  frame = unfinished(tcp, 100);
  put16(frame, 12, 0x0806);
  refused("ARP", frame, {.needs_checksum = true});
  frame = unfinished(tcp, 100);
  frame[14 + 6] = 0x20;
  put16(frame, 14 + 10, 0);
  put16(frame, 14 + 10, checksum_of(Bytes(frame.begin() + 14, frame.begin() + 34)));
  refused("a fragment", frame, {.needs_checksum = true});
  refused("cut short", Bytes(frame.begin(), frame.begin() + 40), {.needs_checksum = true});
  refused("no Ethernet header", Bytes(13), {});
}

}  // namespace ironcore::tests
