// SPDX-License-Identifier: Apache-2.0
// Deltas are computed once for a flow, and applied to each packet (RFC 1624).
#include "rewrite.hpp"

#include <cstring>
#include <span>

#include "bytes.hpp"
#include "checksum.hpp"
#include "crc32c.hpp"
#include "icmp_quote.hpp"

namespace ironcore::network::dataplane {

namespace {

std::span<const std::uint8_t> source_of(const FlowKey& key) noexcept {
  return {key.source(), key.address_bytes()};
}
std::span<const std::uint8_t> destination_of(const FlowKey& key) noexcept {
  return {key.destination(), key.address_bytes()};
}

/// Where the addresses stand in an IP header.
struct AddressPlaces {
  std::uint32_t source;
  std::uint32_t destination;
  std::uint32_t bytes;
};
AddressPlaces places(bool is_v6) noexcept {
  return is_v6 ? AddressPlaces{8, 24, 16} : AddressPlaces{12, 16, 4};
}

void change_v4_checksum(std::uint8_t* ip, ChecksumDelta delta) noexcept {
  store16(ip + 10, delta.apply(load16(ip + 10)));
}

/// What the card is to finish is a sum of the pseudo header only, and not complemented.
void change_transport_checksum(std::uint8_t* at, const Action& action, bool is_udp, bool is_unfinished) noexcept {
  if (is_unfinished) {
    const auto sum = static_cast<std::uint16_t>(~load16(at));
    store16(at, static_cast<std::uint16_t>(~ChecksumDelta::of(action.addresses_sum).apply(sum)));
    return;
  }
  const auto delta = ChecksumDelta::of(action.transport_sum);
  store16(at, is_udp ? delta.apply_udp(load16(at)) : delta.apply(load16(at)));
}

}  // namespace

void compile_rewrite(Action& action, const FlowKey& key, const FlowKey& opposite) noexcept {
  const FlowKey after = opposite.reversed(key.scope());
  action.rewrites = !(after == key);
  if (!action.rewrites) return;
  ChecksumDelta addresses;
  addresses.replace(source_of(key), source_of(after));
  addresses.replace(destination_of(key), destination_of(after));
  action.addresses_sum = addresses.value();
  const std::uint8_t protocol = key.protocol();
  ChecksumDelta transport;
  if (protocol != protocol_icmp) transport = addresses;  // that of ICMP has no pseudo header
  transport.replace16(key.source_port(), after.source_port());
  const bool is_echo = protocol == protocol_icmp || protocol == protocol_icmpv6;
  if (!is_echo) transport.replace16(key.destination_port(), after.destination_port());
  action.transport_sum = transport.value();
}

void change_sctp_ports(std::uint8_t* sctp, std::size_t bytes, std::uint16_t source,
                       std::uint16_t destination) noexcept {
  constexpr std::size_t ports = 4;
  constexpr std::size_t checksum = 8;
  const std::uint32_t after = std::uint32_t{source} << 16 | destination;
  const std::uint32_t change = crc32c_change(load32(sctp) ^ after, bytes - ports);
  store32(sctp, after);
  // The lowest byte comes first.
  store32(sctp + checksum, load32(sctp + checksum) ^ __builtin_bswap32(change));
}

bool rewrite(const Rewritten& at, const Action& action, const FlowKey& opposite) noexcept {
  const Headers& headers = at.headers;
  const bool has_same_ports =
      headers.source_port == opposite.destination_port() && headers.destination_port == opposite.source_port();
  if (headers.protocol == protocol_sctp && headers.is_fragment && !has_same_ports) return false;
  std::uint8_t* ip = at.packet.frame + at.ip;
  const auto where = places(headers.is_v6);
  std::memcpy(ip + where.source, opposite.destination(), where.bytes);
  std::memcpy(ip + where.destination, opposite.source(), where.bytes);
  if (!headers.is_v6) change_v4_checksum(ip, ChecksumDelta::of(action.addresses_sum));
  if (!headers.has_transport) return true;
  std::uint8_t* transport = ip + headers.transport;
  const bool is_unfinished = at.packet.offload.needs_checksum;
  switch (headers.protocol) {
    case protocol_tcp:
      store16(transport, opposite.destination_port());
      store16(transport + 2, opposite.source_port());
      change_transport_checksum(transport + 16, action, false, is_unfinished);
      break;
    case protocol_udp:
      store16(transport, opposite.destination_port());
      store16(transport + 2, opposite.source_port());
      change_transport_checksum(transport + 6, action, true, is_unfinished);
      break;
    case protocol_icmp:
    case protocol_icmpv6:
      if (is_echo(headers)) store16(transport + 4, opposite.destination_port());
      change_transport_checksum(transport + 2, action, false, false);
      // Both say zero, but of a message that is nothing but zeros only this one is right.
      if (load16(transport + 2) == 0) store16(transport + 2, 0xffff);
      break;
    case protocol_sctp:
      if (!has_same_ports)
        change_sctp_ports(transport, headers.length - headers.transport, opposite.destination_port(),
                          opposite.source_port());
      break;
    default:
      break;  // others have no checksum over addresses
  }
  return true;
}

bool rewrite_error(const Rewritten& at, const FlowKey& key, const FlowKey& opposite) noexcept {
  std::uint8_t* ip = at.packet.frame + at.ip;
  const Headers& headers = at.headers;
  const auto where = places(headers.is_v6);
  const bool is_from_end = std::memcmp(ip + where.source, key.source(), where.bytes) == 0;
  if (!is_from_end && !key.scope().is_wire()) return false;
  const QuotedChange change{{source_of(opposite), opposite.source_port()},
                            {destination_of(opposite), opposite.destination_port()}};
  const std::size_t here = at.packet.bytes - at.ip;
  if (rewrite_icmp_quote({ip, here}, headers.length, change) != QuoteResult::done) return false;

  ChecksumDelta delta;
  const auto replace = [&](std::uint32_t place, const std::uint8_t* with) {
    delta.replace({ip + place, where.bytes}, {with, where.bytes});
    std::memcpy(ip + place, with, where.bytes);
  };
  if (is_from_end) replace(where.source, opposite.destination());
  replace(where.destination, opposite.source());
  if (headers.is_v6) {
    std::uint8_t* checksum = ip + headers.transport + 2;
    store16(checksum, delta.apply(load16(checksum)));
  } else {
    change_v4_checksum(ip, delta);
  }
  return true;
}

}  // namespace ironcore::network::dataplane
