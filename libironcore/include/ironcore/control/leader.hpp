// SPDX-License-Identifier: Apache-2.0
// Active and standby: of several that could do the work, the holder of a lease does it.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

struct LeaderOptions {
  std::string lease;                                 ///< name of the lease, the same for all candidates
  std::string holder;                                ///< this candidate; unique for each process start
  Duration time_to_live = std::chrono::seconds(15);  ///< after this without renewal another candidate takes over
  Duration renew_every = std::chrono::seconds(5);  ///< also how often a standby asks; less than half of `time_to_live`
};

/// Holds the lease as long as it can, one attempt at a time. Thread: one.
class Leadership {
 public:
  /// `store`, `clock` and `log` must outlive it.
  Leadership(store::Store& store, LeaderOptions options, Clock& clock, Log& log);

  /// Takes or renews the lease when that is due, and says what `active` says.
  std::optional<store::HoldsLease> step();
  /// The precondition that fences this candidate's commits while it is the active one: they fail with `forbidden` once another
  /// has taken over. Ends by itself when the lease could not be renewed for `time_to_live`.
  std::optional<store::HoldsLease> active() const;
  /// When `step` has something to do again.
  Instant next_step() const noexcept { return next_step_; }
  /// When the lease ends unless it is renewed before.
  Instant expires() const noexcept { return expires_; }
  /// Gives the lease back, so that another candidate takes over at its next attempt. Errors do not matter: it expires.
  void resign();

 private:
  store::Store& store_;
  LeaderOptions options_;
  Clock& clock_;
  Log& log_;
  std::optional<store::HoldsLease> held_;
  Instant expires_{};
  Instant next_step_{};
};

/// Until a stop is requested: whenever this candidate holds the lease, `body` runs on a thread of its own, made here. It is stopped when
/// the lease is lost or expires (by a second thread, so also while the store lets a renewal wait) and has returned before another attempt
/// is made. A body that returns by itself gives the lease back; it is started again at the next attempt. Blocks; no thread is left when
/// it returns.
void run_while_active(store::Store& store, const LeaderOptions& options, Clock& clock, Log& log, std::stop_token stop,
                      const std::function<void(std::stop_token stop, const store::HoldsLease& lease)>& body);

}  // namespace ironcore::control
