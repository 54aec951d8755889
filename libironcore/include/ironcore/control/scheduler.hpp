// SPDX-License-Identifier: Apache-2.0
// Scheduler: gives every machine, volume or bucket without a pool one that has room for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/placed_kinds.hpp"
#include "ironcore/control/placement.hpp"
#include "ironcore/control/work_queue.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

/// Condition of a Machine, Volume or Bucket that has waited for a pool: False with the reason, True once it is placed. What was placed at once has none.
inline constexpr const char* scheduled_condition = "Scheduled";

struct SchedulerOptions {
  std::size_t batch = 500;  ///< objects bound by one commit, at most; fewer when they are large
  /// A waiting object hears of a changed reason at most this often when very many wait for the same; the fewer they are, the sooner they hear.
  Duration announce_every = std::chrono::minutes(1);
  WorkQueueOptions retry = {.first_delay = std::chrono::milliseconds(20),
                            .longest_delay = std::chrono::seconds(30)};  ///< of failed bindings
};

/// Decides in memory, oldest object first, and binds in batches: one commit sets `spec.machinePoolRef` (or that of a volume or bucket) of many objects,
/// each only if neither object, pool nor class have changed since they were seen, and only while the lease is held. One object in conflict does not hold up
/// the others, nor does one that the store refuses: it is told so by a `BindingFailed` event and tried again alone. Objects for
/// which there is no room wait, grouped by what they ask for, and are tried again when something that may help has changed;
/// why they wait is told as an `OutOfCapacity` event (`CannotSchedule` of a bucket) and in the condition `Scheduled`, and so is that a pool which was named by hand
/// does not exist (`VolumePoolNotFound` …). Objects without a class are none of its business. While it is not
/// active it only keeps its accounts. Thread: any.
template <class T>
class Scheduler {
 public:
  using Pool = typename PlacedKind<T>::Pool;
  using Class = typename PlacedKind<T>::Class;

  /// Listens to the informers, so make it before they run; they and the others must outlive it.
  Scheduler(store::Store& store, Informer<T>& objects, Informer<Pool>& pools, Informer<Class>& classes,
            EventRecorder& events, SchedulerOptions options, Clock& clock, Log& log);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Schedules until a stop is requested or the lease is lost. First has all informers list again, so that nothing that an earlier holder
  /// of the lease did is missing. Makes no thread.
  void run(std::stop_token stop, std::optional<store::HoldsLease> lease = std::nullopt);

  /// The same by hand, for those who own the loop: `activate`, then `step` (one batch; false if there was nothing to do), `deactivate`.
  void activate(std::optional<store::HoldsLease> lease = std::nullopt);
  bool step();
  void deactivate();
  /// False after `deactivate`, and once the store has refused a commit because the lease was lost.
  bool is_active() const;

  std::size_t waiting() const;  ///< objects without a pool
  std::uint64_t bound() const;  ///< what was bound by this scheduler so far
  Placement::Usage usage(const std::string& pool) const;

 private:
  /// Oldest first.
  using Turn = std::pair<WallTime, std::string>;
  /// Objects that ask for the same.
  struct Group {
    Demand demand;
    std::string shape;        // demand.text()
    std::size_t members = 0;  // objects in waiting_ that refer to it
    std::set<Turn> queue;
    bool is_blocked = false;                    // nothing fits
    std::unordered_set<std::string> newcomers;  // have not been told why they wait
    std::string announced;
    Instant announced_at{};
    std::optional<Instant> look_at;  // its entry in announcements_
  };
  using Groups = std::map<std::string, Group>;
  struct Waiting {
    store::Shared<T> object;
    typename Groups::iterator group;
    enum class State { queued, binding, pausing } state;
    bool was_refused = false;  // the store would not have it: no other object shares a commit with it
  };
  struct Binding {
    store::Shared<T> object;
    std::string pool;
    store::Revision pool_revision;
    store::Revision class_revision;
  };
  /// What became of some bindings, beside those that are settled.
  struct Open {
    std::vector<Binding> uncertain;
    bool is_repeated = false;  // an earlier commit of them may have happened
    bool is_compared = false;  // pools and classes have been compared with the store
    bool has_bound = false;    // something was committed
    std::size_t refused = 0;   // single objects in a row that the store would not write, and not because of a conflict
    std::optional<Error> error;  // why, the last time
    bool is_lease_lost = false;

    /// The trouble is not one object's (a full disk, say): the rest need not be tried now.
    bool is_given_up() const { return refused >= 2; }
  };

  /// What is to be said in the condition `Scheduled`.
  struct Mark {
    store::Shared<T> object;  // has a pool; null: it waits for one, and what waits is known
    std::string message;      // why it waits
  };
  struct Saying {
    store::Shared<T> object;
    api::Condition condition;
    bool is_event = false;  // it is told as an event too, when it is written
  };

  void see_object(const store::Shared<T>& before, const store::Shared<T>& after);
  void see_pool(const store::Shared<Pool>& before, const store::Shared<Pool>& after);
  void see_class(const store::Shared<Class>& before, const store::Shared<Class>& after);

  // All of these are called with mutex_ held.
  void wake();
  void admit(const store::Shared<T>& object);
  void enqueue(const std::string& uid, Waiting& waiting);
  void leave_queue(const std::string& uid, Waiting& waiting);
  void drop(const std::string& uid);
  void unblock_groups();
  void wake_paused();
  void look_again(Group& group, const std::string& text, Instant at);
  void look_at_blocked();
  Instant next_announcement(const Group& group) const;
  void announce(Group& group, const std::string& text);
  void announce_due();
  std::optional<Saying> saying_for(const std::string& uid, const Mark& mark) const;
  std::vector<Saying> due_sayings();
  bool has_news() const;
  std::vector<Binding> decide_batch();
  void take_back(const std::string& uid);

  // And these without.
  void bind(std::span<const Binding> bindings, Open& open);
  void bind_again(std::span<const Binding> bindings, const Error& error, Open& open);
  std::vector<Binding> still_current(std::span<const Binding> bindings, Open& open);
  void put_off(std::span<const Binding> bindings);
  void settle(std::span<const Binding> bindings);
  void settle_failed(const Binding& binding, const Error& error, Open& open);
  bool is_fresh() const;
  void look_at_named_pools();
  bool say(Open& open);
  void say(std::span<const Saying> sayings, Open& open);

  store::Store& store_;
  Informer<T>& objects_;
  Informer<Pool>& pools_;
  Informer<Class>& classes_;
  EventRecorder& events_;
  SchedulerOptions options_;
  Clock& clock_;
  Log& log_;

  mutable std::mutex mutex_;  // never held during a call of the store
  std::condition_variable_any changed_;
  bool is_woken_ = false;
  bool is_active_ = false;
  std::optional<store::HoldsLease> lease_;
  std::uint64_t objects_refresh_ = 0, pools_refresh_ = 0, classes_refresh_ = 0;
  Placement placement_{PlacedKind<T>::subject};
  std::unordered_map<std::string, store::Revision> pool_revisions_;
  std::unordered_map<std::string, store::Revision> class_revisions_;
  std::unordered_map<std::string, Waiting> waiting_;  // by uid
  Groups groups_;                                     // by what they ask for
  std::set<std::tuple<WallTime, std::string, std::string>>
      heads_;  // first turn of every group that is not blocked, and its text
  std::set<std::pair<Instant, std::string>> announcements_;  // groups whose reason is to be looked at, and when
  std::unordered_map<std::string, Mark> marks_;              // by uid
  Instant say_after_{};                                      // no condition is written before
  bool has_other_pools_ = false;  // pools have come or gone: are those there that were named by hand?
  std::uint64_t openings_seen_ = 0;
  WorkQueue paused_;                // uids whose binding failed
  std::vector<Binding> uncertain_;  // their commit may have happened: repeated as they are until the store answers
  std::uint32_t failures_ = 0;      // batches in a row that the store did not take
  Instant wait_until_{};            // nothing is committed before
  std::atomic<std::uint64_t> bound_{0};
};

using MachineScheduler = Scheduler<api::Machine>;
using VolumeScheduler = Scheduler<api::Volume>;
using BucketScheduler = Scheduler<api::Bucket>;

extern template class Scheduler<api::Machine>;
extern template class Scheduler<api::Volume>;
extern template class Scheduler<api::Bucket>;

struct Explanation {
  std::string pool;                ///< where the object is; empty = nowhere yet
  std::string summary;             ///< `3 pools: 2 not ready, 1 no room (cpu)`
  std::vector<PoolVerdict> pools;  ///< for each pool why not, or how much room; the object itself is not counted
};
/// What the scheduler would say about this machine, volume or bucket, from what the store holds now. `wrong_state` for one without a class.
template <class T>
Result<Explanation> explain_placement(store::Store& store, const std::string& namespace_, const std::string& name);

}  // namespace ironcore::control
