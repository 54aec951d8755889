// SPDX-License-Identifier: Apache-2.0
// Requests that take more than a moment: what is known of them between two slices.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "requests.hpp"

namespace ironcore::store::zmq {

inline constexpr Duration slice_time = std::chrono::milliseconds(2);
inline constexpr std::size_t changes_per_slice = 256;
inline constexpr std::size_t max_list_elements = 65'536;

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

}  // namespace ironcore::store::zmq
