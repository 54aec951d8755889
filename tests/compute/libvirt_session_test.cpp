// SPDX-License-Identifier: Apache-2.0
// qemu:///session: machines of a user who is not root.
#include <sys/stat.h>
#include <unistd.h>

#include "libvirt_body.hpp"
#include "real_host.hpp"

namespace ironcore::tests {

TEST_CASE("qemu:///session is the user's own libvirtd, whose files and processes are the user's") {
  auto& environment = LibvirtEnvironment::get();
  REQUIRE(::geteuid() != 0);
  LibvirtBody body;
  const auto spec = body.spec(HypervisorBody::Guest::willing);
  IRONCORE_REQUIRE_OK(body.hypervisor().define(spec));
  const auto same =
      compute::libvirt::connect(environment.loop(), {.uri = "qemu:///session"}, environment.clock(), environment.log());
  IRONCORE_REQUIRE_OK(same);
  CHECK((*same)->domain(spec.uid)->name == spec.name);
  CHECK_FALSE((*same)->file_owner().has_value());
  IRONCORE_REQUIRE_OK((*same)->start(spec.uid));
  const auto process = (*same)->domain(spec.uid)->process;
  struct stat status {};
  REQUIRE(::stat(("/proc/" + std::to_string(process)).c_str(), &status) == 0);
  CHECK(status.st_uid == ::geteuid());
}

TEST_CASE(
    "the agent's socket of a session is where the spec says, and in the session's own place if that is too long") {
  LibvirtBody body;
  auto& hypervisor = body.hypervisor();
  auto spec = body.spec(HypervisorBody::Guest::willing);
  SUBCASE("short") {}
  SUBCASE("too long") {
    const auto deep = body.directory() / std::string(100, 'd');
    std::filesystem::create_directory(deep);
    spec.agent_socket = deep / "agent";
    spec.name = "short";  // or the session's own place, below its home, would be too long as well
  }
  const bool is_short = spec.agent_socket.native().size() <= 107;
  IRONCORE_REQUIRE_OK(hypervisor.define(spec));
  IRONCORE_REQUIRE_OK(hypervisor.start(spec.uid));
  CHECK(std::filesystem::exists(spec.agent_socket) == is_short);
}

TEST_CASE(
    "a machine of a session boots from its disk, reads its ignition, outlives the daemon, "
    "stops by its agent, and leaves nothing") {
  RealHost host;
  auto spec = host.spec();
  spec.kernel.reset();
  spec.disks.push_back(
      {"root", "vda", "", compute::LocalDisk{std::uint64_t{256} << 20, host.environment.image_reference()}});
  spec.ignition =
      R"({"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/etc/hostname","contents":{"source":"data:,web-1"}}]}})";
  spec.shutdown_signal = compute::ShutdownSignal::agent;
  host.run(spec);
  const std::string console = host.console(spec.uid);
  CHECK(console.find("booted from disk") != std::string::npos);
  CHECK(console.find("hostname web-1") != std::string::npos);
  const auto agent = host.directory.path() / "state" / "machines" / spec.uid.to_text() / "agent";
  CHECK(std::filesystem::is_socket(agent));

  const auto process = host.process(spec.uid);
  host.environment.kill_daemon();
  CHECK(host.environment.wait_until([&] { return host.host->apply(spec).has_value(); }));
  CHECK(host.apply(spec).state == compute::MachineState::running);
  CHECK(host.process(spec.uid) == process);
  spec.power = compute::Power::off;
  host.reach(spec, compute::MachineState::shutdown);
  CHECK(host.console(spec.uid).find("agent poweroff") != std::string::npos);
  CHECK(host.events["ShutdownForced"] == 0);
  host.check_removed(spec);
}

}  // namespace ironcore::tests
