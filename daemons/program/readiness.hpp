// SPDX-License-Identifier: Apache-2.0
// Readiness: tells whoever started the program that it serves now, and that it stops.
#pragma once

#include <filesystem>
#include <string>

#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::program {

struct ReadinessOptions {
  std::string notify_socket;         ///< `$NOTIFY_SOCKET` of the service manager; empty = none
  std::filesystem::path ready_file;  ///< appears, with the process id in it, when ready; goes at the end; empty = none
};

/// Announces by the service manager's datagram protocol, by a file, and by the log line `ready`. Thread: one.
class Readiness {
 public:
  Readiness(ReadinessOptions options, Log& log) : options_(std::move(options)), log_(log) {}
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;
  /// Takes the file away again.
  ~Readiness();

  Result<void> ready();
  void stopping();

 private:
  void notify(std::string_view state);

  ReadinessOptions options_;
  Log& log_;
  bool has_file_ = false;
};

}  // namespace ironcore::program
