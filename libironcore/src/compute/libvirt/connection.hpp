// SPDX-License-Identifier: Apache-2.0
// A connection to libvirt that comes back by itself, and the events that arrive over it.
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

namespace ironcore::compute::libvirt {

class Opening;
class Openings;

/// One open connection with its registrations. Calls keep it alive; the last one closes it.
class Link {
 public:
  explicit Link(virConnectPtr connection) : connection_(connection) {}
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() { virConnectClose(connection_); }
  virConnectPtr get() const { return connection_; }

  std::vector<int> events;  ///< registered callbacks
  bool has_close_callback = false;

 private:
  virConnectPtr connection_;
};

/// Thread: any; what libvirt calls back arrives on the thread that runs the event loop.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Options options, Clock& clock, Log& log) : options_(std::move(options)), clock_(clock), log_(log) {}

  /// The first connection.
  Result<void> open(Openings& openings, std::stop_token stop);
  /// Takes everything back from libvirt. Nothing is called afterwards.
  void close();

  /// `unavailable` while the daemon is lost.
  Result<std::shared_ptr<Link>> link() const;

  void set_listener(std::function<void(const DomainEvent&)> listener);

  /// Events of domains that are not ours are dropped; these are ours.
  void add_ours(const Uid& uid);
  bool is_ours(const Uid& uid) const;

 private:
  template <class Callback>
  void register_event(Link& link, int id, Callback callback);
  void set_up(Link& link);
  /// A connection that was lost before its close callback was there is not reported to it.
  Result<void> check_alive(Link& link) const;
  void let_go(const std::shared_ptr<Link>& link);
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
  std::shared_ptr<Link> link_;
  std::shared_ptr<Link> lost_;
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
