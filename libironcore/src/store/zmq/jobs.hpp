// SPDX-License-Identifier: Apache-2.0
// Requests that take more than a moment: what is known of them between two slices.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fair_queue.hpp"
#include "requests.hpp"

namespace ironcore::store::zmq {

inline constexpr Duration slice_time = std::chrono::milliseconds(2);
inline constexpr std::size_t changes_per_slice = 256;
inline constexpr std::size_t max_list_elements = 65'536;
/// Clients ask for one at a time on a connection.
inline constexpr std::size_t jobs_per_connection = 16;
inline constexpr std::size_t waiting_jobs = 65'536;

/// One page of a list.
struct Requests::ListJob {
  ListJob(Origin an_origin, Query a_query, std::size_t a_limit, std::string a_continue_at)
      : origin(std::move(an_origin)), query(std::move(a_query)), limit(a_limit), continue_at(std::move(a_continue_at)) {
    const auto placement = std::string(query.kind->info().placement);
    const bool has_index = query.fields.is_empty() ||
                           (!placement.empty() && query.fields.required(placement) != nullptr) ||
                           query.fields.required("metadata.name") != nullptr;
    is_filtered_here = !has_index || !query.labels.is_empty();
    base = query;
    base.labels = {};
    if (!has_index) base.fields = {};
  }
  Origin origin;
  Query query;
  Query base;  ///< the part that the store answers quickly
  bool is_filtered_here;
  std::size_t limit;
  std::string continue_at;
  std::optional<Revision> revision;
  std::vector<std::string> texts;
  std::size_t bytes = 0;
};

/// What happened after a revision.
struct Requests::ChangesJob {
  struct Text {
    ChangeType type;
    std::uint64_t revision;
    std::string json;
  };
  ChangesJob(Origin an_origin, Query a_query, std::uint64_t from, std::size_t a_limit, bool pushed)
      : origin(std::move(an_origin)), query(std::move(a_query)), through(from), limit(a_limit), is_pushed(pushed) {}
  Origin origin;
  Query query;
  std::uint64_t through;
  std::size_t limit;
  bool is_pushed;
  std::vector<Text> changes;
  std::size_t bytes = 0;
};

/// By connection, so that a storm from one does not keep the others waiting.
struct Requests::Jobs {
  using Job = std::variant<ListJob, ChangesJob>;
  FairQueue<Job> queue{jobs_per_connection, waiting_jobs};
};

template <class Job>
Result<void> Requests::enqueue(Job job) {
  const std::string sender = (job.origin.listener->is_local ? "l" : "t") + std::string(job.origin.routing_id.bytes());
  const auto until = job.origin.until;
  // The client asks again when it has to wait long: the one that waits answers both.
  auto* const same = jobs_->queue.find(sender, [&](const Jobs::Job& other) {
    return std::visit([&](const auto& one) { return one.origin.request_id == job.origin.request_id; }, other);
  });
  if (same != nullptr) {
    std::visit([&](auto& one) { one.origin.until = std::max(one.origin.until, until); }, *same);
    return {};
  }
  if (jobs_->queue.push(sender, Jobs::Job(std::move(job)))) return {};
  return Error(ErrorCode::exhausted, "too many lists and replays of this client are under way: try again later");
}

}  // namespace ironcore::store::zmq
