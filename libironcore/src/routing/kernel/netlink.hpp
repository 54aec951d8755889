// SPDX-License-Identifier: Apache-2.0
// Netlink: messages to the kernel's routing and its answers, bounded and checked.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::routing::kernel {

using Bytes = std::span<const std::byte>;

/// The first bytes as a T; none if there are too few.
template <class T>
std::optional<T> read_as(Bytes bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// Calls `f(type, payload)` for each attribute up to the first that does not fit.
void for_each_attribute(Bytes bytes, const std::function<void(std::uint16_t type, Bytes payload)>& f);

/// One message after another, as they are sent.
class MessageWriter {
 public:
  /// Begins a message with this body.
  template <class Body>
  void begin(std::uint16_t type, std::uint16_t flags, const Body& body) {
    start(type, flags, std::as_bytes(std::span(&body, 1)));
  }
  template <class T>
  void number(std::uint16_t type, T value) {
    static_assert(std::is_integral_v<T>);
    attribute(type, std::as_bytes(std::span(&value, 1)));
  }
  void attribute(std::uint16_t type, Bytes payload);
  /// An attribute made of what is written until `close`; the result goes there.
  std::size_t open(std::uint16_t type);
  void close(std::size_t opened);
  /// A structure whose first two bytes are its length, likewise.
  template <class Body>
  std::size_t open_structure(const Body& body) {
    const auto at = bytes_.size();
    append(std::as_bytes(std::span(&body, 1)));
    return at;
  }
  /// The message is whole.
  void end();

  std::size_t size() const noexcept { return bytes_.size(); }
  std::size_t messages() const noexcept { return messages_; }
  std::span<std::byte> bytes() noexcept { return bytes_; }
  void clear() noexcept;

 private:
  void start(std::uint16_t type, std::uint16_t flags, Bytes body);
  void append(Bytes bytes);

  std::vector<std::byte> bytes_;
  std::size_t begin_ = 0;
  std::size_t messages_ = 0;
};

/// What the kernel says to a message. 0 = done.
struct Answer {
  int error = 0;        ///< an errno
  std::string message;  ///< the kernel's own words, if it has any
};

/// Thread: one.
class NetlinkSocket {
 public:
  /// Of the routing family, in the network namespace of this thread.
  static Result<NetlinkSocket> open();

  /// Sends all messages at once and takes an answer for each; none = it was lost, so that nobody knows. The messages ask for it with NLM_F_ACK.
  Result<std::vector<std::optional<Answer>>> transact(MessageWriter& messages);
  /// Calls `f` for each message of the answer to one message with NLM_F_DUMP. `unavailable`: what was listed changed meanwhile.
  Result<void> dump(MessageWriter& message, const std::function<void(std::uint16_t type, Bytes body)>& f);
  /// The message that answers to one message; an error of the kernel is one here.
  Result<void> get(MessageWriter& message, const std::function<void(std::uint16_t type, Bytes body)>& f);

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)), buffer_(64 * 1024) {}
  Result<void> send(MessageWriter& messages);
  /// Empty when nothing comes.
  Result<Bytes> receive(int flags);

  UniqueFd fd_;
  std::uint32_t next_sequence_ = 1;
  std::vector<std::byte> buffer_;
};

/// The code of an errno that the kernel's routing answers, with its words.
Error to_error(const Answer& answer);

}  // namespace ironcore::routing::kernel
