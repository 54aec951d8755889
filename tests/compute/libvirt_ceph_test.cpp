// SPDX-License-Identifier: Apache-2.0
// Real guests with disks on a real Ceph cluster.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <vector>

#include "ceph_images.hpp"
#include "ironcore/base/base64.hpp"
#include "libvirt_body.hpp"
#include "real_host.hpp"

namespace ironcore::tests {

using namespace std::chrono_literals;

namespace {

std::unique_ptr<CephCluster> the_cluster;
std::unique_ptr<CephImages> the_images;

constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;

/// Any bytes: keys are no text.
std::string passphrase() {
  const auto one = Uid::random(), two = Uid::random();
  std::string out(one.bytes().begin(), one.bytes().end());
  out.append(two.bytes().begin(), two.bytes().end());
  out[3] = '\0';
  out[5] = '\n';
  out[7] = '\xff';
  return out;
}

std::string new_name() {
  return "img_" + Uid::random().to_text();
}

class CephBody final : public LibvirtBody {
 public:
  std::optional<Image> image(const std::string& disk, const std::string& target, Encryption encryption) override {
    Image out;
    out.size_bytes = 16 * kMebibyte;
    out.disk.name = disk;
    out.disk.target = target;
    if (encryption == Encryption::luks2) out.secrets.passphrase = passphrase();
    out.disk.rbd = the_images->create(new_name(), out.size_bytes, out.secrets.passphrase);
    out.disk.rbd->user = "conformance";
    out.secrets.key = the_images->make_user("conformance");
    return out;
  }
  void enlarge(const Image& image, std::uint64_t size_bytes) override {
    the_images->enlarge(*image.disk.rbd, size_bytes);
  }
};

/// A disk of a machine, with the size that it has.
compute::Disk disk_of(const std::string& name, const std::string& device, compute::RbdImage image,
                      const std::string& key, std::uint64_t size_bytes, const std::string& with = {}) {
  compute::Disk disk;
  disk.name = name;
  disk.device = device;
  image.user = "machines";
  disk.source = std::move(image);
  disk.handle = "0123456789abcdef";
  disk.size_bytes = size_bytes;
  disk.secrets = {key, with};
  return disk;
}

bool holds(const std::filesystem::path& place, const std::string& text) {
  std::error_code wrong;
  for (const auto& file : std::filesystem::recursive_directory_iterator(place, wrong)) {
    if (file.is_regular_file(wrong) && file.file_size(wrong) < 4 * kMebibyte &&
        text_of(file.path()).find(text) != std::string::npos)
      return true;
  }
  return false;
}

/// In no file of ours or libvirt's, and on no command line. `base64` is how keys are written down.
void check_nowhere(RealHost& host, const Uid& uid, const std::string& secret) {
  const auto root = host.environment.root();
  const std::string process = "/proc/" + std::to_string(host.process(uid));
  for (const auto& text : {secret, base64_encode(secret)}) {
    CHECK_FALSE(holds(host.directory.path(), text));
    for (const char* place : {"etc/libvirt", "run/libvirt", "var/log/libvirt", "var/lib/libvirt", "var/cache/libvirt"})
      CHECK_FALSE(holds(root / place, text));
    CHECK(text_of(process + "/cmdline").find(text) == std::string::npos);
    CHECK(text_of(process + "/environ").find(text) == std::string::npos);
  }
}

}  // namespace
}  // namespace ironcore::tests

TYPE_TO_STRING(ironcore::tests::CephBody);

namespace ironcore::tests {

TEST_CASE_TEMPLATE_INVOKE(hypervisor_secrets, CephBody);
TEST_CASE_TEMPLATE_INVOKE(hypervisor_ceph, CephBody);

TEST_CASE("a machine boots from its disk on Ceph, and nobody but QEMU and libvirt's memory knows the key") {
  RealHost host;
  const auto key = the_images->make_user("machines");
  const auto& rootfs = host.environment.image().rootfs;
  REQUIRE(rootfs.has_value());
  const auto image = the_images->import(new_name(), rootfs->path.string());
  auto spec = host.spec();
  spec.kernel.reset();
  spec.disks.push_back(disk_of("root", "vda", image, key, rootfs->size_bytes));
  host.run(spec);
  CHECK(in_guest(host, spec.uid, "cat /sys/block/vda/serial").find("vda-0123456789abcdef") != std::string::npos);
  check_nowhere(host, spec.uid, key);
  CHECK(host.hypervisor->secret_owners().value() == std::vector<Uid>{spec.uid});

  // libvirt forgets what is secret when it dies; who starts the machine again hands it over again.
  host.environment.kill_daemon();
  CHECK(host.environment.wait_until([&] { return host.host->status(spec.uid).has_value(); }));
  spec.power = compute::Power::off;
  host.reach(spec, compute::MachineState::shutdown);
  CHECK(host.hypervisor->secret_owners()->empty());
  spec.power = compute::Power::on;
  host.reach(spec, compute::MachineState::running);
  CHECK(host.wait_for_text(spec.uid, "guest: ready", 2));
  host.check_removed(spec);
  CHECK(host.hypervisor->secret_owners()->empty());
  the_images->remove(image);
}

TEST_CASE("an encrypted disk is plugged in, keeps what the guest wrote, grows under it, and its secrets go with it") {
  RealHost host;
  const auto key = the_images->make_user("machines");
  const auto with = passphrase();
  const auto image = the_images->create(new_name(), 16 * kMebibyte, with);
  auto spec = host.spec();
  host.run(spec);
  const auto disk = disk_of("data", "vdb", image, key, 16 * kMebibyte, with);
  spec.disks = {disk};
  host.apply(spec);
  CHECK(host.hypervisor->secret_owners().value() == std::vector<Uid>{spec.uid});
  CHECK(in_guest(host, spec.uid,
                 "until [ -e /sys/block/vda/serial ]; do :; done; cat /sys/block/vda/serial /sys/block/vda/size")
            .find("vdb-0123456789abcdef32768\n") != std::string::npos);
  // At the end as well: that is what a wrong size would cut.
  in_guest(host, spec.uid,
           "echo in-the-clear >/dev/vda; echo the-last-words | dd of=/dev/vda bs=512 seek=32767 conv=notrunc; sync");
  check_nowhere(host, spec.uid, key);
  check_nowhere(host, spec.uid, with);

  the_images->enlarge(image, 48 * kMebibyte);
  spec.disks[0].size_bytes = 48 * kMebibyte;
  const auto grown = host.apply(spec);
  CHECK(grown.disks.at(0).size_bytes == 48 * kMebibyte);
  CHECK(host.events["DiskResized"] == 1);
  CHECK(in_guest(host, spec.uid, "until [ $(cat /sys/block/vda/size) = 98304 ]; do :; done; echo seen").find("seen") !=
        std::string::npos);
  CHECK(in_guest(host, spec.uid, "dd if=/dev/vda bs=512 skip=32767 count=1").find("the-last-words") !=
        std::string::npos);
  in_guest(host, spec.uid, "echo far-behind | dd of=/dev/vda bs=512 seek=98303 conv=notrunc; sync");
  host.apply(spec);
  CHECK(host.events["DiskResized"] == 1);

  spec.disks.clear();
  CHECK(host.environment.wait_until([&] { return host.apply(spec).disks.empty(); }));
  CHECK(host.hypervisor->secret_owners()->empty());
  CHECK(host.events["DetachVolumeSucceeded"] == 1);
  const auto stored = the_images->stored(image, 20 * kMebibyte);
  CHECK(stored.substr(0, 4) == "LUKS");
  CHECK(stored.find("in-the-clear") == std::string::npos);

  spec.disks = {disk};
  spec.disks[0].size_bytes = 48 * kMebibyte;
  host.apply(spec);
  const auto read = in_guest(host, spec.uid,
                             "until [ -e /sys/block/vda/serial ]; do :; done; head -c 13 /dev/vda; "
                             "dd if=/dev/vda bs=512 skip=98303 count=1");
  CHECK(read.find("in-the-clear") != std::string::npos);
  CHECK(read.find("far-behind") != std::string::npos);

  // As a disk that the machine starts with, libvirt opens it in its own way: the same data, and it grows as well.
  spec.power = compute::Power::off;
  host.reach(spec, compute::MachineState::shutdown);
  spec.power = compute::Power::on;
  host.reach(spec, compute::MachineState::running);
  REQUIRE(host.wait_for_text(spec.uid, "guest: ready", 2));
  the_images->enlarge(image, 64 * kMebibyte);
  spec.disks[0].size_bytes = 64 * kMebibyte;
  host.apply(spec);
  const auto again = in_guest(host, spec.uid,
                              "until [ $(cat /sys/block/vda/size) = 131072 ]; do :; done; head -c 13 /dev/vda; "
                              "dd if=/dev/vda bs=512 skip=98303 count=1");
  CHECK(again.find("in-the-clear") != std::string::npos);
  CHECK(again.find("far-behind") != std::string::npos);
  check_nowhere(host, spec.uid, key);
  check_nowhere(host, spec.uid, with);
  host.check_removed(spec);
  the_images->remove(image);
}

TEST_CASE("a new key is shown as pending while the disk is attached, and used from the next start on") {
  RealHost host;
  const auto key = the_images->make_user("machines");
  const auto image = the_images->create(new_name(), 16 * kMebibyte);
  auto spec = host.spec();
  spec.disks = {disk_of("data", "vdb", image, key, 16 * kMebibyte)};
  host.run(spec);
  CHECK(host.apply(spec).disks.at(0).notice.empty());

  auto& source = std::get<compute::RbdImage>(spec.disks[0].source);
  source.user = "machines.2";
  spec.disks[0].secrets.key = the_images->make_user("machines.2");
  for (int i = 0; i < 2; ++i) {
    const auto status = host.apply(spec);
    CHECK(status.state == compute::MachineState::running);
    CHECK(status.disks.at(0).state == compute::DeviceStatus::State::attached);
    CHECK(status.disks.at(0).notice.find("used from the next attach") != std::string::npos);
  }
  CHECK(host.events["VolumeCredentialsPending"] == 1);

  spec.power = compute::Power::off;
  host.reach(spec, compute::MachineState::shutdown);
  the_images->revoke("machines");
  spec.power = compute::Power::on;
  const auto status = host.reach(spec, compute::MachineState::running);
  CHECK(status.disks.at(0).notice.empty());
  CHECK(host.wait_for_text(spec.uid, "guest: ready", 2));

  // One that is not good any more keeps the machine from starting, and the reason is told.
  spec.power = compute::Power::off;
  host.reach(spec, compute::MachineState::shutdown);
  the_images->revoke("machines.2");
  spec.power = compute::Power::on;
  const auto refused = host.host->apply(spec);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message().find("start: ") != std::string::npos);
  CHECK(refused.error().message().find("error connecting") != std::string::npos);
  host.check_removed(spec);
  the_images->remove(image);
}

TEST_CASE("monitors that do not answer keep a disk away in seconds, and the guest runs on") {
  RealHost host;
  const auto key = the_images->make_user("machines");
  auto image = the_images->create(new_name(), 16 * kMebibyte);
  auto spec = host.spec();
  host.run(spec);
  auto disk = disk_of("data", "vdb", image, key, 16 * kMebibyte);
  std::get<compute::RbdImage>(disk.source).monitors = {"127.0.0.1:9"};
  spec.disks = {disk};
  const auto before = host.environment.clock().now();
  const auto refused = host.host->apply(spec);
  REQUIRE_FALSE(refused.has_value());
  MESSAGE("refused after ", to_text(host.environment.clock().now() - before), ": ", refused.error().message());
  CHECK(in_guest(host, spec.uid, "echo still-''here").find("still-here") != std::string::npos);
  spec.disks = {disk_of("data", "vdb", image, key, 16 * kMebibyte)};
  CHECK(host.environment.wait_until([&] {
    const auto applied = host.host->apply(spec);
    return applied && applied->disks.at(0).state == compute::DeviceStatus::State::attached;
  }));
  host.check_removed(spec);
  the_images->remove(image);
}

}  // namespace ironcore::tests

/// Arguments: tests/support/libvirtd, the guest image's layout, tests/support/ceph-cluster, the library for namespaces, then doctest's own.
int main(int argc, char** argv) {
  using namespace ironcore::tests;
  if (argc < 5) {
    std::fputs("usage: test_libvirt_ceph LIBVIRTD-SCRIPT IMAGE-LAYOUT CEPH-CLUSTER-SCRIPT LIBRARY [doctest options]\n",
               stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a test ends the daemon that libvirt writes to
  the_cluster = CephCluster::start(argv[3], {"--no-rgw"});
  if (!the_cluster) return 77;
  the_images = std::make_unique<CephImages>(*the_cluster);
  std::string missing;
  auto environment = LibvirtEnvironment::start(argv[1], argv[2], missing);
  if (!environment) {
    std::fprintf(stderr, "skipped: %s\n", missing.c_str());
    return 77;
  }
  environment->use_namespace_library(argv[4]);
  std::vector<char*> arguments{argv[0]};
  arguments.insert(arguments.end(), argv + 5, argv + argc);
  doctest::Context context(static_cast<int>(arguments.size()), arguments.data());
  const int code = context.run();
  environment.reset();
  the_cluster.reset();
  return code;
}
