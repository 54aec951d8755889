// SPDX-License-Identifier: Apache-2.0
// Command: the grammar of a command line as data, and the one function that reads a command line by it.
#pragma once

#include <functional>
#include <iosfwd>
#include <set>
#include <string>
#include <vector>

#include "program/setting.hpp"

namespace ironcore::program {

/// What every program of ours returns to its caller.
enum ExitCode : int {
  exit_ok = 0,
  exit_failure = 1,  ///< it was understood and did not work
  exit_usage = 2,    ///< the command line, the config file or the manifest is wrong
  exit_hanging = 3,  ///< what it was at hangs: started again, it goes on there
};

/// What follows a command by position.
struct Argument {
  std::string name;  ///< `NAME`
  std::string help;
  std::size_t least = 1;
  std::size_t most = 1;
  std::vector<std::string>* target = nullptr;  ///< outlives the command
  /// What shells offer here: fixed words, or `kinds`, or `names` (of the kind given before).
  std::vector<std::string> choices;
};

/// A program or one of its commands.
struct Command {
  std::string name;
  std::string summary;            ///< one sentence: what it is for
  std::string examples;           ///< lines that a person can copy
  std::vector<Setting> settings;  ///< valid for this command and, for a program, for all of its commands
  std::vector<Argument> arguments;
  std::vector<Command> commands;
  std::function<int()> run;  ///< the exit code; empty = a command has to follow
};

/// What a command line asked for.
struct Reading {
  const Command* command = nullptr;  ///< what to run; null = the program is done
  int exit_code = exit_ok;           ///< then: its exit code
  std::set<std::string> given;       ///< names of the settings that were given as flags
};

/// Reads flags and arguments into their targets. Help goes to `out`; what is wrong goes to `err`, with what
/// was probably meant. Thread: any.
Reading read_command_line(const Command& program, int argc, const char* const* argv, std::ostream& out,
                          std::ostream& err);

/// The help of a command of a program; of the program itself when both are the same.
std::string help_text(const Command& program, const Command& command);

}  // namespace ironcore::program
