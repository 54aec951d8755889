// SPDX-License-Identifier: Apache-2.0
// The simulated hypervisor keeps the contract of the seam.
#include "hypervisor_conformance.hpp"
#include "ironcore/sim/hypervisor.hpp"
#include "temporary_directory.hpp"

namespace ironcore::tests {

class SimBody final : public HypervisorBody {
 public:
  compute::Hypervisor& hypervisor() override { return hypervisor_; }
  Clock& clock() override { return clock_; }
  std::filesystem::path directory() override { return directory_.path(); }
  void pause(const Uid& uid) override { REQUIRE(hypervisor_.pause(uid, compute::PauseReason::other).has_value()); }
  bool wait_until(const std::function<bool()>& done) override { return clock_.advance_until(done); }

  std::optional<Image> image(const std::string& disk, const std::string& target, Encryption encryption) override {
    Image out;
    out.disk.name = disk;
    out.disk.target = target;
    out.disk.rbd = compute::RbdImage{.monitors = {"10.0.0.1:6789"},
                                     .pool = "pool",
                                     .space = "tenant",
                                     .image = disk,
                                     .user = "user",
                                     .is_encrypted = encryption == Encryption::luks2};
    out.secrets.key = "the key";
    if (encryption == Encryption::luks2) out.secrets.passphrase = "the passphrase";
    out.size_bytes = 64 << 20;
    hypervisor_.set_images(
        [good = out](const compute::RbdImage& opened, const compute::DiskSecrets& with) -> Result<std::uint64_t> {
          if (opened == good.disk.rbd && with == good.secrets) return good.size_bytes;
          return Error(ErrorCode::internal, "error connecting: Operation not permitted");
        });
    return out;
  }

  compute::DiskLimits limits(const Uid& uid, const std::string& target) override {
    const auto inside = hypervisor_.inside(uid);
    REQUIRE(inside.has_value());
    const auto found = std::ranges::find(inside->disks, target, &compute::DomainDisk::target);
    REQUIRE(found != inside->disks.end());
    return found->limits;
  }

  compute::DomainSpec spec(Guest guest) override {
    compute::DomainSpec spec;
    spec.uid = Uid::random();
    spec.name = "test-" + spec.uid.to_text();
    spec.title = "a test";
    spec.memory_bytes = std::uint64_t{128} << 20;
    spec.console_log = directory_.path() / (spec.name + ".log");
    spec.nics.push_back({"first", compute::derived_mac(spec.uid, "first"), compute::UserNetwork{}});
    sim::Guest script;
    script.has_agent = guest == Guest::willing;
    script.heeds_power_button = guest != Guest::deaf;
    hypervisor_.set_guest(spec.uid, script);
    return spec;
  }

 private:
  TemporaryDirectory directory_;
  sim::VirtualClock clock_;
  sim::Hypervisor hypervisor_{clock_};
};
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::SimBody);

namespace ironcore::tests {
IRONCORE_HYPERVISOR_CONFORMANCE(SimBody);
}  // namespace ironcore::tests
