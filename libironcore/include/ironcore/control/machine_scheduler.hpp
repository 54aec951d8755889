// SPDX-License-Identifier: Apache-2.0
// MachineScheduler: gives every machine without a pool one that has room for it.
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

#include "ironcore/api/compute.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/placement.hpp"
#include "ironcore/control/work_queue.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

struct MachineSchedulerOptions {
  std::size_t batch = 500;  ///< machines bound by one commit, at most; fewer when they are large
  Duration announce_every =
      std::chrono::minutes(1);  ///< a waiting machine hears of a changed reason at most this often
  WorkQueueOptions retry = {.first_delay = std::chrono::milliseconds(20),
                            .longest_delay = std::chrono::seconds(30)};  ///< of failed bindings
};

/// Decides in memory, oldest machine first, and binds in batches: one commit sets `spec.machinePoolRef` of many machines, each only if neither machine, pool
/// nor class have changed since they were seen, and only while the lease is held. One machine in conflict does not hold up the others, nor does
/// one that the store refuses: it is told so by a `BindingFailed` event and tried again alone. Machines for
/// which there is no room wait, grouped by what they ask for, and are tried again when something that may help has changed;
/// why they wait is told as an `OutOfCapacity` event. While it is not active it only keeps its accounts. Thread: any.
class MachineScheduler {
 public:
  /// Listens to the informers, so make it before they run; they and the others must outlive it.
  MachineScheduler(store::Store& store, Informer<api::Machine>& machines, Informer<api::MachinePool>& pools,
                   Informer<api::MachineClass>& classes, EventRecorder& events, MachineSchedulerOptions options,
                   Clock& clock, Log& log);
  MachineScheduler(const MachineScheduler&) = delete;
  MachineScheduler& operator=(const MachineScheduler&) = delete;

  /// Schedules until a stop is requested or the lease is lost. First has all informers list again, so that nothing that an earlier holder
  /// of the lease did is missing. Makes no thread.
  void run(std::stop_token stop, std::optional<store::HoldsLease> lease = std::nullopt);

  /// The same by hand, for those who own the loop: `activate`, then `step` (one batch; false if there was nothing to do), `deactivate`.
  void activate(std::optional<store::HoldsLease> lease = std::nullopt);
  bool step();
  void deactivate();
  /// False after `deactivate`, and once the store has refused a commit because the lease was lost.
  bool is_active() const;

  std::size_t waiting() const;  ///< machines without a pool
  std::uint64_t bound() const;  ///< machines bound by this object so far
  Placement::Usage usage(const std::string& pool) const;

 private:
  /// Oldest first.
  using Turn = std::pair<WallTime, std::string>;
  /// Machines that ask for the same.
  struct Group {
    Demand demand;
    std::size_t members = 0;  // machines in waiting_ that refer to it
    std::set<Turn> queue;
    bool is_blocked = false;                    // nothing fits
    std::unordered_set<std::string> newcomers;  // have not been told why they wait
    std::string announced;
    Instant announced_at{};
    std::optional<Instant> look_at;  // its entry in announcements_
  };
  using Groups = std::map<std::string, Group>;
  struct Waiting {
    store::Shared<api::Machine> machine;
    Groups::iterator group;
    enum class State { queued, binding, pausing } state;
    bool was_refused = false;  // the store would not have it: no other machine shares a commit with it
  };
  struct Binding {
    store::Shared<api::Machine> machine;
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
    std::size_t refused = 0;   // single machines in a row that the store would not write, and not because of a conflict
    std::optional<Error> error;  // why, the last time
    bool is_lease_lost = false;

    /// The trouble is not one machine's (a full disk, say): the rest need not be tried now.
    bool is_given_up() const { return refused >= 2; }
  };

  void see_machine(const store::Shared<api::Machine>& before, const store::Shared<api::Machine>& after);
  void see_pool(const store::Shared<api::MachinePool>& before, const store::Shared<api::MachinePool>& after);
  void see_class(const store::Shared<api::MachineClass>& before, const store::Shared<api::MachineClass>& after);

  // All of these are called with mutex_ held.
  void wake();
  void admit(const store::Shared<api::Machine>& machine);
  void enqueue(const std::string& uid, Waiting& waiting);
  void leave_queue(const std::string& uid, Waiting& waiting);
  void drop(const std::string& uid);
  void unblock_groups();
  void wake_paused();
  void look_again(Group& group, const std::string& text, Instant at);
  void look_at_blocked();
  void announce(Group& group, const std::string& text);
  void announce_due();
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

  store::Store& store_;
  Informer<api::Machine>& machines_;
  Informer<api::MachinePool>& pools_;
  Informer<api::MachineClass>& classes_;
  EventRecorder& events_;
  MachineSchedulerOptions options_;
  Clock& clock_;
  Log& log_;

  mutable std::mutex mutex_;  // never held during a call of the store
  std::condition_variable_any changed_;
  bool is_woken_ = false;
  bool is_active_ = false;
  std::optional<store::HoldsLease> lease_;
  std::uint64_t machines_refresh_ = 0, pools_refresh_ = 0, classes_refresh_ = 0;
  Placement placement_;
  std::unordered_map<std::string, store::Revision> pool_revisions_;
  std::unordered_map<std::string, store::Revision> class_revisions_;
  std::unordered_map<std::string, Waiting> waiting_;  // by uid
  Groups groups_;                                     // by Demand::text
  std::set<std::tuple<WallTime, std::string, std::string>>
      heads_;  // first turn of every group that is not blocked, and its text
  std::set<std::pair<Instant, std::string>> announcements_;  // groups whose reason is to be looked at, and when
  std::uint64_t openings_seen_ = 0;
  WorkQueue paused_;                // uids whose binding failed
  std::vector<Binding> uncertain_;  // their commit may have happened: repeated as they are until the store answers
  std::uint32_t failures_ = 0;      // batches in a row that the store did not take
  Instant wait_until_{};            // nothing is committed before
  std::atomic<std::uint64_t> bound_{0};
};

struct Explanation {
  std::string pool;                ///< where the machine is; empty = nowhere yet
  std::string summary;             ///< `3 pools: 2 not ready, 1 no room (cpu)`
  std::vector<PoolVerdict> pools;  ///< for each pool why not, or how much room; the machine itself is not counted
};
/// What the scheduler would say about this machine, from what the store holds now.
Result<Explanation> explain_machine(store::Store& store, const std::string& namespace_, const std::string& name);

}  // namespace ironcore::control
