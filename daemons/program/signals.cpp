// SPDX-License-Identifier: Apache-2.0
// Signals on a signalfd: no handler ever runs in the middle of something.
#include "program/signals.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace ironcore::program {

Signals::Signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC));
  wake_.reset(::eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([this] { run(); });
}

Signals::~Signals() {
  const std::uint64_t one = 1;
  // The counter cannot be full: this is the only write.
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void Signals::on_hangup(std::function<void()> action) {
  const std::lock_guard lock(mutex_);
  on_hangup_ = std::move(action);
}

void Signals::run() {
  for (;;) {
    pollfd fds[] = {{signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents != 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGHUP) {
      const std::lock_guard lock(mutex_);
      if (on_hangup_) {
        on_hangup_();
        continue;
      }
    }
    // Service managers send SIGTERM more than once; a person who presses Ctrl-C again does not want to wait.
    if (info.ssi_signo == SIGINT && is_interrupted_) ::_exit(128 + SIGINT);
    is_interrupted_ = is_interrupted_ || info.ssi_signo == SIGINT;
    source_.request_stop();
  }
}

}  // namespace ironcore::program
