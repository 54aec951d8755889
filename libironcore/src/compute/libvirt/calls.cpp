// SPDX-License-Identifier: Apache-2.0
// Taking connections and giving them back.
#include "calls.hpp"

#include <utility>

#include "opening.hpp"

namespace ironcore::compute::libvirt {

namespace {

/// As many as a provider has workers, unless it is told otherwise.
constexpr std::size_t kept = 4;

}  // namespace

Call::~Call() {
  if (link_) calls_->give_back(std::move(link_));
}

Result<Call> Calls::take() {
  while (auto link = take_idle()) {
    if (link->is_alive()) return Call(*this, std::move(link));
  }
  IRONCORE_TRY(auto link, openings_.open(options_.uri, clock_, clock_.now() + silence_limit(options_.keepalive), {}));
  link->set_keepalive(options_.keepalive);
  return Call(*this, std::move(link));
}

std::unique_ptr<Link> Calls::take_idle() {
  std::lock_guard guard(mutex_);
  if (idle_.empty()) return nullptr;
  auto link = std::move(idle_.back());
  idle_.pop_back();
  return link;
}

void Calls::give_back(std::unique_ptr<Link> link) {
  if (!link->is_alive()) return;
  std::lock_guard guard(mutex_);
  if (idle_.size() < kept) idle_.push_back(std::move(link));
}

}  // namespace ironcore::compute::libvirt
