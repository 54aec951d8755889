// SPDX-License-Identifier: Apache-2.0
// Directories of the programs: where they are by default, and with which modes they are made.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::program {

/// What a program reads from its environment, once, in `main`.
struct Environment {
  std::string home;
  std::string state_home;   ///< `$XDG_STATE_HOME`
  std::string runtime_dir;  ///< `$XDG_RUNTIME_DIR`
  std::string notify_socket;
  bool is_root = false;
  bool has_colour = false;  ///< standard error is a terminal and `$NO_COLOR` is not set

  static Environment read();
};

/// `/var/lib/ironcore` for root, else below the user's own state directory. Each program has a directory of its own in it.
std::filesystem::path default_state_directory(const Environment& environment);
/// `ipc:///run/ironcore/api.sock` for root, else in the user's own runtime directory.
std::string default_endpoint(const Environment& environment);
/// `dataplane.sock` beside it.
std::string default_dataplane_endpoint(const Environment& environment);
/// `reflector.sock` beside it.
std::string default_reflector_endpoint(const Environment& environment);
/// This host's name; empty if the kernel has none.
std::string host_name();

/// Makes the directory, and those above it as 0755. One that exists must belong to us (or root) and have no more rights than
/// `mode`: what is in it is nobody else's business. One that holds our file `mark` was made by us and gets `mode`; any other is
/// left alone and refused (`wrong_state`): it may be somebody's home, or `/tmp`.
Result<void> make_directory(const std::filesystem::path& directory, mode_t mode, const std::string& mark);

/// The file by which a claimed directory is known.
inline constexpr const char* claim_file = "instance";

/// A directory that only one process works in at a time.
struct ClaimedDirectory {
  std::string id;  ///< random, made with the directory, the same at every start
  UniqueFd lock;   ///< the claim ends when it is closed, also by a crash
};

/// Waits up to `patience` for a process that has it and may be about to end: one that was killed dies a little later. `wrong_state` if it stays.
Result<ClaimedDirectory> claim_directory(const std::filesystem::path& directory, Clock& clock, std::stop_token stop,
                                         Duration patience = std::chrono::seconds(5));

/// Makes the directory of an `ipc://` endpoint (0755: the socket itself is 0600). Other endpoints need
/// nothing.
Result<void> make_endpoint_directory(const std::string& endpoint);

}  // namespace ironcore::program
