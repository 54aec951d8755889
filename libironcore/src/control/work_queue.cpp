// SPDX-License-Identifier: Apache-2.0
// The keyed queue: one entry per key, a line of those that are ready, an ordered set of those that are delayed.
#include "ironcore/control/work_queue.hpp"

#include <algorithm>

namespace ironcore::control {

WorkQueue::WorkQueue(Clock& clock, WorkQueueOptions options)
    : clock_(clock), options_(options), random_(options.seed) {}

void WorkQueue::want(const std::string& key, Entry& entry) {
  if (entry.is_wanted) return;
  entry.is_wanted = true;
  if (!entry.is_taken) ready_.push_back(key);
}

void WorkQueue::add(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (is_closed_) return;
  want(key, entries_[key]);
  changed_.notify_all();
}

void WorkQueue::delay(const std::string& key, Duration span) {
  if (is_closed_) return;
  auto& entry = entries_[key];
  const auto due = clock_.now() + std::max(span, Duration::zero());
  if (entry.due) {
    if (*entry.due <= due) return;
    delayed_.erase({*entry.due, key});
  }
  entry.due = due;
  delayed_.emplace(due, key);
  changed_.notify_all();
}

void WorkQueue::add_after(const std::string& key, Duration span) {
  if (span <= Duration::zero()) return add(key);
  const std::lock_guard lock(mutex_);
  delay(key, span);
}

void WorkQueue::retry(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (is_closed_) return;
  auto& entry = entries_[key];
  auto span = std::min(options_.first_delay, options_.longest_delay);
  for (std::uint32_t i = 0; i < entry.failures && span < options_.longest_delay; ++i)
    span = span > options_.longest_delay / 2 ? options_.longest_delay : span * 2;
  ++entry.failures;
  // Half of the delay is random: many keys that failed for one reason do not come back in one moment.
  const auto half = span.count() / 2;
  std::uniform_int_distribution<Duration::rep> jitter(0, half);
  delay(key, span - Duration(jitter(random_)));
}

void WorkQueue::forget(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return;
  entry->second.failures = 0;
  drop_if_idle(entry);
}

std::uint32_t WorkQueue::failures(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  return entry == entries_.end() ? 0 : entry->second.failures;
}

void WorkQueue::collect_due() {
  const auto now = clock_.now();
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const auto key = std::move(delayed_.extract(delayed_.begin()).value().second);
    auto& entry = entries_[key];
    entry.due.reset();
    want(key, entry);
  }
}

std::optional<std::string> WorkQueue::pop() {
  if (is_closed_ || ready_.empty()) return std::nullopt;
  std::string key = std::move(ready_.front());
  ready_.pop_front();
  auto& entry = entries_[key];
  entry.is_wanted = false;
  entry.is_taken = true;
  if (entry.due) {
    delayed_.erase({*entry.due, key});
    entry.due.reset();
  }
  return key;
}

std::optional<std::string> WorkQueue::take(std::stop_token stop, Instant deadline) {
  std::unique_lock lock(mutex_);
  while (!is_closed_ && !stop.stop_requested()) {
    collect_due();
    if (auto key = pop()) return key;
    if (clock_.now() >= deadline) break;
    const auto first_due = delayed_.empty() ? Instant::max() : delayed_.begin()->first;
    clock_.wait(lock, changed_, stop, std::min(deadline, first_due), [&] {
      return is_closed_ || !ready_.empty() || (!delayed_.empty() && delayed_.begin()->first < first_due);
    });
  }
  return std::nullopt;
}

std::optional<std::string> WorkQueue::try_take() {
  const std::lock_guard lock(mutex_);
  collect_due();
  return pop();
}

void WorkQueue::done(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  if (entry == entries_.end() || !entry->second.is_taken) return;
  entry->second.is_taken = false;
  if (entry->second.is_wanted) {
    ready_.push_back(key);
    changed_.notify_all();
  } else {
    drop_if_idle(entry);
  }
}

void WorkQueue::drop_if_idle(Entries::iterator entry) {
  const auto& e = entry->second;
  if (!e.is_wanted && !e.is_taken && e.failures == 0 && !e.due) entries_.erase(entry);
}

void WorkQueue::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  ready_.clear();
  delayed_.clear();
  std::erase_if(entries_, [](const auto& entry) { return !entry.second.is_taken; });
  for (auto& [key, entry] : entries_) entry = {.is_taken = true};
  changed_.notify_all();
}

void WorkQueue::open() {
  const std::lock_guard lock(mutex_);
  is_closed_ = false;
}

std::size_t WorkQueue::size() const {
  const std::lock_guard lock(mutex_);
  return ready_.size();
}

std::size_t WorkQueue::delayed() const {
  const std::lock_guard lock(mutex_);
  return delayed_.size();
}

std::optional<Instant> WorkQueue::next_due() const {
  const std::lock_guard lock(mutex_);
  if (delayed_.empty()) return std::nullopt;
  return delayed_.begin()->first;
}

}  // namespace ironcore::control
