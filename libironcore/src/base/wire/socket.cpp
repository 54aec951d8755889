// SPDX-License-Identifier: Apache-2.0
// Sockets, messages and waiting, on ZeroMQ's C interface.
#include "socket.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "ironcore/base/file.hpp"
#include "ironcore/base/random.hpp"

namespace ironcore::wire {

namespace {
// Below this, copying into ZeroMQ's own buffer is cheaper than a second allocation for the shared content.
constexpr std::size_t copy_limit = 4096;

/// Called on whichever thread of ZeroMQ is through with the message.
void release_kept_bytes(void*, void* kept) {
  delete static_cast<std::string*>(kept);
}
}  // namespace

Error zmq_error(std::string_view doing) {
  const int number = zmq_errno();
  // Numbers of its own speak of wrong use. What is bound or connected to is an endpoint: a device or path that is not there is none.
  ErrorCode code = number >= ZMQ_HAUSNUMERO ? ErrorCode::internal : errno_code(number);
  if (number == ENODEV) code = ErrorCode::invalid;
  if (number == ENOENT) code = ErrorCode::unavailable;
  std::string message(doing);
  message += ": ";
  switch (number) {
    case EADDRINUSE:
      message += "in use by another server: stop it or choose another endpoint";
      break;
    case EMFILE:
    case ENFILE:
      message += "out of file descriptors or sockets: raise the limit (ulimit -n) or ContextOptions::max_sockets";
      break;
    default: {
      std::string text = zmq_strerror(number);
      if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
      message += text;
    }
  }
  return Error(code, std::move(message));
}

Context::Native::~Native() {
  if (handle == nullptr) return;
  while (zmq_ctx_term(handle) != 0 && zmq_errno() == EINTR) {
  }
}

Message::Message(std::string&& bytes) {
  if (bytes.size() >= copy_limit) {
    auto* kept = new std::string(std::move(bytes));
    if (zmq_msg_init_data(&message_, kept->data(), kept->size(), release_kept_bytes, kept) == 0) return;
    delete kept;
    throw std::bad_alloc();
  }
  if (zmq_msg_init_size(&message_, bytes.size()) != 0) throw std::bad_alloc();
  std::memcpy(zmq_msg_data(&message_), bytes.data(), bytes.size());
}

Message::Message(std::string_view bytes) {
  if (zmq_msg_init_size(&message_, bytes.size()) != 0) throw std::bad_alloc();
  if (!bytes.empty()) std::memcpy(zmq_msg_data(&message_), bytes.data(), bytes.size());
}

std::string_view Message::user() const noexcept {
  const char* user = zmq_msg_gets(&message_, "User-Id");
  return user == nullptr ? std::string_view() : std::string_view(user);
}

Message Message::copy() noexcept {
  Message other;
  zmq_msg_copy(&other.message_, &message_);
  return other;
}

Result<Socket> Socket::open(const std::shared_ptr<Context::Native>& context, int type) {
  Socket socket;
  socket.context_ = context;
  socket.handle_ = zmq_socket(context->handle, type);
  if (socket.handle_ == nullptr) return zmq_error("open a socket");
  IRONCORE_CHECK(socket.set(ZMQ_LINGER, 0));
  return socket;
}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    context_ = std::move(other.context_);
    handle_ = std::exchange(other.handle_, nullptr);
  }
  return *this;
}

void Socket::close() noexcept {
  if (handle_ != nullptr) zmq_close(std::exchange(handle_, nullptr));
}

Result<void> Socket::set(int option, int value) {
  if (zmq_setsockopt(handle_, option, &value, sizeof value) != 0) return zmq_error("set a socket option");
  return {};
}
Result<void> Socket::set(int option, std::int64_t value) {
  if (zmq_setsockopt(handle_, option, &value, sizeof value) != 0) return zmq_error("set a socket option");
  return {};
}
Result<void> Socket::set(int option, std::string_view value) {
  if (zmq_setsockopt(handle_, option, value.data(), value.size()) != 0) return zmq_error("set a socket option");
  return {};
}
Result<void> Socket::bind(const std::string& endpoint) {
  if (zmq_bind(handle_, endpoint.c_str()) != 0) return zmq_error("bind " + endpoint);
  return {};
}
Result<void> Socket::connect(const std::string& endpoint) {
  if (zmq_connect(handle_, endpoint.c_str()) != 0) return zmq_error("connect to " + endpoint);
  return {};
}
Result<std::string> Socket::last_endpoint() const {
  char text[512];
  std::size_t size = sizeof text;
  if (zmq_getsockopt(handle_, ZMQ_LAST_ENDPOINT, text, &size) != 0) return zmq_error("read the endpoint");
  return std::string(text);
}

bool Socket::send(Message& message, int flags) noexcept {
  for (;;) {
    if (zmq_msg_send(message.native(), handle_, flags | ZMQ_DONTWAIT) >= 0) return true;
    if (zmq_errno() != EINTR) return false;
  }
}

std::optional<Message> Socket::receive() noexcept {
  std::optional<Message> message(std::in_place);
  for (;;) {
    if (zmq_msg_recv(message->native(), handle_, ZMQ_DONTWAIT) >= 0) return message;
    if (zmq_errno() != EINTR) return std::nullopt;
  }
}

int Socket::events() const noexcept {
  int events = 0;
  std::size_t size = sizeof events;
  return zmq_getsockopt(handle_, ZMQ_EVENTS, &events, &size) == 0 ? events : 0;
}

Result<int> Socket::fd() const {
  int fd = -1;
  std::size_t size = sizeof fd;
  if (zmq_getsockopt(handle_, ZMQ_FD, &fd, &size) != 0) return zmq_error("read a socket's descriptor");
  return fd;
}

Result<std::shared_ptr<Wake>> Wake::create() {
  UniqueFd fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd) {
    errno = EMFILE;  // the only reason that a caller can react to
    return zmq_error("create an eventfd");
  }
  return std::make_shared<Wake>(std::move(fd));
}
void Wake::set() noexcept {
  may_be_set_.store(true);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);  // fails only when it is set already
}
void Wake::clear() noexcept {
  // A set in between is either read here or leaves the mark: both are seen by the look that follows.
  if (!may_be_set_.exchange(false)) return;
  std::uint64_t count;
  [[maybe_unused]] const auto read = ::read(fd_.get(), &count, sizeof count);
}

bool poll(std::span<zmq_pollitem_t> items, Instant deadline, const Clock& clock) {
  for (;;) {
    // Rounded up, so that a deadline in half a millisecond is not a busy loop; capped, because a far deadline overflows.
    const auto left = deadline - clock.now();
    const auto wait = std::clamp<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 0, 60'000);
    const int ready = zmq_poll(items.data(), static_cast<int>(items.size()), static_cast<long>(wait));
    if (ready > 0 || (ready == 0 && left <= std::chrono::seconds(60))) return true;
    if (ready < 0 && zmq_errno() != EINTR) return false;
  }
}

void poll_descriptors(std::span<pollfd> items, Instant deadline, const Clock& clock) {
  const auto left = std::clamp<Duration>(deadline - clock.now(), Duration::zero(), std::chrono::hours(1));
  const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
  const timespec span{static_cast<time_t>(seconds.count()), static_cast<long>((left - seconds).count())};
  if (::ppoll(items.data(), items.size(), &span, nullptr) <= 0)
    for (auto& item : items) item.revents = 0;
}

RandomId random_id() {
  RandomId id{};
  SystemRandom().fill(std::as_writable_bytes(std::span(&id, 1)));
  return id;
}
std::uint64_t random_number() {
  return random_id().low;
}

}  // namespace ironcore::wire
