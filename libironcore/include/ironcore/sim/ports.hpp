// SPDX-License-Identifier: Apache-2.0
// Ports in memory: for tests, simulations and trying the dataplane without a network card.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/network/ports.hpp"

namespace ironcore::sim {

/// What leaves a port or comes to it. Like a virtio link, a port passes on what is asked for in `offload` and does not do it itself.
struct Frame {
  std::vector<std::uint8_t> bytes;
  network::PacketOffload offload;
};

/// What is sent waits at its port to be taken, or goes over a wire to another port. The device is `memory:NAME`; each can be opened once.
/// Buffers are few and counted, so that a lost one is seen: a frame longer than a buffer takes several. `wait` sleeps by the clock.
/// Thread: as the seam says; what tests make happen, any.
class Ports final : public network::Ports {
 public:
  struct Options {
    std::size_t queues = 1;
    std::size_t most_ports = 4096;
    std::size_t buffers = 1024;
    std::size_t buffer_bytes = 2048;  ///< of a frame that are in one piece
    std::size_t waiting_frames =
        256;  ///< so many wait in each queue of a port, and so many to be taken; one more is lost and counted
    /// Which queue a frame comes to, modulo how many there are, if it is not said; empty = the first one.
    std::function<std::size_t(std::span<const std::uint8_t> frame)> steer;
  };
  explicit Ports(Clock& clock);
  Ports(Clock& clock, Options options);
  ~Ports() override;

  Result<network::PortState> open(const network::PortSpec& spec) override;
  Result<void> close(const std::string& name) override;
  std::vector<network::PortState> list() const override;
  Result<network::PortCounters> counters(const std::string& name) const override;
  void on_change(std::function<void()> changed) override;
  void wake(std::size_t queue) noexcept override;
  std::size_t queues() const noexcept override;
  std::span<const std::uint32_t> polled(std::size_t queue) const noexcept override;
  std::size_t receive(std::uint32_t port, std::size_t queue, std::span<network::Packet> into) noexcept override;
  void send(std::size_t queue, std::span<const network::Packet> packets) noexcept override;
  void release(std::span<const network::Packet> packets) noexcept override;
  std::optional<network::Packet> allocate(std::size_t queue) noexcept override;
  void quiesce(std::size_t queue) noexcept override;
  void leave(std::size_t queue) noexcept override;
  void wait(std::size_t queue, std::uint64_t most_ns) noexcept override;

  // ---- what tests make happen ----

  /// A frame comes to a port, to this queue or to where it is steered. False if it is lost: there is no such port, its link is down, or there is
  /// no room or no buffer.
  bool inject(const std::string& port, std::span<const std::uint8_t> frame,
              std::optional<std::size_t> queue = std::nullopt);
  bool inject(const std::string& port, const Frame& frame, std::optional<std::size_t> queue = std::nullopt);
  /// What left by the port and was not taken yet, oldest first; `most` of it at most.
  std::vector<Frame> take(const std::string& port, std::size_t most = SIZE_MAX);
  /// Each end's frames come to the other one, instead of waiting to be taken, until either is closed. The hosts may be the same; either may go before
  /// the other. `not_found` if there is no such port.
  static Result<void> wire(Ports& one, const std::string& one_port, Ports& other, const std::string& other_port);
  /// All links are up at first. While one is down nothing comes and nothing leaves. `not_found`.
  enum class Link { down, up };
  Result<void> set_link(const std::string& port, Link link);
  /// In the hands of workers, and those of frames that wait.
  std::size_t buffers_in_use() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ironcore::sim
