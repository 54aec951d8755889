// SPDX-License-Identifier: Apache-2.0
// From one family to the other: NAT64 and virtual services; and what is too long for the machine that it is for.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "bytes.hpp"
#include "icmp_errors.hpp"
#include "local_frames.hpp"
#include "nat64.hpp"
#include "worker.hpp"
#include "worker_packets.hpp"

namespace ironcore::network::dataplane {

namespace {

/// Of an IPv4 packet that becomes an IPv6 packet.
std::uint32_t growth_of(const Headers& headers) noexcept {
  constexpr std::uint32_t header_growth = 20;
  constexpr std::uint32_t fragment_header_bytes = 8;
  return header_growth + (headers.is_fragment ? fragment_header_bytes : 0);
}

}  // namespace

Drop Worker::execute_translated(const Snapshot& snapshot, const Action& action, const FlowKey& opposite,
                                std::uint32_t owner, Work& work) noexcept {
  if (action.verdict == Verdict::machine && !work.headers.is_v6) {
    const std::uint32_t growth = growth_of(work.headers);
    const std::uint32_t mtu = options_.gateway.mtu;
    if (length_on_the_way(*work.packet, work.headers, inner_of(*work.packet, work.ip)) + growth > mtu)
      return tell_too_big(snapshot, mtu - growth, owner, work);
  }
  const Drop drop = translate_family(opposite, work);
  return drop == Drop::none ? pass_on(snapshot, action, owner, work) : drop;
}

/// Another host, or the public, may have a greater MTU than the machines here. Who is told is the sender of a flow that a machine here has and whose answers
/// know the way.
[[gnu::noinline]] Drop Worker::refuse_length(const Snapshot& snapshot, Work& work) noexcept {
  if (work.packet->is_from_here || is_explaining_) return Drop::too_big;
  work.hash = flows_.hash(work.key);
  const auto found = find(snapshot, work.key, work.hash, {});
  if (!found) {
    if (may_cross(*work.packet))
      if (const Drop drop = hand_over(snapshot, work); drop != Drop::none) return drop;
    return Drop::too_big;
  }
  const Connection& connection = flows_[found.connection()];
  const auto& action = connection.side(found.direction()).action;
  if (action.verdict == Verdict::drop) return static_cast<Drop>(action.out);
  if (action.verdict != Verdict::machine || connection.state.is_one_sided) return Drop::too_big;
  const std::uint32_t growth = action.translates_family ? growth_of(work.headers) : 0;
  work.is_answered = true;
  return tell_too_big(snapshot, options_.gateway.mtu - growth, connection.state.owner, work);
}

/// The packet becomes an error about itself (RFC 1191, RFC 4443 §3.2), from the address that it was for, and goes the way of the machine's own packets. Also without DF:
/// a packet stays one packet here, and who is told the MTU of a path cuts what does not fit.
Drop Worker::tell_too_big(const Snapshot& snapshot, std::uint32_t mtu, std::uint32_t owner, Work& work) noexcept {
  const auto found = is_explaining_ ? FlowTable::Reference() : flows_.find(work.key, work.hash);
  if (!found) return Drop::too_big;
  Packet& packet = *work.packet;
  std::uint8_t* ip = inner_of(packet, work.ip);
  std::array<std::uint8_t, longest_icmpv6_error> error;
  const bool is_v6 = work.headers.is_v6;
  const std::span<const std::uint8_t> source{ip + (is_v6 ? 24 : 16), is_v6 ? std::size_t{16} : std::size_t{4}};
  const std::size_t here = std::min(packet.bytes - work.ip, work.headers.length);
  const auto built = build_icmp_error({ip, here}, work.headers.length, IcmpError::too_big, mtu, source, error);
  if (built.unsent != Unsent::none || packet.room - work.ip < built.bytes || !gateway_.may_tell(owner, now_ns_))
    return Drop::too_big;
  std::copy_n(error.begin(), built.bytes, ip);
  packet.bytes = packet.frame_bytes = work.ip + static_cast<std::uint32_t>(built.bytes);
  packet.offload = {};
  work.headers = {};
  if (parse({ip, built.bytes}, built.bytes, work.headers) != Malformed::none) return Drop::too_big;
  // It sets out from here; counted down when it leaves.
  *(ip - outer_bytes + 7) = outer_hop_limit + 1;
  ++packets_[static_cast<std::size_t>(Drop::too_big)];
  return carry(snapshot, flows_[found.connection()].side(opposite(found.direction())).action, owner, work);
}

/// Of NAT64 and virtual services. The packet begins anew behind a frame's header.
Drop Worker::translate_family(const FlowKey& opposite, Work& work) noexcept {
  Packet& packet = *work.packet;
  std::uint8_t* ip = inner_of(packet, work.ip);
  PacketBytes bytes;
  bytes.begin = ip;
  bytes.length = std::min(packet.bytes - work.ip, work.headers.length);
  bytes.headroom = packet.headroom + work.ip - ethernet_bytes;
  bytes.beyond = work.headers.length - bytes.length;
  bytes.has_pseudo_sum_only = packet.offload.needs_checksum;
  // What a translated "too big" may say: the machine's side is held to its MTU, and so is IPv4 everywhere.
  const std::uint32_t mtu = options_.gateway.mtu;
  Translated translated;
  const auto ports = [&](auto& ends, std::uint16_t source, std::uint16_t destination) {
    ends.source_port = source;
    ends.destination_port = destination;
  };
  if (work.headers.is_v6) {
    ToV4 to;
    std::memcpy(to.packet.source.data(), opposite.destination(), 4);
    std::memcpy(to.packet.destination.data(), opposite.source(), 4);
    ports(to.packet, opposite.destination_port(), opposite.source_port());
    to.quoted.source = to.packet.destination;
    to.quoted.destination = to.packet.source;
    ports(to.quoted, opposite.source_port(), opposite.destination_port());
    to.identification = ++identification_;
    to.v4_mtu = mtu;
    if (work.is_from_machine) to.v6_mtu = mtu;
    translated = translate(bytes, to);
  } else {
    V4Address source;
    std::memcpy(source.data(), ip + 12, source.size());
    ToV6 to;
    // A router between may have sent an error; of what a machine sends, nothing has another source.
    to.packet.source = *embed(well_known_prefix, 96, source);
    if (work.is_from_machine) std::memcpy(to.packet.source.data(), opposite.destination(), 16);
    std::memcpy(to.packet.destination.data(), opposite.source(), 16);
    ports(to.packet, opposite.destination_port(), opposite.source_port());
    std::memcpy(to.quoted.source.data(), opposite.source(), 16);
    std::memcpy(to.quoted.destination.data(), opposite.destination(), 16);
    ports(to.quoted, opposite.source_port(), opposite.destination_port());
    to.v4_mtu = mtu;
    if (!work.is_from_machine) to.v6_mtu = mtu;
    translated = translate(bytes, to);
  }
  if (translated.result != Translation::done) return Drop::translation;
  packet.move_front(static_cast<std::int32_t>(bytes.begin - packet.frame) - static_cast<std::int32_t>(ethernet_bytes));
  work.ip = ethernet_bytes;
  packet.bytes = static_cast<std::uint32_t>(ethernet_bytes + bytes.length);
  packet.frame_bytes = static_cast<std::uint32_t>(packet.bytes + bytes.beyond);
  Headers headers;
  if (parse({bytes.begin, bytes.length}, bytes.length + bytes.beyond, headers) != Malformed::none)
    return Drop::translation;
  work.headers = headers;
  return Drop::none;
}

}  // namespace ironcore::network::dataplane
