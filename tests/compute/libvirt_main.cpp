// SPDX-License-Identifier: Apache-2.0
// The main function of the tests that need a libvirtd with real QEMU.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <string_view>
#include <vector>

#include "libvirt_environment.hpp"

using ironcore::tests::Instance;

namespace {

struct Kind {
  std::string_view word;
  Instance instance;
  const char* filter;  ///< of doctest: the files whose tests are run with it, or are not
  const char* files;
};
constexpr std::array<Kind, 3> kKinds{{
    {"system", Instance::system, "source-file-exclude", "*libvirt_network*,*libvirt_session*"},
    {"network", Instance::network, "source-file", "*libvirt_network*"},
    {"session", Instance::session, "source-file", "*conformance*,*libvirt_session*"},
}};

}  // namespace

/// Arguments: `system`, `network` or `session`, tests/support/libvirtd, the guest image's layout, then doctest's own.
int main(int argc, char** argv) {
  const auto kind =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& one) { return argc >= 4 && one.word == argv[1]; });
  if (kind == kKinds.end()) {
    std::fputs("usage: test_libvirt system|network|session LIBVIRTD-SCRIPT IMAGE-LAYOUT [doctest options]\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a test ends the daemon that libvirt writes to
  std::string missing;
  const auto environment = ironcore::tests::LibvirtEnvironment::start(argv[2], argv[3], missing, kind->instance);
  if (!environment) {
    std::fprintf(stderr, "skipped: %s\n", missing.c_str());
    return 77;
  }
  std::vector<char*> arguments{argv[0]};
  arguments.insert(arguments.end(), argv + 4, argv + argc);
  doctest::Context context(static_cast<int>(arguments.size()), arguments.data());
  context.addFilter(kind->filter, kind->files);
  return context.run();
}
