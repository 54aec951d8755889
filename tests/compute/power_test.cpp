// SPDX-License-Identifier: Apache-2.0
// Power on, off, reboot, crashes and restarts of everything around the guest.
#include <signal.h>
#include <sys/resource.h>

#include <optional>

#include "sim_host.hpp"

namespace ironcore::tests {

using namespace std::chrono_literals;

namespace {

sim::Guest guest(bool has_agent, bool heeds_agent, bool heeds_button) {
  sim::Guest guest;
  guest.has_agent = has_agent;
  guest.heeds_agent = heeds_agent;
  guest.heeds_power_button = heeds_button;
  return guest;
}

}  // namespace

TEST_CASE("power off stops the guest by its agent, power on starts it again with its disks") {
  SimHost host;
  auto spec = host.spec();
  host.hypervisor.set_guest(spec.uid, guest(true, true, false));
  host.run(spec);
  spec.power = Power::off;
  auto status = host.apply(spec);
  CHECK(status.state == MachineState::terminating);
  CHECK(status.message.find("asked the guest to stop") == 0);
  REQUIRE(status.next_check);
  CHECK(*status.next_check == host.clock.now() + 10s);
  host.clock.advance(2s);
  status = host.apply(spec);
  CHECK(status.state == MachineState::shutdown);
  CHECK(status.message.empty());
  CHECK(host.apply(spec).state == MachineState::shutdown);
  CHECK(host.inside(spec.uid).starts == 1);
  CHECK(std::filesystem::exists(host.inside(spec.uid).definition.disks[0].path));
  spec.power = Power::on;
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.inside(spec.uid).starts == 2);
  CHECK(host.events["ShutdownTriggered"] == 1);
  CHECK(host.events["Stopped"] == 1);
  CHECK(host.events["Started"] == 2);
}

TEST_CASE("a guest without an agent, or with one that does nothing, stops at the power button") {
  SimHost host;
  auto spec = host.spec();
  SUBCASE("without an agent, at once") {
    host.hypervisor.set_guest(spec.uid, guest(false, false, true));
    host.run(spec);
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown, 5s);
  }
  SUBCASE("with an idle agent, when asked again") {
    host.hypervisor.set_guest(spec.uid, guest(true, false, true));
    host.run(spec);
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown, 15s);
  }
  SUBCASE("asked in the way that the spec wants only") {
    host.hypervisor.set_guest(spec.uid, guest(true, true, true));
    spec.shutdown_signal = compute::ShutdownSignal::acpi;
    host.run(spec);
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown, 5s);
  }
  CHECK(host.events["ShutdownForced"] == 0);
}

TEST_CASE(
    "a guest that does not listen is asked again and again, then forced, and a restart of the process does not extend "
    "the grace") {
  SimHost host;
  auto spec = host.spec();
  spec.shutdown_grace = 65s;
  host.hypervisor.set_guest(spec.uid, guest(true, false, false));
  host.run(spec);
  int signals = 0;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    signals += call.name == "shutdown";
    return std::nullopt;
  });
  spec.power = Power::off;
  const auto start = host.clock.now();
  host.apply(spec);
  while (host.clock.now() < start + 40s) {
    host.clock.advance(1s);
    host.apply(spec);
  }
  CHECK(signals == 1 + 4 * 2);  // the agent first, from then on the button as well
  host.restart();
  host.reach(spec, MachineState::shutdown);
  CHECK(host.clock.now() - start == 65s);
  CHECK(host.events["ShutdownForced"] == 1);
  CHECK(host.inside(spec.uid).starts == 1);
}

TEST_CASE("a guest that is still booting when it shall stop is asked as soon as its agent is there") {
  SimHost host;
  auto spec = host.spec();
  host.hypervisor.set_guest(spec.uid, guest(true, true, false));
  host.apply(spec);
  spec.power = Power::off;
  host.apply(spec);
  const auto start = host.clock.now();
  host.reach(spec, MachineState::shutdown);
  CHECK(host.clock.now() - start <= 5s);
}

TEST_CASE("an agent that is the only way and never answers is overruled when the grace is over") {
  SimHost host;
  auto spec = host.spec();
  spec.shutdown_signal = compute::ShutdownSignal::agent;
  spec.shutdown_grace = 30s;
  host.hypervisor.set_guest(spec.uid, guest(false, false, true));
  host.run(spec);
  spec.power = Power::off;
  CHECK(host.apply(spec).state == MachineState::terminating);
  host.reach(spec, MachineState::shutdown);
  CHECK(host.events["ShutdownFailed"] == 1);
  CHECK(host.events["ShutdownForced"] == 1);
}

TEST_CASE("a corrected wall clock neither extends the grace for ever nor ends it before its time") {
  SimHost host;
  auto spec = host.spec();
  spec.shutdown_grace = 1min;
  host.hypervisor.set_guest(spec.uid, guest(false, false, false));
  host.run(spec);
  spec.power = Power::off;
  host.apply(spec);
  host.clock.set_wall(-24h);
  const auto start = host.clock.now();
  host.reach(spec, MachineState::shutdown);
  CHECK(host.clock.now() - start == 1min);
}

TEST_CASE("power on while the guest still stops starts it again once it has stopped") {
  SimHost host;
  auto spec = host.spec();
  auto slow = guest(true, true, true);
  slow.shutdown = 20s;
  host.hypervisor.set_guest(spec.uid, slow);
  host.run(spec);
  spec.power = Power::off;
  CHECK(host.apply(spec).state == MachineState::terminating);
  spec.power = Power::on;
  CHECK(host.apply(spec).state == MachineState::running);
  host.clock.advance(20s);
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.inside(spec.uid).starts == 2);

  SUBCASE("and a later stop has its whole grace") {
    host.hypervisor.set_guest(spec.uid, guest(false, false, false));
    spec.power = Power::off;
    spec.shutdown_grace = 1min;
    host.apply(spec);
    host.clock.advance(10s);
    spec.power = Power::on;
    host.apply(spec);
    host.clock.advance(45s);
    spec.power = Power::off;
    const auto start = host.clock.now();
    host.apply(spec);
    host.reach(spec, MachineState::shutdown);
    CHECK(host.clock.now() - start == 1min);
  }
}

TEST_CASE("a guest that powers itself off stays off until its power is switched or it is rebooted") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  CHECK(host.hypervisor.guest_powers_off(spec.uid).has_value());
  CHECK(host.host->status(spec.uid)->state == MachineState::shutdown);
  auto status = host.apply(spec);
  CHECK(status.state == MachineState::shutdown);
  CHECK(status.message.find("powered itself off") != std::string::npos);
  CHECK(host.events["GuestShutdown"] == 1);
  host.clock.advance(1h);
  host.restart();
  CHECK(host.apply(spec).state == MachineState::shutdown);
  host.hypervisor.restart_host();
  host.restart();
  CHECK(host.apply(spec).state == MachineState::shutdown);
  CHECK(host.inside(spec.uid).starts == 1);

  SUBCASE("off and on") {
    spec.power = Power::off;
    CHECK(host.apply(spec).state == MachineState::shutdown);
    spec.power = Power::on;
    CHECK(host.apply(spec).state == MachineState::running);
  }
  SUBCASE("reboot") {
    spec.reboot_token = "again";
    status = host.apply(spec);
    CHECK(status.state == MachineState::running);
    CHECK(status.reboot_token == "again");
  }
  CHECK(host.inside(spec.uid).starts == 2);
}

TEST_CASE("a guest that powers itself off while nobody watches stays off as well") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  host.host.reset();
  CHECK(host.hypervisor.guest_powers_off(spec.uid).has_value());
  host.restart();
  CHECK(host.apply(spec).state == MachineState::shutdown);
}

TEST_CASE("a machine with power on comes back after its host was restarted or somebody forced it off") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  SUBCASE("host") {
    host.hypervisor.restart_host();
    host.restart();
  }
  SUBCASE("somebody") {
    REQUIRE(host.hypervisor.destroy(spec.uid).has_value());
  }
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.events["Lost"] == 1);
  CHECK(host.inside(spec.uid).starts == 2);
}

TEST_CASE("a machine that crashes is started again, later each time, until it has run for a while") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  std::vector<std::int64_t> delays;
  for (int i = 0; i < 9; ++i) {
    REQUIRE(host.hypervisor.guest_crashes(spec.uid).has_value());
    const auto start = host.clock.now();
    auto status = host.apply(spec);
    while (status.state != MachineState::running) {
      CHECK(status.state == MachineState::pending);
      CHECK(status.message.find("crashed") == 0);
      REQUIRE(status.next_check);
      host.clock.advance(*status.next_check - host.clock.now());
      status = host.apply(spec);
    }
    delays.push_back(std::chrono::duration_cast<std::chrono::seconds>(host.clock.now() - start).count());
  }
  CHECK(delays == std::vector<std::int64_t>{0, 5, 10, 20, 40, 80, 160, 300, 300});
  CHECK(host.events["Crashed"] == 9);
  host.clock.advance(11min);
  host.apply(spec);
  REQUIRE(host.hypervisor.guest_crashes(spec.uid).has_value());
  CHECK(host.apply(spec).state == MachineState::running);
}

TEST_CASE("a reboot token reboots a running guest once and is acknowledged") {
  SimHost host;
  auto spec = host.spec();
  spec.reboot_token = "0";
  auto status = host.run(spec);
  CHECK(status.reboot_token == "0");
  CHECK(host.inside(spec.uid).boots == 1);

  spec.reboot_token = "1";
  status = host.apply(spec);
  CHECK(status.state == MachineState::running);
  CHECK(status.reboot_token == "0");
  host.clock.advance(2s);
  status = host.apply(spec);
  CHECK(status.state == MachineState::running);
  CHECK(status.reboot_token == "1");
  for (int i = 0; i < 3; ++i) {
    host.clock.advance(1min);
    host.restart();
    CHECK(host.apply(spec).reboot_token == "1");
  }
  CHECK(host.inside(spec.uid).boots == 2);
  CHECK(host.events["Rebooting"] == 1);
  CHECK(host.events["Rebooted"] == 1);

  SUBCASE("the process is killed while the guest stops") {
    spec.reboot_token = "2";
    host.apply(spec);
    host.restart();
    host.clock.advance(2s);
    status = host.apply(spec);
    CHECK(status.reboot_token == "2");
    host.clock.advance(1min);
    host.apply(spec);
    CHECK(host.inside(spec.uid).boots == 3);
  }
  SUBCASE("a guest that does not listen is forced after the grace") {
    host.hypervisor.set_guest(spec.uid, guest(false, false, false));
    spec.shutdown_grace = 30s;
    spec.reboot_token = "2";
    const auto start = host.clock.now();
    while (host.apply(spec).reboot_token != "2") host.clock.advance(1s);
    CHECK(host.clock.now() - start == 30s);
    CHECK(host.inside(spec.uid).boots == 3);
  }
  SUBCASE("a token that comes while the power is off is acknowledged and forgotten") {
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown);
    spec.reboot_token = "2";
    CHECK(host.apply(spec).reboot_token == "2");
    spec.power = Power::on;
    host.run(spec);
    host.clock.advance(1min);
    host.apply(spec);
    CHECK(host.inside(spec.uid).boots == 3);
  }
  SUBCASE("power off in the middle of a reboot wins") {
    host.hypervisor.set_guest(spec.uid, guest(false, false, false));
    spec.reboot_token = "2";
    host.apply(spec);
    spec.power = Power::off;
    spec.shutdown_grace = 30s;
    status = host.reach(spec, MachineState::shutdown);
    CHECK(status.reboot_token == "2");
    CHECK(host.inside(spec.uid).boots == 2);
  }
  SUBCASE("a token that is taken away reboots nothing") {
    spec.reboot_token.clear();
    CHECK(host.apply(spec).reboot_token.empty());
    host.clock.advance(1min);
    host.apply(spec);
    CHECK(host.inside(spec.uid).boots == 2);
  }
}

TEST_CASE("a guest that reboots by itself is left alone") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  REQUIRE(host.hypervisor.guest_reboots(spec.uid).has_value());
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.inside(spec.uid).starts == 1);
  CHECK(host.inside(spec.uid).boots == 2);
}

TEST_CASE("a machine that is created with its power off has its disks and does not run") {
  SimHost host;
  auto spec = host.spec();
  spec.power = Power::off;
  const auto status = host.apply(spec);
  CHECK(status.state == MachineState::shutdown);
  REQUIRE(status.disks.size() == 1);
  CHECK(status.disks[0].size_bytes == 8 << 20);
  CHECK(host.inside(spec.uid).starts == 0);
  spec.power = Power::on;
  CHECK(host.apply(spec).state == MachineState::running);
}

TEST_CASE("a machine that is wished for again while it is being removed lives on") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  CHECK(host.remove(spec.uid).state == MachineState::terminating);
  CHECK(host.apply(spec).state == MachineState::running);
  host.clock.advance(10s);
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.inside(spec.uid).starts == 2);
}

TEST_CASE("a guest that was paused for want of room goes on by itself once there is some") {
  SimHost host;
  const auto spec = host.spec();
  host.run(spec);
  int attempts = 0;
  bool is_full = true;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name != "resume" || !is_full) return std::nullopt;
    ++attempts;
    return sim::Hypervisor::Fault{Error(ErrorCode::internal, "no room yet")};
  });
  REQUIRE(host.hypervisor.pause(spec.uid, compute::PauseReason::no_space).has_value());
  for (int i = 0; i < 60; ++i) {
    (void)host.host->apply(spec);
    host.clock.advance(500ms);
  }
  CHECK(attempts >= 3);
  CHECK(attempts <= 4);
  auto status = host.host->status(spec.uid).value();
  CHECK(status.state == MachineState::pending);
  CHECK(status.message.find("no space left on the host: make room") != std::string::npos);
  is_full = false;
  status = host.reach(spec, MachineState::running, 20s);
  CHECK(host.events["Paused"] + status.events.size() <= 1);
  CHECK(host.inside(spec.uid).starts == 1);
}

TEST_CASE("a guest that an operator paused is left to the operator") {
  SimHost host;
  const auto spec = host.spec();
  host.run(spec);
  REQUIRE(host.hypervisor.pause(spec.uid, compute::PauseReason::other).has_value());
  host.apply(spec);
  host.clock.advance(1min);
  const auto status = host.apply(spec);
  CHECK(status.state == MachineState::pending);
  CHECK(status.message.find("paused from outside") != std::string::npos);
}

namespace {

/// While it lives, nothing can be written to any file, as on a full disk.
class FullDisk {
 public:
  FullDisk() {
    ::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit none{0, before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("on a full disk a machine can be switched off, by force after its grace, and be deleted") {
  SimHost host;
  auto spec = host.spec();
  sim::Guest deaf;
  deaf.has_agent = false;
  deaf.heeds_power_button = false;
  host.hypervisor.set_guest(spec.uid, deaf);
  spec.shutdown_grace = 30s;
  host.run(spec);
  std::optional<FullDisk> full(std::in_place);
  SUBCASE("deleted") {
    host.until([&] { return host.remove(spec.uid, 30s); }, MachineState::terminated, 40s);
    CHECK_FALSE(std::filesystem::exists(host.machine_directory(spec.uid)));
  }
  SUBCASE("switched off, and on when there is room again") {
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown, 40s);
    CHECK(host.events["ShutdownForced"] == 1);
    spec.power = Power::on;
    CHECK(host.host->apply(spec).error().code() == ErrorCode::exhausted);
    full.reset();
    host.reach(spec, MachineState::running, 10s);
    CHECK(host.inside(spec.uid).starts == 2);
  }
}

}  // namespace ironcore::tests
