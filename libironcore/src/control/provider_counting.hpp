// SPDX-License-Identifier: Apache-2.0
// How the providers of storage count.
#pragma once

#include <boost/describe/enum_to_string.hpp>
#include <boost/describe/enumerators.hpp>
#include <boost/mp11/algorithm.hpp>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/api/references.hpp"
#include "ironcore/base/error.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/provider_counts.hpp"
#include "ironcore/control/work_queue.hpp"

namespace ironcore::control {

/// Failed attempts by kind of error, and what maintenance found. Thread: any.
class ProviderCounting {
 public:
  void failed(ErrorCode code) {
    const std::lock_guard lock(mutex_);
    ++failures_[std::string(name(code))];
  }
  void maintained(bool is_done) { ++(is_done ? maintained_ : not_maintained_); }
  void found_orphans(std::size_t count) { orphans_ = count; }

  /// `of`: `volume`, the beginning of names.
  void add_to(std::vector<ProviderCount>& counts, const std::string& of, const std::string& pool) const {
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [kind, value] : failures_)
        counts.push_back({of + "_failures",
                          "Attempts that are repeated, by kind of error.",
                          ProviderCount::Kind::counter,
                          static_cast<double>(value),
                          {{"pool", pool}, {"kind", kind}}});
    }
    for (const auto& [result, value] : {std::pair{"done", maintained_.load()}, {"failed", not_maintained_.load()}})
      counts.push_back({of + "_maintenances",
                        "Rounds of maintenance over a store.",
                        ProviderCount::Kind::counter,
                        static_cast<double>(value),
                        {{"pool", pool}, {"result", result}}});
    counts.push_back({of + "_orphans",
                      "What lies in a store without an object, as of the last maintenance.",
                      ProviderCount::Kind::gauge,
                      static_cast<double>(orphans_.load()),
                      {{"pool", pool}}});
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> failures_;
  std::atomic<std::uint64_t> maintained_{0}, not_maintained_{0}, orphans_{0};
};

/// The objects of a kind by state, and by the reason why they are not ready; each state is there, also with none.
template <class State, class T>
void count_objects(std::vector<ProviderCount>& counts, const Informer<T>& informer, const std::string& what,
                   const std::string& pool) {
  std::map<State, std::uint64_t> states;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<State>>([&](auto one) { states[one.value] = 0; });
  std::map<std::string, std::uint64_t> reasons;
  for (const auto& object : informer.list()) {
    ++states[object->status.state];
    if constexpr (requires { object->status.conditions; })
      if (const auto* ready = api::find_condition(object->status.conditions, "Ready");
          ready != nullptr && ready->status != api::ConditionStatus::true_)
        ++reasons[ready->reason];
  }
  for (const auto& [state, value] : states)
    counts.push_back({what,
                      "Objects of the pool.",
                      ProviderCount::Kind::gauge,
                      static_cast<double>(value),
                      {{"pool", pool}, {"state", boost::describe::enum_to_string(state, "")}}});
  for (const auto& [reason, value] : reasons)
    counts.push_back({what + "_not_ready",
                      "Objects that are not ready, by what their condition says.",
                      ProviderCount::Kind::gauge,
                      static_cast<double>(value),
                      {{"pool", pool}, {"reason", reason}}});
}

inline void count_queue(std::vector<ProviderCount>& counts, const WorkQueue& queue, const std::string& what,
                        const std::string& pool) {
  counts.push_back({what + "_waiting",
                    "Objects that wait for a worker.",
                    ProviderCount::Kind::gauge,
                    static_cast<double>(queue.size()),
                    {{"pool", pool}}});
  counts.push_back({what + "_delayed",
                    "Objects that are looked at again later, also after failures.",
                    ProviderCount::Kind::gauge,
                    static_cast<double>(queue.delayed()),
                    {{"pool", pool}}});
}

}  // namespace ironcore::control
