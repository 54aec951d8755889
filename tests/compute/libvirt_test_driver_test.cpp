// SPDX-License-Identifier: Apache-2.0
// The libvirt body on libvirt's own test driver: no daemon, no guests, but the real client library.
#include "hypervisor_conformance.hpp"
#include "ironcore/compute/libvirt.hpp"
#include "temporary_directory.hpp"

namespace ironcore::tests {

namespace {

/// libvirt has one event loop per process.
struct Loop {
  std::unique_ptr<compute::libvirt::EventLoop> loop = compute::libvirt::EventLoop::create().value();
  std::jthread thread{[this](std::stop_token stop) { loop->run(stop); }};
};

}  // namespace

class TestDriverBody final : public HypervisorBody {
 public:
  ~TestDriverBody() override {
    for (const auto& uid : made_) {
      (void)hypervisor_->destroy(uid);
      (void)hypervisor_->undefine(uid);
    }
  }
  compute::Hypervisor& hypervisor() override { return *hypervisor_; }
  Clock& clock() override { return clock_; }
  std::filesystem::path directory() override { return directory_.path(); }
  bool has_guests() const override { return false; }
  bool has_hot_plug() const override { return false; }
  compute::DiskLimits limits(const Uid&, const std::string&) override { return {}; }

  bool wait_until(const std::function<bool()>& done) override {
    const Instant end = clock_.now() + std::chrono::seconds(60);
    while (!done()) {
      if (clock_.now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  compute::DomainSpec spec(Guest) override {
    compute::DomainSpec spec;
    spec.uid = Uid::random();
    spec.name = "test-" + spec.uid.to_text();
    spec.title = "a test";
    spec.memory_bytes = std::uint64_t{128} << 20;
    spec.nics.push_back({"first", compute::derived_mac(spec.uid, "first"), compute::UserNetwork{}});
    made_.push_back(spec.uid);
    return spec;
  }

 private:
  TemporaryDirectory directory_;
  SystemClock clock_;
  NullLog log_;
  Loop loop_;
  std::unique_ptr<compute::Hypervisor> hypervisor_ =
      compute::libvirt::connect(*loop_.loop, {.uri = "test:///default"}, clock_, log_).value();
  std::vector<Uid> made_;
};

}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::TestDriverBody);

namespace ironcore::tests {

IRONCORE_HYPERVISOR_CONFORMANCE(TestDriverBody);

TEST_CASE("domains that do not carry our mark are neither seen nor touched") {
  TestDriverBody body;  // the driver comes with a domain called `test`
  CHECK(body.hypervisor().domains()->empty());
  const Uid theirs = Uid::parse("6695eb01-f6a4-8304-79aa-97f2502e193f").value();
  IRONCORE_CHECK_FAILS(not_found, body.hypervisor().domain(theirs));
  IRONCORE_CHECK_FAILS(not_found, body.hypervisor().destroy(theirs));
  IRONCORE_REQUIRE_OK(body.hypervisor().undefine(theirs));
  auto spec = body.spec(HypervisorBody::Guest::willing);
  spec.uid = theirs;
  IRONCORE_CHECK_FAILS(already_exists, body.hypervisor().define(spec));
  spec.uid = Uid::random();
  spec.name = "test";
  IRONCORE_CHECK_FAILS(already_exists, body.hypervisor().define(spec));
}

TEST_CASE("a daemon that cannot be reached, and a second event loop, are clear errors") {
  SystemClock clock;
  NullLog log;
  Loop loop;
  IRONCORE_CHECK_FAILS(already_exists, compute::libvirt::EventLoop::create());
  const auto result =
      compute::libvirt::connect(*loop.loop, {.uri = "qemu+unix:///system?socket=/nonexistent/socket"}, clock, log);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code() == ErrorCode::unavailable);
  CHECK(result.error().message().find("is libvirtd running") != std::string::npos);
  CHECK_FALSE(compute::libvirt::connect(*loop.loop, {.uri = "nonsense"}, clock, log).has_value());
}

}  // namespace ironcore::tests
