// SPDX-License-Identifier: Apache-2.0
// The main function of the tests that change routes of the kernel: in a network namespace of this process, which goes with it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNET) != 0) {
    std::fputs("skipped: needs root, for a network namespace of its own\n", stderr);
    return 77;
  }
  if (std::system(
          "ip link set lo up && ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up") !=
      0) {
    std::fputs("skipped: no pair of interfaces can be made with ip\n", stderr);
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
