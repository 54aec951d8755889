// SPDX-License-Identifier: Apache-2.0
// Frames between a machine and its gateway: read and checked, written and summed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "bytes.hpp"
#include "headers.hpp"
#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"
#include "local_services.hpp"

namespace ironcore::network::dataplane {

using ConstBytes = std::span<const std::uint8_t>;

inline constexpr std::size_t ethernet_bytes = 14;
inline constexpr std::size_t udp_bytes = 8;
inline constexpr std::uint16_t ethertype_ipv4 = 0x0800;
inline constexpr std::uint16_t ethertype_arp = 0x0806;
inline constexpr std::uint16_t ethertype_ipv6 = 0x86dd;
inline constexpr MacAddress broadcast_mac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
inline constexpr IpAddress all_nodes_v6 = IpAddress::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
inline constexpr IpAddress unspecified_v6 = IpAddress::v6({});

/// Reads 6 bytes.
MacAddress load_mac(const std::uint8_t* at) noexcept;
/// Reads 4 or 16 bytes.
IpAddress load_v4(const std::uint8_t* at) noexcept;
IpAddress load_v6(const std::uint8_t* at) noexcept;
/// RFC 2464 §7.
MacAddress multicast_mac(const IpAddress& group) noexcept;
/// Whether a network card can have it: neither a group nor zero.
bool is_station(const MacAddress& mac) noexcept;
/// Whether a host can have it: neither unspecified, nor a group, nor a loopback, nor broadcast or of the reserved class E.
bool is_host_address(const IpAddress& address) noexcept;

/// An IP packet in a frame.
struct Received {
  MacAddress source_mac;
  IpAddress source;
  IpAddress destination;
  Headers headers;
  ConstBytes transport;  ///< header and all; UDP without what follows its length
};

/// `not_mine` for another Ethertype, `malformed` for what `parse` refuses.
NoReply receive_ip(ConstBytes frame, std::uint16_t ethertype, Received& received) noexcept;
/// Of ICMP, ICMPv6 or UDP; UDP over IPv4 may have none.
bool has_right_checksum(const Received& received) noexcept;

/// Writes into a span and never beyond it: what does not fit is not written and makes the whole thing `is_cut`.
class Writer {
 public:
  explicit Writer(std::span<std::uint8_t> into) noexcept : into_(into) {}

  void put8(std::uint8_t value) noexcept { put({&value, 1}); }
  void put16(std::uint16_t value) noexcept {
    if (auto* at = take(2)) store16(at, value);
  }
  void put32(std::uint32_t value) noexcept {
    if (auto* at = take(4)) store32(at, value);
  }
  void put(ConstBytes bytes) noexcept {
    if (auto* at = take(bytes.size())) std::copy(bytes.begin(), bytes.end(), at);
  }
  void put(const IpAddress& address) noexcept { put(address.bytes()); }
  void put(const MacAddress& mac) noexcept { put(ConstBytes(mac.bytes())); }
  void put(std::string_view text) noexcept {
    if (auto* at = take(text.size())) std::copy(text.begin(), text.end(), at);
  }
  void put_zeros(std::size_t count) noexcept {
    if (auto* at = take(count)) std::fill_n(at, count, std::uint8_t{0});
  }
  /// Over two bytes that were written.
  void set16(std::size_t at, std::uint16_t value) noexcept {
    if (at + 2 <= size_) store16(into_.data() + at, value);
  }

  /// No more than this many bytes in all.
  void limit(std::size_t most) noexcept { into_ = into_.first(std::max(std::min(most, into_.size()), size_)); }
  std::size_t size() const noexcept { return size_; }
  std::size_t room() const noexcept { return into_.size() - size_; }
  bool is_cut() const noexcept { return is_cut_; }
  ConstBytes written() const noexcept { return into_.first(size_); }

 private:
  std::uint8_t* take(std::size_t count) noexcept {
    if (is_cut_ || count > room()) {
      is_cut_ = true;
      return nullptr;
    }
    auto* at = into_.data() + size_;
    size_ += count;
    return at;
  }

  std::span<std::uint8_t> into_;
  std::size_t size_ = 0;
  bool is_cut_ = false;
};

/// Where a frame goes; it comes from the gateway.
struct Destination {
  MacAddress mac;
  IpAddress address;
};

/// Ethernet and the IP header without lengths and checksum, into an empty writer.
void begin_ip(Writer& out, const LocalServices& services, const Destination& to, std::uint8_t protocol,
              std::uint8_t hop_limit) noexcept;
/// Likewise, and the ports.
void begin_udp(Writer& out, const LocalServices& services, const Destination& to, std::uint16_t source_port,
               std::uint16_t destination_port) noexcept;
/// Fills in all lengths and checksums of a frame with ICMP, ICMPv6 or UDP.
Answer finish_ip(Writer& out) noexcept;

}  // namespace ironcore::network::dataplane
