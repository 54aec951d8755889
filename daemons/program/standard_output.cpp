// SPDX-License-Identifier: Apache-2.0
// A stream buffer on the file descriptor that remembers its first error.
#include "program/standard_output.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iostream>

#include "ironcore/base/file.hpp"
#include "program/daemon.hpp"

namespace ironcore::program {

class StandardOutput::Buffer final : public std::streambuf {
 public:
  Buffer() { setp(bytes_.data(), bytes_.data() + bytes_.size()); }

  int error() const noexcept { return error_; }
  /// A pipe whose reader left says so at once, not only to the next one who writes.
  void look_for_reader() noexcept {
    pollfd output{STDOUT_FILENO, 0, 0};
    if (error_ == 0 && ::poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0) error_ = EPIPE;
  }

 protected:
  int_type overflow(int_type c) override {
    if (!write_out()) return traits_type::eof();
    if (!traits_type::eq_int_type(c, traits_type::eof())) sputc(traits_type::to_char_type(c));
    return traits_type::not_eof(c);
  }
  int sync() override { return write_out() ? 0 : -1; }

 private:
  bool write_out() {
    for (const char* at = pbase(); error_ == 0 && at != pptr();) {
      const ssize_t written = ::write(STDOUT_FILENO, at, static_cast<std::size_t>(pptr() - at));
      if (written >= 0) {
        at += written;
      } else if (errno == EAGAIN) {
        pollfd output{STDOUT_FILENO, POLLOUT, 0};
        ::poll(&output, 1, -1);
      } else if (errno != EINTR) {
        error_ = errno;
      }
    }
    setp(bytes_.data(), bytes_.data() + bytes_.size());
    return error_ == 0;
  }

  std::array<char, 16 * 1024> bytes_;
  int error_ = 0;
};

StandardOutput::StandardOutput() : buffer_(std::make_unique<Buffer>()), before_(std::cout.rdbuf(buffer_.get())) {}

StandardOutput::~StandardOutput() {
  std::cout.flush();
  std::cout.rdbuf(before_);
}

Result<void> StandardOutput::flush() {
  std::cout.flush();
  buffer_->look_for_reader();
  if (buffer_->error() == 0) return {};
  if (is_reader_gone()) return Error(ErrorCode::cancelled, "nobody reads the output any more");
  return system_error(buffer_->error(), "write the output");
}

bool StandardOutput::is_reader_gone() const noexcept {
  return buffer_->error() == EPIPE;
}

int finish_output(StandardOutput& output, int code) {
  const auto done = output.flush();
  if (done || output.is_reader_gone() || code != exit_ok) return code;
  report(done.error());
  return exit_failure;
}

}  // namespace ironcore::program
