// SPDX-License-Identifier: Apache-2.0
// Machines with real guests in the libvirtd of this program.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>

#include "hypervisor_conformance.hpp"
#include "ironcore/compute/host.hpp"
#include "libvirt_environment.hpp"

namespace ironcore::tests {

/// A Host on the libvirtd of this program. Its directory, and all domains there are, go with it.
class RealHost {
 public:
  RealHost() { restart(); }
  ~RealHost() {
    for (const auto& domain : hypervisor->domains().value()) {
      (void)hypervisor->destroy(domain.uid);
      (void)hypervisor->undefine(domain.uid);
    }
  }

  /// As if the process had been killed and started again.
  void restart() {
    host.reset();
    hypervisor = environment.connect();
    host = compute::Host::create(*hypervisor,
                                 {.directory = directory.path() / "state", .shutdown_repeat = std::chrono::seconds(2)},
                                 environment.clock(), environment.log())
               .value();
  }

  /// Boots the kernel of the image, which takes less time than its disk does.
  compute::MachineSpec spec(const std::string& command_line = {}) const {
    compute::MachineSpec spec;
    spec.uid = Uid::random();
    spec.name = "web-1";
    spec.memory_bytes = std::uint64_t{160} << 20;
    spec.kernel = compute::KernelBoot{environment.image_reference(), command_line};
    spec.nics.push_back({"net", {}, compute::UserNetwork{}});
    spec.shutdown_grace = std::chrono::minutes(4);
    return spec;
  }

  compute::MachineStatus apply(const compute::MachineSpec& spec) {
    auto status = host->apply(spec);
    REQUIRE_MESSAGE(status.has_value(), status.error().message());
    return count(*status);
  }
  compute::MachineStatus count(const compute::MachineStatus& status) {
    for (const auto& event : status.events) ++events[event.reason];
    return status;
  }
  compute::MachineStatus reach(const compute::MachineSpec& spec, compute::MachineState state) {
    compute::MachineStatus status;
    CHECK_MESSAGE(environment.wait_until([&] { return (status = apply(spec)).state == state; }), status.message);
    return status;
  }
  bool wait_for_text(const Uid& uid, const std::string& text, std::size_t times = 1) {
    const bool found = environment.wait_until([&] { return tests::count(console(uid), text) >= times; });
    CHECK_MESSAGE(found, "waited for \"", text, "\" in: ", console(uid));
    return found;
  }
  std::string console(const Uid& uid) const { return host->console_log(uid, 1 << 20).value(); }
  void run(const compute::MachineSpec& spec) {
    reach(spec, compute::MachineState::running);
    REQUIRE(wait_for_text(spec.uid, "guest: ready"));
  }
  void check_removed(const compute::MachineSpec& spec, Duration grace = {}) {
    CHECK(environment.wait_until([&] {
      const auto status = host->remove(spec.uid, grace);
      REQUIRE_MESSAGE(status.has_value(), status.error().message());
      return count(*status).state == compute::MachineState::terminated;
    }));
    CHECK(hypervisor->domains()->empty());
    CHECK(std::filesystem::is_empty(directory.path() / "state" / "machines"));
    CHECK(std::filesystem::is_empty(directory.path() / "state" / "secrets"));
  }
  std::int64_t process(const Uid& uid) const { return hypervisor->domain(uid).value().process; }

  LibvirtEnvironment& environment = LibvirtEnvironment::get();
  TemporaryDirectory directory;
  std::unique_ptr<compute::Hypervisor> hypervisor;
  std::unique_ptr<compute::Host> host;
  std::map<std::string, int> events;
};

/// What a command prints in the guest, between two marks.
inline std::string in_guest(RealHost& host, const Uid& uid, const std::string& command) {
  static int number = 0;
  const std::string mark = "mark" + std::to_string(++number) + ".";
  {
    auto port = host.host->console(uid);
    REQUIRE_MESSAGE(port.has_value(), port.error().message());
    REQUIRE((*port)
                ->write("echo begin-''" + mark + "; " + command + "; echo end-''" + mark + "\r",
                        host.environment.clock().now() + std::chrono::minutes(1))
                .has_value());
    REQUIRE(host.wait_for_text(uid, "end-" + mark));
  }
  const auto text = host.console(uid);
  const auto begin = text.find("begin-" + mark) + mark.size() + 6;
  auto out = text.substr(begin, text.find("end-" + mark) - begin);
  std::erase(out, '\r');
  return out;
}

}  // namespace ironcore::tests
