// SPDX-License-Identifier: Apache-2.0
// check, backup, restore, keygen.
#include "ironcored/commands.hpp"

#include <iostream>

#include "ironcore/store/sqlite.hpp"
#include "program/daemon.hpp"

namespace ironcore::ironcored {

int run_check(const Options& options) {
  const auto done =
      store::sqlite::check(options.database(), [](std::string_view line) { std::cout << line << std::endl; });
  if (!done) return program::report(done.error());
  std::cout << options.database().string() << " is in order\n";
  return program::exit_ok;
}

int run_backup(const Options& options) {
  const std::filesystem::path target = options.words.front();
  if (const auto done = store::sqlite::backup(options.database(), target); !done) return program::report(done.error());
  std::cout << "backup written to " << target.string() << '\n';
  return program::exit_ok;
}

int run_restore(const Options& options) {
  const std::filesystem::path backup = options.words.front();
  if (const auto made = program::make_directory(options.state_directory, 0700, Options::database_name); !made)
    return program::report(made.error());
  if (const auto done = store::sqlite::restore(backup, options.database()); !done) return program::report(done.error());
  std::cout << options.database().string() << " is now a copy of " << backup.string() << '\n';
  return program::exit_ok;
}

int run_keygen(const Options& options) {
  const std::filesystem::path file = options.words.front();
  // Losing a key that others know is worse than an error.
  if (std::filesystem::exists(file)) {
    return program::report({ErrorCode::already_exists, file.string() + " exists: name another file"});
  }
  const auto keys = store::zmq::make_key_pair();
  if (!keys) return program::report(keys.error());
  if (const auto saved = store::zmq::save_key_pair(file, *keys); !saved) return program::report(saved.error());
  std::cout << keys->public_key << '\n';
  return program::exit_ok;
}

}  // namespace ironcore::ironcored
