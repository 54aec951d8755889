// SPDX-License-Identifier: Apache-2.0
// Copies bytes between a stream and the terminal.
#include "ironcorectl/console.hpp"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <iostream>
#include <mutex>
#include <optional>
#include <thread>

#include "ironcore/api/compute.hpp"
#include "ironcorectl/follow.hpp"
#include "ironcorectl/target.hpp"
#include "program/stream_request.hpp"

namespace ironcore::ctl {
namespace {

constexpr char leave = 0x1d;  // Ctrl-]

/// Raw for as long as it lives.
class RawTerminal {
 public:
  explicit RawTerminal(int fd) : fd_(fd), is_raw_(::isatty(fd) == 1 && ::tcgetattr(fd, &before_) == 0) {
    if (!is_raw_) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    ::tcsetattr(fd_, TCSADRAIN, &raw);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (is_raw_) ::tcsetattr(fd_, TCSADRAIN, &before_);
  }
  bool is_raw() const noexcept { return is_raw_; }

 private:
  int fd_;
  termios before_{};
  bool is_raw_;
};

/// Prints what came; also called without bytes, to see whether anybody still reads.
Result<void> print(Session& session, std::string_view bytes) {
  session.out() << bytes;
  return session.flush();
}

Result<store::Key> the_machine(const Session& session, const std::vector<std::string>& names) {
  IRONCORE_TRY(auto keys, parse_machines(session, names));
  if (keys.size() != 1) return Error(ErrorCode::invalid, "exactly one machine is needed");
  return keys.front();
}

/// What ended a stream is no failure when the other side simply closed.
Result<void> ended(const Error& error, std::string* reason) {
  if (error.code() != ErrorCode::gone) return error;
  if (reason) *reason = error.message();
  return {};
}

/// Guest to terminal, until a stop, the end of the stream, or silence after the input ended.
class Output {
 public:
  Output(Session& session, store::zmq::Stream& stream, Duration linger)
      : session_(session), stream_(stream), linger_(linger) {}

  void run(std::stop_token stop) {
    Instant heard = session_.clock().now();
    while (!stop.stop_requested()) {
      auto bytes = stream_.read(session_.clock().now() + std::chrono::milliseconds(200), stop);
      if (!bytes) {
        result = ended(bytes.error(), &reason);
        break;
      }
      const Instant now = session_.clock().now();
      if (auto done = print(session_, *bytes); !done) {
        result = std::move(done);
        break;
      }
      if (!bytes->empty()) heard = now;
      if (bytes->empty() && is_input_over && now - heard >= linger_) break;
    }
    is_over = true;
  }

  std::atomic<bool> is_input_over = false;
  std::atomic<bool> is_over = false;
  Result<void> result;  // after run
  std::string reason;   // likewise

 private:
  Session& session_;
  store::zmq::Stream& stream_;
  Duration linger_;
};

/// Terminal to guest. True = Ctrl-] was pressed.
Result<bool> copy_input(Session& session, store::zmq::Stream& stream, Output& output, bool is_raw) {
  while (!output.is_over && !session.stop().stop_requested()) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (output.is_input_over) {
      ::poll(nullptr, 0, 50);
      continue;
    }
    if (::poll(&input, 1, 100) <= 0) continue;
    char buffer[4096];
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) {
      if (is_raw) return true;  // the terminal went away
      output.is_input_over = true;
      continue;
    }
    std::string_view bytes(buffer, static_cast<std::size_t>(got));
    const auto key = is_raw ? bytes.find(leave) : std::string_view::npos;
    bytes = bytes.substr(0, key);
    while (!bytes.empty() && !output.is_over && !session.stop().stop_requested()) {
      auto taken = stream.write(bytes, session.clock().now() + std::chrono::milliseconds(200), session.stop());
      if (!taken) {
        IRONCORE_CHECK(ended(taken.error(), nullptr));
        return false;
      }
      bytes.remove_prefix(*taken);
    }
    if (key != std::string_view::npos) return true;
  }
  return false;
}

/// Says why the machine has no console or log now, and what to do about it, instead of waiting for one.
enum class Needed { placed, running };
Result<void> check_machine(Session& session, const store::Key& key, Needed needed) {
  IRONCORE_TRY(store::Store* const store, session.store());
  IRONCORE_TRY(const api::Object object, store->get(key));
  const auto& machine = object.as<api::Machine>();
  const std::string name = text_of(key);
  if (!machine.spec.machine_pool_ref) {
    return Error(ErrorCode::wrong_state,
                 name + " is pending, on no host yet: `ironcorectl explain machine " + key.name + "` says why");
  }
  if (needed == Needed::placed || machine.status.state == api::MachineState::running) return {};
  if (machine.spec.power == api::Power::off && machine.status.state == api::MachineState::shutdown) {
    return Error(ErrorCode::wrong_state, name + " is off: `ironcorectl power on " + key.name + " --wait` starts it");
  }
  return Error(ErrorCode::wrong_state, name + " does not run: " + state_text(object) + "; `ironcorectl wait " + name +
                                           " --for state=Running` waits for it");
}

/// A provider needs a moment to find a server that was restarted; so a missing one is waited for, not long.
Result<std::unique_ptr<store::zmq::Stream>> open_stream(Session& session, const store::Key& key,
                                                        std::string_view what) {
  IRONCORE_TRY(auto* const streams, session.streams());
  const Instant deadline = session.clock().now() + std::chrono::seconds(10);
  // Whoever has just left may still be on the way out.
  const Instant held_until = session.clock().now() + std::chrono::seconds(1);
  for (;;) {
    auto opened = streams->open(key, what);
    if (opened) return opened;
    const bool is_away = opened.error().code() == ErrorCode::unavailable && session.clock().now() < deadline;
    const bool is_held = opened.error().code() == ErrorCode::wrong_state && session.clock().now() < held_until;
    if (!is_away && !is_held) return opened;
    if (!sleep_for(session.clock(), std::chrono::milliseconds(200), session.stop())) return opened;
  }
}

}  // namespace

Result<void> console(Session& session, const ConsoleOptions& options) {
  IRONCORE_TRY(const auto key, the_machine(session, options.names));
  IRONCORE_CHECK(check_machine(session, key, Needed::running));
  IRONCORE_TRY(const auto stream, open_stream(session, key, program::console_stream));
  std::string reason;
  Result<bool> left = false;
  {
    const RawTerminal terminal(STDIN_FILENO);
    if (terminal.is_raw()) session.err() << "connected to " << text_of(key) << "; Ctrl-] leaves\r" << std::endl;
    Output output(session, *stream, options.linger);
    {
      const std::jthread reader([&](std::stop_token stop) { output.run(std::move(stop)); });
      left = copy_input(session, *stream, output, terminal.is_raw());
    }
    reason = output.reason;
    if (left && !output.result) left = output.result.error();
  }
  stream->close("the client left", session.clock().now() + std::chrono::seconds(2));
  IRONCORE_CHECK(left);
  if (!reason.empty()) session.err() << "\nclosed: " << reason << '\n';
  return {};
}

Result<void> logs(Session& session, const LogsOptions& options) {
  IRONCORE_TRY(const auto key, the_machine(session, options.names));
  IRONCORE_CHECK(check_machine(session, key, Needed::placed));
  IRONCORE_TRY(const auto stream, open_stream(session, key, program::log_stream));
  const std::string wish = program::to_text({.tail = options.tail, .is_follow = options.is_follow});
  IRONCORE_CHECK(stream->write(wish, session.clock().now() + std::chrono::seconds(10), session.stop()));
  while (!session.stop().stop_requested()) {
    auto bytes = stream->read(session.clock().now() + std::chrono::seconds(1), session.stop());
    if (!bytes) return ended(bytes.error(), nullptr);
    IRONCORE_CHECK(print(session, *bytes));
  }
  return {};
}

}  // namespace ironcore::ctl
