// SPDX-License-Identifier: Apache-2.0
// A card that forwards flows, in memory, with the faults that real ones have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/network/flow_offload.hpp"

namespace ironcore::sim {

/// Frames are given to `pass`, which does with a hit what the flow says, by an implementation of its own. Thread: as the seam says; what tests make
/// happen, any.
class FlowOffload final : public network::FlowOffload {
 public:
  struct Options {
    std::size_t queues = 1;
    std::size_t capacity = 1024;  ///< flows of all queues
    std::size_t room = 64;        ///< commands and events that a queue keeps
    Duration delay{0};            ///< from a command to when it is carried out
  };
  explicit FlowOffload(Clock& clock);
  FlowOffload(Clock& clock, Options options);
  ~FlowOffload() override;

  std::size_t queues() const noexcept override;
  bool install(std::size_t queue, const network::OffloadedFlow& flow) noexcept override;
  bool remove(std::size_t queue, std::uint64_t id) noexcept override;
  std::size_t poll(std::size_t queue, std::span<network::FlowEvent> into) noexcept override;
  void hits(std::size_t queue, std::span<const std::uint64_t> ids, std::span<network::FlowHits> into) noexcept override;

  // ---- what tests make happen ----

  struct Passed {
    std::uint32_t port = 0;
    std::vector<std::uint8_t> frame;
  };
  /// A frame comes to a port. Nothing: it is no hit, and the engine's.
  std::optional<Passed> pass(std::uint32_t port, std::span<const std::uint8_t> frame);
  enum class Fault {
    none,
    full,   ///< no flow more
    fails,  ///< each flow is refused
    stuck,  ///< commands are taken, and nothing happens; afterwards they are carried out
  };
  void set(Fault fault);
  /// Everything is lost, as when the firmware starts anew.
  void reset();
  /// That are there now, of all queues.
  std::vector<network::OffloadedFlow> flows();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ironcore::sim
