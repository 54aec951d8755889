// SPDX-License-Identifier: Apache-2.0
// A journal in memory that outlives its store, can be made to fail, and can be held up.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/store/local_store.hpp"

namespace ironcore::test {

/// A JournalRecord with texts of its own.
struct KeptRecord {
  store::JournalRecord::Type type;
  store::Revision previous;
  std::string resource, namespace_, name, body;
  std::int64_t time;
};

/// What a journal has kept; shared by the journals of successive stores. Thread: any.
struct Recording {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::uint64_t, KeptRecord> records;
  std::vector<std::size_t> appends;     ///< how many records each append had
  std::optional<Error> failure;         ///< of the next append
  std::optional<Error> forget_failure;  ///< of the next forget
  bool is_held = false;                 ///< appends wait
  std::size_t waiting = 0;              ///< appends that wait now
  std::size_t forgotten = 0;

  void hold() {
    const std::lock_guard lock(mutex);
    is_held = true;
  }
  void release() {
    const std::lock_guard lock(mutex);
    is_held = false;
    changed.notify_all();
  }
  void wait_until_held() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting > 0; });
  }
  std::size_t append_count() {
    const std::lock_guard lock(mutex);
    return appends.size();
  }
};

class RecordingJournal final : public store::Journal {
 public:
  explicit RecordingJournal(std::shared_ptr<Recording> recording) : recording_(std::move(recording)) {}

  Result<void> load(const std::function<Result<void>(const store::JournalRecord&)>& each) override {
    const std::lock_guard lock(recording_->mutex);
    for (auto at = recording_->records.rbegin(); at != recording_->records.rend(); ++at) {
      const auto& kept = at->second;
      IRONCORE_CHECK(each({.revision = {at->first},
                           .previous = kept.previous,
                           .type = kept.type,
                           .resource = kept.resource,
                           .namespace_ = kept.namespace_,
                           .name = kept.name,
                           .body = kept.body,
                           .time = kept.time}));
    }
    return {};
  }

  Result<void> append(std::span<const store::JournalRecord> records) override {
    std::unique_lock lock(recording_->mutex);
    ++recording_->waiting;
    recording_->changed.notify_all();
    recording_->changed.wait(lock, [&] { return !recording_->is_held; });
    --recording_->waiting;
    if (recording_->failure) return *std::exchange(recording_->failure, std::nullopt);
    recording_->appends.push_back(records.size());
    for (const auto& record : records) {
      const auto newest = recording_->records.empty() ? 0 : recording_->records.rbegin()->first;
      if (record.revision.value != newest + 1 && !recording_->records.empty())
        return Error(ErrorCode::internal,
                     "revision " + std::to_string(record.revision.value) + " follows " + std::to_string(newest));
      recording_->records.emplace(
          record.revision.value,
          KeptRecord{record.type, record.previous, std::string(record.resource), std::string(record.namespace_),
                     std::string(record.name), std::string(record.body), record.time});
    }
    return {};
  }

  Result<void> forget(std::span<const store::Revision> revisions) override {
    const std::lock_guard lock(recording_->mutex);
    if (recording_->forget_failure) return *std::exchange(recording_->forget_failure, std::nullopt);
    for (const auto revision : revisions) recording_->forgotten += recording_->records.erase(revision.value);
    return {};
  }

  const std::string& epoch() const override { return epoch_; }

 private:
  std::shared_ptr<Recording> recording_;
  std::string epoch_ = "00000000-0000-4000-8000-000000000001";
};

}  // namespace ironcore::test
