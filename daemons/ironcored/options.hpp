// SPDX-License-Identifier: Apache-2.0
// What ironcored can be told.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ironcore/control/control_plane.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/zmq_server.hpp"
#include "program/command_line.hpp"
#include "program/directory.hpp"
#include "program/serving.hpp"

namespace ironcore::ironcored {

struct Options {
  std::filesystem::path state_directory;
  program::Serving serving;
  store::LocalStoreOptions retention;
  Duration collect_every = std::chrono::minutes(1);
  control::PoolHealthOptions health;

  std::vector<std::string> words;  ///< of the commands: TARGET, BACKUP, FILE

  static constexpr const char* database_name = "ironcored.db";
  std::filesystem::path database() const { return state_directory / database_name; }
};

Options default_options(const program::Environment& environment);

/// Settings and commands, bound to `options`, which must outlive it.
program::Command grammar(Options& options);

/// Looks at the settings as a whole; `invalid` names the one that is wrong.
Result<void> check(const Options& options);

/// The endpoints that were asked for, with keys and identities read.
Result<store::zmq::ServerOptions> server_options(const Options& options);

}  // namespace ironcore::ironcored
