// SPDX-License-Identifier: Apache-2.0
// From an echo request to its reply.
#include "gateway_ping.hpp"

#include "local_frames.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint8_t usual_hop_limit = 64;
constexpr IpAddress all_routers_v6 = IpAddress::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});

struct Echo {
  std::uint8_t request;
  std::uint8_t reply;
};
constexpr Echo echo_v4{8, 0};
constexpr Echo echo_v6{128, 129};

}  // namespace

Answer answer_ping(std::span<const std::uint8_t> frame, const LocalServices& services,
                   std::span<std::uint8_t> reply) noexcept {
  const auto is_not = [](NoReply why) noexcept { return Answer{.length = 0, .why = why, .claim = {}}; };
  Received received;
  auto why = receive_ip(frame, ethertype_ipv4, received);
  if (why == NoReply::not_mine) why = receive_ip(frame, ethertype_ipv6, received);
  if (why != NoReply::none) return is_not(why);
  const auto& headers = received.headers;
  const auto& to = received.destination;
  const auto& echo = headers.is_v6 ? echo_v6 : echo_v4;
  if (headers.protocol != (headers.is_v6 ? protocol_icmpv6 : protocol_icmp)) return is_not(NoReply::not_mine);
  if (to != gateway_v4 && to != gateway_v6 && to != all_nodes_v6 && to != all_routers_v6)
    return is_not(NoReply::not_mine);
  if (headers.is_fragment) return is_not(NoReply::fragment);
  if (headers.icmp_type != echo.request) return is_not(NoReply::not_mine);
  if (headers.icmp_code != 0 || !is_host_address(received.source)) return is_not(NoReply::malformed);
  if (!has_right_checksum(received)) return is_not(NoReply::checksum);

  Writer out(reply);
  begin_ip(out, services, {received.source_mac, received.source}, headers.protocol, usual_hop_limit);
  out.put8(echo.reply);
  out.put8(0);
  out.put16(0);
  out.put(received.transport.subspan(4));
  return finish_ip(out);
}

}  // namespace ironcore::network::dataplane
