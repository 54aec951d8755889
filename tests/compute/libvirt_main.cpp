// SPDX-License-Identifier: Apache-2.0
// The main function of the tests that need a libvirtd with real QEMU.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <vector>

#include "libvirt_environment.hpp"

/// Arguments: tests/support/libvirtd, the guest image's layout, then doctest's own.
int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: test_libvirt LIBVIRTD-SCRIPT IMAGE-LAYOUT [doctest options]\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a test ends the daemon that libvirt writes to
  std::string missing;
  const auto environment = ironcore::tests::LibvirtEnvironment::start(argv[1], argv[2], missing);
  if (!environment) {
    std::fprintf(stderr, "skipped: %s\n", missing.c_str());
    return 77;
  }
  std::vector<char*> arguments{argv[0]};
  arguments.insert(arguments.end(), argv + 3, argv + argc);
  doctest::Context context(static_cast<int>(arguments.size()), arguments.data());
  return context.run();
}
