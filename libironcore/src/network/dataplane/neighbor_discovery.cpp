// SPDX-License-Identifier: Apache-2.0
// Solicitations, advertisements and their options.
#include "neighbor_discovery.hpp"

#include <algorithm>
#include <optional>

#include "local_frames.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint8_t router_solicitation = 133;
constexpr std::uint8_t router_advertisement = 134;
constexpr std::uint8_t neighbor_advertisement = 136;
constexpr std::uint8_t redirect = 137;

constexpr std::uint8_t option_mtu = 5;
constexpr std::uint8_t option_dns = 25;

constexpr std::uint8_t on_link_hop_limit = 255;
constexpr std::uint8_t hop_limit_of_machine = 64;
constexpr std::uint8_t managed_and_other = 0xc0;  // addresses and more come by DHCPv6
/// The longest (RFC 8319): a machine is never without its gateway.
constexpr std::uint16_t router_lifetime = 0xffff;
constexpr std::uint32_t dns_lifetime = 0xffffffff;
constexpr std::uint16_t least_v6_mtu = 1280;
constexpr std::size_t most_dns_servers = 127;  // what the length of the option can say

constexpr std::uint32_t from_router = 0x80000000;
constexpr std::uint32_t solicited = 0x40000000;
constexpr std::uint32_t overrides = 0x20000000;

/// ff02::1:ff00:0/104 (RFC 4291 §2.7.1)
bool is_solicited_node(const IpAddress& address) noexcept {
  static constexpr std::uint8_t begin[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  return std::equal(std::begin(begin), std::end(begin), address.bytes().begin());
}

void put_mac_option(Writer& out, std::uint8_t option, const MacAddress& mac) noexcept {
  out.put8(option);
  out.put8(1);
  out.put(mac);
}

Answer write_neighbor(const LocalServices& services, const Destination& to, std::uint32_t flags,
                      std::span<std::uint8_t> into) noexcept {
  Writer out(into);
  begin_ip(out, services, to, protocol_icmpv6, on_link_hop_limit);
  out.put8(neighbor_advertisement);
  out.put8(0);
  out.put16(0);
  out.put32(flags);
  out.put(gateway_v6);
  put_mac_option(out, neighbor_option_target_mac, services.gateway_mac);
  return finish_ip(out);
}

Answer write_router(const LocalServices& services, const Destination& to, std::span<std::uint8_t> into) noexcept {
  Writer out(into);
  begin_ip(out, services, to, protocol_icmpv6, on_link_hop_limit);
  out.put8(router_advertisement);
  out.put8(0);
  out.put16(0);
  out.put8(hop_limit_of_machine);
  out.put8(managed_and_other);
  out.put16(router_lifetime);
  out.put32(0);  // reachable time and the time between retries: not ours to say
  out.put32(0);
  put_mac_option(out, neighbor_option_source_mac, services.gateway_mac);
  if (services.mtu >= least_v6_mtu) {  // a smaller one would be ignored (RFC 4861 §6.3.4)
    out.put8(option_mtu);
    out.put8(1);
    out.put16(0);
    out.put32(services.mtu);
  }
  // There is no prefix: each machine has one address, and nothing is on the link but the gateway.
  if (!services.dns_v6.empty()) {
    const auto servers = services.dns_v6.first(std::min(services.dns_v6.size(), most_dns_servers));
    out.put8(option_dns);
    out.put8(static_cast<std::uint8_t>(1 + 2 * servers.size()));
    out.put16(0);
    out.put32(dns_lifetime);
    for (const auto& server : servers) out.put(server);
  }
  return finish_ip(out);
}

/// Who asks without an address is answered for all to hear (RFC 4861 §7.2.4).
Destination back_to(const Received& received) noexcept {
  if (received.source.is_unspecified()) return {multicast_mac(all_nodes_v6), all_nodes_v6};
  return {received.source_mac, received.source};
}

}  // namespace

bool read_neighbor_options(std::span<const std::uint8_t> bytes, NeighborOptions& options) noexcept {
  while (!bytes.empty()) {
    if (bytes.size() < 2) return false;
    const std::size_t length = std::size_t{bytes[1]} * 8;
    if (length == 0 || length > bytes.size()) return false;
    if (bytes[0] == neighbor_option_source_mac && length == 8) options.source_mac = load_mac(bytes.data() + 2);
    if (bytes[0] == neighbor_option_target_mac && length == 8) options.target_mac = load_mac(bytes.data() + 2);
    bytes = bytes.subspan(length);
  }
  return true;
}

Answer answer_neighbor_discovery(std::span<const std::uint8_t> frame, const LocalServices& services,
                                 std::span<std::uint8_t> reply) noexcept {
  Answer answer;
  const auto is_not = [&](NoReply why) noexcept {
    answer.why = why;
    return answer;
  };
  Received received;
  if (const auto why = receive_ip(frame, ethertype_ipv6, received); why != NoReply::none) return is_not(why);
  const auto& headers = received.headers;
  const auto type = headers.icmp_type;
  if (headers.protocol != protocol_icmpv6 || !headers.has_transport || type < router_solicitation || type > redirect)
    return is_not(NoReply::not_mine);

  // RFC 4861 §6.1.1, §7.1, RFC 6980.
  if (headers.fragment_header != 0) return is_not(NoReply::fragment);
  if (headers.hop_limit != on_link_hop_limit) return is_not(NoReply::not_on_link);
  if (!has_right_checksum(received)) return is_not(NoReply::checksum);
  if (headers.icmp_code != 0) return is_not(NoReply::malformed);
  if (type == router_advertisement || type == redirect) return is_not(NoReply::not_asked);

  const auto message = received.transport;
  const bool is_of_router = type == router_solicitation;
  const std::size_t fixed = is_of_router ? 8 : 24;
  NeighborOptions options;
  if (message.size() < fixed || !read_neighbor_options(message.subspan(fixed), options))
    return is_not(NoReply::malformed);
  const auto target = is_of_router ? unspecified_v6 : load_v6(message.data() + 8);
  const bool has_source = !received.source.is_unspecified();
  if (has_source ? !is_host_address(received.source) : options.source_mac.has_value())
    return is_not(NoReply::malformed);
  if (!is_of_router && target.is_multicast()) return is_not(NoReply::malformed);

  const auto claims = [&](const std::optional<MacAddress>& mac, const IpAddress& address) noexcept {
    if (mac == received.source_mac && mac != services.gateway_mac && address != gateway_v6)
      answer.claim = Claim{.mac = *mac, .address = address};
  };
  if (type == neighbor_advertisement) {
    // Nobody else is on the link: without the option, who sends is who speaks.
    if (has_source) claims(options.target_mac.value_or(received.source_mac), target);
    return is_not(NoReply::not_asked);
  }
  const bool is_to_node = received.destination.is_multicast() || received.destination == gateway_v6;
  if (!is_of_router && !has_source && !is_solicited_node(received.destination)) return is_not(NoReply::malformed);
  if (!is_to_node) return is_not(NoReply::other_target);
  if (has_source) claims(options.source_mac, received.source);

  auto written = Answer{.length = 0, .why = NoReply::none, .claim = {}};
  if (is_of_router) {
    written.why = NoReply::no_address;
    if (services.ipv6) written = write_router(services, back_to(received), reply);
  } else {
    written.why = NoReply::other_target;
    if (target == gateway_v6)
      written =
          write_neighbor(services, back_to(received), from_router | overrides | (has_source ? solicited : 0), reply);
  }
  written.claim = answer.claim;
  return written;
}

std::size_t advertise_router(const LocalServices& services, std::span<std::uint8_t> frame) noexcept {
  return write_router(services, {multicast_mac(all_nodes_v6), all_nodes_v6}, frame).length;
}

std::size_t advertise_neighbor(const LocalServices& services, std::span<std::uint8_t> frame) noexcept {
  return write_neighbor(services, {multicast_mac(all_nodes_v6), all_nodes_v6}, from_router | overrides, frame).length;
}

}  // namespace ironcore::network::dataplane
