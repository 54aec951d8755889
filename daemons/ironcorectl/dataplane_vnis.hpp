// SPDX-License-Identifier: Apache-2.0
// The networks of a dataplane, which nobody tells: lists of them, as text and as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ironcore/network/zmq.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct VniList {
  std::vector<network::VniUse> vnis;
  std::uint64_t revision = 0;  ///< of the first page
  bool has_more = false;       ///< than were asked for
};

/// In their order, at most `limit` of them.
Result<VniList> list_vnis(network::zmq::Client& client, std::size_t limit = SIZE_MAX);
/// `not_found`.
Result<network::VniUse> get_vni(network::zmq::Client& client, const std::string& word);

void print_table(Session& session, std::span<const network::VniUse> vnis);
/// `VNI 100, Interfaces 2, IPv4 routes 3`; without what there is nothing of.
std::string line_of(const network::VniUse& vni);
std::string to_json(const network::VniUse& vni);

}  // namespace ironcore::ctl
