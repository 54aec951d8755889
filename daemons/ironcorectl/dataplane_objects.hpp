// SPDX-License-Identifier: Apache-2.0
// The objects of a dataplane's configuration: the words for them, what names them, and lists of them.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/network/zmq.hpp"

namespace ironcore::ctl {

/// The words of a kind, and the members of its key in the order in which they are given.
struct DataplaneKind {
  std::string_view kind;
  std::string_view plural;
  std::string_view singular;
  std::array<std::string_view, 3> key;
};

/// `interfaces`, `routes` …: what `delete` takes, besides the names of the kinds.
std::vector<std::string> dataplane_kinds();
/// What `get` and `watch` take: `vnis` too.
std::vector<std::string> shown_dataplane_kinds();
/// Networks are shown like objects, but are none.
bool is_vni(const DataplaneKind& kind);
/// By any of its words; `invalid` names the nearest.
Result<const DataplaneKind*> find_dataplane_kind(const std::string& word);

/// `route 100 10.0.0.0/8` → the key of the route.
Result<network::Change> parse_key(const std::vector<std::string>& words);
/// The other way round.
std::string words_of(const network::Change& change);
/// The key of an object; of a key itself.
network::Change key_of_change(const network::Change& change);
/// The interface that an object or a key belongs to, or is; null for what belongs to none.
const std::string* interface_of(const network::Change& change);
/// `invalid` if objects of this kind belong to no interface.
Result<void> check_has_interface(const DataplaneKind& kind);

struct ObjectList {
  std::vector<network::Change> objects;
  bool has_more = false;  ///< than were asked for
};

/// Objects of a kind, at most `limit` of them; with `interface` only those of that one.
Result<ObjectList> list_objects(network::zmq::Client& client, std::string_view kind, const std::string& interface = {},
                                std::size_t limit = SIZE_MAX);

}  // namespace ironcore::ctl
