// SPDX-License-Identifier: Apache-2.0
// Any packet: errors about it, what it quotes through a NAT, and its translation. What comes out can be read, and sums that were right are right.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "dataplane/bytes.hpp"
#include "dataplane/checksum.hpp"
#include "dataplane/headers.hpp"
#include "dataplane/icmp_errors.hpp"
#include "dataplane/icmp_quote.hpp"
#include "dataplane/nat64.hpp"

using namespace ironcore::network::dataplane;

static void require(bool holds) {
  if (!holds) std::abort();
}

namespace {

/// Memory that ends with the packet, so that a sanitizer sees what is beyond.
struct Copy {
  explicit Copy(std::span<const std::uint8_t> from, std::size_t room_before = 0)
      : memory(std::make_unique<std::uint8_t[]>(room_before + from.size())),
        packet{memory.get() + room_before, from.size(), room_before} {
    std::copy(from.begin(), from.end(), packet.begin);
  }
  std::span<std::uint8_t> bytes() const { return {packet.begin, packet.length}; }

  std::unique_ptr<std::uint8_t[]> memory;
  PacketBytes packet;
};

std::size_t checksum_at(const Headers& headers) {
  if (!headers.has_transport || headers.is_fragment) return 0;
  if (headers.protocol == protocol_tcp) return 16;
  if (headers.protocol == protocol_udp) return 6;
  return headers.protocol == protocol_icmp || headers.protocol == protocol_icmpv6 ? 2 : 0;
}

std::uint16_t transport_sum(std::span<const std::uint8_t> bytes, const Headers& headers) {
  auto size = headers.length - headers.transport;
  if (headers.protocol == protocol_udp) size = load16(bytes.data() + headers.transport + 4);
  ChecksumSum sum;
  if (headers.protocol != protocol_icmp) {
    sum.add(headers.is_v6 ? bytes.subspan(8, 32) : bytes.subspan(12, 8));
    sum.add32(size);
    sum.add16(headers.protocol);
  }
  sum.add(bytes.subspan(headers.transport, size));
  return sum.folded();
}

/// Else nothing would get beyond the checksums.
void repair(std::span<std::uint8_t> bytes) {
  if (bytes.size() >= 20 && bytes[0] >> 4 == 4) {
    const auto size = std::min<std::size_t>(bytes.size(), (bytes[0] & 15U) * 4);
    store16(bytes.data() + 10, 0);
    ChecksumSum sum;
    sum.add(bytes.first(size));
    store16(bytes.data() + 10, sum.finish());
  }
  Headers headers;
  if (parse(bytes, bytes.size(), headers) != Malformed::none || checksum_at(headers) == 0) return;
  auto* const at = bytes.data() + headers.transport + checksum_at(headers);
  store16(at, 0);
  const auto made = static_cast<std::uint16_t>(~transport_sum(bytes, headers));
  store16(at, headers.protocol == protocol_udp && made == 0 ? 0xffff : made);
}

bool is_right(std::span<const std::uint8_t> bytes) {
  Headers headers;
  require(parse(bytes, bytes.size(), headers) == Malformed::none);
  const auto at = checksum_at(headers);
  if (at == 0) return true;
  if (headers.protocol == protocol_udp && load16(bytes.data() + headers.transport + at) == 0) return !headers.is_v6;
  return transport_sum(bytes, headers) == 0xffff;
}

template <class To>
bool translates(Copy& copy, const To& to) {
  Headers headers;
  bool was_right = false;
  if (parse(copy.bytes(), copy.packet.length, headers) == Malformed::none) was_right = is_right(copy.bytes());
  const auto* const end = copy.packet.begin + copy.packet.length;
  if (translate(copy.packet, to).result != Translation::done) return false;
  require(copy.packet.begin == copy.memory.get() + copy.packet.headroom);
  require(copy.packet.begin + copy.packet.length <= end);
  require(parse(copy.bytes(), copy.packet.length, headers) == Malformed::none);
  require(headers.length == copy.packet.length);
  require(!was_right || is_right(copy.bytes()));
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const auto choice = data[0];
  const std::size_t headroom = data[1] % 64;
  const std::uint16_t port = data[2] * 257;
  Copy input({data + 3, size - 3});
  if ((choice & 1) != 0) repair(input.bytes());
  const auto bytes = input.bytes();
  const bool is_v6 = !bytes.empty() && bytes[0] >> 4 == 6;

  ToV4 to_v4{.packet = {.source = {203, 0, 113, 1}, .destination = {192, 0, 2, 7}},
             .quoted = {.source = {192, 0, 2, 7}, .destination = {203, 0, 113, 1}}};
  ToV6 to_v6{.packet = {.source = well_known_prefix, .destination = {0x20, 1, 0xd, 0xb8}},
             .quoted = {.source = {0x20, 1, 0xd, 0xb8}, .destination = well_known_prefix}};
  if ((choice & 2) != 0) to_v4.packet.source_port = to_v4.quoted.destination_port = port;
  if ((choice & 2) != 0) to_v6.packet.destination_port = to_v6.quoted.source_port = port;
  if ((choice & 4) != 0) to_v6.udp = ZeroChecksum::refuse;
  const std::span<const std::uint8_t> address_v4(to_v4.packet.source), address_v6(to_v6.packet.source);
  const auto address = is_v6 ? address_v6 : address_v4;

  Copy error(std::span<const std::uint8_t>(data, 0), (is_v6 ? longest_icmpv6_error : longest_icmp_error));
  const std::span<std::uint8_t> out(error.memory.get(), is_v6 ? longest_icmpv6_error : longest_icmp_error);
  const auto built = build_icmp_error(bytes, bytes.size(), static_cast<IcmpError>(choice >> 5), port, address, out);
  require(built.unsent != Unsent::room && built.bytes <= out.size());
  if (built.unsent == Unsent::none) require(is_right(out.first(built.bytes)));

  Copy through(bytes);
  QuotedChange change{.source = {address, {}}, .destination = {}};
  if ((choice & 2) != 0) change.source.port = port;
  if (rewrite_icmp_quote(through.bytes(), through.packet.length, change) == QuoteResult::done)
    require(is_right(through.bytes()));
  else
    require(std::ranges::equal(through.bytes(), bytes));

  Copy translated(bytes, headroom);
  if (is_v6 ? translates(translated, to_v4) : translates(translated, to_v6))
    is_v6 ? translates(translated, to_v6) : translates(translated, to_v4);
  else
    require(std::ranges::equal(translated.bytes(), bytes));
  return 0;
}
