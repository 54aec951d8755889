// SPDX-License-Identifier: Apache-2.0
// Signals: SIGTERM, SIGINT and SIGHUP become a stop request.
#pragma once

#include <stop_token>
#include <thread>

#include "ironcore/base/unique_fd.hpp"

namespace ironcore::program {

/// Made first thing in `main`, before any thread: blocks the signals for the whole process and turns the first one
/// into a stop request; a second one ends the process at once, for whoever does not want to wait. Ignores SIGPIPE.
/// Starts one thread. Thread: any.
class Signals {
 public:
  Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

  std::stop_token stop() const { return source_.get_token(); }
  /// The same as a signal would do; for a part that failed and ends the whole program.
  void request_stop() { source_.request_stop(); }

 private:
  void run();

  std::stop_source source_;
  UniqueFd signals_;
  UniqueFd wake_;
  std::thread thread_;
};

}  // namespace ironcore::program
