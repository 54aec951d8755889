// SPDX-License-Identifier: Apache-2.0
// virConnectOpen on threads of its own.
#include "opening.hpp"

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "errors.hpp"

namespace ironcore::compute::libvirt {

Result<std::shared_ptr<Opening>> Opening::begin(const std::string& uri, std::function<void()> answered) {
  const std::shared_ptr<Opening> opening(new Opening(uri));
  const auto run = [opening, answered = std::move(answered)] {
    const virConnectPtr connection = virConnectOpen(opening->uri_.c_str());
    Result<std::unique_ptr<Link>> result =
        connection == nullptr
            ? last_error("connect to " + opening->uri_ + " (is libvirtd running, and may this user reach it?)")
            : Result<std::unique_ptr<Link>>(std::make_unique<Link>(connection));
    {
      std::lock_guard guard(opening->mutex_);
      opening->result_ = std::move(result);
      opening->changed_.notify_all();
    }
    if (answered) answered();
  };
  try {
    std::thread(run).detach();
  } catch (const std::system_error&) {
    return Error(ErrorCode::unavailable, "connect to " + uri + ": no thread can be started");
  }
  return opening;
}

bool Opening::wait(Clock& clock, Instant deadline, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  return clock.wait(lock, changed_, std::move(stop), deadline, [&] { return result_.has_value(); });
}

bool Opening::has_answered() {
  std::lock_guard guard(mutex_);
  return result_.has_value();
}

Result<std::unique_ptr<Link>> Opening::take() {
  std::lock_guard guard(mutex_);
  return std::move(*std::exchange(result_, std::nullopt));
}

Result<std::unique_ptr<Link>> Openings::open(const std::string& uri, Clock& clock, Instant deadline,
                                             std::stop_token stop) {
  std::shared_ptr<Opening> opening;
  std::vector<std::shared_ptr<Opening>> answered;  // who knows how long ago; closed when others may go on
  {
    std::lock_guard guard(mutex_);
    const auto end =
        std::stable_partition(left_.begin(), left_.end(), [](const auto& one) { return !one->has_answered(); });
    answered.assign(std::make_move_iterator(end), std::make_move_iterator(left_.end()));
    left_.erase(end, left_.end());
    const auto left = std::find_if(left_.begin(), left_.end(), [&](const auto& one) { return one->uri() == uri; });
    if (left != left_.end()) {
      opening = std::move(*left);
      left_.erase(left);
    }
  }
  answered.clear();
  if (!opening) {
    IRONCORE_TRY(opening, Opening::begin(uri));
  }
  if (opening->wait(clock, deadline, stop)) return opening->take();
  std::lock_guard guard(mutex_);
  left_.push_back(std::move(opening));
  if (stop.stop_requested()) return Error(ErrorCode::cancelled, "told to stop while connecting to " + uri);
  return Error(ErrorCode::unavailable, "connect to " + uri + ": libvirtd does not answer: does it hang?");
}

}  // namespace ironcore::compute::libvirt
