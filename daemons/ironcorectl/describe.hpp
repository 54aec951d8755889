// SPDX-License-Identifier: Apache-2.0
// describe and events: everything about objects, for people.
#pragma once

#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct DescribeOptions {
  std::vector<std::string> words;  ///< KIND NAME…, KIND/NAME…, or KIND for all of them
};

/// The object as an outline, its conditions and its events as tables. Of a Secret only sizes are shown.
Result<void> describe(Session& session, const DescribeOptions& options);

struct EventsOptions {
  std::vector<std::string> words;  ///< nothing, NAME, KIND NAME, or KIND/NAME
  bool is_all_namespaces = false;
};

/// The oldest first.
Result<void> events(Session& session, const EventsOptions& options);

}  // namespace ironcore::ctl
