// SPDX-License-Identifier: Apache-2.0
// Real QEMU guests in the libvirtd of this program.
#pragma once

#include <libvirt/libvirt.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <vector>

#include "hypervisor_conformance.hpp"
#include "libvirt_environment.hpp"

namespace ironcore::tests {

class LibvirtBody : public HypervisorBody {
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

  compute::DiskLimits limits(const Uid& uid, const std::string& target) override {
    const virConnectPtr connection = virConnectOpen(environment_.uri().c_str());
    REQUIRE(connection != nullptr);
    const virDomainPtr domain = virDomainLookupByUUID(connection, uid.bytes().data());
    std::array<virTypedParameter, 32> all{};
    int count = static_cast<int>(all.size());
    CHECK(virDomainGetBlockIoTune(domain, target.c_str(), all.data(), &count, VIR_DOMAIN_AFFECT_LIVE) == 0);
    const auto number = [&](const char* name) {
      unsigned long long value = 0;
      virTypedParamsGetULLong(all.data(), count, name, &value);
      return value;
    };
    compute::DiskLimits out{.iops = number(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC),
                            .bytes_per_second = number(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC),
                            .burst_iops = number(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX),
                            .burst_bytes_per_second = number(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX)};
    if (out.burst_iops != 0 || out.burst_bytes_per_second != 0)
      out.burst = std::chrono::seconds(std::max(number(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX_LENGTH),
                                                number(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX_LENGTH)));
    virTypedParamsClear(all.data(), count);
    virDomainFree(domain);
    virConnectClose(connection);
    return out;
  }

  compute::DomainSpec spec(Guest guest) override {
    compute::DomainSpec spec;
    spec.uid = Uid::random();
    spec.name = "test-" + spec.uid.to_text();
    spec.title = "a test";
    spec.memory_bytes = std::uint64_t{160} << 20;
    spec.console_log = directory_.path() / (spec.name + ".log");
    spec.agent_socket = directory_.path() / (spec.name + ".agent");
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
