// SPDX-License-Identifier: Apache-2.0
// The simulated hypervisor: a table of domains and one ordered list of things that guests will do.
#include "ironcore/sim/hypervisor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "ironcore/base/unique_fd.hpp"
#include "ironcore/image/disk_file.hpp"

namespace ironcore::sim {

using compute::DiskSecrets;
using compute::Domain;
using compute::DomainDisk;
using compute::DomainEvent;
using compute::DomainNic;
using compute::DomainSpec;
using compute::DomainState;
using compute::PauseReason;
using compute::ShutdownSignal;
using compute::StopReason;

namespace {

constexpr std::size_t kLineBytes = 64 << 10;    // what a console takes for a guest that does not read
constexpr std::size_t kConsoleBytes = 1 << 20;  // unread output of a console; the oldest goes first, as on a real line

Error no_domain(const Uid& uid) {
  return {ErrorCode::not_found, "no domain " + uid.to_text()};
}
Error not_running() {
  return {ErrorCode::wrong_state, "the domain does not run"};
}

void append_to_file(const std::filesystem::path& path, std::string_view text) {
  if (path.empty()) return;
  UniqueFd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
  // A guest does not notice that its log cannot be written, and QEMU goes on as well.
  while (fd && !text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

template <class Devices>
auto find_named(Devices& devices, std::string_view name) {
  return std::find_if(devices.begin(), devices.end(), [name](const auto& device) { return device.name == name; });
}

struct SimDomain {
  DomainSpec definition;
  DomainState state = DomainState::shut_off;
  StopReason stop_reason = StopReason::unknown;
  std::uint64_t boot = 0;  // grows with every boot and stop: what an earlier boot's guest still wanted to do is void
  bool has_booted = false;
  bool is_stopping = false;
  std::int64_t process = 0;
  std::uint64_t starts = 0;
  std::uint64_t boots = 0;
  std::filesystem::path console_log;
  std::vector<DomainDisk> disks;
  std::vector<DomainNic> nics;
  std::map<std::string, std::uint64_t> sizes;  // of attached disks
  std::map<std::string, DiskSecrets> opened;   // attached disks on Ceph
  std::uint64_t console_holder = 0;
  std::string console_output;
  std::string console_input;  // while it is paused
  PauseReason pause_reason = PauseReason::none;
  std::vector<std::function<void(SimDomain&)>> put_off;  // what a paused guest would have done

  bool is_running() const { return state == DomainState::running || state == DomainState::paused; }
  bool is_paused() const { return state == DomainState::paused; }
};

}  // namespace

struct Hypervisor::State : std::enable_shared_from_this<Hypervisor::State> {
  State(Clock& clock_, VirtualClock* virtual_clock_, Options options_)
      : clock(clock_), virtual_clock(virtual_clock_), options(std::move(options_)) {}

  Clock& clock;
  VirtualClock* virtual_clock;  // null: time passes by itself
  const Options options;

  std::mutex mutex;
  std::condition_variable_any changed;  // consoles and run() wait for it
  std::map<Uid, SimDomain> domains;
  std::map<Uid, Guest> scripts;
  std::map<std::pair<Uid, std::string>, DiskSecrets> secrets;
  OpenImage open_image;
  std::map<std::pair<Instant, std::uint64_t>, std::function<void()>> agenda;  // called with the mutex held
  std::uint64_t last_entry = 0;
  std::uint64_t last_console = 0;
  std::int64_t last_process = 1000;
  std::uint64_t call_count = 0;
  bool is_connected = true;
  std::function<std::optional<Fault>(const Call&)> faults;

  std::deque<DomainEvent> events;
  std::function<void(const DomainEvent&)> listener;
  std::thread::id delivering;

  const Guest& script(const SimDomain& domain) const {
    const auto own = scripts.find(domain.definition.uid);
    return own == scripts.end() ? options.guest : own->second;
  }

  void plan(Instant time, std::function<void()> action) {
    agenda.emplace(std::pair(time, ++last_entry), std::move(action));
    wake_at(time);
  }

  void wake_at(Instant time) {
    if (virtual_clock != nullptr) {
      virtual_clock->at(time, [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->settle_and_deliver();
      });
    }
    changed.notify_all();
  }

  /// Does what is due. Needs the mutex.
  void settle() {
    const Instant now = clock.now();
    while (!agenda.empty() && agenda.begin()->first.first <= now) {
      auto entry = agenda.extract(agenda.begin());
      entry.mapped()();
    }
  }

  void settle_and_deliver() {
    std::unique_lock lock(mutex);
    settle();
    if (delivering != std::thread::id()) return;  // whoever delivers takes ours along
    delivering = std::this_thread::get_id();
    while (!events.empty() && listener) {
      const DomainEvent event = std::move(events.front());
      events.pop_front();
      const auto call = listener;
      lock.unlock();
      call(event);
      lock.lock();
    }
    delivering = {};
    changed.notify_all();
  }

  void emit(DomainEvent::Type type, const Uid& uid, std::string device = {}) {
    if (!is_connected || !listener) return;
    events.push_back({type, uid, std::move(device)});
    wake_at(clock.now());
  }

  void print(SimDomain& domain, std::string_view text) {
    append_to_file(domain.console_log, text);
    if (domain.console_holder == 0) return;
    domain.console_output += text;
    if (domain.console_output.size() > kConsoleBytes) {
      domain.console_output.erase(0, domain.console_output.size() - kConsoleBytes);
    }
    changed.notify_all();
  }

  void hear(SimDomain& domain, std::string_view bytes) {
    if (!domain.has_booted || bytes.empty()) return;  // nobody reads the line yet
    const Guest& guest = script(domain);
    print(domain, guest.answer ? guest.answer(bytes) : std::string(bytes));
  }

  /// Plans what the guest does `after` a while, unless it is stopped or rebooted before.
  void guest_will(const Uid& uid, Duration after, std::function<void(SimDomain&)> action) {
    plan(clock.now() + after, [this, uid, boot = domains.at(uid).boot, action = std::move(action)] {
      const auto found = domains.find(uid);
      if (found == domains.end() || !found->second.is_running() || found->second.boot != boot) return;
      if (found->second.is_paused()) {
        found->second.put_off.push_back(action);
      } else {
        action(found->second);
      }
    });
  }

  void boot(const Uid& uid, SimDomain& domain) {
    domain.has_booted = false;
    domain.is_stopping = false;
    domain.put_off.clear();
    ++domain.boot;
    ++domain.boots;
    guest_will(uid, script(domain).boot, [this, uid](SimDomain& booted) {
      booted.has_booted = true;
      print(booted, script(booted).banner);
      if (script(booted).has_agent) emit(DomainEvent::Type::agent_changed, uid);
    });
  }

  void stop(const Uid& uid, SimDomain& domain, StopReason reason) {
    if (!domain.is_running()) return;
    domain.state = DomainState::shut_off;
    domain.stop_reason = reason;
    domain.pause_reason = PauseReason::none;
    domain.put_off.clear();
    domain.console_input.clear();
    domain.has_booted = false;
    ++domain.boot;
    domain.process = 0;
    domain.disks.clear();
    domain.nics.clear();
    domain.sizes.clear();
    domain.opened.clear();
    domain.console_holder = 0;
    domain.console_output.clear();
    changed.notify_all();
    emit(reason == StopReason::crashed ? DomainEvent::Type::crashed : DomainEvent::Type::stopped, uid);
  }

  Result<SimDomain*> find(const Uid& uid) {
    const auto found = domains.find(uid);
    if (found == domains.end()) return no_domain(uid);
    return &found->second;
  }
  /// What QEMU does first with a disk.
  Result<void> open(SimDomain& domain, const DomainDisk& disk) {
    if (!disk.rbd) {
      for (const auto& file : {disk.path, disk.backing}) {
        if (!file.empty() && ::access(file.c_str(), R_OK) != 0)
          return Error(ErrorCode::not_found, "cannot open " + file.string());
      }
      const auto format = image::parse_disk_format(disk.format);
      const auto size = format ? image::disk_size(disk.path, *format) : Result<std::uint64_t>(std::uint64_t{0});
      domain.sizes[disk.name] = size ? *size : 0;
      return {};
    }
    const auto found = secrets.find({domain.definition.uid, disk.name});
    if (found == secrets.end() || found->second.key.empty() ||
        found->second.passphrase.empty() == disk.rbd->is_encrypted)
      return Error(ErrorCode::forbidden, "no secret was handed over for disk " + disk.name);
    const auto size = open_image ? open_image(*disk.rbd, found->second) : Result<std::uint64_t>(std::uint64_t{1} << 30);
    if (!size) return size.error();
    domain.sizes[disk.name] = *size;
    domain.opened[disk.name] = found->second;
    return {};
  }

  Result<SimDomain*> find_running(const Uid& uid) {
    IRONCORE_TRY(SimDomain * domain, find(uid));
    if (!domain->is_running()) return not_running();
    return domain;
  }

  /// One call of the seam: takes the lock, lets guests act, applies a fault if there is one.
  template <class Body>
  auto call(std::string_view name, const Uid& uid, Body body) -> decltype(body()) {
    std::unique_lock lock(mutex);
    settle();
    const Call what{name, uid, call_count++};
    if (!is_connected) return Error(ErrorCode::unavailable, "the hypervisor does not answer");
    std::optional<Fault> fault;
    if (faults) fault = faults(what);
    if (fault && fault->when == Fault::When::before) return fault->error;
    auto result = body();
    if (fault) return fault->error;
    return result;
  }

  Domain describe(const SimDomain& domain) const {
    Domain out;
    out.uid = domain.definition.uid;
    out.name = domain.definition.name;
    out.title = domain.definition.title;
    out.state = domain.state;
    out.stop_reason = domain.stop_reason;
    out.pause_reason = domain.pause_reason;
    out.is_agent_connected = domain.has_booted && script(domain).has_agent;
    out.process = domain.process;
    for (const auto& disk : domain.disks) out.disks.push_back(disk.name);
    for (const auto& nic : domain.nics) out.nics.push_back(nic.name);
    return out;
  }
};

// ---- console ----

class Hypervisor::SimConsole final : public compute::Console {
 public:
  SimConsole(std::shared_ptr<State> state, const Uid& uid, std::uint64_t holder)
      : state_(std::move(state)), uid_(uid), holder_(holder) {}
  ~SimConsole() override {
    std::lock_guard guard(state_->mutex);
    if (SimDomain* domain = mine()) {
      domain->console_holder = 0;
      domain->console_output.clear();
    }
  }

  Result<std::string> read(Instant deadline, std::stop_token stop) override {
    std::unique_lock lock(state_->mutex);
    for (;;) {
      state_->settle();
      SimDomain* domain = mine();
      if (domain == nullptr) return Error(ErrorCode::gone, "the guest stopped");
      if (!domain->console_output.empty()) return std::exchange(domain->console_output, {});
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped reading the console");
      const Instant now = state_->clock.now();
      if (now >= deadline) return std::string();
      // With a clock that moves by itself nobody else may let the guests act: wake up for that, too.
      Instant until = deadline;
      if (!state_->agenda.empty()) until = std::min(until, state_->agenda.begin()->first.first);
      state_->clock.wait(lock, state_->changed, stop, until, [&] {
        const SimDomain* still = mine();
        return still == nullptr || !still->console_output.empty() ||
               (!state_->agenda.empty() && state_->agenda.begin()->first.first < until);
      });
    }
  }

  Result<void> write(std::string_view bytes, Instant deadline) override {
    std::unique_lock lock(state_->mutex);
    state_->settle();
    SimDomain* domain = mine();
    if (domain != nullptr && domain->is_paused()) {
      const auto taken = bytes.substr(0, kLineBytes - std::min(kLineBytes, domain->console_input.size()));
      domain->console_input += taken;
      bytes.remove_prefix(taken.size());
      if (bytes.empty()) return {};
      state_->clock.wait(lock, state_->changed, {}, deadline,
                         [&] { return mine() == nullptr || !mine()->is_paused(); });
      domain = mine();
      if (domain != nullptr && domain->is_paused())
        return Error(ErrorCode::timeout, "the guest does not read its console");
    }
    if (domain == nullptr) return Error(ErrorCode::gone, "the guest stopped");
    state_->hear(*domain, bytes);
    return {};
  }

 private:
  SimDomain* mine() {
    const auto found = state_->domains.find(uid_);
    return found != state_->domains.end() && found->second.console_holder == holder_ ? &found->second : nullptr;
  }

  std::shared_ptr<State> state_;
  Uid uid_;
  std::uint64_t holder_;
};

// ---- the seam ----

Hypervisor::Hypervisor(VirtualClock& clock) : Hypervisor(clock, Options{}) {}
Hypervisor::Hypervisor(VirtualClock& clock, Options options)
    : state_(std::make_shared<State>(clock, &clock, std::move(options))) {}
Hypervisor::Hypervisor(Clock& clock) : Hypervisor(clock, Options{}) {}
Hypervisor::Hypervisor(Clock& clock, Options options)
    : state_(std::make_shared<State>(clock, dynamic_cast<VirtualClock*>(&clock), std::move(options))) {}
Hypervisor::~Hypervisor() {
  on_event({});
}

void Hypervisor::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    state_->settle_and_deliver();
    std::unique_lock lock(state_->mutex);
    const Instant until = state_->agenda.empty() ? Instant::max() : state_->agenda.begin()->first.first;
    state_->clock.wait(lock, state_->changed, stop, until, [&] {
      return !state_->events.empty() || (!state_->agenda.empty() && state_->agenda.begin()->first.first < until);
    });
  }
}

Result<compute::HostCapacity> Hypervisor::capacity() {
  return state_->call("capacity", {}, [&]() -> Result<compute::HostCapacity> { return state_->options.capacity; });
}

Result<std::vector<Domain>> Hypervisor::domains() {
  return state_->call("domains", {}, [&]() -> Result<std::vector<Domain>> {
    std::vector<Domain> out;
    for (const auto& [uid, domain] : state_->domains) out.push_back(state_->describe(domain));
    return out;
  });
}

Result<Domain> Hypervisor::domain(const Uid& uid) {
  return state_->call("domain", uid, [&]() -> Result<Domain> {
    IRONCORE_TRY(SimDomain * domain, state_->find(uid));
    return state_->describe(*domain);
  });
}

Result<void> Hypervisor::define(const DomainSpec& spec) {
  return state_->call("define", spec.uid, [&]() -> Result<void> {
    if (spec.uid.is_nil()) return Error(ErrorCode::invalid, "a domain needs a uid");
    if (spec.name.empty() || spec.name.find_first_of("/\n") != std::string::npos) {
      return Error(ErrorCode::invalid, "a domain's name must not be empty nor contain a slash or a line feed");
    }
    if (spec.vcpus == 0) return Error(ErrorCode::invalid, "a domain needs at least one vcpu");
    if (spec.memory_bytes == 0) return Error(ErrorCode::invalid, "a domain needs memory");
    for (const auto& [uid, other] : state_->domains) {
      if (uid != spec.uid && other.definition.name == spec.name) {
        return Error(ErrorCode::already_exists, "another domain is called " + spec.name);
      }
    }
    state_->domains[spec.uid].definition = spec;
    state_->emit(DomainEvent::Type::defined, spec.uid);
    return {};
  });
}

Result<void> Hypervisor::start(const Uid& uid) {
  return state_->call("start", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find(uid));
    if (domain->is_running()) return {};
    const DomainSpec& spec = domain->definition;
    domain->sizes.clear();
    domain->opened.clear();
    for (const auto& disk : spec.disks) {
      if (auto opened = state_->open(*domain, disk); !opened) {
        domain->stop_reason = StopReason::failed;
        return opened;
      }
    }
    std::vector<std::filesystem::path> files;
    if (spec.kernel) files.push_back(spec.kernel->kernel);
    if (spec.kernel && !spec.kernel->initramfs.empty()) files.push_back(spec.kernel->initramfs);
    if (!spec.ignition.empty()) files.push_back(spec.ignition);
    for (const auto& file : files) {
      if (::access(file.c_str(), R_OK) != 0) {
        domain->stop_reason = StopReason::failed;
        return Error(ErrorCode::not_found, "cannot open " + file.string());
      }
    }
    domain->state = DomainState::running;
    domain->stop_reason = StopReason::unknown;
    domain->process = ++state_->last_process;
    domain->disks = spec.disks;
    domain->nics = spec.nics;
    domain->console_log = spec.console_log;
    ++domain->starts;
    state_->emit(DomainEvent::Type::started, uid);
    state_->boot(uid, *domain);
    return {};
  });
}

Result<void> Hypervisor::shutdown(const Uid& uid, ShutdownSignal signal) {
  return state_->call("shutdown", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find(uid));
    if (!domain->is_running()) return {};
    const Guest& script = state_->script(*domain);
    const bool hears_agent = domain->has_booted && script.has_agent;
    bool heeds = false;
    if (signal != ShutdownSignal::acpi && hears_agent) {
      heeds = script.heeds_agent;
    } else if (signal == ShutdownSignal::agent) {
      return Error(ErrorCode::unavailable, "the guest agent does not answer");
    } else {
      heeds = domain->has_booted && script.heeds_power_button;
    }
    if (heeds && !std::exchange(domain->is_stopping, true)) {
      state_->guest_will(uid, script.shutdown,
                         [this, uid](SimDomain& guest) { state_->stop(uid, guest, StopReason::shutdown); });
    }
    return {};
  });
}

Result<void> Hypervisor::reboot(const Uid& uid) {
  return state_->call("reboot", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
    state_->emit(DomainEvent::Type::rebooted, uid);
    state_->boot(uid, *domain);
    return {};
  });
}

Result<void> Hypervisor::resume(const Uid& uid) {
  return state_->call("resume", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
    if (!domain->is_paused()) return {};
    domain->state = DomainState::running;
    domain->pause_reason = PauseReason::none;
    state_->emit(DomainEvent::Type::resumed, uid);
    state_->hear(*domain, std::exchange(domain->console_input, {}));
    for (const auto& action : std::exchange(domain->put_off, {})) {
      if (domain->is_running()) action(*domain);
    }
    state_->changed.notify_all();
    return {};
  });
}

Result<void> Hypervisor::destroy(const Uid& uid) {
  return state_->call("destroy", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find(uid));
    state_->stop(uid, *domain, StopReason::destroyed);
    return {};
  });
}

Result<void> Hypervisor::undefine(const Uid& uid) {
  return state_->call("undefine", uid, [&]() -> Result<void> {
    const auto found = state_->domains.find(uid);
    const bool runs = found != state_->domains.end() && found->second.is_running();
    if (!runs) std::erase_if(state_->secrets, [&](const auto& one) { return one.first.first == uid; });
    if (found == state_->domains.end()) return {};
    if (runs) return Error(ErrorCode::wrong_state, "the domain runs: stop it first");
    state_->domains.erase(found);
    state_->emit(DomainEvent::Type::undefined, uid);
    return {};
  });
}

Result<void> Hypervisor::attach_disk(const Uid& uid, const DomainDisk& disk) {
  return state_->call("attach_disk", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
    if (find_named(domain->disks, disk.name) != domain->disks.end()) return {};
    for (const auto& other : domain->disks) {
      if (other.target == disk.target) return Error(ErrorCode::invalid, "target " + disk.target + " is taken");
    }
    IRONCORE_CHECK(state_->open(*domain, disk));
    domain->disks.push_back(disk);
    return {};
  });
}

Result<void> Hypervisor::attach_nic(const Uid& uid, const DomainNic& nic) {
  return state_->call("attach_nic", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
    if (find_named(domain->nics, nic.name) == domain->nics.end()) domain->nics.push_back(nic);
    return {};
  });
}

namespace {

/// What the guest does when a device is to leave, for both kinds of device.
template <class State, class Devices>
Result<void> detach(State& state, const Uid& uid, const std::string& name, Devices SimDomain::*devices) {
  IRONCORE_TRY(SimDomain * domain, state.find_running(uid));
  if (find_named(domain->*devices, name) == (domain->*devices).end()) return {};
  const Guest& script = state.script(*domain);
  if (!domain->has_booted || !script.releases_devices) return {};
  state.guest_will(uid, script.release, [&state, uid, name, devices](SimDomain& guest) {
    const auto found = find_named(guest.*devices, name);
    if (found == (guest.*devices).end()) return;
    (guest.*devices).erase(found);
    if constexpr (std::is_same_v<Devices, std::vector<DomainDisk>>) {
      guest.sizes.erase(name);
      guest.opened.erase(name);
    }
    state.emit(DomainEvent::Type::device_removed, uid, name);
  });
  return {};
}

}  // namespace

Result<void> Hypervisor::detach_disk(const Uid& uid, const std::string& name) {
  return state_->call("detach_disk", uid, [&] { return detach(*state_, uid, name, &SimDomain::disks); });
}

Result<void> Hypervisor::detach_nic(const Uid& uid, const std::string& name) {
  return state_->call("detach_nic", uid, [&] { return detach(*state_, uid, name, &SimDomain::nics); });
}

Result<void> Hypervisor::resize_disk(const Uid& uid, const std::string& name, std::uint64_t size_bytes) {
  return state_->call("resize_disk", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
    const auto disk = find_named(domain->disks, name);
    if (disk == domain->disks.end()) return Error(ErrorCode::not_found, "no disk " + name + " is attached");
    auto& seen = domain->sizes[name];
    if (size_bytes < seen)
      return Error(ErrorCode::invalid, "disk " + name + " has " + std::to_string(seen) + " bytes: disks only grow");
    if (!disk->rbd) {
      const auto format = image::parse_disk_format(disk->format);
      if (!format) return Error(ErrorCode::invalid, "disk " + name + " has no known format");
      IRONCORE_CHECK(image::grow_disk(disk->path, *format, size_bytes));
    }
    seen = size_bytes;
    return {};
  });
}

Result<void> Hypervisor::limit_disk(const Uid& uid, const std::string& name, const compute::DiskLimits& limits) {
  return state_->call("limit_disk", uid, [&]() -> Result<void> {
    IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
    const auto disk = find_named(domain->disks, name);
    if (disk == domain->disks.end()) return Error(ErrorCode::not_found, "no disk " + name + " is attached");
    disk->limits = limits;
    return {};
  });
}

Result<void> Hypervisor::put_secrets(const Uid& uid, const std::string& disk, const DiskSecrets& secrets) {
  return state_->call("put_secrets", uid, [&]() -> Result<void> {
    state_->secrets[{uid, disk}] = secrets;
    return {};
  });
}

Result<void> Hypervisor::remove_secrets(const Uid& uid, const std::string& disk) {
  return state_->call("remove_secrets", uid, [&]() -> Result<void> {
    state_->secrets.erase({uid, disk});
    return {};
  });
}

Result<std::vector<Uid>> Hypervisor::secret_owners() {
  return state_->call("secret_owners", {}, [&]() -> Result<std::vector<Uid>> {
    std::vector<Uid> out;
    for (const auto& [of, secrets] : state_->secrets) {
      if (out.empty() || out.back() != of.first) out.push_back(of.first);
    }
    return out;
  });
}

Result<std::unique_ptr<compute::Console>> Hypervisor::console(const Uid& uid) {
  return state_->call("console", uid, [&]() -> Result<std::unique_ptr<compute::Console>> {
    IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
    if (domain->console_holder != 0) return Error(ErrorCode::wrong_state, "somebody else has the console");
    domain->console_holder = ++state_->last_console;
    return std::unique_ptr<compute::Console>(std::make_unique<SimConsole>(state_, uid, domain->console_holder));
  });
}

void Hypervisor::on_event(std::function<void(const DomainEvent&)> listener) {
  std::unique_lock lock(state_->mutex);
  state_->listener = std::move(listener);
  if (!state_->listener) state_->events.clear();
  // Whoever takes its listener back must be able to destroy what the listener refers to.
  state_->changed.wait(lock, [&] {
    return state_->delivering == std::thread::id() || state_->delivering == std::this_thread::get_id();
  });
}

std::optional<compute::Hypervisor::FileOwner> Hypervisor::file_owner() {
  return std::nullopt;
}

// ---- the script ----

void Hypervisor::set_faults(std::function<std::optional<Fault>(const Call&)> faults) {
  std::lock_guard guard(state_->mutex);
  state_->faults = std::move(faults);
}

std::uint64_t Hypervisor::calls() const {
  std::lock_guard guard(state_->mutex);
  return state_->call_count;
}

void Hypervisor::set_images(OpenImage open) {
  std::lock_guard guard(state_->mutex);
  state_->open_image = std::move(open);
}

void Hypervisor::set_guest(const Uid& uid, Guest guest) {
  std::lock_guard guard(state_->mutex);
  state_->scripts.insert_or_assign(uid, std::move(guest));
}

Result<void> Hypervisor::guest_powers_off(const Uid& uid) {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
  state_->stop(uid, *domain, StopReason::shutdown);
  return {};
}

Result<void> Hypervisor::guest_reboots(const Uid& uid) {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
  state_->emit(DomainEvent::Type::rebooted, uid);
  state_->boot(uid, *domain);
  return {};
}

Result<void> Hypervisor::guest_crashes(const Uid& uid) {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
  state_->stop(uid, *domain, StopReason::crashed);
  return {};
}

Result<void> Hypervisor::pause(const Uid& uid, PauseReason reason) {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
  domain->state = DomainState::paused;
  domain->pause_reason = reason;
  state_->emit(DomainEvent::Type::paused, uid);
  return {};
}

Result<void> Hypervisor::guest_prints(const Uid& uid, std::string_view text) {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  IRONCORE_TRY(SimDomain * domain, state_->find_running(uid));
  state_->print(*domain, text);
  return {};
}

void Hypervisor::disconnect() {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  state_->is_connected = false;
  state_->events.clear();
  state_->changed.notify_all();
}

void Hypervisor::reconnect() {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  if (std::exchange(state_->is_connected, true)) return;
  state_->secrets.clear();
  state_->emit(DomainEvent::Type::reconnected, {});
}

void Hypervisor::restart_host() {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  state_->is_connected = false;  // nobody hears of it
  for (auto& [uid, domain] : state_->domains) {
    state_->stop(uid, domain, StopReason::unknown);
    domain.stop_reason = StopReason::unknown;
  }
  state_->is_connected = true;
  state_->secrets.clear();
  state_->events.clear();
  state_->emit(DomainEvent::Type::reconnected, {});
}

Result<Hypervisor::Inside> Hypervisor::inside(const Uid& uid) const {
  std::lock_guard guard(state_->mutex);
  state_->settle();
  IRONCORE_TRY(SimDomain * domain, state_->find(uid));
  Inside out{domain->definition, domain->disks,  domain->nics, domain->sizes, domain->opened, {},
             domain->has_booted, domain->starts, domain->boots};
  for (const auto& [of, secrets] : state_->secrets)
    if (of.first == uid) out.secrets[of.second] = secrets;
  return out;
}

}  // namespace ironcore::sim
