// SPDX-License-Identifier: Apache-2.0
// What metalbondd can be told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ironcore/routing/zmq.hpp"
#include "program/command_line.hpp"
#include "program/directory.hpp"
#include "program/serving.hpp"

namespace ironcore::metalbondd {

struct Options {
  program::Serving serving;
  std::vector<std::string> peer_texts;  ///< ENDPOINT[,key=PUBLIC-KEY]
  std::string metrics;                  ///< address of the Prometheus endpoint; empty = none
  /// Bound to settings as it is; `peers`, `bulk` and `publications` are not used.
  routing::ReflectorOptions reflector;
};

Options default_options(const program::Environment& environment);

/// Settings, bound to `options`, which must outlive it.
program::Command grammar(Options& options);

/// The endpoints that were asked for, with keys and identities read.
Result<routing::zmq::ServerOptions> server_options(const Options& options);

/// The reflectors of other sites, with our key read.
Result<std::vector<routing::zmq::ReflectorEndpoint>> peers(const Options& options);

/// Everything that can be found out without starting. `invalid` names the setting that is wrong.
Result<void> check(const Options& options);

}  // namespace ironcore::metalbondd
