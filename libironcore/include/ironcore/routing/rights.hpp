// SPDX-License-Identifier: Apache-2.0
// What a node may announce and learn, wherever its key was checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ironcore/base/prefix.hpp"
#include "ironcore/base/vni.hpp"

namespace ironcore::routing {

/// Both ends are inside.
struct VniRange {
  std::uint32_t from = 0;
  std::uint32_t to = Vni::max;
  friend bool operator==(const VniRange&, const VniRange&) noexcept = default;
};

/// Of one node. Empty lists allow nothing.
struct NodeRights {
  struct Announcements {
    VniRange vnis;
    std::vector<Prefix>
        prefixes;  ///< these, and what they contain; `0.0.0.0/0` is every IPv4 prefix, default routes too
  };
  std::string name;  ///< that the node must give itself
  std::vector<Announcements> announcements;
  std::vector<VniRange> subscriptions;
  bool may_peer = false;  ///< is a reflector: reads what was announced here, of all VNIs

  bool may_announce(std::uint32_t vni, const Prefix& prefix) const;
  bool may_subscribe(std::uint32_t vni) const;
};

}  // namespace ironcore::routing
