// SPDX-License-Identifier: Apache-2.0
// Rewriting by differences: what a quote has lost is not needed for it.
#include "icmp_quote.hpp"

#include <algorithm>
#include <cstring>

#include "bytes.hpp"
#include "checksum.hpp"
#include "headers.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t icmp_header_bytes = 8;

/// Where the transport's checksum is, from the transport on; 0 if it has none that covers addresses or ports.
std::size_t checksum_at(std::uint8_t protocol) noexcept {
  switch (protocol) {
    case protocol_tcp:
      return 16;
    case protocol_udp:
      return 6;
    case protocol_icmp:
    case protocol_icmpv6:
      return 2;
    default:
      return 0;
  }
}

class Rewriter {
 public:
  Rewriter(std::span<std::uint8_t> quote, const Headers& headers) noexcept : quote_(quote), headers_(headers) {}

  void address(std::size_t at, std::span<const std::uint8_t> value) noexcept {
    if (value.empty()) return;
    const auto before = quote_.subspan(at, value.size());
    error_.replace(before, value);
    addresses_.replace(before, value);
    std::memcpy(before.data(), value.data(), value.size());
  }

  /// Of a transport whose first eight bytes are there.
  void port(std::size_t at, std::optional<std::uint16_t> value) noexcept {
    if (!value) return;
    auto* place = quote_.data() + headers_.transport + at;
    const auto before = load16(place);
    error_.replace16(before, *value);
    ports_.replace16(before, *value);
    store16(place, *value);
  }

  /// The quoted checksums; then by how much the error's changes.
  ChecksumDelta finish() noexcept {
    if (!headers_.is_v6) set_checksum(10, addresses_.apply(load16(quote_.data() + 10)));
    const auto within = checksum_at(headers_.protocol);
    const auto place = headers_.transport + within;
    const auto end = std::min<std::size_t>(quote_.size(), headers_.length);
    if (!headers_.has_transport || within == 0 || place + 2 > end) return error_;
    auto delta = ports_;
    // ICMP is the only one without a pseudo header.
    if (headers_.protocol != protocol_icmp) delta.join(addresses_);
    const auto before = load16(quote_.data() + place);
    set_checksum(place, headers_.protocol == protocol_udp ? delta.apply_udp(before) : delta.apply(before));
    return error_;
  }

 private:
  void set_checksum(std::size_t at, std::uint16_t value) noexcept {
    error_.replace16(load16(quote_.data() + at), value);
    store16(quote_.data() + at, value);
  }

  std::span<std::uint8_t> quote_;
  const Headers& headers_;
  ChecksumDelta addresses_;
  ChecksumDelta ports_;
  ChecksumDelta error_;
};

}  // namespace

bool is_icmp_checksum_right(std::span<const std::uint8_t> bytes, const Headers& headers) noexcept {
  const auto message = bytes.subspan(headers.transport, headers.length - headers.transport);
  ChecksumSum sum;
  sum.add(message);
  if (headers.is_v6) {
    sum.add(bytes.subspan(8, 32));
    sum.add32(static_cast<std::uint32_t>(message.size()));
    sum.add16(protocol_icmpv6);
  }
  return sum.folded() == 0xffff;
}

QuoteResult rewrite_icmp_quote(std::span<std::uint8_t> bytes, std::size_t packet_bytes,
                               const QuotedChange& change) noexcept {
  Headers error;
  if (parse(bytes, packet_bytes, error) != Malformed::none) return QuoteResult::malformed;
  if (!is_icmp_error(error)) return QuoteResult::no_error;
  const auto at_hand = std::min<std::size_t>(bytes.size(), error.length);
  const auto quote = bytes.first(at_hand).subspan(error.transport + icmp_header_bytes);
  Headers quoted;
  if (parse(quote, quote.size(), quoted, Extent::quoted) != Malformed::none || quoted.is_v6 != error.is_v6)
    return QuoteResult::malformed;

  const auto address_bytes = quoted.is_v6 ? 16U : 4U;
  for (const auto& side : {change.source, change.destination})
    if (!side.address.empty() && side.address.size() != address_bytes) return QuoteResult::family;

  if (error.length <= bytes.size() && !error.is_fragment && !is_icmp_checksum_right(bytes, error))
    return QuoteResult::checksum;
  if (!quoted.is_v6) {
    ChecksumSum header;
    header.add(quote.first(quoted.transport));
    if (header.folded() != 0xffff) return QuoteResult::checksum;
  }

  Rewriter rewriter(quote, quoted);
  const std::size_t source_at = quoted.is_v6 ? 8 : 12;
  rewriter.address(source_at, change.source.address);
  rewriter.address(source_at + address_bytes, change.destination.address);
  if (quoted.has_transport) {
    if (quoted.protocol == protocol_icmp || quoted.protocol == protocol_icmpv6) {
      if (is_echo(quoted)) rewriter.port(4, change.source.port ? change.source.port : change.destination.port);
    } else {
      rewriter.port(0, change.source.port);
      rewriter.port(2, change.destination.port);
    }
  }
  auto* checksum = bytes.data() + error.transport + 2;
  store16(checksum, rewriter.finish().apply(load16(checksum)));
  return QuoteResult::done;
}

}  // namespace ironcore::network::dataplane
