// SPDX-License-Identifier: Apache-2.0
// Identities of a dataplane's server: rules of kinds x verbs.
#pragma once

#include <filesystem>
#include <string_view>

#include "ironcore/base/zmq_identities.hpp"

namespace ironcore::network::zmq {

using ironcore::wire::Identities;
using ironcore::wire::Identity;
using ironcore::wire::Rule;
using ironcore::wire::Verb;

/// Verbs are `read` and `update`, which makes and deletes too. Resources are the kinds of the configuration (`Interface`), `ports`, `counters`, `captures` and
/// `packets` (to have one explained). Who the server is may be asked by every known key; a watch needs to read all kinds.
Result<Identities> parse_identities(std::string_view json);
Result<Identities> load_identities(const std::filesystem::path& file);

}  // namespace ironcore::network::zmq
