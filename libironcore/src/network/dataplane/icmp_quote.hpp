// SPDX-License-Identifier: Apache-2.0
// The packet inside an ICMP error, when the error passes a NAT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace ironcore::network::dataplane {

struct Headers;

/// `bytes` is all of an ICMP or ICMPv6 message and what is before it, as `parse` has read it; no fragment.
bool is_icmp_checksum_right(std::span<const std::uint8_t> bytes, const Headers& headers) noexcept;

/// What becomes of one side of the quoted packet.
struct QuotedSide {
  std::span<const std::uint8_t> address;  ///< 4 or 16 bytes; empty: it stays
  std::optional<std::uint16_t> port;      ///< of TCP, UDP and SCTP, or the identifier of an echo; none: it stays
};

/// The quoted packet went the other way than the error: where a NAT replaces the error's destination it replaces the quoted source.
/// An echo has one identifier; if both sides give one, the source's counts.
struct QuotedChange {
  QuotedSide source;
  QuotedSide destination;
};

enum class QuoteResult : std::uint8_t {
  done,
  malformed,  ///< the error itself, or what it quotes is cut before the ports, or they are of different families
  no_error,   ///< not an ICMP error, or a later fragment of one
  family,     ///< a new address is of the other one
  checksum,   ///< wrong before: that of the error or of the quoted IPv4 header (RFC 5508 §4.1)
};

/// Rewrites the quoted addresses and ports (RFC 5508 §4.2), the quoted checksums as far as they are inside the quote, and the error's checksum.
/// Of later fragments only addresses are there to be rewritten. A quoted SCTP checksum is left: no receiver of an error can verify it.
/// The addresses of the error itself are the caller's. `bytes`, which begins with the IP header, and `packet_bytes` are as for `parse`; the
/// error's checksum is verified if all of it is in `bytes`. Unless `done`, nothing has changed. Thread: any.
QuoteResult rewrite_icmp_quote(std::span<std::uint8_t> bytes, std::size_t packet_bytes,
                               const QuotedChange& change) noexcept;

}  // namespace ironcore::network::dataplane
