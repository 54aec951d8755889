// SPDX-License-Identifier: Apache-2.0
// Orderly stop: refuse new work, wait for the work under way.
#pragma once

#include <cstddef>
#include <memory>
#include <stop_token>
#include <utility>

#include "ironcore/base/clock.hpp"

namespace ironcore {

/// Whoever works holds a Pass; whoever stops closes the gate and waits until all passes are back. Passes may outlive
/// the gate. Thread: any.
class Gate {
  struct State;

 public:
  /// The right to work, given back on destruction. Empty (false) if the gate was closed.
  class [[nodiscard]] Pass {
   public:
    Pass() noexcept = default;
    Pass(Pass&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept;
    ~Pass() { give_back(); }
    explicit operator bool() const noexcept { return state_ != nullptr; }

   private:
    friend class Gate;
    explicit Pass(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
    void give_back() noexcept;
    std::shared_ptr<State> state_;
  };

  Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  /// Closes; does not wait.
  ~Gate();

  Pass enter();
  /// From now on `enter` gives empty passes. Repeating it does nothing.
  void close() noexcept;
  bool is_closed() const noexcept;
  /// Passes held now.
  std::size_t under_way() const noexcept;
  /// Closes and waits until all passes are back; false if `deadline` or a stop came first.
  bool drain(Clock& clock, Instant deadline = Instant::max(), std::stop_token stop = {});

 private:
  std::shared_ptr<State> state_;
};

}  // namespace ironcore
