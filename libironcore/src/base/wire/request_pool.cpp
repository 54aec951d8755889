// SPDX-License-Identifier: Apache-2.0
// Opens connections and keeps some.
#include "request_pool.hpp"

namespace ironcore::wire {

namespace {
constexpr std::size_t pool_size = 16;
}  // namespace

Result<std::unique_ptr<Channel>> RequestPool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      auto channel = std::move(free_.back());
      free_.pop_back();
      return channel;
    }
  }
  IRONCORE_TRY(auto socket, Socket::open(context_, ZMQ_DEALER));
  IRONCORE_CHECK(prepare_client(socket, endpoint_, keys_));
  IRONCORE_CHECK(socket.connect(endpoint_));
  return std::make_unique<Channel>(std::move(socket), endpoint_, clock_);
}

void RequestPool::give_back(std::unique_ptr<Channel> channel) {
  const std::lock_guard lock(mutex_);
  // The answer to a request that is open may still come: never mix it up with the next one's.
  if (!channel->is_busy() && free_.size() < pool_size) free_.push_back(std::move(channel));
}

}  // namespace ironcore::wire
