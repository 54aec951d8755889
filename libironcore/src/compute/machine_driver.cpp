// SPDX-License-Identifier: Apache-2.0
// Power: what was asked for, what happened, what to do next.
#include "machine_driver.hpp"

#include <algorithm>

namespace ironcore::compute {

namespace {

using Wish = MachineRecord::Wish;
using Reboot = MachineRecord::Reboot;
using EventType = MachineEvent::Type;

constexpr Duration kCrashMemory = std::chrono::minutes(10);  // a run longer than this makes earlier crashes forgotten
constexpr Duration kCrashDelay = std::chrono::seconds(5);
constexpr Duration kCrashDelayLimit = std::chrono::minutes(5);
constexpr Duration kResumeMemory = std::chrono::minutes(1);  // a guest that ran on for so long has its room
constexpr Duration kLogCheck = std::chrono::minutes(1);

/// The first crash is answered at once, the next ones after 5, 10, 20 … seconds.
Duration crash_delay(std::uint32_t crashes) {
  if (crashes <= 1) return Duration::zero();
  return std::min(kCrashDelayLimit, kCrashDelay * (std::int64_t{1} << std::min<std::uint32_t>(crashes - 2, 20)));
}

}  // namespace

// ---- the three calls ----

Result<MachineStatus> MachineDriver::apply(const MachineSpec& spec, std::stop_token stop_token,
                                           const Host::Progress& progress) {
  if (progress) progress_ = &progress;
  if (auto wrong = problems(spec); !wrong.empty()) return Error(std::move(wrong));
  memory_.message.clear();
  IRONCORE_CHECK(files_.make());
  IRONCORE_CHECK(load());
  IRONCORE_CHECK(observe());
  IRONCORE_CHECK(note_state());
  note_wish(spec);
  IRONCORE_CHECK(save());
  const bool shall_stop = record_.wish == Wish::off || record_.reboot == Reboot::stopping;
  if (is_up() && shall_stop) IRONCORE_CHECK(stop(spec.shutdown_grace, spec.shutdown_signal));
  if (!is_up()) {
    IRONCORE_CHECK(bring_up(spec, stop_token));
  } else if (!shall_stop) {
    if (record_.reboot == Reboot::starting) {
      // Started by an earlier call that could not write it down.
      record_.reboot = Reboot::none;
      record_.reboot_done = record_.reboot_wanted;
      IRONCORE_CHECK(save());
    }
    IRONCORE_CHECK(go_on());
    IRONCORE_CHECK(reconcile_up(spec, stop_token));
    IRONCORE_CHECK(note_state());  // the guest may have stopped meanwhile
    IRONCORE_CHECK(files_.rotate_log(around_.options.console_log_bytes));
    wake(around_.clock.now() + kLogCheck);
  }
  IRONCORE_CHECK(save());
  return report();
}

Result<MachineStatus> MachineDriver::remove(Duration grace, ShutdownSignal signal) {
  memory_.message.clear();
  IRONCORE_CHECK(observe());
  if (!domain_ && !files_.is_anything_left()) return report();
  if (is_up()) {
    IRONCORE_CHECK(files_.make());
    IRONCORE_CHECK(load());
    IRONCORE_CHECK(note_state());
    if (record_.wish == Wish::on && record_.reboot != Reboot::stopping) begin_stop_anew();
    record_.reboot = Reboot::none;
    record_.wish = Wish::removed;
    IRONCORE_CHECK(save());
    IRONCORE_CHECK(stop(grace, signal));
    if (is_up()) return report();
  }
  // The order matters: nothing may be taken from under a guest, and the directory is what says that something
  // is left.
  // Without a domain as well: secrets may be left.
  IRONCORE_CHECK(around_.hypervisor.undefine(uid_));
  domain_.reset();
  IRONCORE_CHECK(files_.remove_disks());
  IRONCORE_CHECK(files_.remove_directory());
  IRONCORE_CHECK(files_.remove_secrets());
  record_ = {};
  event(EventType::normal, "MachineDeletionSucceeded", "removed the domain, its disks and its files");
  return report();
}

Result<MachineStatus> MachineDriver::status() {
  IRONCORE_CHECK(load());
  IRONCORE_CHECK(observe());
  return report();
}

// ---- looking ----

Result<void> MachineDriver::load() {
  auto found = files_.load();
  if (!found && found.error().code() == ErrorCode::corrupt) {
    // Nothing in it is worth stopping for: the guest and the disks are elsewhere.
    around_.log.warning("a damaged machine record is replaced",
                        {{"machine", uid_.to_text()}, {"error", found.error().message()}});
    found = std::optional<MachineRecord>();
  }
  if (!found) return found.error();
  is_new_ = !*found;
  if (*found) record_ = saved_ = **found;
  if (memory_.unsaved) record_ = *memory_.unsaved;
  return {};
}

Result<void> MachineDriver::save() {
  if (record_ == saved_) return {};
  auto written = files_.save(record_);
  if (written) {
    memory_.unsaved.reset();
    saved_ = record_;
    return {};
  }
  // Switching off and deleting is how room is made on a full disk: until there is some, memory has to do.
  if (record_.wish == Wish::on || written.error().code() != ErrorCode::exhausted) return written;
  if (!memory_.unsaved) {
    around_.log.warning("a machine's record cannot be written, going on without",
                        {{"machine", uid_.to_text()}, {"error", written.error().message()}});
  }
  memory_.unsaved = record_;
  return {};
}

Result<void> MachineDriver::observe() {
  auto found = around_.hypervisor.domain(uid_);
  if (found) {
    domain_ = std::move(*found);
  } else if (found.error().code() == ErrorCode::not_found) {
    domain_.reset();
  } else {
    return found.error();
  }
  return {};
}

bool MachineDriver::is_up() const {
  return domain_ && domain_->state != DomainState::shut_off && domain_->state != DomainState::crashed;
}

/// Notices that the guest stopped since the last look, and decides whose will that was.
Result<void> MachineDriver::note_state() {
  if (is_up()) {
    record_.was_running = true;
    record_.not_before.reset();
    return {};
  }
  if (record_.was_running) {
    const StopReason reason = domain_ ? domain_->stop_reason : StopReason::unknown;
    if (record_.wish != Wish::on || record_.stop_asked) {
      event(EventType::normal, "Stopped",
            reason == StopReason::destroyed ? "was forced to stop" : "shut down as asked");
    } else if (reason == StopReason::shutdown) {
      record_.is_stopped_by_guest = true;
      event(EventType::normal, "GuestShutdown",
            "the guest powered itself off; switch power off and on to start it again");
    } else if (reason == StopReason::crashed || (domain_ && domain_->state == DomainState::crashed)) {
      note_crash();
    } else {
      event(EventType::warning, "Lost", "stopped from outside or with the host; it will be started again");
    }
    record_.was_running = false;
    record_.stop_asked.reset();
    memory_.last_signal.reset();
    memory_.signals = 0;
    memory_.was_agent_asked = false;
    memory_.detaching.clear();
  }
  if (record_.reboot == Reboot::stopping) {
    record_.reboot = Reboot::starting;
    record_.is_stopped_by_guest = false;
  }
  return save();
}

void MachineDriver::note_crash() {
  pause_before_start();
  const Duration delay = crash_delay(record_.crashes);
  event(EventType::warning, "Crashed",
        "crashed " + std::to_string(record_.crashes) + " times in a row; next start in " + to_text(delay));
}

/// The hypervisor reports each attempt, and each report brings the next call: without a pause there would be no end of it.
void MachineDriver::note_failed_start(const Error& error) {
  pause_before_start();
  // Said again and again with other numbers in it, it would be a new event each time.
  if (memory_.start_error.empty()) event(EventType::warning, "StartFailed", error.message());
  memory_.start_error = error.message();
}

void MachineDriver::pause_before_start() {
  const WallTime now = around_.clock.wall();
  if (record_.started && now - *record_.started > kCrashMemory) record_.crashes = 0;
  ++record_.crashes;
  record_.not_before = now + crash_delay(record_.crashes);
}

/// A new stop is under way: its grace counts from its own first signal, not from an earlier stop's.
void MachineDriver::begin_stop_anew() {
  record_.stop_asked.reset();
  memory_.last_signal.reset();
  memory_.signals = 0;
  memory_.was_agent_asked = false;
}

void MachineDriver::note_wish(const MachineSpec& spec) {
  const Wish wish = spec.power == Power::on ? Wish::on : Wish::off;
  if (is_new_) record_.reboot_done = spec.reboot_token;
  if (record_.wish == Wish::on && wish == Wish::off && record_.reboot != Reboot::stopping) begin_stop_anew();
  if (record_.wish != Wish::on && wish == Wish::on) {
    record_.is_stopped_by_guest = false;
    record_.crashes = 0;
    record_.not_before.reset();
  }
  record_.wish = wish;

  const std::string& under_way = record_.reboot == Reboot::none ? record_.reboot_done : record_.reboot_wanted;
  if (spec.reboot_token != under_way) {
    record_.reboot_wanted = spec.reboot_token;
    if (record_.reboot == Reboot::none && wish == Wish::on && !spec.reboot_token.empty() && spec.hold.empty()) {
      record_.is_stopped_by_guest = false;
      record_.not_before.reset();
      if (is_up()) {
        begin_stop_anew();
        record_.reboot = Reboot::stopping;
        event(EventType::normal, "Rebooting", "asked for by token " + spec.reboot_token);
      } else {
        record_.reboot = Reboot::starting;
      }
    }
  }
  if (wish == Wish::off || (record_.reboot == Reboot::none && spec.reboot_token.empty())) {
    // Nothing to reboot, now or when the power comes back.
    record_.reboot = Reboot::none;
    record_.reboot_done = spec.reboot_token;
  }

  // A stop that was taken back, and that the guest ignored: whatever stops it later is no longer our doing.
  const WallTime now = around_.clock.wall();
  if (wish == Wish::on && record_.reboot == Reboot::none && record_.stop_asked &&
      now - *record_.stop_asked > spec.shutdown_grace) {
    begin_stop_anew();
  }
}

MachineStatus MachineDriver::report() {
  MachineStatus out;
  out.message = message_;
  out.reboot_token = record_.reboot_done;
  out.next_check = wake_;
  out.events = std::exchange(memory_.events, {});
  const auto state_of = [&](bool is_there, const std::string& key) {
    if (!is_there) return DeviceStatus::State::pending;
    return memory_.detaching.contains(key) ? DeviceStatus::State::detaching : DeviceStatus::State::attached;
  };
  for (const auto& [name, disk] : record_.disks) {
    const bool is_there = has_disk(name);
    const std::string notice = is_there && !disk.next_access.empty()
                                   ? "its credentials or monitors have changed, and are used from the next attach or "
                                     "start on: switch the power off and on, or detach and attach it"
                                   : "";
    out.disks.push_back({name, state_of(is_there, "disk/" + name), disk.handle, disk.size_bytes, {}, notice});
  }
  for (const auto& [name, nic] : record_.nics) {
    const auto state = state_of(has_nic(name), "nic/" + name);
    out.nics.push_back({name, state, nic.source, 0, nic.mac});
  }

  const bool is_stop_wished = record_.wish != Wish::on;
  if (!domain_ && !files_.is_anything_left()) {
    out.state = MachineState::terminated;
  } else if (record_.wish == Wish::removed) {
    out.state = MachineState::terminating;
  } else if (is_up()) {
    if (is_stop_wished || domain_->state == DomainState::shutting_down) {
      out.state = MachineState::terminating;
    } else if (domain_->state == DomainState::running) {
      out.state = MachineState::running;
    } else {
      out.state = MachineState::pending;
      // Said even when something else is wrong as well: nothing else can get better before this does.
      out.message =
          domain_->pause_reason == PauseReason::no_space
              ? "paused, a disk cannot be written: no space left on the host: make room, then it goes on by itself"
              : "paused from outside; `virsh resume` lets it go on";
    }
  } else {
    const bool has_guest_stopped =
        record_.is_stopped_by_guest ||
        (record_.was_running && !record_.stop_asked && domain_ && domain_->stop_reason == StopReason::shutdown);
    out.state = is_stop_wished || has_guest_stopped ? MachineState::shutdown : MachineState::pending;
    if (!is_stop_wished && has_guest_stopped && out.message.empty()) {
      out.message = "the guest powered itself off; switch power off and on to start it again";
    }
  }
  if (out.message.empty() && out.state != MachineState::terminated) out.message = memory_.message;
  return out;
}

void MachineDriver::event(EventType type, std::string reason, std::string message) {
  const LogLevel level = type == EventType::warning ? LogLevel::warning : LogLevel::info;
  around_.log.write(level, message, {{"machine", uid_.to_text()}, {"reason", reason}});
  memory_.events.push_back({type, std::move(reason), std::move(message), around_.clock.wall()});
}

void MachineDriver::wake(Instant time) {
  wake_ = wake_ ? std::min(*wake_, time) : time;
}
void MachineDriver::wake(WallTime time) {
  wake(around_.clock.now() + (time - around_.clock.wall()));
}

// ---- power ----

/// A guest that was paused because a disk could not grow: whether there is room now, only it can find out.
Result<void> MachineDriver::go_on() {
  const Instant now = around_.clock.now();
  if (domain_->state == DomainState::running && memory_.last_resume && now > *memory_.last_resume + kResumeMemory)
    memory_.last_resume.reset();
  if (domain_->state != DomainState::paused || domain_->pause_reason != PauseReason::no_space) return {};
  if (!memory_.last_resume) event(EventType::warning, "Paused", "a disk cannot be written: no space left on the host");
  // Each attempt that fails is told by the hypervisor, which brings the next call: without a pause there would be no end.
  if (memory_.last_resume && now < *memory_.last_resume + around_.options.shutdown_repeat) {
    wake(*memory_.last_resume + around_.options.shutdown_repeat);
    return {};
  }
  memory_.last_resume = now;
  wake(now + around_.options.shutdown_repeat);
  IRONCORE_CHECK(within(around_.hypervisor.resume(uid_), "let the paused guest go on"));
  return observe();
}

/// Signals, or forces when the grace is over. Afterwards `is_up` tells whether the guest still runs.
Result<void> MachineDriver::stop(Duration grace, ShutdownSignal signal) {
  const WallTime now = around_.clock.wall();
  if (!record_.stop_asked || *record_.stop_asked > now) {  // later than now: somebody corrected the clock
    record_.stop_asked = now;
    IRONCORE_CHECK(save());
  }
  if (now - *record_.stop_asked >= grace) {
    IRONCORE_CHECK(within(around_.hypervisor.destroy(uid_), "force the machine to stop"));
    event(EventType::warning, "ShutdownForced", "the guest did not stop within " + to_text(grace));
    IRONCORE_CHECK(observe());
    return note_state();
  }
  const bool has_agent_come = domain_->is_agent_connected && !memory_.was_agent_asked && signal != ShutdownSignal::acpi;
  const Instant instant = around_.clock.now();
  if (!memory_.last_signal || instant >= *memory_.last_signal + around_.options.shutdown_repeat || has_agent_come) {
    memory_.last_signal = instant;
    IRONCORE_CHECK(send_signal(signal, grace));
  }
  wake(*memory_.last_signal + around_.options.shutdown_repeat);
  wake(*record_.stop_asked + grace);
  message_ = "asked the guest to stop, it has until " +
             to_rfc3339(std::chrono::ceil<std::chrono::seconds>(*record_.stop_asked + grace));
  return {};
}

Result<void> MachineDriver::send_signal(ShutdownSignal signal, Duration grace) {
  Hypervisor& hypervisor = around_.hypervisor;
  std::string how;
  Result<void> agent = Error(ErrorCode::unsupported, "not asked");
  Result<void> acpi = Error(ErrorCode::unsupported, "not asked");
  if (signal != ShutdownSignal::acpi) {
    agent = hypervisor.shutdown(uid_, ShutdownSignal::agent);
    if (agent) {
      how = "the agent was asked";
      memory_.was_agent_asked = true;
    }
  }
  // An agent may say yes and do nothing: from the second time on, the button is pressed as well.
  if (signal == ShutdownSignal::acpi ||
      (signal == ShutdownSignal::agent_then_acpi && (!agent || memory_.signals > 0))) {
    acpi = hypervisor.shutdown(uid_, ShutdownSignal::acpi);
    if (acpi) how += how.empty() ? "the power button was pressed" : ", the power button was pressed";
  }
  if (!how.empty()) {
    if (memory_.signals == 0) event(EventType::normal, "ShutdownTriggered", how + "; it has " + to_text(grace));
    ++memory_.signals;
    return {};
  }
  const Error& wrong = signal == ShutdownSignal::agent ? agent.error() : acpi.error();
  // The guest may still be booting, or hang. It is asked again, and the grace ends all waiting.
  const bool is_agent_silent = wrong.code() == ErrorCode::unavailable && signal == ShutdownSignal::agent;
  if (is_agent_silent || wrong.code() == ErrorCode::timeout) {
    if (memory_.signals++ == 0)
      event(
          EventType::warning, "ShutdownFailed",
          (is_agent_silent ? std::string("the guest agent does not answer") : wrong.message()) + "; it is asked again");
    return {};
  }
  return wrong.within("ask the guest to stop");
}

Result<void> MachineDriver::bring_up(const MachineSpec& spec, std::stop_token stop_token) {
  if (!spec.hold.empty()) {
    if (record_.wish == Wish::on && !record_.is_stopped_by_guest) message_ = spec.hold;
    return {};
  }
  if (record_.wish != Wish::on || record_.is_stopped_by_guest) return prepare_down(spec, stop_token);
  if (record_.not_before && *record_.not_before > around_.clock.wall()) {
    const std::string what = memory_.start_error.empty() ? "crashed" : "did not start (" + memory_.start_error + ")";
    message_ = what + ", " + std::to_string(record_.crashes) + " times in a row; next start at " +
               to_rfc3339(std::chrono::ceil<std::chrono::seconds>(*record_.not_before));
    wake(*record_.not_before);
    return {};
  }
  IRONCORE_CHECK(prepare_start(spec, stop_token));
  IRONCORE_CHECK(save());
  if (auto started = within(around_.hypervisor.start(uid_), "start"); !started) {
    // A hypervisor that is away is no fault of the machine.
    if (started.error().code() != ErrorCode::unavailable) note_failed_start(started.error());
    IRONCORE_CHECK(save());
    return started;
  }
  memory_.start_error.clear();
  memory_.last_resume.reset();
  record_.was_running = true;
  record_.stop_asked.reset();
  record_.started = around_.clock.wall();
  if (record_.reboot == Reboot::starting) {
    record_.reboot = Reboot::none;
    record_.reboot_done = record_.reboot_wanted;
    event(EventType::normal, "Rebooted", "as asked for by token " + record_.reboot_done);
  } else {
    event(EventType::normal, "Started", "the domain runs");
  }
  IRONCORE_CHECK(save());
  wake(around_.clock.now() + kLogCheck);
  return observe();
}

}  // namespace ironcore::compute
