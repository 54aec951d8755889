// SPDX-License-Identifier: Apache-2.0
// Daemon: what every daemon of ours does the same way, so that its main holds only what is its own.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "program/command_line.hpp"
#include "program/descriptors.hpp"
#include "program/directory.hpp"
#include "program/readiness.hpp"
#include "program/signals.hpp"
#include "program/standard_output.hpp"

namespace ironcore::program {

/// What a running daemon is given.
struct Daemon {
  Clock& clock;
  Log& log;
  Signals& signals;
  Readiness& readiness;
  const DescriptorGuard& descriptors;
  std::stop_token stop() const { return signals.stop(); }
};

/// Adds `--config`, `--check-config`, `--print-config`, `--version`, `--log-level`, `--log-format` and
/// `--ready-file` to `program`, reads the command line and the config file, and then either runs the command
/// that was asked for or `serve`, which returns when it was told to stop; `cancelled` is as good when it was. `check` looks at
/// the settings as a whole before anything is done but printing them. `program.settings` are the keys of the config file; `program.run` is not
/// used. Returns the exit code.
int run_daemon(Command program, int argc, const char* const* argv, const Environment& environment,
               const std::function<Result<void>()>& check, const std::function<Result<void>(Daemon&)>& serve);

/// Prints `error: …` on standard error, for each line of the message; the exit code that fits it.
int report(const Error& error);

/// Runs the whole of a program. What nobody expected, `what` of an exception, is reported as `error: internal: …`.
int run_guarded(const std::function<int()>& program);

/// The version of this build.
std::string_view version() noexcept;

}  // namespace ironcore::program
