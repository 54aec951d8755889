// SPDX-License-Identifier: Apache-2.0
// All captures of a dataplane: workers copy frames into rings, one thread empties them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/network/capture.hpp"
#include "ironcore/network/packet.hpp"
#include "ironcore/network/ports.hpp"
#include "published.hpp"

namespace ironcore::network::dataplane {

/// What is wrong with the settings.
Result<void> check(const CaptureSettings& settings);

/// Thread: `enter`, `take` and `leave` each worker's; everything else any.
class Captures {
  struct Capture;

 public:
  enum class Way : std::uint8_t { in, out };
  /// What runs now, as workers see it.
  struct Taps;

  Captures(CaptureSettings settings, std::size_t workers, Clock& clock, Log& log);
  /// What is in the rings is written. No worker runs any more.
  ~Captures();
  Captures(const Captures&) = delete;
  Captures& operator=(const Captures&) = delete;

  // ---- control ----

  Result<CaptureState> start(const CaptureSpec& spec);
  Result<CaptureState> stop(const std::string& id);
  std::vector<CaptureState> list() const;
  Result<CaptureChunk> read(const std::string& id, std::uint64_t offset);
  /// These ports are there now.
  void follow(std::span<const PortState> ports);

  // ---- who writes ----

  /// Gives how many frames were taken from rings.
  std::size_t write();
  void run(std::stop_token stop);

  // ---- each worker ----

  /// Nothing most of the time. What it gives may be used until `leave`.
  const Taps* enter(std::size_t worker) noexcept {
    if (!is_any_.load(std::memory_order_relaxed)) [[likely]]
      return nullptr;
    return &taps_.enter(worker);
  }
  void leave(std::size_t worker) noexcept { taps_.leave(worker); }
  /// Copies those that match.
  static void take(const Taps& taps, std::size_t worker, Way way, std::span<const Packet> packets,
                   std::uint64_t now_ns) noexcept;

 private:
  Result<std::shared_ptr<Capture>> make(const CaptureSpec& spec);
  // With the mutex.
  void publish();
  bool has_running() const;
  // With the lock of who writes to it.
  std::size_t drain(Capture& capture);
  std::size_t write_batch(Capture& capture);
  void end(Capture& capture, CaptureState::Phase phase, std::string reason);

  const CaptureSettings settings_;
  const std::size_t workers_;
  Clock& clock_;
  Log& log_;

  std::mutex starting_;  ///< one starts at a time; before `mutex_`
  mutable std::mutex mutex_;
  std::condition_variable_any started_;
  std::map<std::string, std::uint32_t> ports_;
  std::map<std::string, std::shared_ptr<Capture>> captures_;
  Published<Taps> taps_;
  std::atomic<bool> is_any_ = false;
};

}  // namespace ironcore::network::dataplane
