// SPDX-License-Identifier: Apache-2.0
// DPDK's environment is one object of the process, and leaves the rest of it alone.
#include <sched.h>
#include <signal.h>

#include "environment.hpp"

namespace ironcore::tests {

using network::dpdk::Eal;
using network::dpdk::EalOptions;
using network::dpdk::Memory;

TEST_CASE("there is one environment in a process, which can be had again, but not another one") {
  auto& environment = DpdkEnvironment::get();
  CHECK(Eal::create(eal_options, environment.log).error().code() == ErrorCode::already_exists);
  environment.eal.reset();
  auto other = eal_options;
  other.memory_mib = 256;
  CHECK(Eal::create(other, environment.log).error().code() == ErrorCode::wrong_state);
  auto again = Eal::create(eal_options, environment.log);
  REQUIRE(again.has_value());
  environment.eal = *std::move(again);
  CHECK(dpdk_ports()->open(dpdk_port("a", "null")).has_value());
}

TEST_CASE("options of the environment that cannot be are refused by name") {
  NullLog log;
  const auto field = [&](const EalOptions& options) {
    const auto result = Eal::create(options, log);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == ErrorCode::invalid);
    REQUIRE(result.error().fields().size() == 1);
    return result.error().fields()[0].field;
  };
  CHECK(field({.memory_mib = 0}) == "memory_mib");
  CHECK(field({.memory_mib = SIZE_MAX}) == "memory_mib");
  CHECK(field({.cards = {"0000:00:01.0", "eth0"}}) == "cards[1]");
  CHECK(field({.prefix = ""}) == "prefix");
  CHECK(field({.prefix = "../x"}) == "prefix");
}

TEST_CASE("the environment says what it does to the log, changes no signal, pins no thread and leaves no directory") {
  CHECK_FALSE(DpdkEnvironment::get().log.lines().empty());
  for (int number = 1; number < SIGRTMAX; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) != 0) continue;
    CAPTURE(number);
    CHECK((action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN || number == SIGSEGV || number == SIGABRT ||
           number == SIGFPE || number == SIGILL || number == SIGINT || number == SIGTERM));  // doctest's own
  }
  cpu_set_t now;
  REQUIRE(::sched_getaffinity(0, sizeof now, &now) == 0);
  CHECK(CPU_EQUAL(&now, &DpdkEnvironment::get().processors));
  CHECK_FALSE(std::filesystem::exists("/var/run/dpdk/" + eal_options.prefix));
}

TEST_CASE("options of ports that cannot be are refused by name, and buffers that do not fit are not had") {
  auto& environment = DpdkEnvironment::get();
  const auto fails = [&](const network::dpdk::PortsOptions& options) {
    const auto result = network::dpdk::create_ports(*environment.eal, options, environment.log);
    REQUIRE_FALSE(result.has_value());
    return result.error();
  };
  CHECK(fails({.queues = 0}).fields().at(0).field == "queues");
  CHECK(fails({.queues = 65}).fields().at(0).field == "queues");
  CHECK(fails({.buffers = 10}).fields().at(0).field == "buffers");
  CHECK(fails({.buffer_bytes = 100}).fields().at(0).field == "buffer_bytes");
  CHECK(fails({.buffer_bytes = 65535}).fields().at(0).field == "buffer_bytes");
  CHECK(fails({.buffers = 1U << 20}).code() == ErrorCode::exhausted);
}

}  // namespace ironcore::tests
