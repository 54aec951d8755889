// SPDX-License-Identifier: Apache-2.0
// A libvirtd that hangs: it takes connections and answers nobody.
#include <signal.h>

#include <atomic>

#include "hypervisor_conformance.hpp"
#include "libvirt_body.hpp"
#include "libvirt_environment.hpp"
#include "real_host.hpp"

namespace ironcore::tests {

using namespace std::chrono_literals;

namespace {

/// The daemon hangs as long as this is there.
class Hang {
 public:
  Hang() { LibvirtEnvironment::get().hang_daemon(); }
  ~Hang() { LibvirtEnvironment::get().continue_daemon(); }
};

Result<std::unique_ptr<compute::Hypervisor>> connect(Duration patience, std::stop_token stop = {}) {
  auto& environment = LibvirtEnvironment::get();
  return compute::libvirt::connect(environment.loop(), {.uri = environment.uri(), .connect_patience = patience},
                                   environment.clock(), environment.log(), std::move(stop));
}

/// To the daemon once it is well. When it goes on, libvirtd 9.0 may crash over the connections that were closed meanwhile; it is
/// started again then.
std::unique_ptr<compute::Hypervisor> connected() {
  std::unique_ptr<compute::Hypervisor> out;
  REQUIRE(LibvirtEnvironment::get().wait_until([&] {
    auto attempt = connect(1min);
    if (attempt) out = std::move(*attempt);
    return out != nullptr;
  }));
  return out;
}

std::ptrdiff_t threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

}  // namespace

TEST_CASE(
    "connecting to a daemon that hangs ends with the patience or a stop, gathers no threads, and works afterwards") {
  auto& environment = LibvirtEnvironment::get();
  const auto before = threads();
  {
    const Hang hang;
    for (int i = 0; i < 3; ++i) {
      const auto refused = connect(100ms);
      IRONCORE_CHECK_FAILS(unavailable, refused);
      CHECK(refused.error().message().find("does not answer") != std::string::npos);
      CHECK(threads() <= before + 1);
    }
    std::stop_source stop;
    std::jthread stopper([&] { stop.request_stop(); });
    IRONCORE_CHECK_FAILS(cancelled, connect(1h, stop.get_token()));
    CHECK(threads() <= before + 2);  // the stopper may still be there
  }
  CHECK(connected() != nullptr);
  CHECK(environment.wait_until([&] { return threads() <= before; }));
}

TEST_CASE("who waits for a daemon that hangs is connected when it goes on") {
  std::optional<Hang> hang(std::in_place);
  IRONCORE_CHECK_FAILS(unavailable, connect(100ms));
  std::jthread relief([&] { hang.reset(); });
  IRONCORE_REQUIRE_OK(connect(1min));
}

TEST_CASE("a call to a daemon that hangs fails, the event loop goes on meanwhile, and the connection comes back") {
  auto& environment = LibvirtEnvironment::get();
  const auto hypervisor = connected();
  // Lives inside this process and on the same event loop.
  const auto other =
      compute::libvirt::connect(environment.loop(), {.uri = "test:///default"}, environment.clock(), environment.log())
          .value();
  EventLog others(*other);
  EventLog events(*hypervisor);
  {
    const Hang hang;
    IRONCORE_CHECK_FAILS(unavailable, hypervisor->domains());
    // Nothing that is wanted of libvirt takes long any more, while the attempt to reach it again hangs.
    IRONCORE_CHECK_FAILS(unavailable, hypervisor->domains());
    compute::DomainSpec spec;
    spec.uid = Uid::random();
    spec.name = "beside";
    spec.memory_bytes = std::uint64_t{64} << 20;
    IRONCORE_REQUIRE_OK(other->define(spec));
    CHECK(environment.wait_until([&] { return others.has(compute::DomainEvent::Type::defined, spec.uid); }));
    IRONCORE_REQUIRE_OK(other->undefine(spec.uid));
    CHECK_FALSE(events.has(compute::DomainEvent::Type::reconnected, Uid()));
  }
  CHECK(environment.wait_until([&] { return events.has(compute::DomainEvent::Type::reconnected, Uid()); }));
  IRONCORE_REQUIRE_OK(hypervisor->domains());
}

TEST_CASE("any number of calls to a daemon that hangs end together, and none waits for another one") {
  auto& environment = LibvirtEnvironment::get();
  auto hypervisor = connected();
  const auto before = threads();
  constexpr int callers = 8;
  {
    const Hang hang;
    std::atomic<int> failed = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < callers; ++i) {
        threads.emplace_back([&] {
          for (int call = 0; call < 3; ++call) {
            const auto refused = hypervisor->domains();
            if (!refused && refused.error().code() == ErrorCode::unavailable) ++failed;
          }
        });
      }
    }
    CHECK(failed == callers * 3);  // and they came back while it hangs
    hypervisor.reset();
  }
  CHECK(environment.wait_until([&] { return threads() <= before; }));
}

TEST_CASE("calls under way when a daemon begins to hang end, too") {
  const auto hypervisor = connected();
  constexpr int callers = 4;
  std::atomic<int> calls = 0;
  std::atomic<int> ended = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < callers; ++i) {
    threads.emplace_back([&] {
      while (hypervisor->domains()) ++calls;
      ++ended;
    });
  }
  auto& environment = LibvirtEnvironment::get();
  CHECK(environment.wait_until([&] { return calls > 100; }));
  const Hang hang;
  CHECK(environment.wait_until([&] { return ended == callers; }, 1min));
}

TEST_CASE("a QEMU that hangs holds up nobody but its own machine, which can be forced off") {
  auto& environment = LibvirtEnvironment::get();
  const auto before = threads();
  {
    LibvirtBody body;
    const auto impatient =
        compute::libvirt::connect(environment.loop(), {.uri = environment.uri(), .monitor_patience = 500ms},
                                  environment.clock(), environment.log())
            .value();
    const auto frozen = body.spec(HypervisorBody::Guest::deaf);
    const auto other = body.spec(HypervisorBody::Guest::deaf);
    for (const auto& spec : {frozen, other}) {
      IRONCORE_REQUIRE_OK(impatient->define(spec));
      IRONCORE_REQUIRE_OK(impatient->start(spec.uid));
    }
    const auto process = static_cast<pid_t>(impatient->domain(frozen.uid)->process);
    REQUIRE(process > 0);
    REQUIRE(::kill(process, SIGSTOP) == 0);
    const auto hung = threads();
    for (int again = 0; again < 3; ++again) {
      IRONCORE_CHECK_FAILS(timeout, impatient->shutdown(frozen.uid, compute::ShutdownSignal::acpi));
      IRONCORE_CHECK_FAILS(timeout, impatient->attach_nic(frozen.uid, {"second", {}, compute::UserNetwork{}}));
      IRONCORE_CHECK_FAILS(timeout, impatient->reboot(frozen.uid));
      CHECK(threads() <= hung + 1);  // one call is left behind, not one for each
    }
    CHECK(impatient->domain(frozen.uid)->state == compute::DomainState::running);
    IRONCORE_REQUIRE_OK(impatient->shutdown(other.uid, compute::ShutdownSignal::acpi));
    IRONCORE_REQUIRE_OK(impatient->destroy(frozen.uid));
    CHECK(impatient->domain(frozen.uid)->state == compute::DomainState::shut_off);
    // The call that was left behind is over, so the domain can be asked again.
    IRONCORE_REQUIRE_OK(impatient->start(frozen.uid));
    CHECK(environment.wait_until(
        [&] { return impatient->shutdown(frozen.uid, compute::ShutdownSignal::acpi).has_value(); }));
  }
  CHECK(environment.wait_until([&] { return threads() <= before; }));
}

TEST_CASE("a machine whose QEMU hangs is forced off when its grace is over") {
  RealHost host;
  auto spec = host.spec();
  spec.shutdown_grace = 15s;
  host.reach(spec, compute::MachineState::running);
  REQUIRE(::kill(static_cast<pid_t>(host.process(spec.uid)), SIGSTOP) == 0);
  SUBCASE("switched off") {
    spec.power = compute::Power::off;
    host.reach(spec, compute::MachineState::shutdown);
    CHECK(host.events["ShutdownForced"] == 1);
    CHECK(host.events["ShutdownFailed"] == 1);
  }
  SUBCASE("removed") {
    host.check_removed(spec, 15s);
  }
}

TEST_CASE("a connection that is closed while its daemon hangs waits no longer than its keepalive") {
  auto hypervisor = connected();
  const Hang hang;
  SUBCASE("before anybody has noticed") {}
  SUBCASE("while it is tried again") {
    IRONCORE_CHECK_FAILS(unavailable, hypervisor->domains());
  }
  hypervisor.reset();
}

}  // namespace ironcore::tests
