// SPDX-License-Identifier: Apache-2.0
// RequestPool: connections to one server, one for each call in flight, kept for the next ones.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "first_contact.hpp"
#include "request_channel.hpp"

namespace ironcore::wire {

/// The endpoint and keys were checked. Thread: any.
class RequestPool {
 public:
  RequestPool(std::shared_ptr<Context::Native> context, std::string endpoint, std::optional<ClientKeys> keys,
              Clock& clock)
      : context_(std::move(context)), endpoint_(std::move(endpoint)), keys_(std::move(keys)), clock_(clock) {}

  /// Over a fresh connection; when nobody answers, the error says whether it was the keys.
  template <class Request>
  Result<Answer> meet(const Request& request, Instant deadline) {
    IRONCORE_TRY(auto channel, take());
    start(*channel, request, deadline);
    IRONCORE_TRY(auto answer, first_answer(*channel, context_, keys_, deadline));
    give_back(std::move(channel));
    return answer;
  }

  template <class Request>
  Result<Answer> call(const Request& request, Instant deadline) {
    return call(request, deadline, deadline, nullptr);
  }
  /// `told` is the deadline that the server hears of.
  template <class Request>
  Result<Answer> call(const Request& request, Instant told, Instant deadline, const std::shared_ptr<Wake>& cancel) {
    IRONCORE_TRY(auto channel, take());
    start(*channel, request, told);
    auto answer = channel->finish(deadline, cancel);
    give_back(std::move(channel));
    return answer;
  }

 private:
  template <class Request>
  void start(Channel& channel, const Request& request, Instant told) {
    const auto id = channel.next_id();
    channel.start(id, encode(id, milliseconds_until(told, clock_), request));
  }
  Result<std::unique_ptr<Channel>> take();
  void give_back(std::unique_ptr<Channel> channel);

  const std::shared_ptr<Context::Native> context_;
  const std::string endpoint_;
  const std::optional<ClientKeys> keys_;
  Clock& clock_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Channel>> free_;
};

}  // namespace ironcore::wire
