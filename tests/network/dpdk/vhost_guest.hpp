// SPDX-License-Identifier: Apache-2.0
// The guest's side of a vhost-user socket, listening as QEMU does: a driver with split rings (virtio 1.2 §2.7, §5.1) that may also lie.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "../packets.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::tests {

// Bits of features.
constexpr std::uint64_t feature(unsigned number) {
  return std::uint64_t{1} << number;
}
constexpr std::uint64_t checksum_from_guest = feature(0);
constexpr std::uint64_t checksum_to_guest = feature(1);
constexpr std::uint64_t tso_to_guest = feature(7) | feature(8);
constexpr std::uint64_t tso_from_guest = feature(11) | feature(12);
constexpr std::uint64_t mergeable_buffers = feature(15);
constexpr std::uint64_t several_queues = feature(22);
constexpr std::uint64_t protocol_features = feature(30);
constexpr std::uint64_t virtio_1 = feature(32);

/// Requests of the protocol (QEMU, docs/interop/vhost-user.rst).
enum class Ask : std::uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_memory = 5,
  set_ring_size = 8,
  set_ring_addresses = 9,
  set_ring_base = 10,
  get_ring_base = 11,
  set_kick = 12,
  set_call = 13,
  get_protocol_features = 15,
  set_protocol_features = 16,
  set_ring_enable = 18,
};

struct Descriptor {
  static constexpr std::uint16_t has_next = 1;
  static constexpr std::uint16_t is_writable = 2;
  static constexpr std::uint16_t is_indirect = 4;
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  std::uint16_t flags = 0;
  std::uint16_t next = 0;
};
constexpr std::uint16_t ring_size = 256;
/// One ring as it lies in the guest's memory.
struct RingMemory {
  struct Used {
    std::uint32_t id;
    std::uint32_t bytes;
  };
  alignas(4096) std::array<Descriptor, ring_size> descriptors;
  alignas(4096) std::uint16_t available_flags;
  std::uint16_t available_index;
  std::array<std::uint16_t, ring_size> available;
  alignas(4096) std::uint16_t used_flags;
  std::uint16_t used_index;
  std::array<Used, ring_size> used;
};
struct MemoryRegion {
  std::uint64_t guest = 0;
  std::uint64_t bytes = 0;
  std::uint64_t user = 0;
  std::uint64_t offset = 0;
};
struct RingAddresses {
  std::uint32_t index = 0;
  std::uint32_t flags = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t used = 0;
  std::uint64_t available = 0;
  std::uint64_t log = 0;
};
struct RingState {
  std::uint32_t index = 0;
  std::uint32_t number = 0;
};

/// Before each frame.
struct NetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_bytes = 0;
  std::uint16_t segment_bytes = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
  std::uint16_t buffers = 0;
};
static_assert(sizeof(NetHeader) == 12);

/// A frame as the guest has it.
struct GuestFrame {
  Bytes bytes;
  NetHeader header;
  bool needs_checksum() const { return (header.flags & 1) != 0; }
};

struct VhostGuestOptions {
  std::uint16_t queues = 1;           ///< pairs
  std::uint64_t refused = 0;          ///< features that it does not want
  std::uint32_t buffer_bytes = 2048;  ///< of each that it receives into
};

/// A thread of its own listens, greets who connects, and listens again when he hangs up. Otherwise thread: one. Gone with its socket in the destructor.
class VhostGuest {
 public:
  static constexpr std::uint64_t rings_at = std::uint64_t{1} << 30;
  static constexpr std::uint64_t buffers_at = std::uint64_t{1} << 32;
  static constexpr std::uint32_t piece_bytes = 2048;

  explicit VhostGuest(std::string path, VhostGuestOptions options = {})
      : path_(std::move(path)), options_(options), rings_(2U * options.queues) {
    buffer_bytes_ = std::max(options_.buffer_bytes, piece_bytes);
    bytes_ = rings_.size() * (sizeof(RingMemory) + std::size_t{ring_size} * buffer_bytes_);
    memory_fd_.reset(::memfd_create("guest", MFD_CLOEXEC));
    REQUIRE(::ftruncate(memory_fd_.get(), static_cast<off_t>(bytes_)) == 0);
    auto* there = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd_.get(), 0);
    REQUIRE(there != MAP_FAILED);
    memory_ = static_cast<std::uint8_t*>(there);
    for (auto& ring : rings_) {
      ring.kick.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      ring.call.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    wake_.reset(::eventfd(0, EFD_CLOEXEC));
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_.get(), 1) == 0);
    thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  }
  ~VhostGuest() {
    thread_.request_stop();
    const std::uint64_t one = 1;
    static_cast<void>(::write(wake_.get(), &one, sizeof one));
    thread_.join();
    ::munmap(memory_, bytes_);
    std::filesystem::remove(path_);
  }
  VhostGuest(const VhostGuest&) = delete;
  VhostGuest& operator=(const VhostGuest&) = delete;

  bool is_up() const { return is_up_; }
  std::uint64_t features() const {
    std::lock_guard guard(mutex_);
    return features_;
  }

  /// False if there is no room.
  bool send(const Bytes& frame, std::uint16_t queue = 0, const NetHeader& header = {}) {
    std::lock_guard guard(mutex_);
    auto& ring = rings_[2U * queue + 1U];
    reclaim(ring);
    const auto pieces = (frame.size() + piece_bytes - 1) / piece_bytes;
    if (ring.free.size() < pieces + 1) return false;
    const auto head = ring.free.back();
    auto at = head;
    auto* memory = memory_of(ring);
    for (std::size_t piece = 0; piece <= pieces; ++piece) {
      ring.free.pop_back();
      auto* to = buffer(ring, at);
      auto& descriptor = memory->descriptors[at];
      descriptor.address = guest_address(to);
      if (piece == 0) {
        std::memcpy(to, &header, sizeof header);
        descriptor.bytes = sizeof header;
      } else {
        const auto from = (piece - 1) * piece_bytes;
        const auto some = std::min<std::size_t>(piece_bytes, frame.size() - from);
        std::memcpy(to, frame.data() + from, some);
        descriptor.bytes = static_cast<std::uint32_t>(some);
      }
      descriptor.flags = piece < pieces ? Descriptor::has_next : std::uint16_t{0};
      if (piece < pieces) descriptor.next = at = ring.free.back();
    }
    offer(ring, head);
    kick(ring);
    return true;
  }
  /// What has come; does not wait.
  std::vector<GuestFrame> take() {
    std::lock_guard guard(mutex_);
    std::vector<GuestFrame> out;
    for (std::size_t i = 0; i < rings_.size(); i += 2) {
      auto& ring = rings_[i];
      GuestFrame frame;
      std::size_t left = 0;
      while (ring.used_seen != index(memory_of(ring)->used_index)) {
        const auto used = memory_of(ring)->used[ring.used_seen++ % ring_size];
        REQUIRE(used.id < ring_size);
        REQUIRE(used.bytes <= buffer_bytes_);
        const auto* from = buffer(ring, static_cast<std::uint16_t>(used.id));
        std::size_t skipped = 0;
        if (left == 0) {
          REQUIRE(used.bytes >= sizeof(NetHeader));
          std::memcpy(&frame.header, from, sizeof(NetHeader));
          skipped = sizeof(NetHeader);
          left = std::max<std::size_t>(frame.header.buffers, 1);
        }
        frame.bytes.insert(frame.bytes.end(), from + skipped, from + used.bytes);
        offer(ring, static_cast<std::uint16_t>(used.id));
        if (--left == 0) out.push_back(std::exchange(frame, {}));
      }
      REQUIRE(left == 0);
    }
    return out;
  }
  bool take_one(GuestFrame& frame) {
    if (kept_.empty()) kept_ = take();
    if (kept_.empty()) return false;
    frame = std::move(kept_.front());
    kept_.erase(kept_.begin());
    return true;
  }
  /// As when the machine is switched on again: rings stop and start anew on the same connection.
  void reboot() {
    std::lock_guard guard(mutex_);
    for (std::uint32_t i = 0; i < rings_.size(); ++i) {
      say(Ask::get_ring_base, RingState{i, 0});
      hear<RingState>();
    }
    start_rings();
  }

  // For those that lie.

  RingMemory& ring(std::size_t number) { return *memory_of(rings_[number]); }
  std::uint64_t buffer_address(std::size_t number, std::uint16_t slot) {
    return guest_address(buffer(rings_[number], slot));
  }
  /// This descriptor is next.
  void offer(std::size_t number, std::uint16_t head) {
    std::lock_guard guard(mutex_);
    offer(rings_[number], head);
    kick(rings_[number]);
  }
  void kick(std::size_t number) { kick(rings_[number]); }
  template <class Payload>
  void tell(Ask what, const Payload& payload, std::vector<int> fds = {}) {
    std::lock_guard guard(mutex_);
    say(what, payload, std::move(fds));
  }

 private:
  struct Ring {
    UniqueFd kick;
    UniqueFd call;
    std::uint16_t used_seen = 0;
    std::vector<std::uint16_t> free;
  };
  struct MemoryTable {
    std::uint32_t count = 2;
    std::uint32_t padding = 0;
    std::array<MemoryRegion, 2> regions;
  };

  RingMemory* memory_of(const Ring& ring) { return reinterpret_cast<RingMemory*>(memory_) + (&ring - rings_.data()); }
  std::uint8_t* buffer(const Ring& ring, std::uint16_t slot) {
    const auto number = static_cast<std::size_t>(&ring - rings_.data());
    return memory_ + rings_bytes() + (number * ring_size + slot) * buffer_bytes_;
  }
  std::size_t rings_bytes() const { return rings_.size() * sizeof(RingMemory); }
  std::uint64_t guest_address(const std::uint8_t* at) const {
    return buffers_at + static_cast<std::uint64_t>(at - memory_ - static_cast<std::ptrdiff_t>(rings_bytes()));
  }
  static std::uint16_t index(std::uint16_t& place) { return std::atomic_ref(place).load(std::memory_order_acquire); }
  void offer(Ring& ring, std::uint16_t head) {
    auto* memory = memory_of(ring);
    memory->available[memory->available_index % ring_size] = head;
    std::atomic_ref(memory->available_index).fetch_add(1);
  }
  void kick(Ring& ring) {
    constexpr std::uint16_t nobody_listens = 1;
    if ((index(memory_of(ring)->used_flags) & nobody_listens) != 0) return;
    const std::uint64_t one = 1;
    REQUIRE(::write(ring.kick.get(), &one, sizeof one) == sizeof one);
  }
  void reclaim(Ring& ring) {
    auto* memory = memory_of(ring);
    while (ring.used_seen != index(memory->used_index)) {
      auto at = static_cast<std::uint16_t>(memory->used[ring.used_seen++ % ring_size].id);
      // A liar's chain has no end.
      while (at < ring_size && ring.free.size() < ring_size) {
        ring.free.push_back(at);
        if ((memory->descriptors[at].flags & Descriptor::has_next) == 0) break;
        at = memory->descriptors[at].next;
      }
    }
  }

  // ---- the protocol: false once the other end has hung up ----

  struct Nothing {};
  struct MessageHeader {
    Ask what;
    std::uint32_t flags = 1;  // the version
    std::uint32_t bytes = 0;
  };
  template <class Payload>
  bool say(Ask what, const Payload& payload, std::vector<int> fds = {}) {
    constexpr std::size_t payload_bytes = std::is_empty_v<Payload> ? 0 : sizeof payload;
    const MessageHeader header{what, 1, payload_bytes};
    std::array<std::uint8_t, sizeof header + payload_bytes> bytes;
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, &payload, payload_bytes);
    iovec part{bytes.data(), bytes.size()};
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(8 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      auto* first = CMSG_FIRSTHDR(&message);
      first->cmsg_level = SOL_SOCKET;
      first->cmsg_type = SCM_RIGHTS;
      first->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(first), fds.data(), fds.size() * sizeof(int));
    }
    return ::sendmsg(connection_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  template <class Payload>
  Payload hear() {
    Payload payload{};
    MessageHeader header{};
    if (::recv(connection_.get(), &header, sizeof header, MSG_WAITALL) == sizeof header &&
        header.bytes == sizeof payload)
      static_cast<void>(::recv(connection_.get(), &payload, sizeof payload, MSG_WAITALL));
    return payload;
  }

  bool greet() {
    say(Ask::get_features, Nothing());
    constexpr std::uint64_t known = checksum_from_guest | checksum_to_guest | tso_to_guest | tso_from_guest |
                                    mergeable_buffers | protocol_features | virtio_1;
    const auto offered = hear<std::uint64_t>();
    features_ = offered & (known | (rings_.size() > 2 ? several_queues : 0)) & ~options_.refused;
    if ((offered & protocol_features) == 0) return false;
    constexpr std::uint64_t protocol_has_several_queues = 1;
    say(Ask::set_owner, Nothing());
    say(Ask::set_protocol_features, protocol_has_several_queues);
    say(Ask::set_features, features_);
    const MemoryTable table{.regions = {{{rings_at, rings_bytes(), reinterpret_cast<std::uint64_t>(memory_), 0},
                                         {buffers_at, bytes_ - rings_bytes(),
                                          reinterpret_cast<std::uint64_t>(memory_) + rings_bytes(), rings_bytes()}}}};
    say(Ask::set_memory, table, {memory_fd_.get(), memory_fd_.get()});
    return start_rings();
  }
  bool start_rings() {
    std::memset(memory_, 0, rings_bytes());
    bool is_heard = true;
    for (std::uint32_t i = 0; i < rings_.size(); ++i) {
      auto& ring = rings_[i];
      auto* memory = memory_of(ring);
      ring.used_seen = 0;
      ring.free.clear();
      for (std::uint16_t slot = 0; slot < ring_size; ++slot) {
        if (i % 2 == 1) {
          ring.free.push_back(slot);
        } else {
          memory->descriptors[slot] = {guest_address(buffer(ring, slot)), options_.buffer_bytes,
                                       Descriptor::is_writable, 0};
          offer(ring, slot);
        }
      }
      say(Ask::set_ring_size, RingState{i, ring_size});
      say(Ask::set_ring_base, RingState{i, 0});
      say(Ask::set_ring_addresses,
          RingAddresses{.index = i,
                        .descriptors = reinterpret_cast<std::uint64_t>(&memory->descriptors),
                        .used = reinterpret_cast<std::uint64_t>(&memory->used_flags),
                        .available = reinterpret_cast<std::uint64_t>(&memory->available_flags)});
      say(Ask::set_kick, std::uint64_t{i}, {ring.kick.get()});
      say(Ask::set_call, std::uint64_t{i}, {ring.call.get()});
      is_heard = say(Ask::set_ring_enable, RingState{i, 1});
    }
    return is_heard;
  }

  /// False if this guest shall end.
  bool wait_readable(int fd, const std::stop_token& stop) {
    std::array<pollfd, 2> both{{{fd, POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    while (::poll(both.data(), both.size(), -1) < 0 && errno == EINTR) {
    }
    return !stop.stop_requested();
  }
  void run(std::stop_token stop) {
    while (wait_readable(listener_.get(), stop)) {
      bool is_greeted = false;
      {
        std::lock_guard guard(mutex_);
        connection_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const timeval patience{10, 0};
        ::setsockopt(connection_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        is_greeted = connection_ && greet();
        is_up_ = is_greeted;
      }
      // Unasked it says nothing, so that what is readable is the end; an answer is heard under the lock.
      while (is_greeted && wait_readable(connection_.get(), stop)) {
        std::lock_guard guard(mutex_);
        std::uint8_t byte = 0;
        if (::recv(connection_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) is_greeted = false;
        if (!is_greeted) is_up_ = false;
      }
      std::lock_guard guard(mutex_);
      is_up_ = false;
      connection_.reset();
    }
  }

  const std::string path_;
  const VhostGuestOptions options_;
  std::uint32_t buffer_bytes_ = 0;
  std::size_t bytes_ = 0;
  UniqueFd memory_fd_;
  std::uint8_t* memory_ = nullptr;
  UniqueFd wake_;
  UniqueFd listener_;
  std::vector<GuestFrame> kept_;
  mutable std::mutex mutex_;  ///< of all below
  std::vector<Ring> rings_;
  UniqueFd connection_;
  std::uint64_t features_ = 0;
  std::atomic<bool> is_up_ = false;
  std::jthread thread_;
};

}  // namespace ironcore::tests
