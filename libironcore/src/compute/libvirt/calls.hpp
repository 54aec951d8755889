// SPDX-License-Identifier: Apache-2.0
// Connections for calls: one for each that is under way.
#pragma once

#include <condition_variable>
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
  Call(std::shared_ptr<Calls> calls, std::unique_ptr<Link> link) : calls_(std::move(calls)), link_(std::move(link)) {}
  Call(Call&&) = default;
  Call& operator=(Call&&) = delete;
  ~Call();

  virConnectPtr get() const { return link_->get(); }
  const std::shared_ptr<Calls>& calls() const { return calls_; }
  /// Whoever waited for it has called `Calls::abandon`.
  void set_abandoned() { is_abandoned_ = true; }

 private:
  std::shared_ptr<Calls> calls_;
  std::unique_ptr<Link> link_;  ///< null once moved from
  bool is_abandoned_ = false;
};

/// Threads that share a connection suffer from libvirt's client: when the daemon hangs, the one whose keepalive fails hands the socket
/// to the next, which sleeps until the daemon answers or dies; and before libvirt 10.2 they may read each other's dead stack
/// (CVE-2024-4418). So nobody shares: each call takes a connection that is idle, or opens one. A few are kept, and there are never many: the
/// daemon works on 20 at a time, and each takes two descriptors, without which libvirt's GLib ends the process. Thread: any.
class Calls : public std::enable_shared_from_this<Calls> {
 public:
  /// `openings` and `clock` are used by `take` only.
  Calls(Options options, Openings& openings, Clock& clock)
      : options_(std::move(options)), openings_(openings), clock_(clock) {}

  /// `unavailable` if the daemon cannot be reached, stays silent for as long as `keepalive` allows, or is busy with others for so long.
  Result<Call> take();
  /// One that was taken may take for ever, and nobody waits for it any more: it does not count among the many.
  void abandon();

 private:
  friend class Call;
  std::unique_ptr<Link> take_idle();
  void give_back(std::unique_ptr<Link> link, bool is_abandoned);

  const Options options_;
  Openings& openings_;
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t taken_ = 0;
  std::vector<std::unique_ptr<Link>> idle_;
};

}  // namespace ironcore::compute::libvirt
