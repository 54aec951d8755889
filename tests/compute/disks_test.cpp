// SPDX-License-Identifier: Apache-2.0
// Disks that exist already, on the simulated hypervisor: their secrets, their size, and guests that do not let go.
#include <fstream>
#include <sstream>

#include "ironcore/image/disk_file.hpp"
#include "sim_host.hpp"

namespace ironcore::tests {

using namespace std::chrono_literals;
using compute::Disk;
using compute::RbdImage;
using State = compute::DeviceStatus::State;

namespace {

constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;

Disk on_ceph(const std::string& name, const std::string& device) {
  Disk disk;
  disk.name = name;
  disk.device = device;
  disk.source = RbdImage{.monitors = {"10.0.0.1:6789", "[fd00::1]:6789"},
                         .pool = "pool",
                         .space = "tenant",
                         .image = name,
                         .user = "user"};
  disk.handle = "0123456789abcdef";
  disk.size_bytes = 64 * kMebibyte;
  disk.secrets.key = "sesame";
  return disk;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

const compute::DeviceStatus& device(const compute::MachineStatus& status, const std::string& name) {
  for (const auto& one : status.disks)
    if (one.name == name) return one;
  FAIL("no disk " << name);
  return status.disks.front();
}

void let_go(SimHost& host, const Uid& uid, bool lets_go) {
  sim::Guest guest;
  guest.releases_devices = lets_go;
  host.hypervisor.set_guest(uid, guest);
}

}  // namespace

TEST_CASE("secrets of a disk are with the hypervisor as long as the disk is, and nowhere else") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  auto& encrypted = spec.disks.emplace_back(on_ceph("safe", "vdc"));
  std::get<RbdImage>(encrypted.source).is_encrypted = true;
  encrypted.secrets.passphrase = "the passphrase";
  const auto all = spec.disks;
  spec.disks.pop_back();
  host.run(spec);
  auto inside = host.inside(spec.uid);
  CHECK(inside.opened.at("data").key == "sesame");
  CHECK(inside.secrets.size() == 1);
  CHECK(inside.disks[1].serial == "vdb-0123456789abcdef");
  CHECK(inside.disks[1].rbd == std::get<RbdImage>(all[1].source));
  // librados of QEMU reads this instead of what the host's own clients are told.
  CHECK(text_of(inside.disks[1].rbd_settings).find("client_mount_timeout = 8\n") != std::string::npos);

  spec.disks = all;
  host.apply(spec);
  inside = host.inside(spec.uid);
  CHECK(inside.opened.at("safe").passphrase == "the passphrase");
  CHECK(inside.secrets.size() == 2);
  for (const auto& file : std::filesystem::recursive_directory_iterator(host.directory.path() / "state")) {
    if (!file.is_regular_file()) continue;
    const auto text = text_of(file.path());
    CHECK_MESSAGE(text.find("sesame") == std::string::npos, file.path());
    CHECK_MESSAGE(text.find("the passphrase") == std::string::npos, file.path());
  }

  // The guest has it until it lets go, and so long the secrets stay.
  let_go(host, spec.uid, false);
  spec.disks.pop_back();
  auto status = host.apply(spec);
  CHECK(device(status, "safe").state == State::detaching);
  CHECK(device(status, "data").state == State::attached);
  CHECK(host.inside(spec.uid).secrets.contains("safe"));
  let_go(host, spec.uid, true);
  host.restart();
  host.apply(spec);
  host.clock.advance(1s);
  host.apply(spec);
  CHECK(host.inside(spec.uid).secrets.size() == 1);
  CHECK(host.events["DetachVolumeSucceeded"] == 1);

  spec.power = Power::off;
  host.reach(spec, MachineState::shutdown);
  CHECK(host.inside(spec.uid).secrets.empty());
  spec.power = Power::on;
  host.run(spec);
  CHECK(host.inside(spec.uid).secrets.size() == 1);
  host.until([&] { return host.remove(spec.uid, 0s); }, MachineState::terminated);
  CHECK(host.hypervisor.secret_owners()->empty());
}

TEST_CASE("a machine whose secrets the hypervisor lost is started with them again") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  host.run(spec);
  host.hypervisor.restart_host();
  CHECK(host.hypervisor.secret_owners()->empty());
  host.reach(spec, MachineState::running);
  CHECK(host.inside(spec.uid).opened.at("data").key == "sesame");
}

TEST_CASE("secrets of machines that are gone are removed, those of others stay") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  host.run(spec);
  const Uid stray = Uid::random();
  REQUIRE(host.hypervisor.put_secrets(stray, "data", {"lost", {}}).has_value());
  CHECK(host.host->remove_unused_secrets().value() == 1);
  CHECK(host.host->remove_unused_secrets().value() == 0);
  CHECK(host.hypervisor.secret_owners().value() == std::vector<Uid>{spec.uid});
}

TEST_CASE("a guest that does not let go is asked less and less often, and the operator is told once") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  host.run(spec);
  let_go(host, spec.uid, false);
  std::vector<Duration> asked;
  const Instant begin = host.clock.now();
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name == "detach_disk") asked.push_back(host.clock.now() - begin);
    return std::nullopt;
  });
  spec.disks.pop_back();
  auto status = host.apply(spec);
  CHECK(status.message == "waiting for the guest to release disk data");
  while (host.clock.now() < begin + 30min) {
    REQUIRE(status.next_check.has_value());
    REQUIRE(*status.next_check > host.clock.now());
    host.clock.advance(*status.next_check - host.clock.now());
    status = host.apply(spec);
    CHECK(device(status, "data").state == State::detaching);
    CHECK(host.inside(spec.uid).secrets.contains("data"));
  }
  CHECK(std::vector<Duration>(asked.begin(), asked.begin() + 8) ==
        std::vector<Duration>{0s, 10s, 30s, 70s, 150s, 310s, 610s, 910s});
  CHECK(asked.size() == 11);
  CHECK(host.events["DetachVolumeFailed"] == 1);
  CHECK(status.state == MachineState::running);
  CHECK(status.message.find("stop using it there") != std::string::npos);

  let_go(host, spec.uid, true);
  host.clock.advance(5min);
  host.apply(spec);
  host.clock.advance(1s);
  status = host.apply(spec);
  CHECK(status.disks.size() == 1);
  CHECK(status.message.empty());
  CHECK(host.inside(spec.uid).secrets.empty());
  CHECK(host.events["DetachVolumeSucceeded"] == 1);
}

TEST_CASE("a disk that is wanted again before the guest let go stays, and the next detach begins anew") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  host.run(spec);
  let_go(host, spec.uid, false);
  const auto with = spec.disks;
  spec.disks.pop_back();
  host.apply(spec);
  host.clock.advance(2min);
  host.apply(spec);
  CHECK(host.events["DetachVolumeFailed"] == 1);
  spec.disks = with;
  auto status = host.apply(spec);
  CHECK(device(status, "data").state == State::attached);
  CHECK(status.message.empty());
  spec.disks.pop_back();
  status = host.apply(spec);
  CHECK(status.message == "waiting for the guest to release disk data");
}

TEST_CASE("a disk of which nobody can say how it is opened stays with a guest that has it, and is never attached") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  host.run(spec);
  const auto with = spec.disks;
  spec.disks.pop_back();
  spec.kept_disks = {"data", "never"};
  CHECK(problems(spec).front().field == "hold");
  spec.hold = "the key of data is missing";
  auto status = host.apply(spec);
  CHECK(device(status, "data").state == State::attached);
  CHECK(status.disks.size() == 2);
  CHECK(host.hypervisor.inside(spec.uid)->secrets.contains("data"));
  // Back without a change, and wanted no more: as any other.
  spec.hold.clear();
  spec.kept_disks.clear();
  spec.disks = with;
  CHECK(device(host.apply(spec), "data").state == State::attached);
  CHECK(host.events["DetachVolumeSucceeded"] == 0);
  spec.disks.pop_back();
  host.apply(spec);
  host.clock.advance(1s);
  host.apply(spec);
  CHECK(host.events["DetachVolumeSucceeded"] == 1);
  spec.hold = "both at once";
  spec.disks = with;
  spec.kept_disks = {"data"};
  CHECK(problems(spec).front().field == "kept_disks[0]");
}

TEST_CASE("a disk grows under its guest, once, and never shrinks") {
  SimHost host;
  auto spec = host.spec();
  const auto file = host.directory.path() / "volume.raw";
  REQUIRE(image::create_raw_disk(file, 4 * kMebibyte).has_value());
  Disk local;
  local.name = "file";
  local.device = "vdc";
  local.source = compute::ExistingDisk{file};
  local.size_bytes = 4 * kMebibyte;
  spec.disks.push_back(on_ceph("data", "vdb"));
  spec.disks.push_back(local);
  host.hypervisor.set_images([](const RbdImage&, const compute::DiskSecrets&) { return 64 * kMebibyte; });
  host.run(spec);
  std::uint64_t resizes = 0;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name == "resize_disk") ++resizes;
    return std::nullopt;
  });
  host.apply(spec);
  CHECK(resizes == 0);
  // Whoever owns the file has enlarged it before, and the guest knows nothing of it yet.
  REQUIRE(image::grow_disk(file, image::DiskFormat::raw, 8 * kMebibyte).has_value());
  spec.disks[1].size_bytes = 128 * kMebibyte;
  spec.disks[2].size_bytes = 8 * kMebibyte;
  for (int i = 0; i < 3; ++i) {
    const auto status = host.apply(spec);
    CHECK(device(status, "data").size_bytes == 128 * kMebibyte);
    CHECK(device(status, "file").size_bytes == 8 * kMebibyte);
  }
  host.restart();
  host.apply(spec);
  CHECK(resizes == 2);
  CHECK(host.inside(spec.uid).sizes.at("data") == 128 * kMebibyte);
  CHECK(host.inside(spec.uid).sizes.at("file") == 8 * kMebibyte);
  CHECK(host.events["DiskResized"] == 2);

  spec.disks[1].size_bytes = kMebibyte;
  const auto status = host.apply(spec);
  CHECK(status.message == "disk data keeps its 134217728 bytes: disks only grow");
  CHECK(resizes == 2);

  // Without the record nobody knows what the guest sees: the hypervisor does.
  spec.disks[1].size_bytes = 128 * kMebibyte;
  std::filesystem::remove(host.machine_directory(spec.uid) / "record.json");
  host.apply(spec);
  CHECK(device(host.apply(spec), "data").size_bytes == 128 * kMebibyte);
  CHECK(host.events["DiskResized"] == 2);
}

TEST_CASE("new credentials wait for the next start and are told once, another image is exchanged at once") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  host.run(spec);
  CHECK(device(host.apply(spec), "data").notice.empty());
  spec.disks[1].secrets.key = "other sesame";
  for (int i = 0; i < 2; ++i) {
    CHECK(device(host.apply(spec), "data").notice.find("from the next attach or start on") != std::string::npos);
    host.restart();
  }
  CHECK(device(host.host->status(spec.uid).value(), "data").notice.find("from the next attach") != std::string::npos);
  CHECK(host.inside(spec.uid).opened.at("data").key == "sesame");
  CHECK(host.events["VolumeCredentialsPending"] == 1);
  // Back again: nothing is pending.
  spec.disks[1].secrets.key = "sesame";
  CHECK(device(host.apply(spec), "data").notice.empty());
  std::get<RbdImage>(spec.disks[1].source).monitors = {"10.0.0.7:6789"};
  CHECK_FALSE(device(host.apply(spec), "data").notice.empty());
  CHECK(host.events["VolumeCredentialsPending"] == 2);
  spec.disks[1].secrets.key = "other sesame";
  spec.reboot_token = "1";
  CHECK(host.clock.advance_until([&] { return host.apply(spec).reboot_token == "1"; }));
  const auto status = host.reach(spec, MachineState::running);
  CHECK(device(status, "data").notice.empty());
  CHECK(host.inside(spec.uid).opened.at("data").key == "other sesame");
  REQUIRE(host.clock.advance_until([&] { return host.inside(spec.uid).has_booted; }));

  std::get<RbdImage>(spec.disks[1].source).image = "other";
  host.apply(spec);
  host.clock.advance(1s);
  host.apply(spec);
  CHECK(host.inside(spec.uid).disks.at(1).rbd->image == "other");
}

TEST_CASE(
    "an image that cannot be opened keeps the machine from starting, and one that is plugged in from being there") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.push_back(on_ceph("data", "vdb"));
  host.hypervisor.set_images([](const RbdImage&, const compute::DiskSecrets&) -> Result<std::uint64_t> {
    return Error(ErrorCode::internal, "error connecting: Operation not permitted");
  });
  const auto refused = host.host->apply(spec);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message() == "machine web-1: start: error connecting: Operation not permitted");
  host.hypervisor.set_images({});
  host.run(spec);

  host.hypervisor.set_images([](const RbdImage&, const compute::DiskSecrets&) -> Result<std::uint64_t> {
    return Error(ErrorCode::internal, "error connecting: Operation not permitted");
  });
  spec.disks.push_back(on_ceph("more", "vdc"));
  CHECK_FALSE(host.host->apply(spec).has_value());
  const auto status = host.host->status(spec.uid).value();
  CHECK(status.state == MachineState::running);
  CHECK(device(status, "more").state == State::pending);
  CHECK(device(status, "data").state == State::attached);
  // Not wanted any more: what was handed over for it goes.
  CHECK(host.inside(spec.uid).secrets.contains("more"));
  spec.disks.pop_back();
  host.apply(spec);
  CHECK_FALSE(host.inside(spec.uid).secrets.contains("more"));
}

TEST_CASE("limits of a disk change while the guest has it, and are told the hypervisor once") {
  SimHost host;
  auto spec = host.spec();
  auto& disk = spec.disks.emplace_back(on_ceph("data", "vdb"));
  disk.limits = {.iops = 100, .bytes_per_second = 0, .burst_iops = 1000, .burst_bytes_per_second = 0, .burst = 15s};
  host.run(spec);
  CHECK(host.inside(spec.uid).disks[1].limits == disk.limits);
  disk.limits.iops = 200;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name != "limit_disk") return std::nullopt;
    return sim::Hypervisor::Fault{Error(ErrorCode::timeout, "no answer")};
  });
  CHECK(host.host->apply(spec).error().message() == "machine web-1: change the limits of disk data: no answer");
  CHECK(host.inside(spec.uid).disks[1].limits.iops == 100);
  std::size_t told = 0;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name == "limit_disk") ++told;
    return std::nullopt;
  });
  for (int i = 0; i < 3; ++i) host.apply(spec);
  CHECK(host.inside(spec.uid).disks[1].limits == disk.limits);
  CHECK(host.inside(spec.uid).definition.disks[1].limits == disk.limits);
  CHECK(told == 1);
  disk.limits = {};
  for (int i = 0; i < 3; ++i) host.apply(spec);
  CHECK(host.inside(spec.uid).disks[1].limits == disk.limits);
  CHECK(told == 2);
}

TEST_CASE("what is wrong with a disk on Ceph is said by name, and secrets are not shown") {
  compute::MachineSpec spec;
  spec.uid = Uid::random();
  spec.memory_bytes = 64 * kMebibyte;
  spec.disks = {on_ceph("data", "vdb")};
  CHECK(problems(spec).empty());
  const auto fields = [&](const std::function<void(Disk&, RbdImage&)>& edit) {
    auto wrong = spec;
    edit(wrong.disks[0], std::get<RbdImage>(wrong.disks[0].source));
    std::string out;
    for (const auto& one : problems(wrong)) {
      out += (out.empty() ? "" : " ") + one.field.substr(9);
      CHECK(one.message.find("sesame") == std::string::npos);
    }
    return out;
  };
  CHECK(fields([](Disk&, RbdImage& image) { image.monitors.clear(); }) == "source.monitors");
  for (const char* monitor :
       {"", "host", ":6789", "host:", "host:port", "a,b:1", "a;b:1", "[fd00::1:6789", "h:123456", "a b:1"}) {
    CAPTURE(monitor);
    CHECK(fields([&](Disk&, RbdImage& image) { image.monitors = {monitor}; }) == "source.monitors");
  }
  CHECK(fields([](Disk&, RbdImage& image) { image.pool = "a/b"; }) == "source.pool");
  CHECK(fields([](Disk&, RbdImage& image) { image.space = "a/b"; }) == "source.space");
  CHECK(fields([](Disk&, RbdImage& image) { image.space.clear(); }).empty());
  CHECK(fields([](Disk&, RbdImage& image) { image.image = "a@b"; }) == "source.image");
  CHECK(fields([](Disk&, RbdImage& image) { image.user.clear(); }) == "source.user");
  CHECK(fields([](Disk& disk, RbdImage&) { disk.secrets.key.clear(); }) == "secrets.key");
  CHECK(fields([](Disk& disk, RbdImage&) { disk.secrets.passphrase = "sesame"; }) == "secrets.passphrase");
  CHECK(fields([](Disk&, RbdImage& image) { image.is_encrypted = true; }) == "secrets.passphrase");
  CHECK(fields([](Disk& disk, RbdImage&) { disk.handle = "<a>"; }) == "handle");
  CHECK(fields([](Disk& disk, RbdImage&) { disk.size_bytes = std::uint64_t{1} << 51; }) == "size_bytes");
}

}  // namespace ironcore::tests
