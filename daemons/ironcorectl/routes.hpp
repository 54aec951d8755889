// SPDX-License-Identifier: Apache-2.0
// routes: what a reflector knows, and how it does.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ironcorectl/output.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

enum class RoutesFrom { everywhere, here, peers };

struct RoutesCommand {
  std::vector<std::string> verb;
  std::vector<std::string> words;
  OutputFormat format = OutputFormat::table;
  RoutesFrom from = RoutesFrom::everywhere;
  std::string inside;                        ///< dump, watch: a prefix; empty = all
  std::string node;                          ///< dump, watch: only what it announces; empty = all
  std::uint64_t limit = 0;                   ///< dump, nodes, vnis; 0 = no limit
  std::uint64_t count = 0;                   ///< watch: lines after which it ends; 0 = no limit
  Duration timeout{0};                       ///< watch: 0 = no limit
  Duration every = std::chrono::seconds(1);  ///< watch: how often the reflector is asked
};

std::vector<std::string> routes_verbs();
Result<void> routes(Session& session, const RoutesCommand& command);

}  // namespace ironcore::ctl
