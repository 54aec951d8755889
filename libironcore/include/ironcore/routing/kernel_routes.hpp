// SPDX-License-Identifier: Apache-2.0
// KernelRoutes: a ForwardingTable in routing tables of the Linux kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/base/vni.hpp"
#include "ironcore/routing/forwarding_table.hpp"

namespace ironcore::routing {

struct KernelRoutesOptions {
  struct Table {
    Vni vni;
    std::uint32_t table = 0;  ///< of the kernel, from 1; not 255 (local)
  };
  std::vector<Table> tables;  ///< VNIs and tables occur once each; routes of other VNIs are refused as `not_found`
  /// Routes leave by this interface. A next hop is taken to be its neighbor, whatever addresses the interface has. Empty = the kernel finds the interface, which
  /// must have an address in the network of the next hop. With encapsulation it is the tunnel.
  std::string device;
  enum class Encapsulation {
    none,  ///< packets are sent to the next hop as they are, and `target_vni` is lost
    ip6,  ///< into IPv6 packets to the next hop; the tunnel id is the VNI that the packet goes on in, where the tunnel has ids
  };
  Encapsulation encapsulation = Encapsulation::none;
  std::uint8_t protocol =
      254;  ///< the mark of our routes (`proto` of `ip route`); 5 to 254, used by nobody else in these tables
};

/// Each entry is one route of the network namespace of the thread that opened it, with all next hops, metric 1024 and our protocol. A replacement is one message. A
/// prefix that has a route with the same metric of somebody else is refused as `conflict`. Routes have no types here, as in the original: NAT ranges and targets
/// of load balancers are next hops like others, each address once with its greatest weight, and flows are spread over them by the kernel. Of a NAT that is right
/// only if hosts pass on to each other what comes to the wrong one, as our dataplane does.
///
/// Encapsulation needs a tunnel that takes the other end from the route: `ip link add NAME type ip6tnl mode any external`, or `type vxlan external`.
///
/// A prefix of IPv4 may have next hops of IPv6. What the kernel cannot have is `unsupported`: next hops of IPv4 for a prefix of IPv6, or for encapsulation. Next hops that
/// cannot be reached yet, and an interface that is down, are `wrong_state`; more than 128 next hops of a prefix are `exhausted`. When an interface goes down the kernel
/// drops the routes through it without a word: the next listing finds that. Needs CAP_NET_ADMIN, and Linux 5.2. Calls wait for the kernel only. Thread: one.
class KernelRoutes final : public ForwardingTable {
 public:
  /// `invalid` names the option. `not_found`: no such interface. `unsupported`: this kernel or interface cannot encapsulate.
  static Result<std::unique_ptr<KernelRoutes>> open(KernelRoutesOptions options);
  ~KernelRoutes() override;

  /// Routes of another interface or encapsulation, left by a process with other options, have the hop `0.0.0.0`, which is nowhere and never kept.
  Result<std::vector<ForwardingEntry>> list() override;
  std::vector<Refusal> replace(std::span<const ForwardingEntry> entries) override;
  std::vector<ForwardingHop> as_listed(const ForwardingEntry& entry) const override;

 private:
  class Impl;
  explicit KernelRoutes(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ironcore::routing
