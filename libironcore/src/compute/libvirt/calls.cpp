// SPDX-License-Identifier: Apache-2.0
// Taking connections and giving them back.
#include "calls.hpp"

#include <string>
#include <utility>

#include "opening.hpp"

namespace ironcore::compute::libvirt {

namespace {

/// As many as a provider has workers, unless it is told otherwise.
constexpr std::size_t kept = 4;
constexpr std::size_t most = 32;

}  // namespace

Call::~Call() {
  if (link_) calls_->give_back(std::move(link_), is_abandoned_);
}

Result<Call> Calls::take() {
  const Instant deadline = clock_.now() + silence_limit(options_.keepalive);
  {
    std::unique_lock lock(mutex_);
    if (!clock_.wait(lock, changed_, {}, deadline, [&] { return taken_ < most; }))
      return Error(ErrorCode::unavailable, "libvirt is busy with " + std::to_string(most) + " other calls");
    ++taken_;
  }
  while (auto link = take_idle()) {
    if (link->is_alive()) return Call(shared_from_this(), std::move(link));
  }
  auto link = openings_.open(options_.uri, clock_, deadline, {});
  if (!link) {
    abandon();
    return link.error();
  }
  (*link)->set_keepalive(options_.keepalive);
  return Call(shared_from_this(), std::move(*link));
}

std::unique_ptr<Link> Calls::take_idle() {
  std::lock_guard guard(mutex_);
  if (idle_.empty()) return nullptr;
  auto link = std::move(idle_.back());
  idle_.pop_back();
  return link;
}

void Calls::abandon() {
  std::lock_guard guard(mutex_);
  --taken_;
  changed_.notify_one();
}

void Calls::give_back(std::unique_ptr<Link> link, bool is_abandoned) {
  if (!is_abandoned) abandon();
  if (!link->is_alive()) return;
  std::lock_guard guard(mutex_);
  if (idle_.size() < kept) idle_.push_back(std::move(link));
}

}  // namespace ironcore::compute::libvirt
