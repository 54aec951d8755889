// SPDX-License-Identifier: Apache-2.0
// Bytes between a libvirt stream and whoever holds the console.
#include "console.hpp"

#include <libvirt/virterror.h>

#include <array>
#include <utility>

#include "errors.hpp"

namespace ironcore::compute::libvirt {

namespace {

constexpr std::size_t kInputLimit = 256 << 10;

using Self = std::shared_ptr<ConsoleLine>;

class StreamConsole final : public Console {
 public:
  StreamConsole(std::shared_ptr<ConsoleLine> line, Clock& clock) : line_(std::move(line)), clock_(clock) {}
  ~StreamConsole() override { line_->end(); }
  Result<std::string> read(Instant deadline, std::stop_token stop) override {
    return line_->read(clock_, deadline, std::move(stop));
  }
  Result<void> write(std::string_view bytes, Instant deadline) override {
    return line_->write(clock_, bytes, deadline);
  }

 private:
  std::shared_ptr<ConsoleLine> line_;
  Clock& clock_;
};

Error gone() {
  return {ErrorCode::gone, "the guest stopped"};
}

}  // namespace

ConsoleLine::~ConsoleLine() {
  if (stream_ != nullptr) virStreamFree(stream_);
}

Result<void> ConsoleLine::begin() {
  std::lock_guard guard(mutex_);
  const int events = VIR_STREAM_EVENT_READABLE | VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP;
  auto self = std::make_unique<Self>(shared_from_this());
  const int added = virStreamEventAddCallback(
      stream_, events, [](virStreamPtr, int what, void* opaque) { (*static_cast<Self*>(opaque))->on_stream(what); },
      self.get(), [](void* opaque) { delete static_cast<Self*>(opaque); });
  if (added < 0) return last_error("listen to the console");
  self.release();  // the stream's now, given back by the function above
  is_begun_ = true;
  return {};
}

void ConsoleLine::end() {
  bool was_begun = false;
  {
    std::lock_guard guard(mutex_);
    was_begun = std::exchange(is_begun_, false);
    is_gone_ = true;
  }
  if (!was_begun) return;
  // Without our mutex: libvirt may be inside on_stream.
  virStreamEventRemoveCallback(stream_);
  virStreamAbort(stream_);
}

void ConsoleLine::mark_gone() {
  std::lock_guard guard(mutex_);
  is_gone_ = true;
  changed_.notify_all();
}

void ConsoleLine::update_interest() {
  if (!is_begun_ || is_gone_) return;
  int events = VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP;
  if (input_.size() < kInputLimit) events |= VIR_STREAM_EVENT_READABLE;
  if (wants_to_write_) events |= VIR_STREAM_EVENT_WRITABLE;
  virStreamEventUpdateCallback(stream_, events);
}

void ConsoleLine::on_stream(int events) {
  std::lock_guard guard(mutex_);
  if (is_gone_) return;
  if ((events & VIR_STREAM_EVENT_READABLE) != 0) {
    std::array<char, 16384> buffer;
    while (input_.size() < kInputLimit) {
      const int n = virStreamRecv(stream_, buffer.data(), buffer.size());
      if (n == -2) break;  // nothing more now
      if (n <= 0) {
        is_gone_ = true;
        break;
      }
      input_.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }
  if ((events & VIR_STREAM_EVENT_WRITABLE) != 0) {
    may_write_ = true;
    wants_to_write_ = false;
  }
  if ((events & (VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP)) != 0) is_gone_ = true;
  update_interest();
  changed_.notify_all();
}

Result<std::string> ConsoleLine::read(Clock& clock, Instant deadline, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  clock.wait(lock, changed_, stop, deadline, [&] { return !input_.empty() || is_gone_; });
  if (!input_.empty()) {
    std::string out = std::exchange(input_, {});
    update_interest();
    return out;
  }
  if (is_gone_) return gone();
  if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped reading the console");
  return std::string();
}

Result<void> ConsoleLine::write(Clock& clock, std::string_view bytes, Instant deadline) {
  std::unique_lock lock(mutex_);
  while (!bytes.empty()) {
    if (is_gone_) return gone();
    if (!may_write_) {
      wants_to_write_ = true;
      update_interest();
      if (!clock.wait(lock, changed_, {}, deadline, [&] { return may_write_ || is_gone_; })) {
        return Error(ErrorCode::timeout, "the guest does not read its console");
      }
      continue;
    }
    const int n = virStreamSend(stream_, bytes.data(), bytes.size());
    if (n == -2) {
      may_write_ = false;
    } else if (n < 0) {
      return gone();
    } else {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  return {};
}

Result<std::shared_ptr<ConsoleLine>> open_console(virDomainPtr domain, const Uid& uid) {
  virStreamPtr stream = virStreamNew(virDomainGetConnect(domain), VIR_STREAM_NONBLOCK);
  if (stream == nullptr) return last_error("open the console");
  auto line = std::make_shared<ConsoleLine>(uid, stream);
  // Not VIR_DOMAIN_CONSOLE_FORCE: that would throw out the present holder. A holder that died frees the port,
  // because libvirt ends the streams of a client whose socket is closed.
  if (virDomainOpenConsole(domain, nullptr, stream, 0) < 0) {
    const virErrorPtr error = virGetLastError();
    const bool is_held = error != nullptr && error->code == VIR_ERR_OPERATION_FAILED;
    Error translated = last_error("open the console");
    if (is_held) return Error(ErrorCode::wrong_state, "somebody else has the console");
    return translated;
  }
  IRONCORE_CHECK(line->begin());
  return line;
}

std::unique_ptr<Console> make_console(std::shared_ptr<ConsoleLine> line, Clock& clock) {
  return std::make_unique<StreamConsole>(std::move(line), clock);
}

}  // namespace ironcore::compute::libvirt
