// SPDX-License-Identifier: Apache-2.0
// The connection to libvirt that events arrive over; it comes back by itself.
#pragma once

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/compute/hypervisor.hpp"
#include "ironcore/compute/libvirt.hpp"
#include "link.hpp"

namespace ironcore::compute::libvirt {

class Opening;
class Openings;

/// Carries no calls (calls.hpp): whoever waits for an answer over it would hold up the events, and closing it. Thread: any; what libvirt
/// calls back arrives on the thread that runs the event loop.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Options options, Clock& clock, Log& log) : options_(std::move(options)), clock_(clock), log_(log) {}

  /// The first connection.
  Result<void> open(Openings& openings, std::stop_token stop);
  /// Takes everything back from libvirt. Nothing is called afterwards.
  void close();

  /// `unavailable` while the daemon is lost.
  Result<void> check() const;

  void set_listener(std::function<void(const DomainEvent&)> listener);

  /// Events of domains that are not ours are dropped; these are ours.
  void add_ours(const Uid& uid);
  bool is_ours(const Uid& uid) const;

 private:
  /// What has to be taken back from libvirt before the connection is closed.
  struct Registered {
    std::unique_ptr<Link> link;
    std::vector<int> events;
    bool has_close_callback = false;
  };

  template <class Callback>
  void register_event(Registered& to, int id, Callback callback);
  Registered set_up(std::unique_ptr<Link> link);
  /// A connection that was lost before its close callback was there is not reported to it.
  Result<void> check_alive(const Link& link) const;
  static void let_go(Registered registered);
  void on_lost(virConnectPtr connection);
  void wake();
  void on_timer();
  void on_domain_event(virDomainPtr domain, DomainEvent::Type type, std::string device = {});
  void deliver(const DomainEvent& event);

  static int lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque);

  const Options options_;
  Clock& clock_;
  Log& log_;
  mutable std::mutex mutex_;
  std::condition_variable delivered_;
  Registered current_;
  Registered lost_;
  std::shared_ptr<Opening> opening_;  ///< the next one, while nobody has answered
  int timer_ = -1;
  bool is_closed_ = false;
  std::set<Uid> ours_;
  std::function<void(const DomainEvent&)> listener_;
  std::thread::id delivering_;
};

/// The uid of a libvirt domain.
Uid uid_of(virDomainPtr domain);

}  // namespace ironcore::compute::libvirt
