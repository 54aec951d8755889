// SPDX-License-Identifier: Apache-2.0
// The libvirt body keeps the contract of the seam with real QEMU guests, as system and as session instance.
#include <sys/stat.h>

#include "libvirt_body.hpp"

TYPE_TO_STRING(ironcore::tests::LibvirtBody);

namespace ironcore::tests {
IRONCORE_HYPERVISOR_CONFORMANCE(LibvirtBody);

TEST_CASE("a vhost-user NIC without a switch ends the start in time and cannot be plugged into an emulated machine") {
  LibvirtBody body;
  auto& environment = LibvirtEnvironment::get();
  const auto impatient = compute::libvirt::connect(
                             environment.loop(), {.uri = environment.uri(), .switch_patience = std::chrono::seconds(2)},
                             environment.clock(), environment.log())
                             .value();
  auto spec = body.spec(HypervisorBody::Guest::willing);
  const auto sockets = body.directory() / "sockets";
  std::filesystem::create_directory(sockets);
  REQUIRE(::chmod(sockets.c_str(), 0777) == 0);  // NOLINT: QEMU's user makes the socket
  compute::DomainNic nic;
  nic.name = "fast";
  nic.mac = compute::derived_mac(spec.uid, nic.name);
  nic.device = compute::VhostUser{sockets / "nic.sock"};
  spec.nics.push_back(nic);
  IRONCORE_REQUIRE_OK(impatient->define(spec));
  const auto started = impatient->start(spec.uid);
  IRONCORE_CHECK_FAILS(timeout, started);
  CHECK(started.error().message().find("no switch connected to " + (sockets / "nic.sock").string()) == 0);
  CHECK(wait_for_state(body, spec.uid, compute::DomainState::shut_off));

  spec.nics.pop_back();
  IRONCORE_REQUIRE_OK(impatient->define(spec));
  IRONCORE_REQUIRE_OK(impatient->start(spec.uid));
  IRONCORE_CHECK_FAILS(unsupported, impatient->attach_nic(spec.uid, nic));
}
}  // namespace ironcore::tests
