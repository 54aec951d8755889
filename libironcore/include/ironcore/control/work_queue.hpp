// SPDX-License-Identifier: Apache-2.0
// WorkQueue: which keys want work, each at most once, no key at two workers at the same time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <utility>

#include "ironcore/base/clock.hpp"

namespace ironcore::control {

struct WorkQueueOptions {
  Duration first_delay =
      std::chrono::milliseconds(5);  ///< back-off after the first failure; doubles with each further one
  Duration longest_delay = std::chrono::minutes(5);  ///< and never exceeds this
  std::uint64_t seed = 1;  ///< of the jitter: a back-off lies between half of it and all of it
};

/// Keys, first come, first served. Adding what waits already changes nothing; adding what is being worked on gives it one more
/// turn afterwards. So it never holds more than the keys there are, and is not bounded otherwise; close it while nobody takes. Thread: any.
class WorkQueue {
 public:
  explicit WorkQueue(Clock& clock, WorkQueueOptions options = {});

  void add(const std::string& key);
  /// Not before `delay` has passed; of several calls the earliest counts. Forgotten as soon as the key is taken for any other
  /// reason: whoever works on it then says again when it wants to be called.
  void add_after(const std::string& key, Duration delay);
  /// Back-off: later with every call for this key since `forget`.
  void retry(const std::string& key);
  /// It went well: the next `retry` starts at `first_delay` again.
  void forget(const std::string& key);
  /// Calls of `retry` since the last `forget`.
  std::uint32_t failures(const std::string& key) const;

  /// The next key, which is then the caller's until `done`. Waits until there is one; nullopt after a stop, a close, or at the deadline.
  std::optional<std::string> take(std::stop_token stop, Instant deadline = Instant::max());
  /// The same without waiting.
  std::optional<std::string> try_take();
  void done(const std::string& key);

  /// Nothing is taken any more, everybody who waits returns, and keys that wait or come are forgotten: what nobody works on does not
  /// pile up. Keys at a worker stay its own.
  void close();
  /// Takes keys again. A new queue is open.
  void open();

  /// Keys that wait for a worker now (delayed ones are not among them).
  std::size_t size() const;
  /// Keys that are delayed.
  std::size_t delayed() const;
  /// When the first delayed key is due.
  std::optional<Instant> next_due() const;

 private:
  struct Entry {
    bool is_wanted = false;  // in ready_, or to be put there by done()
    bool is_taken = false;   // at a worker
    std::uint32_t failures = 0;
    std::optional<Instant> due;
  };
  using Entries = std::unordered_map<std::string, Entry>;

  void want(const std::string& key, Entry& entry);
  void delay(const std::string& key, Duration span);
  void collect_due();
  std::optional<std::string> pop();
  void drop_if_idle(Entries::iterator entry);

  Clock& clock_;
  WorkQueueOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  Entries entries_;
  std::deque<std::string> ready_;
  std::set<std::pair<Instant, std::string>> delayed_;
  std::mt19937_64 random_;
  bool is_closed_ = false;
};

}  // namespace ironcore::control
