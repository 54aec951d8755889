// SPDX-License-Identifier: Apache-2.0
// Bytes between a pseudo-terminal and whoever holds the console.
#include "console.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::compute::libvirt {

namespace {

constexpr Duration kLongestPoll = std::chrono::hours(1);  // then the deadline is looked at again

Error gone() {
  return {ErrorCode::gone, "the guest stopped"};
}

class PtyConsole final : public Console {
 public:
  PtyConsole(UniqueFd terminal, UniqueFd wake, Clock& clock)
      : terminal_(std::move(terminal)), wake_(std::move(wake)), clock_(clock) {}

  Result<std::string> read(Instant deadline, std::stop_token stop) override {
    for (;;) {
      std::array<char, 16384> buffer;
      const ssize_t n = ::read(terminal_.get(), buffer.data(), buffer.size());
      if (n > 0) return std::string(buffer.data(), static_cast<std::size_t>(n));
      // QEMU closed its side, and what it had written before was read.
      if (n == 0 || (errno != EAGAIN && errno != EINTR)) return gone();
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped reading the console");
      if (clock_.now() >= deadline) return std::string();
      wait(POLLIN, deadline, stop);
    }
  }

  Result<void> write(std::string_view bytes, Instant deadline) override {
    while (!bytes.empty()) {
      const ssize_t n = ::write(terminal_.get(), bytes.data(), bytes.size());
      if (n > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
        continue;
      }
      if (n < 0 && errno != EAGAIN && errno != EINTR) return gone();
      if (clock_.now() >= deadline) return Error(ErrorCode::timeout, "the guest does not read its console");
      wait(POLLOUT, deadline, {});
    }
    return {};
  }

 private:
  void wait(short events, Instant deadline, const std::stop_token& stop) {
    // Written when the stop comes, and emptied afterwards: the next call may have another token.
    const std::stop_callback wake(stop, [this] { ::eventfd_write(wake_.get(), 1); });
    std::array<pollfd, 2> files{{{terminal_.get(), events, 0}, {wake_.get(), POLLIN, 0}}};
    const auto left = std::clamp(deadline - clock_.now(), Duration::zero(), kLongestPoll);
    const auto whole = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    ::poll(files.data(), files.size(), static_cast<int>(whole));
    std::uint64_t count = 0;
    if ((files[1].revents & POLLIN) != 0) ::eventfd_read(wake_.get(), &count);
  }

  UniqueFd terminal_;
  UniqueFd wake_;
  Clock& clock_;
};

}  // namespace

Result<std::unique_ptr<Console>> open_console(const std::string& path, const std::function<bool()>& is_still,
                                              Clock& clock) {
  UniqueFd terminal(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!terminal && errno == EACCES) {
    return Error(ErrorCode::forbidden,
                 "the console " + path + " belongs to QEMU's user: run as root, or use qemu:///session");
  }
  if (!terminal && (errno == ENOENT || errno == EIO)) return Error(ErrorCode::wrong_state, "the domain does not run");
  if (!terminal) return system_error(errno, "open the console " + path);
  if (::flock(terminal.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Error(ErrorCode::wrong_state, "somebody else has the console");
    return system_error(errno, "lock the console " + path);
  }
  if (!is_still()) return Error(ErrorCode::wrong_state, "the domain does not run");
  termios mode{};
  if (::tcgetattr(terminal.get(), &mode) != 0) return system_error(errno, "look at the console " + path);
  ::cfmakeraw(&mode);
  if (::tcsetattr(terminal.get(), TCSANOW, &mode) != 0) return system_error(errno, "set up the console " + path);
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return system_error(errno, "make an event");
  return std::unique_ptr<Console>(std::make_unique<PtyConsole>(std::move(terminal), std::move(wake), clock));
}

}  // namespace ironcore::compute::libvirt
