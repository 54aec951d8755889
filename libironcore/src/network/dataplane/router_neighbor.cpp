// SPDX-License-Identifier: Apache-2.0
// States, letters and frames of routers.
#include "router_neighbor.hpp"

#include <algorithm>

#include "checksum.hpp"
#include "local_frames.hpp"
#include "neighbor_discovery.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint8_t neighbor_solicitation = 135;
constexpr std::uint8_t neighbor_advertisement = 136;
constexpr std::uint8_t on_link_hop_limit = 255;
constexpr std::uint32_t flag_solicited = 0x40000000;
constexpr std::uint32_t flag_overrides = 0x20000000;
constexpr std::size_t v6_bytes = 40;

struct Ends {
  MacAddress from_mac;
  MacAddress to_mac;
  IpAddress from;
  IpAddress to;
};

/// A message of neighbor discovery with one target and one MAC.
std::size_t write_message(const Ends& ends, std::uint8_t type, std::uint32_t flags, const IpAddress& target,
                          std::uint8_t option, std::span<std::uint8_t> frame) noexcept {
  constexpr std::uint16_t message_bytes = 32;
  Writer out(frame);
  out.put(ends.to_mac);
  out.put(ends.from_mac);
  out.put16(ethertype_ipv6);
  out.put32(0x60000000);
  out.put16(message_bytes);
  out.put8(protocol_icmpv6);
  out.put8(on_link_hop_limit);
  out.put(ends.from);
  out.put(ends.to);
  out.put8(type);
  out.put8(0);
  out.put16(0);
  out.put32(flags);
  out.put(target);
  out.put8(option);
  out.put8(1);
  out.put(ends.from_mac);
  if (out.is_cut()) return 0;
  ChecksumSum sum;
  sum.add(ends.from.bytes());
  sum.add(ends.to.bytes());
  sum.add16(protocol_icmpv6);
  sum.add32(message_bytes);
  sum.add(out.written().subspan(ethernet_bytes + v6_bytes));
  out.set16(ethernet_bytes + v6_bytes + 2, sum.finish());
  return out.size();
}

/// RFC 4291 §2.7.1.
IpAddress solicited_node(const IpAddress& address) noexcept {
  const auto end = address.bytes().last(3);
  return IpAddress::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, end[0], end[1], end[2]});
}

}  // namespace

// ---- states --------------------------------------------------------------------------------------------------------

void RouterNeighbor::hear(const RouterTold& told, std::uint64_t now_ns) noexcept {
  const bool is_new = told.mac && told.mac != mac_;
  if (!mac_ && !told.mac) return;
  if (mac_ && is_new && !told.overrides) {
    // Somebody else claims to be it: the one that is known is asked, and whoever does not answer is forgotten.
    if (state_ == State::reachable) {
      state_ = State::probing;
      next_ns_ = now_ns;
      asked_ = 0;
    }
    return;
  }
  if (told.mac) mac_ = told.mac;
  if (told.is_solicited) {
    state_ = State::reachable;
    next_ns_ = now_ns + reachable_ns;
  } else if (is_new) {
    state_ = State::probing;
    next_ns_ = now_ns;
    asked_ = 0;
  }
}

RouterAsk RouterNeighbor::tick(std::uint64_t now_ns) noexcept {
  if (now_ns < next_ns_) return RouterAsk::nothing;
  if (state_ == State::reachable) {
    state_ = State::probing;
    asked_ = 0;
  }
  if (state_ == State::probing && asked_ == probes) *this = RouterNeighbor();
  next_ns_ = now_ns + retry_ns;
  if (state_ == State::asking) return RouterAsk::everybody;
  ++asked_;
  return RouterAsk::router;
}

// ---- letters -------------------------------------------------------------------------------------------------------

std::uint64_t RouterMail::word_of(const MacAddress& mac) noexcept {
  std::uint64_t word = 0;
  for (const auto byte : mac.bytes()) word = word << 8 | byte;
  return word;
}

MacAddress RouterMail::mac_in(std::uint64_t word) noexcept {
  std::array<std::uint8_t, 6> bytes{};
  for (auto at = bytes.rbegin(); at != bytes.rend(); ++at, word >>= 8) *at = static_cast<std::uint8_t>(word);
  return MacAddress(bytes);
}

void RouterMail::tell(std::size_t uplink, const RouterTold& told) noexcept {
  if (uplink >= uplinks_) return;
  const std::uint64_t bits = is_there | (told.mac ? has_mac | word_of(*told.mac) : 0) |
                             (told.is_solicited ? solicited : 0) | (told.overrides ? overriding : 0);
  heard_[uplink].store(bits, std::memory_order_relaxed);
}

std::optional<RouterTold> RouterMail::take_told(std::size_t uplink) noexcept {
  const auto word = heard_[uplink].exchange(0, std::memory_order_relaxed);
  if (word == 0) return std::nullopt;
  RouterTold told;
  if ((word & has_mac) != 0) told.mac = mac_in(word);
  told.is_solicited = (word & solicited) != 0;
  told.overrides = (word & overriding) != 0;
  return told;
}

void RouterMail::ask(std::size_t uplink, RouterAsk ask, const MacAddress& mac) noexcept {
  if (ask == RouterAsk::nothing) return;
  asks_[uplink].store(is_there | (ask == RouterAsk::everybody ? all : word_of(mac)), std::memory_order_relaxed);
  has_asks_.store(true, std::memory_order_release);
}

// ---- frames --------------------------------------------------------------------------------------------------------

IpAddress link_local_of(const MacAddress& mac) noexcept {
  const auto& m = mac.bytes();
  return IpAddress::v6(
      {0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(m[0] ^ 2), m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]});
}

std::size_t write_router_question(const MacAddress& own, const IpAddress& router,
                                  const std::optional<MacAddress>& known, std::span<std::uint8_t> frame) noexcept {
  const auto group = solicited_node(router);
  const Ends ends{own, known ? *known : multicast_mac(group), link_local_of(own), known ? router : group};
  return write_message(ends, neighbor_solicitation, 0, router, neighbor_option_source_mac, frame);
}

UplinkFrame read_uplink_frame(std::span<const std::uint8_t> frame, const MacAddress& own, const IpAddress* router,
                              std::span<std::uint8_t> reply) noexcept {
  UplinkFrame out;
  Received received;
  if (receive_ip(frame, ethertype_ipv6, received) != NoReply::none) return out;
  const auto& headers = received.headers;
  const auto type = headers.icmp_type;
  if (headers.protocol != protocol_icmpv6 || !headers.has_transport ||
      (type != neighbor_solicitation && type != neighbor_advertisement))
    return out;
  if (headers.fragment_header != 0 || headers.hop_limit != on_link_hop_limit || headers.icmp_code != 0 ||
      !has_right_checksum(received))
    return out;
  constexpr std::size_t fixed = 24;
  const auto message = received.transport;
  NeighborOptions options;
  if (message.size() < fixed || !read_neighbor_options(message.subspan(fixed), options)) return out;
  const auto target = load_v6(message.data() + 8);
  const bool is_to_group = received.destination.is_multicast();
  if (type == neighbor_advertisement) {
    const std::uint32_t flags = load32(message.data() + 4);
    const bool is_solicited = (flags & flag_solicited) != 0;
    const bool is_sound = !(is_to_group && is_solicited) && (!options.target_mac || is_station(*options.target_mac));
    if (router == nullptr || target != *router || !is_sound || options.target_mac == own) return out;
    out.kind = UplinkFrame::Kind::told;
    out.told = {options.target_mac, is_solicited, (flags & flag_overrides) != 0};
    return out;
  }
  const auto ours = link_local_of(own);
  if (target != ours || !(is_to_group || received.destination == ours)) return out;
  const bool has_source = !received.source.is_unspecified();
  if (has_source ? !is_host_address(received.source)
                 : options.source_mac.has_value() || received.destination != solicited_node(ours))
    return out;
  const Ends ends{own, has_source ? options.source_mac.value_or(received.source_mac) : multicast_mac(all_nodes_v6),
                  ours, has_source ? received.source : all_nodes_v6};
  if (!has_source || is_station(ends.to_mac))
    out.reply = write_message(ends, neighbor_advertisement, flag_overrides | (has_source ? flag_solicited : 0), ours,
                              neighbor_option_target_mac, reply);
  if (out.reply != 0) out.kind = UplinkFrame::Kind::question;
  return out;
}

}  // namespace ironcore::network::dataplane
