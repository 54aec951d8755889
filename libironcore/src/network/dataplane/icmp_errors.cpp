// SPDX-License-Identifier: Apache-2.0
// Deciding on an error and writing it.
#include "icmp_errors.hpp"

#include <algorithm>
#include <cstring>

#include "bytes.hpp"
#include "checksum.hpp"
#include "headers.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t v4_header_bytes = 20;
constexpr std::size_t v6_header_bytes = 40;
constexpr std::size_t icmp_header_bytes = 8;
constexpr std::uint8_t default_hop_limit = 64;
constexpr std::uint8_t icmpv6_redirect = 137;

struct TypeCode {
  std::uint8_t type;
  std::uint8_t code;
};

TypeCode v4_type(IcmpError error) noexcept {
  switch (error) {
    case IcmpError::hop_limit:
      return {11, 0};
    case IcmpError::no_route:
      return {3, 0};
    case IcmpError::host:
      return {3, 1};
    case IcmpError::port:
      return {3, 3};
    case IcmpError::prohibited:
      return {3, 13};
    case IcmpError::source_route:
      return {3, 5};
    case IcmpError::too_big:
      return {3, 4};
    case IcmpError::header_field:
      break;
  }
  return {12, 0};
}

TypeCode v6_type(IcmpError error) noexcept {
  switch (error) {
    case IcmpError::hop_limit:
      return {3, 0};
    case IcmpError::no_route:
      return {1, 0};
    case IcmpError::host:
      return {1, 3};
    case IcmpError::port:
      return {1, 4};
    case IcmpError::prohibited:
      return {1, 1};
    case IcmpError::source_route:
      return {1, 7};
    case IcmpError::too_big:
      return {2, 0};
    case IcmpError::header_field:
      break;
  }
  return {4, 0};
}

/// From 224.0.0.0 on nothing is the address of one host: multicast, reserved, broadcast.
bool is_v4_group(const std::uint8_t* address) noexcept {
  return address[0] >= 224;
}
bool is_v4_host(const std::uint8_t* address) noexcept {
  return address[0] != 0 && address[0] != 127 && !is_v4_group(address);
}
bool is_v6_group(const std::uint8_t* address) noexcept {
  return address[0] == 0xff;
}
bool is_v6_host(const std::uint8_t* address) noexcept {
  // Neither :: nor ::1.
  const bool is_zero = std::all_of(address, address + 15, [](std::uint8_t byte) { return byte == 0; });
  return !(is_zero && address[15] <= 1) && !is_v6_group(address);
}

Unsent check(const std::uint8_t* ip, const Headers& headers, IcmpError error) noexcept {
  const bool is_redirect = headers.is_v6 && headers.has_transport && headers.protocol == protocol_icmpv6 &&
                           headers.icmp_type == icmpv6_redirect;
  if (is_icmp_error(headers) || is_redirect) return Unsent::about_error;
  if (!headers.is_first) return Unsent::fragment;
  if (headers.is_v6) {
    // RFC 4443 §2.4 (e.3): path MTU discovery works for multicast too.
    if (is_v6_group(ip + 24) && error != IcmpError::too_big) return Unsent::destination;
    return is_v6_host(ip + 8) ? Unsent::none : Unsent::source;
  }
  // All zeros was the broadcast address once (RFC 1812 §4.2.3.1).
  if (is_v4_group(ip + 16) || load32(ip + 16) == 0) return Unsent::destination;
  return is_v4_host(ip + 12) ? Unsent::none : Unsent::source;
}

void write_icmp(std::uint8_t* icmp, TypeCode type, std::span<const std::uint8_t> quote) noexcept {
  std::memset(icmp, 0, icmp_header_bytes);
  icmp[0] = type.type;
  icmp[1] = type.code;
  std::memcpy(icmp + icmp_header_bytes, quote.data(), quote.size());
}

std::size_t write_v4(std::span<const std::uint8_t> quote, IcmpError error, std::uint32_t value,
                     std::span<const std::uint8_t> source, std::uint8_t* out) noexcept {
  const auto length = v4_header_bytes + icmp_header_bytes + quote.size();
  std::memset(out, 0, v4_header_bytes);
  out[0] = 0x45;
  // RFC 1812 §4.3.2.5: the service that the packet asked for, and the precedence of internetwork control.
  out[1] = static_cast<std::uint8_t>(0xc0 | (quote[1] & 0x1e));
  store16(out + 2, static_cast<std::uint16_t>(length));
  store16(out + 6, 0x4000);  // never a fragment, so it needs no identification (RFC 6864)
  out[8] = default_hop_limit;
  out[9] = protocol_icmp;
  std::memcpy(out + 12, source.data(), 4);
  std::memcpy(out + 16, quote.data() + 12, 4);
  ChecksumSum header;
  header.add({out, v4_header_bytes});
  store16(out + 10, header.finish());

  auto* icmp = out + v4_header_bytes;
  write_icmp(icmp, v4_type(error), quote);
  if (error == IcmpError::too_big)
    store16(icmp + 6, static_cast<std::uint16_t>(std::min<std::uint32_t>(value, 0xffff)));
  if (error == IcmpError::header_field) icmp[4] = static_cast<std::uint8_t>(value);
  ChecksumSum message;
  message.add({icmp, length - v4_header_bytes});
  store16(icmp + 2, message.finish());
  return length;
}

std::size_t write_v6(std::span<const std::uint8_t> quote, IcmpError error, std::uint32_t value,
                     std::span<const std::uint8_t> source, std::uint8_t* out) noexcept {
  const auto message_bytes = icmp_header_bytes + quote.size();
  std::memset(out, 0, v6_header_bytes);
  out[0] = 0x60;
  store16(out + 4, static_cast<std::uint16_t>(message_bytes));
  out[6] = protocol_icmpv6;
  out[7] = default_hop_limit;
  std::memcpy(out + 8, source.data(), 16);
  std::memcpy(out + 24, quote.data() + 8, 16);

  auto* icmp = out + v6_header_bytes;
  write_icmp(icmp, v6_type(error), quote);
  if (error == IcmpError::too_big || error == IcmpError::header_field) store32(icmp + 4, value);
  ChecksumSum sum;
  sum.add({out + 8, 32});
  sum.add32(static_cast<std::uint32_t>(message_bytes));
  sum.add16(protocol_icmpv6);
  sum.add({icmp, message_bytes});
  store16(icmp + 2, sum.finish());
  return v6_header_bytes + message_bytes;
}

}  // namespace

IcmpErrorBuilt build_icmp_error(std::span<const std::uint8_t> bytes, std::size_t packet_bytes, IcmpError error,
                                std::uint32_t value, std::span<const std::uint8_t> source,
                                std::span<std::uint8_t> out) noexcept {
  Headers headers;
  if (parse(bytes, packet_bytes, headers) != Malformed::none) return {Unsent::malformed};
  if (source.size() != (headers.is_v6 ? 16U : 4U)) return {Unsent::family};
  if (const auto why = check(bytes.data(), headers, error); why != Unsent::none) return {why};
  const auto before_quote = (headers.is_v6 ? v6_header_bytes : v4_header_bytes) + icmp_header_bytes;
  const auto most = (headers.is_v6 ? longest_icmpv6_error : longest_icmp_error) - before_quote;
  const auto quote = bytes.first(std::min({bytes.size(), std::size_t{headers.length}, most}));
  if (out.size() < before_quote + quote.size()) return {Unsent::room};
  const auto write = headers.is_v6 ? write_v6 : write_v4;
  return {Unsent::none, write(quote, error, value, source, out.data())};
}

IcmpErrorLimit::IcmpErrorLimit(std::uint32_t rate, std::uint16_t burst, std::uint64_t ticks_per_second,
                               std::uint64_t now) noexcept
    : rate_(rate),
      ticks_(std::clamp<std::uint64_t>(ticks_per_second, 1, std::uint64_t{1} << 40)),
      full_(burst * ticks_),
      credit_(full_),
      last_(now) {}

bool IcmpErrorLimit::take(std::uint64_t now) noexcept {
  if (now > last_ && rate_ != 0) {
    // Longer than it takes to fill an empty bucket counts no more, and cannot overflow.
    const auto elapsed = std::min(now - last_, full_ / rate_ + 1);
    credit_ = std::min(full_, credit_ + elapsed * rate_);
    last_ = now;
  }
  if (credit_ < ticks_) return false;
  credit_ -= ticks_;
  return true;
}

}  // namespace ironcore::network::dataplane
