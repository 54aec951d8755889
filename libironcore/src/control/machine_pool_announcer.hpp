// SPDX-License-Identifier: Apache-2.0
// The provider's pool object and its signs of life.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "ironcore/compute/host.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/machine_provider.hpp"

namespace ironcore::control {

/// Every heartbeat: renews the pool's lease, asks the host whether it works, and writes the pool's status if that changed.
/// Thread: one, except where noted.
class MachinePoolAnnouncer {
 public:
  MachinePoolAnnouncer(store::Store& store, compute::Host& host, Informer<api::MachinePool>& pools,
                       Informer<api::MachineClass>& classes, const MachineProviderOptions& options, Clock& clock,
                       Log& log);

  /// One heartbeat if it is due or `hurry` was called; false if not.
  bool step();
  Instant next_step() const;
  /// Something has changed that the pool should tell. Thread: any.
  void hurry();
  void run(std::stop_token stop);

  /// False while another process holds the pool's lease, or the pool belongs to another host: machines must not be touched then. Thread: any.
  bool is_ours() const noexcept { return is_ours_; }
  /// Called when `is_ours` becomes true.
  void on_ours(std::function<void()> callback) { on_ours_ = std::move(callback); }

 private:
  Result<void> beat();
  Result<void> check_owner(const api::MachinePool& pool) const;
  Result<void> renew_lease();
  void give_lease_back();
  Result<void> announce();
  api::MachinePoolStatus status_for(const api::MachinePool& pool);

  store::Store& store_;
  compute::Host& host_;
  Informer<api::MachinePool>& pools_;
  Informer<api::MachineClass>& classes_;
  const MachineProviderOptions& options_;
  Clock& clock_;
  Log& log_;
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

}  // namespace ironcore::control
