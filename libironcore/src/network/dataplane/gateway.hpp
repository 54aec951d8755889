// SPDX-License-Identifier: Apache-2.0
// The gateway of the machines: what is sent to it, and what it says about packets that go no further.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "bytes.hpp"
#include "headers.hpp"
#include "icmp_errors.hpp"
#include "ironcore/network/packet.hpp"
#include "learned_macs.hpp"
#include "snapshot.hpp"
#include "tally.hpp"

namespace ironcore::network::dataplane {

class RouterMail;

struct GatewayOptions {
  std::uint16_t mtu = 1500;       ///< told to machines
  std::vector<IpAddress> dns_v4;  ///< likewise, the best one first
  std::vector<IpAddress> dns_v6;  ///< likewise
  std::uint32_t lease_seconds = 0xffff'ffff;
  std::uint32_t icmp_errors_per_second = 100;  ///< for each machine
  std::uint16_t icmp_errors_at_once = 20;
  RouterMail* routers = nullptr;  ///< is told what routers say; null = nobody wants to know
};

/// Part of a worker. Thread: that one.
class Gateway {
 public:
  Gateway(const GatewayOptions& options, std::size_t interfaces, LearnedMacs& learned);

  /// Whether a machine's packet is for the gateway: it is on the link, or asks for an address.
  static bool is_for_gateway(const std::uint8_t* ip, const Headers& headers) noexcept {
    if (headers.is_v6) {
      const std::uint8_t* to = ip + 24;
      return to[0] == 0xff || (to[0] == 0xfe && (to[1] & 0xc0) == 0x80);  // ff00::/8, fe80::/10
    }
    const std::uint32_t to = load32(ip + 16);
    constexpr std::uint32_t broadcast = 0xffff'ffff;
    // The rest of 169.254.0.0/16 may be virtual services.
    constexpr std::uint32_t gateways = 0xa9fe00;  // 169.254.0.0/24
    return to >> 28 == 0xe || to >> 8 == gateways || to == broadcast;
  }

  /// The answer takes the packet's place and goes back to its port. `local` if there is none.
  Drop answer(const Snapshot& snapshot, std::uint32_t interface, Packet& packet) noexcept;

  /// From an uplink, and no packet of ours: perhaps a router says where it is, or asks where we are. The answer takes the packet's place and goes back to
  /// its port; what was only heard is `local`, everything else `outer`.
  Drop answer_uplink(const Snapshot& snapshot, Packet& packet) noexcept;

  /// Whether the machine is to hear of it; then what it hears takes the packet's place. The packet is as it came.
  bool explain(const Snapshot& snapshot, std::uint32_t interface, Drop drop, Packet& packet,
               std::uint64_t now_ns) noexcept;

  /// Whether there may be one more error about what comes to the machine, or from it.
  bool may_tell(std::uint32_t interface, std::uint64_t now_ns) noexcept {
    return interface < limits_.size() && limits_[interface].take(now_ns);
  }

  /// What it says by itself to one machine: an announcement of its address, or a question for the machine's (ARP), a router and a neighbor
  /// advertisement; written into the packet, which then is for the machine's port. False: not to this machine.
  enum class Announcement : std::uint8_t { arp, router, neighbor };
  static constexpr std::uint32_t announcements = 3;
  bool announce(const Snapshot& snapshot, std::uint32_t interface, Announcement what, Packet& packet) const noexcept;

  std::uint64_t answers() const noexcept { return answers_; }
  /// Thread: any.
  std::uint64_t answers(GatewayService service) const noexcept {
    return answered_[static_cast<std::size_t>(service)].get();
  }
  /// Those about what came from this port. Thread: any.
  std::uint64_t errors_at(std::uint32_t port) const noexcept {
    return port < Tallies::most_ports ? errors_at_[port].get() : 0;
  }
  std::uint64_t errors() const noexcept { return errors_; }

 private:
  bool replace(Packet& packet, std::size_t bytes) noexcept;

  static constexpr std::size_t longest_answer = 9216;

  const GatewayOptions options_;
  LearnedMacs& learned_;
  std::vector<IcmpErrorLimit> limits_;  ///< by interface
  std::vector<std::uint8_t> reply_;
  std::uint64_t answers_ = 0;
  std::uint64_t errors_ = 0;
  std::array<Counter, gateway_services> answered_;
  std::unique_ptr<Counter[]> errors_at_ = std::make_unique<Counter[]>(Tallies::most_ports);
};

}  // namespace ironcore::network::dataplane
