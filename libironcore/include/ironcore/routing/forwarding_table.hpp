// SPDX-License-Identifier: Apache-2.0
// ForwardingTable: what forwards packets of this host, as seen by the Applier that tells it where prefixes are. A seam.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/vni.hpp"
#include "ironcore/routing/route.hpp"

namespace ironcore::routing {

/// One way to a prefix. The fields mean what those of `Route` mean.
struct ForwardingHop {
  IpAddress address;
  RouteType type = RouteType::standard;
  PortRange nat_ports;
  Vni target_vni;  ///< 0 = the VNI of the entry; never that number itself
  std::uint8_t weight = 1;

  friend bool operator==(const ForwardingHop&, const ForwardingHop&) noexcept = default;
  friend auto operator<=>(const ForwardingHop&, const ForwardingHop&) noexcept = default;
};

/// All ways to a prefix.
struct ForwardingEntry {
  Vni vni;
  Prefix destination;
  std::vector<ForwardingHop> hops;  ///< in their order, each once (`merged`); none = the prefix is not there
  friend bool operator==(const ForwardingEntry&, const ForwardingEntry&) noexcept = default;
};

/// In order; of those that differ in nothing but weight, the heaviest.
std::vector<ForwardingHop> merged(std::vector<ForwardingHop> hops);
/// `NEXT-HOP[#TYPE[#FROM#TO]][,target=VNI][,weight=N]`, as in routes.
std::string to_text(const ForwardingHop& hop);

/// Entries carry the mark of who installed them: what others put into the same table is neither listed nor changed. Thread: one.
class ForwardingTable {
 public:
  virtual ~ForwardingTable() = default;

  /// Everything that is installed by us, by this process or an earlier one; each prefix once, in no order.
  virtual Result<std::vector<ForwardingEntry>> list() = 0;

  struct Refusal {
    std::size_t index = 0;  ///< of the entry
    Error error;
  };
  /// Gives each prefix the hops of its entry instead of those that it had, or takes it away if there are none. A prefix that has hops before and after has
  /// some at each moment in between. Entries are taken in their order; each succeeds or fails for itself, and the result has those that failed. Again, or removing
  /// what is not there, is a success. By code:
  ///   `wrong_state`, `not_found`  what the entry is for is not there yet (network, interface); nothing has changed
  ///   `unavailable`               not now, try again
  ///   `timeout`                   nobody knows whether it took effect
  ///   others                      this entry cannot be, as things are
  virtual std::vector<Refusal> replace(std::span<const ForwardingEntry> entries) = 0;

  /// The hops that `list` will say after the entry was taken: a table that knows no types or ports says less than it was told. What comes out, put in again,
  /// stays the same. The default says everything.
  virtual std::vector<ForwardingHop> as_listed(const ForwardingEntry& entry) const;
};

}  // namespace ironcore::routing
