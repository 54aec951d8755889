// SPDX-License-Identifier: Apache-2.0
// Signals: SIGTERM and SIGINT become a stop request, SIGHUP what the program wants.
#pragma once

#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "ironcore/base/unique_fd.hpp"

namespace ironcore::program {

/// Made first thing in `main`, before any thread: blocks the signals for the whole process and turns the
/// first one into a stop request; a second SIGINT ends the process at once, for whoever does not want to wait.
/// SIGHUP is one of them unless there is something to do on it. Ignores SIGPIPE. Starts one thread. Thread:
/// any.
class Signals {
 public:
  Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

  std::stop_token stop() const { return source_.get_token(); }
  /// The same as a signal would do; for a part that failed and ends the whole program.
  void request_stop() { source_.request_stop(); }
  /// Called on the thread of the signals. An empty one is taken away; when this returns, the one before is
  /// not running any more.
  void on_hangup(std::function<void()> action);

 private:
  void run();

  std::stop_source source_;
  bool is_interrupted_ = false;  // only used by the thread
  std::mutex mutex_;
  std::function<void()> on_hangup_;
  UniqueFd signals_;
  UniqueFd wake_;
  std::thread thread_;
};

/// What SIGHUP does while this lives. One at a time.
class OnHangup {
 public:
  OnHangup(Signals& signals, std::function<void()> action) : signals_(signals) {
    signals_.on_hangup(std::move(action));
  }
  ~OnHangup() { signals_.on_hangup({}); }
  OnHangup(const OnHangup&) = delete;
  OnHangup& operator=(const OnHangup&) = delete;

 private:
  Signals& signals_;
};

}  // namespace ironcore::program
