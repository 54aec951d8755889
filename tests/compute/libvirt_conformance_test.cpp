// SPDX-License-Identifier: Apache-2.0
// The libvirt body keeps the contract of the seam with real QEMU guests.
#include <libvirt/libvirt.h>
#include <sys/stat.h>

#include "hypervisor_conformance.hpp"
#include "libvirt_environment.hpp"

namespace ironcore::tests {

class LibvirtBody final : public HypervisorBody {
 public:
  ~LibvirtBody() override {
    for (const auto& uid : made_) {
      (void)hypervisor_->destroy(uid);
      (void)hypervisor_->undefine(uid);
    }
  }
  compute::Hypervisor& hypervisor() override { return *hypervisor_; }
  Clock& clock() override { return environment_.clock(); }
  std::filesystem::path directory() override { return directory_.path(); }
  void pause(const Uid& uid) override {
    const virConnectPtr connection = virConnectOpen(environment_.uri().c_str());
    REQUIRE(connection != nullptr);
    const virDomainPtr domain = virDomainLookupByUUID(connection, uid.bytes().data());
    CHECK(virDomainSuspend(domain) == 0);
    virDomainFree(domain);
    virConnectClose(connection);
  }
  bool wait_until(const std::function<bool()>& done) override { return environment_.wait_until(done); }

  compute::DomainSpec spec(Guest guest) override {
    compute::DomainSpec spec;
    spec.uid = Uid::random();
    spec.name = "test-" + spec.uid.to_text();
    spec.title = "a test";
    spec.memory_bytes = std::uint64_t{160} << 20;
    spec.console_log = directory_.path() / (spec.name + ".log");
    spec.nics.push_back({"first", compute::derived_mac(spec.uid, "first"), compute::UserNetwork{}});
    const auto& image = environment_.image();
    compute::DomainKernel kernel{directory_.path() / "kernel", directory_.path() / "initramfs", image.command_line};
    // Copies, because libvirt hands them to QEMU's user.
    std::filesystem::copy_file(image.kernel->path, kernel.kernel, std::filesystem::copy_options::skip_existing);
    std::filesystem::copy_file(image.initramfs->path, kernel.initramfs, std::filesystem::copy_options::skip_existing);
    if (guest != Guest::willing) kernel.command_line += " ironcore.agent=off";
    if (guest == Guest::deaf) kernel.command_line += " ironcore.acpi=off";
    spec.kernel = kernel;
    made_.push_back(spec.uid);
    return spec;
  }

 private:
  LibvirtEnvironment& environment_ = LibvirtEnvironment::get();
  TemporaryDirectory directory_;
  std::unique_ptr<compute::Hypervisor> hypervisor_ = environment_.connect();
  std::vector<Uid> made_;
};

}  // namespace ironcore::tests

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
