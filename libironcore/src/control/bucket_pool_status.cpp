// SPDX-License-Identifier: Apache-2.0
// Asking stores of buckets, and telling it.
#include "bucket_pool_status.hpp"

#include "pool_provider.hpp"

namespace ironcore::control {

auto BucketStoreReach::ask(storage::BucketStore& store, const std::stop_token& stop) -> News {
  Answer answer;
  // One that is not there: gateways answer much from their memory, and this they have to look up.
  const auto looked = store.bucket(Uid::random(), stop);
  const auto note = [&answer](const Error& error) {
    answer.trouble = error.message();
    answer.is_silent = error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
  };
  if (!looked && looked.error().code() != ErrorCode::not_found) note(looked.error());
  auto abilities = answer.trouble.empty() ? store.capabilities(stop) : Error(ErrorCode::unavailable, "");
  if (!abilities && answer.trouble.empty()) note(abilities.error());
  if (stop.stop_requested()) return News::none;
  const std::lock_guard lock(mutex_);
  const auto before = answers_.find(&store);
  if (before == answers_.end()) {
    if (abilities) answer.abilities = std::move(*abilities);
    answers_.emplace(&store, std::move(answer));
    return News::work;
  }
  auto& known = before->second;
  const bool is_able_otherwise = abilities && *abilities != known.abilities;
  const bool is_reached_otherwise = answer.trouble != known.trouble;
  const bool answers_again = known.is_silent && !answer.is_silent;
  known.trouble = std::move(answer.trouble);
  known.is_silent = answer.is_silent;
  if (abilities) known.abilities = std::move(*abilities);
  return is_able_otherwise || answers_again ? News::work : is_reached_otherwise ? News::reach : News::none;
}

bool BucketStoreReach::knows(const storage::BucketStore* store) const {
  const std::lock_guard lock(mutex_);
  return answers_.contains(store);
}

std::optional<Trouble> BucketStoreReach::silence(const storage::BucketStore* store) const {
  const std::lock_guard lock(mutex_);
  const auto answer = answers_.find(store);
  if (answer == answers_.end() || !answer->second.is_silent) return std::nullopt;
  return Trouble{"StoreUnreachable", "this waits until its store answers again: " + answer->second.trouble,
                 Trouble::Kind::failure};
}

api::BucketPoolStatus BucketStoreReach::pool_status(const api::BucketPool& pool,
                                                    const Informer<api::BucketClass>& classes,
                                                    const BucketProviderOptions& options, WallTime now) const {
  auto status = pool.status;
  status.available_bucket_classes.clear();
  std::string silent;
  std::size_t answering = 0;
  const std::lock_guard lock(mutex_);
  for (auto* store : stores_of(options)) {
    const auto answer = answers_.find(store);
    if (answer == answers_.end()) return pool.status;
    if (answer->second.trouble.empty())
      ++answering;
    else
      silent += (silent.empty() ? "" : "; ") + class_names(options, store) + ": " + answer->second.trouble;
  }
  for (const auto& [name, store] : options.classes) {
    const auto known = classes.get(name);
    if (answers_.at(store).trouble.empty() && known && !known->metadata.deletion_timestamp)
      status.available_bucket_classes.push_back({.name = name});
  }
  set_reach(status, answering > 0, silent, now);
  return status;
}

}  // namespace ironcore::control
