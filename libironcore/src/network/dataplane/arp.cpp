// SPDX-License-Identifier: Apache-2.0
// ARP for IPv4 over Ethernet.
#include "arp.hpp"

#include "local_frames.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t arp_bytes = 28;
constexpr std::uint16_t hardware_ethernet = 1;
constexpr std::uint16_t operation_request = 1;
constexpr std::uint16_t operation_reply = 2;

struct Side {
  MacAddress mac;
  IpAddress address;
};

std::size_t write_arp(const LocalServices& services, const MacAddress& to, std::uint16_t operation, const Side& target,
                      std::span<std::uint8_t> into) noexcept {
  Writer out(into);
  out.put(to);
  out.put(services.gateway_mac);
  out.put16(ethertype_arp);
  out.put16(hardware_ethernet);
  out.put16(ethertype_ipv4);
  out.put8(6);
  out.put8(4);
  out.put16(operation);
  out.put(services.gateway_mac);
  out.put(gateway_v4);
  out.put(target.mac);
  out.put(target.address);
  return out.is_cut() ? 0 : out.size();
}

}  // namespace

Answer answer_arp(std::span<const std::uint8_t> frame, const LocalServices& services,
                  std::span<std::uint8_t> reply) noexcept {
  Answer answer;
  const auto is_not = [&](NoReply why) noexcept {
    answer.why = why;
    return answer;
  };
  if (frame.size() < ethernet_bytes) return is_not(NoReply::malformed);
  if (load16(frame.data() + 12) != ethertype_arp) return is_not(NoReply::not_mine);
  if (frame.size() < ethernet_bytes + arp_bytes) return is_not(NoReply::malformed);
  const auto* arp = frame.data() + ethernet_bytes;
  if (load16(arp) != hardware_ethernet || load16(arp + 2) != ethertype_ipv4 || arp[4] != 6 || arp[5] != 4)
    return is_not(NoReply::malformed);
  const auto operation = load16(arp + 6);
  const Side sender{load_mac(arp + 8), load_v4(arp + 14)};
  const auto wanted = load_v4(arp + 24);
  if (operation != operation_request && operation != operation_reply) return is_not(NoReply::malformed);
  // Where the answer goes: never to a group, which would multiply it, and never to somebody else.
  if (!is_station(sender.mac) || sender.mac != load_mac(frame.data() + 6)) return is_not(NoReply::malformed);

  if (sender.mac != services.gateway_mac && sender.address != gateway_v4) {
    answer.claim = Claim{.mac = sender.mac, .address = {}};
    if (is_host_address(sender.address)) answer.claim->address = sender.address;
  }
  if (operation == operation_reply) return is_not(NoReply::not_asked);
  // Also when the machine announces it as its own: that is how it learns of the conflict.
  if (wanted != gateway_v4) return is_not(NoReply::other_target);
  answer.length = write_arp(services, sender.mac, operation_reply, sender, reply);
  return is_not(answer.length == 0 ? NoReply::no_room : NoReply::none);
}

std::size_t announce_arp(const LocalServices& services, std::span<std::uint8_t> frame) noexcept {
  const bool asks = !services.machine_mac && services.ipv4;
  return write_arp(services, broadcast_mac, operation_request, {{}, asks ? *services.ipv4 : gateway_v4}, frame);
}

}  // namespace ironcore::network::dataplane
