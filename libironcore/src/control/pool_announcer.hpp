// SPDX-License-Identifier: Apache-2.0
// A provider's pool object and its signs of life.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/control/informer.hpp"
#include "ironcore/control/placed_kinds.hpp"

namespace ironcore::control {

struct PoolAnnouncerOptions {
  std::string pool;
  std::string provider_id;
  std::string holder;  ///< of the lease; empty = `provider_id`
  std::map<std::string, std::string> labels;
  Duration heartbeat_every{};
  Duration lease_time_to_live{};
};
/// What is wrong with them.
std::vector<FieldError> problems(const PoolAnnouncerOptions& options);

/// Every heartbeat: renews the pool's lease, and writes the pool's status if it changed. `T` is what is on the pool. Thread: one, except where noted.
template <class T>
class PoolAnnouncer {
 public:
  using Pool = typename PlacedKind<T>::Pool;
  using Class = typename PlacedKind<T>::Class;
  using Status = decltype(Pool::status);

  /// `status_for` asks the world and says what the pool's status shall be. What is given by reference must outlive it.
  PoolAnnouncer(store::Store& store, Informer<Pool>& pools, Informer<Class>& classes, PoolAnnouncerOptions options,
                std::function<Status(const Pool& pool)> status_for, Clock& clock, Log& log);

  /// One heartbeat if it is due or `hurry` was called; false if not.
  bool step();
  /// Something has changed that the pool should tell. Thread: any.
  void hurry();
  void run(std::stop_token stop);

  /// False while another process holds the pool's lease, or the pool belongs to another provider: what is on the pool must not be touched then. Thread: any.
  bool is_ours() const noexcept { return is_ours_; }
  /// Called with each heartbeat for what else the provider writes into the pool, before its status is asked for.
  void on_announcing(std::function<void(Pool& pool)> callback) { on_announcing_ = std::move(callback); }
  /// Called when `is_ours` becomes true.
  void on_ours(std::function<void()> callback) { on_ours_ = std::move(callback); }

 private:
  Result<void> beat();
  Result<void> check_owner(const Pool& pool) const;
  Result<void> renew_lease();
  void give_lease_back();
  Result<void> announce();

  store::Store& store_;
  Informer<Pool>& pools_;
  Informer<Class>& classes_;
  const PoolAnnouncerOptions options_;
  const std::function<Status(const Pool&)> status_for_;
  Clock& clock_;
  Log& log_;
  std::function<void(Pool&)> on_announcing_;
  std::function<void()> on_ours_;
  std::atomic<bool> is_ours_{false};
  std::string last_trouble_;
  std::optional<std::uint64_t> lease_token_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool is_hurried_ = true;
  Instant next_beat_{};
  Instant next_announcement_{};
};

extern template class PoolAnnouncer<api::Machine>;
extern template class PoolAnnouncer<api::Volume>;
extern template class PoolAnnouncer<api::Bucket>;

}  // namespace ironcore::control
