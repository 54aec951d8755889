// SPDX-License-Identifier: Apache-2.0
// Opening, losing and restoring the connection; translating events.
#include "connection.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "../device_name.hpp"
#include "domain_xml.hpp"
#include "errors.hpp"
#include "opening.hpp"

namespace ironcore::compute::libvirt {

namespace {

using Self = std::shared_ptr<Connection>;

Self& self_of(void* opaque) {
  return *static_cast<Self*>(opaque);
}
void free_self(void* opaque) {
  delete static_cast<Self*>(opaque);
}

int milliseconds(Duration span) {
  return static_cast<int>(
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(span).count()));
}

/// The device's own name, if the alias is one that we gave.
std::string device_of(std::string_view alias) {
  for (const std::string& prefix : {disk_alias(""), nic_alias("")}) {
    if (alias.substr(0, prefix.size()) == prefix)
      return decode_device_name(alias.substr(prefix.size())).value_or(std::string());
  }
  return {};
}

}  // namespace

Uid uid_of(virDomainPtr domain) {
  std::array<std::uint8_t, VIR_UUID_BUFLEN> bytes{};
  virDomainGetUUID(domain, bytes.data());
  return Uid(bytes);
}

Result<void> Connection::open(Openings& openings, std::stop_token stop) {
  IRONCORE_TRY(auto link,
               openings.open(options_.uri, clock_, clock_.now() + options_.connect_patience, std::move(stop)));
  Registered registered = set_up(std::move(link));
  // After it: only a loop that runs gives a timer back, and there would be one for each attempt before that.
  auto* self = new Self(shared_from_this());
  timer_ = virEventAddTimeout(
      -1, [](int, void* opaque) { self_of(opaque)->on_timer(); }, self, free_self);
  if (timer_ < 0) {
    delete self;
    let_go(std::move(registered));
    return Error(ErrorCode::internal, "libvirt's event loop gives no timer: create the EventLoop first");
  }
  std::lock_guard guard(mutex_);
  current_ = std::move(registered);
  return check_alive(*current_.link);
}

template <class Callback>
void Connection::register_event(Registered& to, int id, Callback callback) {
  auto* self = new Self(shared_from_this());
  const int registered = virConnectDomainEventRegisterAny(to.link->get(), nullptr, id,
                                                          VIR_DOMAIN_EVENT_CALLBACK(callback), self, free_self);
  if (registered < 0) {
    delete self;  // a driver without this event: looking will have to do
  } else {
    to.events.push_back(registered);
  }
}

Connection::Registered Connection::set_up(std::unique_ptr<Link> link) {
  link->set_keepalive(options_.keepalive);
  Registered out{std::move(link), {}, false};
  // A driver inside this process takes the callback as well, but never calls it and never gives it back.
  if (options_.uri.rfind("test:", 0) != 0) {
    auto* self = new Self(shared_from_this());
    out.has_close_callback =
        virConnectRegisterCloseCallback(
            out.link->get(), [](virConnectPtr lost, int, void* opaque) { self_of(opaque)->on_lost(lost); }, self,
            free_self) == 0;
    if (!out.has_close_callback) delete self;
  }

  register_event(out, VIR_DOMAIN_EVENT_ID_LIFECYCLE, &Connection::lifecycle);
  register_event(
      out, VIR_DOMAIN_EVENT_ID_REBOOT, +[](virConnectPtr, virDomainPtr domain, void* opaque) {
        self_of(opaque)->on_domain_event(domain, DomainEvent::Type::rebooted);
      });
  register_event(
      out, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
      +[](virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) {
        const std::string device = device_of(alias);
        if (!device.empty()) self_of(opaque)->on_domain_event(domain, DomainEvent::Type::device_removed, device);
      });
  register_event(
      out, VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, +[](virConnectPtr, virDomainPtr domain, int, int, void* opaque) {
        self_of(opaque)->on_domain_event(domain, DomainEvent::Type::agent_changed);
      });
  return out;
}

Result<void> Connection::check_alive(const Link& link) const {
  if (link.is_alive()) return {};
  return Error(ErrorCode::unavailable, "connect to " + options_.uri + ": lost again at once");
}

void Connection::let_go(Registered registered) {
  if (!registered.link) return;
  const virConnectPtr connection = registered.link->get();
  for (const int event : registered.events) virConnectDomainEventDeregisterAny(connection, event);
  if (registered.has_close_callback) {
    virConnectUnregisterCloseCallback(connection,
                                      [](virConnectPtr lost, int, void* opaque) { self_of(opaque)->on_lost(lost); });
  }
}

void Connection::close() {
  Registered current;
  Registered lost;
  {
    std::lock_guard guard(mutex_);
    is_closed_ = true;
    current = std::exchange(current_, {});
    lost = std::exchange(lost_, {});
    opening_ = nullptr;
  }
  if (timer_ >= 0) virEventRemoveTimeout(timer_);
  set_listener({});
  let_go(std::move(current));
  let_go(std::move(lost));
}

Result<void> Connection::check() const {
  std::lock_guard guard(mutex_);
  if (current_.link) return {};
  return Error(ErrorCode::unavailable, "the connection to " + options_.uri + " is lost, trying again");
}

// ---- losing and restoring: all on the event loop ----

void Connection::on_lost(virConnectPtr connection) {
  {
    std::lock_guard guard(mutex_);
    if (is_closed_ || !current_.link || current_.link->get() != connection) return;
    lost_ = std::exchange(current_, {});  // closed later: libvirt is still inside it
  }
  log_.warning("lost the connection to libvirt", {{"uri", options_.uri}});
  virEventUpdateTimeout(timer_, 0);
}

void Connection::wake() {
  std::lock_guard guard(mutex_);
  if (!is_closed_) virEventUpdateTimeout(timer_, 0);
}

void Connection::on_timer() {
  virEventUpdateTimeout(timer_, -1);  // first: from here on it may be set off again
  Registered lost;
  std::shared_ptr<Opening> opening;
  {
    std::lock_guard guard(mutex_);
    if (is_closed_ || current_.link) return;
    lost = std::exchange(lost_, {});
    if (opening_ && !opening_->has_answered()) return;
    opening = std::exchange(opening_, nullptr);
  }
  let_go(std::move(lost));
  if (!opening) {
    auto begun = Opening::begin(options_.uri, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->wake();
    });
    if (!begun) virEventUpdateTimeout(timer_, milliseconds(options_.reconnect));
    std::lock_guard guard(mutex_);
    if (begun && !is_closed_) opening_ = *begun;
    return;
  }
  auto link = opening->take();
  Registered registered;
  if (link) registered = set_up(std::move(*link));
  if (!link || !check_alive(*registered.link)) {
    let_go(std::move(registered));
    virEventUpdateTimeout(timer_, milliseconds(options_.reconnect));
    return;
  }
  {
    std::lock_guard guard(mutex_);
    if (!is_closed_) current_ = std::exchange(registered, {});
  }
  if (registered.link) {
    let_go(std::move(registered));
    return;
  }
  log_.info("connected to libvirt again", {{"uri", options_.uri}});
  deliver({DomainEvent::Type::reconnected, {}, {}});
}

// ---- events ----

void Connection::set_listener(std::function<void(const DomainEvent&)> listener) {
  std::unique_lock lock(mutex_);
  listener_ = std::move(listener);
  delivered_.wait(lock, [&] { return delivering_ == std::thread::id() || delivering_ == std::this_thread::get_id(); });
}

void Connection::deliver(const DomainEvent& event) {
  std::unique_lock lock(mutex_);
  if (is_closed_ || !listener_) return;
  const auto listener = listener_;
  const auto before = std::exchange(delivering_, std::this_thread::get_id());
  lock.unlock();
  listener(event);
  lock.lock();
  delivering_ = before;
  delivered_.notify_all();
}

void Connection::on_domain_event(virDomainPtr domain, DomainEvent::Type type, std::string device) {
  const Uid uid = uid_of(domain);
  if (!is_ours(uid)) return;
  deliver({type, uid, std::move(device)});
  if (type == DomainEvent::Type::undefined) {
    std::lock_guard guard(mutex_);
    ours_.erase(uid);
  }
}

int Connection::lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque) {
  using Type = DomainEvent::Type;
  const auto report = [&](Type type) { self_of(opaque)->on_domain_event(domain, type); };
  switch (event) {
    case VIR_DOMAIN_EVENT_DEFINED:
      report(Type::defined);
      break;
    case VIR_DOMAIN_EVENT_UNDEFINED:
      report(Type::undefined);
      break;
    case VIR_DOMAIN_EVENT_STARTED:
      report(Type::started);
      break;
    case VIR_DOMAIN_EVENT_CRASHED:
      report(Type::crashed);
      break;
    case VIR_DOMAIN_EVENT_STOPPED:
      report(detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED || detail == VIR_DOMAIN_EVENT_STOPPED_FAILED ? Type::crashed
                                                                                                     : Type::stopped);
      break;
    case VIR_DOMAIN_EVENT_SUSPENDED:
      report(Type::paused);
      break;
    case VIR_DOMAIN_EVENT_RESUMED:
      report(Type::resumed);
      break;
    default:
      break;  // shutdown is followed by stopped
  }
  return 0;
}

void Connection::add_ours(const Uid& uid) {
  std::lock_guard guard(mutex_);
  ours_.insert(uid);
}

bool Connection::is_ours(const Uid& uid) const {
  std::lock_guard guard(mutex_);
  return ours_.count(uid) != 0;
}

}  // namespace ironcore::compute::libvirt
