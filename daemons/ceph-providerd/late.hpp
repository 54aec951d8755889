// SPDX-License-Identifier: Apache-2.0
// Late: stores that are there later than the program, and are opened anew while it works.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/storage/bucket_store.hpp"
#include "ironcore/storage/passing_block_store.hpp"

namespace ironcore::ceph_providerd {

/// What passes every call on to a store, which may come late and be replaced: a call under way ends with the one that it began with. Until it is
/// there every call is `unavailable`, and says why. Thread: any.
template <class Seam, class Base = Seam>
class Late : public Base {
 public:
  void set_store(std::shared_ptr<Seam> store) {
    const std::lock_guard lock(mutex_);
    std::swap(store_, store);  // the old one goes when this has returned
    failing_.clear();
  }
  /// Why it is not there; what is there stays.
  void set_reason(const Error& why) {
    const std::lock_guard lock(mutex_);
    reason_ = why.message();
    if (!store_) silence_ = why.code();
  }
  /// Why it does not answer; nothing if it does. What is there is judged by what it said when a provider asked last, which is with each heartbeat.
  std::optional<ErrorCode> silence() const {
    const std::lock_guard lock(mutex_);
    return silence_;
  }
  /// Whether the connection of what is there may be what fails, as the last answers to some question say.
  bool may_be_cut_off() const {
    const std::lock_guard lock(mutex_);
    return !failing_.empty();
  }

 protected:
  Result<std::shared_ptr<Seam>> current() const {
    const std::lock_guard lock(mutex_);
    if (!store_) return Error(ErrorCode::unavailable, reason_);
    return store_;
  }
  template <class R, class... Parameters, class... Arguments>
  R pass(R (Seam::*call)(Parameters...), Arguments&&... arguments) {
    IRONCORE_TRY(const auto store, current());
    return (store.get()->*call)(std::forward<Arguments>(arguments)...);
  }
  void note(std::optional<ErrorCode> silence) {
    const std::lock_guard lock(mutex_);
    if (store_) silence_ = silence;
  }
  /// Asks what is there, and keeps in mind how it went.
  template <class R>
  Result<R> ask(const char* question, Result<R> (Seam::*call)()) {
    IRONCORE_TRY(const auto store, current());
    auto answer = (store.get()->*call)();
    const bool is_failing =
        !answer && (answer.error().code() == ErrorCode::unavailable || answer.error().code() == ErrorCode::forbidden);
    const std::lock_guard lock(mutex_);
    if (store_ != store) return answer;  // it was replaced meanwhile
    if (is_failing)
      failing_.insert(question);
    else
      failing_.erase(question);
    return answer;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Seam> store_;
  std::string reason_ = "it is not open yet";
  std::optional<ErrorCode> silence_ = ErrorCode::unavailable;
  std::set<std::string_view> failing_;  ///< questions
};

class LateBlockStore final : public Late<storage::BlockStore, storage::PassingBlockStore> {
 public:
  Result<storage::Capacity> capacity() override;
  Result<std::optional<storage::StoreMark>> mark() override;

 private:
  Result<std::shared_ptr<storage::BlockStore>> target() override { return current(); }
};

class LateBucketStore final : public Late<storage::BucketStore> {
 public:
  Result<storage::BucketCapabilities> capabilities(std::stop_token stop) override;
  Result<storage::Bucket> create(const Uid& id, const storage::BucketSpec& spec, std::stop_token stop) override;
  Result<storage::Bucket> bucket(const Uid& id, std::stop_token stop) override;
  Result<std::vector<storage::Bucket>> buckets(std::stop_token stop) override;
  Result<void> remove(const Uid& id, storage::Content content, std::stop_token stop) override;
  Result<void> set_quota(const Uid& id, const storage::BucketQuota& quota, std::stop_token stop) override;
  Result<void> set_limits(const Uid& id, const storage::BucketLimits& limits, std::stop_token stop) override;
  Result<storage::BucketSettings> settings(const Uid& id, std::stop_token stop) override;
  Result<void> configure(const Uid& id, const storage::BucketSettings& settings, std::stop_token stop) override;
  Result<storage::BucketAccess> access(const Uid& id, std::stop_token stop) override;
  Result<std::vector<storage::BucketKey>> keys(const Uid& id, std::stop_token stop) override;
  Result<void> rotate_key(const Uid& id, const std::string& current, std::stop_token stop) override;
  Result<void> revoke_key(const Uid& id, const std::string& key, std::stop_token stop) override;
};

}  // namespace ironcore::ceph_providerd
