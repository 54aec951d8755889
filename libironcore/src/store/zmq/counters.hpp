// SPDX-License-Identifier: Apache-2.0
// The server's counters, written by its loop and read by anybody.
#pragma once

#include <atomic>
#include <cstdint>

#include "ironcore/store/zmq_server.hpp"

namespace ironcore::store::zmq {

/// One writer. Thread: any for reading.
class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept { value_.store(value() + count, std::memory_order_relaxed); }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct Counters {
  Counter requests;
  Counter commits;
  Counter commit_batches;
  Counter refused;
  Counter malformed;
  Counter foreign_version;
  Counter unknown_keys;
  Counter published;
  Counter dropped_answers;
  Counter streams_opened;

  ServerCounters read() const noexcept {
    return {requests.value(),        commits.value(),         commit_batches.value(), refused.value(),
            malformed.value(),       foreign_version.value(), unknown_keys.value(),   published.value(),
            dropped_answers.value(), streams_opened.value()};
  }
};

}  // namespace ironcore::store::zmq
