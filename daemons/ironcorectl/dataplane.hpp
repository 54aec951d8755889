// SPDX-License-Identifier: Apache-2.0
// dataplane: what this host's dataplane is told, and what it tells.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ironcorectl/capture.hpp"
#include "ironcorectl/dataplane_watch.hpp"
#include "ironcorectl/output.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct DataplaneCommand {
  std::vector<std::string> verb;   ///< `apply`, `get` …
  std::vector<std::string> words;  ///< `routes`; `route 100 10.2.0.0/16`
  std::vector<std::string> files;
  OutputFormat format = OutputFormat::table;
  std::string interface;    ///< get, watch: only what belongs to it; empty = everything
  std::uint64_t limit = 0;  ///< get: objects that are shown; 0 = all
  std::uint64_t mtu = 1500;
  CaptureWishes capture;
  WatchWishes watch;
};

/// `apply`, `get` …
std::vector<std::string> dataplane_verbs();

/// A file is applied as a whole or not at all; what is wrong is told with its place in the file, and then nothing is changed.
Result<void> dataplane(Session& session, const DataplaneCommand& command);

}  // namespace ironcore::ctl
