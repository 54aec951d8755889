// SPDX-License-Identifier: Apache-2.0
// Target: which objects the words of a command line mean.
#pragma once

#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// A kind, and the names of it that are meant; none = all.
struct Selection {
  const api::Kind* kind = nullptr;
  std::vector<std::string> names;
};

/// `machines`, `machine web-1 web-2`, `machines,secrets`, `machine/web-1 secret/web`. Kinds as plural,
/// singular or short name in any case; `not_found` names the nearest.
Result<std::vector<Selection>> parse_selections(const std::vector<std::string>& words);

/// The same where each kind needs names: `machine web-1`, `machine/web-1`.
Result<std::vector<store::Key>> parse_keys(const Session& session, const std::vector<std::string>& words);

/// Machines by name: `web-1`, `machine/web-1`.
Result<std::vector<store::Key>> parse_machines(const Session& session, const std::vector<std::string>& names);

/// `machine/web-1`: how messages name an object.
std::string text_of(const store::Key& key);
std::string text_of(const api::Object& object);

}  // namespace ironcore::ctl
