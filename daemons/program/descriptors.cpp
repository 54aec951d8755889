// SPDX-License-Identifier: Apache-2.0
// An accept4 that keeps descriptors in reserve, and the thread that says so.
#include "program/descriptors.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <string>

namespace {

// Of the process, as descriptors are. Accepted descriptors are the lowest free numbers, so their numbers say how many there are.
std::atomic<int> first_reserved{INT_MAX};
std::atomic<int> first_warned{INT_MAX};
std::atomic<std::uint64_t> refused_connections{0};
std::atomic<int> news_descriptor{-1};
std::atomic<bool> is_warning_wanted{false};
std::atomic<bool> is_refusal_wanted{false};

void tell_if(std::atomic<bool>& wanted) noexcept {
  if (!wanted.load(std::memory_order_relaxed) || !wanted.exchange(false)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(news_descriptor.load(), &one, sizeof one);  // there is room for it
}

}  // namespace

/// Instead of libc's, for every library of the process.
extern "C" [[gnu::visibility("default")]] int accept4(int listener, sockaddr* address, socklen_t* size, int flags) {
  const auto accepted = static_cast<int>(::syscall(SYS_accept4, listener, address, size, flags));
  if (accepted < 0) {
    // Something else took the reserve. libzmq takes a full system for a reason to go on, a full process for none.
    if (errno == EMFILE) errno = ENFILE;
    return -1;
  }
  if (accepted >= first_reserved.load(std::memory_order_relaxed)) {
    ::close(accepted);
    refused_connections.fetch_add(1);
    tell_if(is_refusal_wanted);
    errno = ECONNABORTED;
    return -1;
  }
  if (accepted >= first_warned.load(std::memory_order_relaxed)) tell_if(is_warning_wanted);
  return accepted;
}

namespace ironcore::program {

namespace {

constexpr int pause_ms = 60'000;  ///< between two lines

/// The soft limit of 1,024 is for programs that use select(2). Where it is lower than it may be, every connection counts.
std::size_t raise_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return std::min<rlim_t>(limit.rlim_cur, INT_MAX);
}

}  // namespace

DescriptorGuard::DescriptorGuard(Log& log)
    : log_(log), limit_(raise_limit()), news_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (limit_ == 0 || !news_) return;
  const auto reserve = std::clamp<std::size_t>(limit_ / 16, 16, 1024);
  news_descriptor = news_.get();
  is_warning_wanted = is_refusal_wanted = true;
  first_reserved = static_cast<int>(limit_ - std::min(limit_, reserve));
  first_warned = static_cast<int>(limit_ / 5 * 4);
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

DescriptorGuard::~DescriptorGuard() {
  first_reserved = first_warned = INT_MAX;
  is_warning_wanted = is_refusal_wanted = false;
  thread_.request_stop();
  const std::uint64_t one = 1;
  if (news_) [[maybe_unused]]
    const auto written = ::write(news_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
  news_descriptor = -1;
}

std::uint64_t DescriptorGuard::refused() const noexcept {
  return refused_connections.load();
}

void DescriptorGuard::run(const std::stop_token& stop) {
  const auto limit = std::to_string(limit_);
  std::uint64_t told = 0;
  int pause = -1;  // until both kinds of news are wanted again
  while (true) {
    pollfd news{news_.get(), POLLIN, 0};
    ::poll(&news, 1, pause);
    if (stop.stop_requested()) return;
    std::uint64_t count = 0;
    if (::read(news_.get(), &count, sizeof count) != sizeof count) {
      pause = -1;
      is_warning_wanted = is_refusal_wanted = true;
      continue;
    }
    pause = pause_ms;
    const auto refused = refused_connections.load();
    if (refused != told) {
      log_.error("connections are closed: no descriptors are left for them",
                 {{"closed", std::to_string(refused - told)}, {"limit", limit}, {"remedy", "a higher LimitNOFILE"}});
      told = refused;
    } else {
      log_.warning("four fifths of the descriptors are in use",
                   {{"limit", limit}, {"remedy", "a higher LimitNOFILE, or fewer connections"}});
    }
  }
}

}  // namespace ironcore::program
