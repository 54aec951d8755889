// SPDX-License-Identifier: Apache-2.0
// Connections for calls: one for each that is under way.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "connection.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/compute/libvirt.hpp"

namespace ironcore::compute::libvirt {

class Calls;

/// A connection that belongs to one thread for as long as this lives.
class Call {
 public:
  Call(Calls& calls, std::unique_ptr<Link> link) : calls_(&calls), link_(std::move(link)) {}
  Call(Call&&) = default;
  Call& operator=(Call&&) = delete;
  ~Call();

  virConnectPtr get() const { return link_->get(); }

 private:
  Calls* calls_;
  std::unique_ptr<Link> link_;  ///< null once moved from
};

/// Threads that share a connection suffer from libvirt's client: when the daemon hangs, the one whose keepalive fails hands the socket
/// to the next, which sleeps until the daemon answers or dies; and before libvirt 10.2 they may read each other's dead stack
/// (CVE-2024-4418). So nobody shares: each call takes a connection that is idle, or opens one. A few are kept. Thread: any.
class Calls {
 public:
  Calls(const Options& options, Openings& openings, Clock& clock)
      : options_(options), openings_(openings), clock_(clock) {}

  /// `unavailable` if the daemon cannot be reached, or stays silent for as long as `keepalive` allows.
  Result<Call> take();

 private:
  friend class Call;
  std::unique_ptr<Link> take_idle();
  void give_back(std::unique_ptr<Link> link);

  const Options& options_;
  Openings& openings_;
  Clock& clock_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Link>> idle_;
};

}  // namespace ironcore::compute::libvirt
