// SPDX-License-Identifier: Apache-2.0
// Frames on their way from a worker to who writes them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

namespace ironcore::network::dataplane {

/// What is known of a captured frame besides its bytes.
struct CaptureHead {
  std::uint64_t time_ns = 0;
  std::uint32_t port = 0;         ///< index among the capture's ports
  std::uint32_t frame_bytes = 0;  ///< of the whole frame
  std::uint32_t bytes = 0;        ///< of these that follow
  std::uint32_t is_out = 0;
};
static_assert(sizeof(CaptureHead) == 24);

/// Copies of various sizes, each in one piece, with one writer and one reader (Lamport, 1977); nobody waits. Thread: `push` that of the worker, `front`
/// and `pop` that of the reader.
class CaptureRing {
 public:
  /// `bytes` is a power of two, 4 KiB at least.
  explicit CaptureRing(std::size_t bytes) : bytes_(bytes), places_(new std::byte[bytes]) {}

  /// False if there is no room.
  bool push(const CaptureHead& head, const std::uint8_t* frame) noexcept {
    const std::size_t need = size_of(head.bytes);
    std::uint64_t end = end_.load(std::memory_order_relaxed);
    const std::size_t tail = bytes_ - at(end);
    const std::size_t skipped = tail < need ? tail : 0;
    if (end + skipped + need - begin_.load(std::memory_order_acquire) > bytes_) return false;
    if (skipped >= sizeof(CaptureHead)) {
      CaptureHead filler;
      filler.bytes = nothing;
      std::memcpy(places_.get() + at(end), &filler, sizeof(filler));
    }
    end += skipped;
    std::memcpy(places_.get() + at(end), &head, sizeof(head));
    if (head.bytes > 0) std::memcpy(places_.get() + at(end) + sizeof(head), frame, head.bytes);
    end_.store(end + need, std::memory_order_release);
    return true;
  }

  /// The oldest one.
  std::optional<CaptureHead> front() noexcept {
    std::uint64_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) return std::nullopt;
    CaptureHead head;
    const std::size_t tail = bytes_ - at(begin);
    if (tail >= sizeof(head)) std::memcpy(&head, places_.get() + at(begin), sizeof(head));
    if (tail < sizeof(head) || head.bytes == nothing) {
      begin += tail;
      begin_.store(begin, std::memory_order_release);
      std::memcpy(&head, places_.get() + at(begin), sizeof(head));
    }
    return head;
  }
  /// Of the one that `front` gave, until `pop`.
  std::span<const std::uint8_t> frame(const CaptureHead& head) const noexcept {
    const auto* first = places_.get() + at(begin_.load(std::memory_order_relaxed)) + sizeof(head);
    return {reinterpret_cast<const std::uint8_t*>(first), head.bytes};
  }
  void pop(const CaptureHead& head) noexcept {
    begin_.store(begin_.load(std::memory_order_relaxed) + size_of(head.bytes), std::memory_order_release);
  }

 private:
  static constexpr std::uint32_t nothing = UINT32_MAX;  ///< as `bytes`: the rest up to the end is not used

  static std::size_t size_of(std::uint32_t bytes) noexcept {
    return (sizeof(CaptureHead) + bytes + 7) & ~std::size_t{7};
  }
  std::size_t at(std::uint64_t position) const noexcept { return static_cast<std::size_t>(position & (bytes_ - 1)); }

  // Both only grow.
  alignas(64) std::atomic<std::uint64_t> begin_ = 0;
  alignas(64) std::atomic<std::uint64_t> end_ = 0;
  alignas(64) std::size_t bytes_;
  std::unique_ptr<std::byte[]> places_;
};

}  // namespace ironcore::network::dataplane
