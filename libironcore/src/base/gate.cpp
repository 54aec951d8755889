// SPDX-License-Identifier: Apache-2.0
// Counts the work under way.
#include "ironcore/base/gate.hpp"

namespace ironcore {

struct Gate::State {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::size_t under_way = 0;
  bool closed = false;
};

Gate::Gate() : state_(std::make_shared<State>()) {}
Gate::~Gate() {
  close();
}

Gate::Pass& Gate::Pass::operator=(Pass&& other) noexcept {
  if (this != &other) {
    give_back();
    state_ = std::exchange(other.state_, nullptr);
  }
  return *this;
}

void Gate::Pass::give_back() noexcept {
  if (!state_) return;
  {
    const std::lock_guard lock(state_->mutex);
    if (--state_->under_way == 0) state_->changed.notify_all();
  }
  state_.reset();
}

Gate::Pass Gate::enter() {
  const std::lock_guard lock(state_->mutex);
  if (state_->closed) return {};
  ++state_->under_way;
  return Pass(state_);
}

void Gate::close() noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
}

bool Gate::is_closed() const noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->closed;
}

std::size_t Gate::under_way() const noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->under_way;
}

bool Gate::drain(Clock& clock, Instant deadline, std::stop_token stop) {
  std::unique_lock lock(state_->mutex);
  state_->closed = true;
  return clock.wait(lock, state_->changed, std::move(stop), deadline, [this] { return state_->under_way == 0; });
}

}  // namespace ironcore
