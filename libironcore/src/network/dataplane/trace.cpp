// SPDX-License-Identifier: Apache-2.0
// Keys and next hops for people.
#include "trace.hpp"

#include "local_frames.hpp"

namespace ironcore::network::dataplane {

std::string text_of_address(const std::uint8_t* bytes, bool is_v6) {
  return is_v6 ? load_v6(bytes).to_text() : load_v4(bytes).to_text();
}

std::string text_of(const FlowKey& key) {
  const bool has_ports =
      key.protocol() == protocol_tcp || key.protocol() == protocol_udp || key.protocol() == protocol_sctp;
  const auto end = [&](const std::uint8_t* address, std::uint16_t port) {
    const auto text = text_of_address(address, key.is_v6());
    if (!has_ports) return text;
    return (key.is_v6() ? '[' + text + ']' : text) + ':' + std::to_string(port);
  };
  const auto protocol = protocol_text(key.protocol());
  const bool is_number = protocol.front() >= '0' && protocol.front() <= '9';
  return (is_number ? "protocol " : "") + protocol + ' ' + end(key.source(), key.source_port()) + " to " +
         end(key.destination(), key.destination_port());
}

std::string text_of_hop(const Snapshot& snapshot, std::uint32_t next_hop) {
  return "next hop " + load_v6(snapshot.next_hops[next_hop].data()).to_text() +
         (snapshot.is_here(next_hop) ? ", which is this host" : "");
}

}  // namespace ironcore::network::dataplane
