// SPDX-License-Identifier: Apache-2.0
// Identities of a store's server: rules of kinds x verbs x namespaces, pools and names.
#pragma once

#include <filesystem>
#include <string_view>

#include "ironcore/base/zmq_identities.hpp"

namespace ironcore::store::zmq {

using ironcore::wire::Identities;
using ironcore::wire::Identity;
using ironcore::wire::Rule;
using ironcore::wire::Verb;

/// Resources are those of the kinds that this build knows, and `leases`.
Result<Identities> parse_identities(std::string_view json);
Result<Identities> load_identities(const std::filesystem::path& file);

}  // namespace ironcore::store::zmq
