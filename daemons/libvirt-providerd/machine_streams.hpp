// SPDX-License-Identifier: Apache-2.0
// MachineStreams: serial consoles and logs of this host's machines for the clients that ask for them.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "ironcore/store/zmq_stream.hpp"

namespace ironcore::providerd {

/// Each stream gets a thread, which ends with the stream; at most `most_streams` at a time. Thread: any.
class MachineStreams {
 public:
  static constexpr std::size_t most_streams = 64;

  /// Everything given by reference must outlive it.
  MachineStreams(control::ConsoleSource& machines, Clock& clock, Log& log)
      : machines_(machines), clock_(clock), log_(log) {}
  MachineStreams(const MachineStreams&) = delete;
  MachineStreams& operator=(const MachineStreams&) = delete;
  /// Ends all streams.
  ~MachineStreams() { stop(); }

  /// For a StreamWorker: takes `console` and `log` streams of machines. `exhausted` when there are too many;
  /// else the machine's own errors.
  Result<void> take(const store::zmq::StreamRequest& request, std::unique_ptr<store::zmq::Stream> stream);
  void stop();

 private:
  struct Session {
    std::jthread thread;
    bool is_over = false;  // under mutex_
  };
  template <class F>
  Result<void> start(F body);
  void copy_console(compute::Console& console, store::zmq::Stream& stream, std::stop_token stop);
  void copy_log(const store::Key& machine, store::zmq::Stream& stream, std::stop_token stop);
  void close(store::zmq::Stream& stream, std::string_view reason);

  control::ConsoleSource& machines_;
  Clock& clock_;
  Log& log_;
  std::mutex mutex_;
  std::list<Session> sessions_;
};

/// The last `count` lines; one that is not ended yet counts. All of it for 0.
std::string_view last_lines(std::string_view text, std::uint64_t count);

/// What was appended to a log that is read whole again and again, and loses its oldest part now and then.
std::string_view appended(std::string_view before, std::string_view now);

}  // namespace ironcore::providerd
