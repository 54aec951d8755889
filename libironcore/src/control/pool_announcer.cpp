// SPDX-License-Identifier: Apache-2.0
// Heartbeats: lease, owner, labels, status.
#include "pool_announcer.hpp"

#include <algorithm>

#include "ironcore/base/names.hpp"
#include "ironcore/control/pool_health.hpp"

namespace ironcore::control {

namespace {

/// `machine pool`, for messages.
template <class T>
std::string pool_word() {
  return std::string(PlacedKind<T>::subject.word) + " pool";
}

}  // namespace

std::vector<FieldError> problems(const PoolAnnouncerOptions& options) {
  std::vector<FieldError> wrong;
  if (const auto why = check_dns_subdomain(options.pool)) wrong.push_back({"pool", FieldError::Reason::invalid, *why});
  if (options.provider_id.find("://") == std::string::npos)
    wrong.push_back({"provider_id", FieldError::Reason::invalid, "must look like TYPE://ID"});
  if (options.heartbeat_every <= Duration::zero())
    wrong.push_back({"heartbeat_every", FieldError::Reason::invalid, "must be longer than nothing"});
  if (options.lease_time_to_live <= options.heartbeat_every * 2)
    wrong.push_back({"lease_time_to_live", FieldError::Reason::invalid, "must be more than twice heartbeat_every"});
  return wrong;
}

template <class T>
PoolAnnouncer<T>::PoolAnnouncer(store::Store& store, Informer<Pool>& pools, Informer<Class>& classes,
                                PoolAnnouncerOptions options, std::function<Status(const Pool& pool)> status_for,
                                Clock& clock, Log& log)
    : store_(store),
      pools_(pools),
      classes_(classes),
      options_(std::move(options)),
      status_for_(std::move(status_for)),
      clock_(clock),
      log_(log) {}

template <class T>
void PoolAnnouncer<T>::hurry() {
  const std::lock_guard lock(mutex_);
  is_hurried_ = true;
  changed_.notify_all();
}

template <class T>
Result<void> PoolAnnouncer<T>::check_owner(const Pool& pool) const {
  const auto& owner = pool.spec.provider_id;
  if (owner.empty() || owner == options_.provider_id) return {};
  return Error(ErrorCode::wrong_state, pool_word<T>() + " " + options_.pool + " belongs to provider " + owner +
                                           ", this is " + options_.provider_id +
                                           "; give this one another pool, or delete the pool first");
}

template <class T>
Result<void> PoolAnnouncer<T>::renew_lease() {
  const auto lease = store_.acquire_lease(pool_lease<T>(options_.pool),
                                          options_.holder.empty() ? options_.provider_id : options_.holder,
                                          options_.lease_time_to_live);
  if (!lease) return lease.error();
  lease_token_ = lease->token;
  return {};
}

/// A lease that is kept by somebody who may not use it would keep the right one from working.
template <class T>
void PoolAnnouncer<T>::give_lease_back() {
  if (!lease_token_) return;
  const auto released = store_.release_lease(pool_lease<T>(options_.pool), *lease_token_);
  if (released || released.error().code() != ErrorCode::unavailable) lease_token_.reset();
}

template <class T>
Result<void> PoolAnnouncer<T>::announce() {
  auto pool = pools_.get(options_.pool);
  if (!pool) {
    Pool fresh;
    fresh.metadata.name = options_.pool;
    fresh.metadata.labels = options_.labels;
    fresh.spec.provider_id = options_.provider_id;
    auto created = store::create(store_, std::move(fresh));
    if (!created && created.error().code() == ErrorCode::already_exists)
      created = store::get<Pool>(store_, "", options_.pool);
    IRONCORE_TRY(pool, std::move(created));
  }
  IRONCORE_CHECK(check_owner(*pool));
  auto wanted = *pool;
  wanted.spec.provider_id = options_.provider_id;
  for (const auto& [key, value] : options_.labels) wanted.metadata.labels[key] = value;
  if (on_announcing_) on_announcing_(wanted);
  if (wanted != *pool) {
    IRONCORE_TRY(pool, store::patch(store_, *pool, std::move(wanted)));
  }
  auto told = *pool;
  told.status = status_for_(*pool);
  if (told.status != pool->status) {
    IRONCORE_CHECK(store::patch(store_, *pool, std::move(told), store::Part::status));
  }
  return {};
}

template <class T>
Result<void> PoolAnnouncer<T>::beat() {
  if (const auto pool = pools_.get(options_.pool)) IRONCORE_CHECK(check_owner(*pool));
  IRONCORE_CHECK(within(renew_lease(), "renew the lease of the " + pool_word<T>()));
  return within(announce(), "announce the " + pool_word<T>());
}

template <class T>
bool PoolAnnouncer<T>::step() {
  const auto now = clock_.now();
  {
    const std::lock_guard lock(mutex_);
    const bool is_due = now >= next_beat_ || (is_hurried_ && now >= next_announcement_);
    if (!is_due || !pools_.has_synced() || !classes_.has_synced()) return false;
    is_hurried_ = false;
    next_beat_ = now + options_.heartbeat_every;
    next_announcement_ = now + std::chrono::milliseconds(100);  // many classes that come at once are told at once
  }
  const bool was_ours = is_ours_;
  const auto beaten = beat();
  if (beaten) {
    last_trouble_.clear();
    is_ours_ = true;
  } else {
    const auto code = beaten.error().code();
    // Not being able to ask is no reason to leave alone what runs: what was ours stays ours.
    if (code == ErrorCode::conflict || code == ErrorCode::wrong_state) is_ours_ = false;
    if (code == ErrorCode::wrong_state) give_lease_back();
    if (last_trouble_ != beaten.error().message())
      log_.error("this provider does not serve its " + pool_word<T>(),
                 {{"pool", options_.pool}, {"error", beaten.error().message()}});
    last_trouble_ = beaten.error().message();
  }
  if (is_ours_ && !was_ours && on_ours_) on_ours_();
  return true;
}

template <class T>
void PoolAnnouncer<T>::run(std::stop_token stop) {
  if (!pools_.wait_until_synced(stop) || !classes_.wait_until_synced(stop)) return;
  while (!stop.stop_requested()) {
    step();
    std::unique_lock lock(mutex_);
    if (!clock_.wait(lock, changed_, stop, next_beat_, [this] { return is_hurried_; })) continue;
    const auto at = next_announcement_;
    lock.unlock();
    sleep_until(clock_, at, stop);
  }
}

template class PoolAnnouncer<api::Machine>;
template class PoolAnnouncer<api::Volume>;
template class PoolAnnouncer<api::Bucket>;

}  // namespace ironcore::control
