// SPDX-License-Identifier: Apache-2.0
// From one packet to the one that answers it.
#include "gateway.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "arp.hpp"
#include "bytes.hpp"
#include "dhcpv4.hpp"
#include "dhcpv6.hpp"
#include "gateway_ping.hpp"
#include "local_frames.hpp"
#include "neighbor_discovery.hpp"
#include "router_neighbor.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;

LocalServices services_of(const Snapshot& snapshot, const InterfaceView& view, const MacAddress& gateway_mac,
                          const GatewayOptions& options) {
  LocalServices services;
  services.gateway_mac = gateway_mac;
  services.machine_mac = view.mac;
  services.ipv4 = view.told.ipv4;
  services.ipv6 = view.told.ipv6;
  services.hostname = view.told.hostname;
  services.mtu = options.mtu;
  services.dns_v4 = options.dns_v4;
  services.dns_v6 = options.dns_v6;
  services.lease_seconds = options.lease_seconds;
  services.routes_v4 = snapshot.link_routes;
  if (const auto& pxe = view.told.pxe) {
    NetworkBoot boot;
    (pxe->server.is_v6() ? boot.server_v6 : boot.server_v4) = pxe->server;
    boot.path = pxe->path;
    services.boot = boot;
  }
  return services;
}

/// What a sender is told by ICMP. Rules of a firewall are silent.
std::optional<IcmpError> error_of(Drop drop) noexcept {
  switch (drop) {
    case Drop::hop_limit:
      return IcmpError::hop_limit;
    case Drop::route:
      return IcmpError::no_route;
    case Drop::too_big:
      return IcmpError::too_big;
    case Drop::service:
      return IcmpError::port;
    case Drop::target:
      return IcmpError::host;
    default:
      return std::nullopt;
  }
}

}  // namespace

Gateway::Gateway(const GatewayOptions& options, std::size_t interfaces, LearnedMacs& learned)
    : options_(options),
      learned_(learned),
      limits_(interfaces,
              IcmpErrorLimit(options.icmp_errors_per_second, options.icmp_errors_at_once, nanoseconds_per_second, 0)),
      reply_(longest_answer) {}

bool Gateway::replace(Packet& packet, std::size_t bytes) noexcept {
  if (bytes > packet.room) return false;
  std::memcpy(packet.frame, reply_.data(), bytes);
  packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(bytes);
  packet.offload = {};
  return true;
}

Drop Gateway::answer(const Snapshot& snapshot, std::uint32_t interface, Packet& packet) noexcept {
  if (packet.bytes != packet.frame_bytes) return Drop::local;
  const auto& view = *snapshot.interfaces[interface];
  const auto services = services_of(snapshot, view, snapshot.ports[packet.port].mac, options_);
  const std::span<const std::uint8_t> frame{packet.frame, packet.bytes};
  using Serve = Answer (*)(std::span<const std::uint8_t>, const LocalServices&, std::span<std::uint8_t>) noexcept;
  // In the order of `GatewayService`.
  constexpr std::array<Serve, gateway_services> serve{answer_arp, answer_neighbor_discovery, answer_dhcpv4,
                                                      answer_dhcpv6, answer_ping};
  for (std::size_t i = 0; i < serve.size(); ++i) {
    const Answer answer = serve[i](frame, services, reply_);
    if (answer.claim) {
      const auto& claim = *answer.claim;
      const bool is_its = !claim.address || claim.address == view.told.ipv4 || claim.address == view.told.ipv6 ||
                          (claim.address->is_v6() && claim.address->bytes()[0] == 0xfe);  // link-local: its own choice
      if (is_its && !view.told.mac && view.mac != claim.mac) learned_.hear(interface, view.born, claim.mac);
    }
    if (answer.why == NoReply::not_mine) continue;
    if (answer.length == 0 || !replace(packet, answer.length)) return Drop::local;
    ++answers_;
    answered_[i].add(1);
    return Drop::none;
  }
  return Drop::local;
}

Drop Gateway::answer_uplink(const Snapshot& snapshot, Packet& packet) noexcept {
  if (packet.bytes != packet.frame_bytes) return Drop::outer;
  const auto& uplinks = snapshot.uplinks;
  const auto uplink =
      std::find_if(uplinks.begin(), uplinks.end(), [&](const auto& one) { return one.port == packet.port; });
  if (uplink == uplinks.end()) return Drop::outer;
  const auto* router = uplink->router ? &*uplink->router : nullptr;
  const auto read = read_uplink_frame({packet.frame, packet.bytes}, snapshot.ports[packet.port].mac, router, reply_);
  switch (read.kind) {
    case UplinkFrame::Kind::other:
      return Drop::outer;
    case UplinkFrame::Kind::told:
      if (options_.routers != nullptr) options_.routers->tell(uplink->number, read.told);
      return Drop::local;
    case UplinkFrame::Kind::question:
      break;
  }
  if (!replace(packet, read.reply)) return Drop::local;
  ++answers_;
  answered_[static_cast<std::size_t>(GatewayService::neighbor_discovery)].add(1);
  return Drop::none;
}

bool Gateway::announce(const Snapshot& snapshot, std::uint32_t interface, Announcement what,
                       Packet& packet) const noexcept {
  const auto* view = snapshot.interfaces[interface].get();
  const std::uint32_t port = snapshot.attachments[interface].port;
  if (view == nullptr || port == no_port) return false;
  const bool has_family = what == Announcement::arp ? view->told.ipv4.has_value() : view->told.ipv6.has_value();
  if (!has_family) return false;
  const auto services = services_of(snapshot, *view, snapshot.ports[port].mac, options_);
  const std::span<std::uint8_t> frame(packet.frame, packet.room);
  const auto bytes = what == Announcement::arp      ? announce_arp(services, frame)
                     : what == Announcement::router ? advertise_router(services, frame)
                                                    : advertise_neighbor(services, frame);
  packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(bytes);
  packet.port = port;
  packet.drop = Drop::none;
  return bytes != 0;
}

bool Gateway::explain(const Snapshot& snapshot, std::uint32_t interface, Drop drop, Packet& packet,
                      std::uint64_t now_ns) noexcept {
  const auto error = error_of(drop);
  if (!error || interface >= limits_.size() || packet.bytes < ethernet_bytes) return false;
  const bool is_to_group = (packet.frame[0] & 1) != 0;
  if (is_to_group) return false;
  const bool is_v6 = load16(packet.frame + 12) == ethertype_ipv6;
  const auto source = (is_v6 ? gateway_v6 : gateway_v4);
  const std::span<const std::uint8_t> ip{packet.frame + ethernet_bytes, packet.bytes - ethernet_bytes};
  const std::uint32_t value = *error == IcmpError::too_big ? options_.mtu : 0U;
  const auto room = std::span(reply_).subspan(ethernet_bytes);
  const auto built = build_icmp_error(ip, packet.frame_bytes - ethernet_bytes, *error, value, source.bytes(), room);
  if (built.unsent != Unsent::none || !limits_[interface].take(now_ns)) return false;
  const auto& mac = snapshot.ports[packet.port].mac.bytes();
  std::copy_n(packet.frame + 6, 6, reply_.begin());
  std::copy(mac.begin(), mac.end(), reply_.begin() + 6);
  store16(reply_.data() + 12, is_v6 ? ethertype_ipv6 : ethertype_ipv4);
  if (!replace(packet, ethernet_bytes + built.bytes)) return false;
  ++errors_;
  if (packet.port < Tallies::most_ports) errors_at_[packet.port].add(1);
  return true;
}

}  // namespace ironcore::network::dataplane
