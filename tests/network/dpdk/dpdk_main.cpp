// SPDX-License-Identifier: Apache-2.0
// The main function of the tests that need DPDK: interfaces come and go in a network namespace of this process.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "environment.hpp"

namespace ironcore::tests {

namespace {
DpdkEnvironment* environment = nullptr;
}

DpdkEnvironment& DpdkEnvironment::get() {
  return *environment;
}

}  // namespace ironcore::tests

int main(int argc, char** argv) {
  using namespace ironcore::tests;
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNET) != 0) {
    std::fputs("skipped: needs root, for interfaces in a network namespace of its own\n", stderr);
    return 77;
  }
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) {
    std::fputs("skipped: there is no /dev/net/tun\n", stderr);
    return 77;
  }
  // Nobody but the tests says anything.
  std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << 1;
  DpdkEnvironment made;
  ::sched_getaffinity(0, sizeof made.processors, &made.processors);
  auto eal = ironcore::network::dpdk::Eal::create(eal_options, made.log);
  if (!eal) {
    std::fprintf(stderr, "DPDK does not start: %s\n", eal.error().message().c_str());
    return 1;
  }
  made.eal = *std::move(eal);
  environment = &made;
  return doctest::Context(argc, argv).run();
}
