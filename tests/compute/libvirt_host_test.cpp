// SPDX-License-Identifier: Apache-2.0
// Machines with real guests: boot, stop in every way, plug, adopt, survive libvirt's death, and leave nothing.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ironcore/control/volume_access.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/storage/local.hpp"
#include "real_host.hpp"

namespace ironcore::tests {

using namespace std::chrono_literals;
using compute::MachineSpec;
using compute::MachineState;
using compute::Power;

namespace {

struct stat stat_of(const std::filesystem::path& path) {
  struct stat out {};
  REQUIRE_MESSAGE(::stat(path.c_str(), &out) == 0, path);
  return out;
}

}  // namespace

TEST_CASE("a guest boots from a disk made of an image, reads its ignition, and its files are for QEMU only") {
  RealHost host;
  auto spec = host.spec();
  spec.kernel.reset();
  spec.disks.push_back(
      {"root", "vda", "", compute::LocalDisk{std::uint64_t{256} << 20, host.environment.image_reference()}});
  spec.disks.push_back({"data", "vdb", "", compute::LocalDisk{8 << 20}});
  spec.ignition =
      R"({"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/etc/hostname","contents":{"source":"data:,web-1"}}]}})";
  host.run(spec);
  const std::string console = host.console(spec.uid);
  CHECK(console.find("booted from disk") != std::string::npos);
  CHECK(console.find("disk vda bytes=268435456 serial=vda-" + compute::derived_handle(spec.uid, "root")) !=
        std::string::npos);
  CHECK(console.find("disk vdb bytes=8388608") != std::string::npos);
  CHECK(console.find("ignition " + crypto::sha256(spec.ignition).hex()) != std::string::npos);
  CHECK(console.find("hostname web-1") != std::string::npos);

  const auto owner = host.hypervisor->file_owner();
  REQUIRE(owner.has_value());
  const auto state = host.directory.path() / "state";
  const auto secret = stat_of(state / "secrets" / spec.uid.to_text() / "ignition");
  CHECK((secret.st_mode & 0777) == 0400);
  CHECK(secret.st_uid == owner->user);
  const auto disk = stat_of(state / "machines" / spec.uid.to_text() / "disks" / "root.qcow2");
  CHECK((disk.st_mode & 0777) == 0600);
  CHECK(disk.st_uid == owner->user);
  // The shared image stays ours, or one guest's QEMU could change what others boot.
  for (const auto& blob : std::filesystem::recursive_directory_iterator(state / "images")) {
    if (blob.is_regular_file()) CHECK_MESSAGE(stat_of(blob.path()).st_uid == ::geteuid(), blob.path());
  }

  // More room for both disks, one while it is in use.
  std::get<compute::LocalDisk>(spec.disks[1].source).size_bytes = 16 << 20;
  CHECK(host.apply(spec).disks[0].size_bytes == 16 << 20);
  auto port = host.host->console(spec.uid);
  REQUIRE(port.has_value());
  REQUIRE((*port)->write("cat /sys/block/vdb/size\r", host.environment.clock().now() + 1min).has_value());
  CHECK(host.wait_for_text(spec.uid, "32768"));
  port->reset();

  // The disk keeps its content when the power is switched off and on.
  spec.power = Power::off;
  host.reach(spec, MachineState::shutdown);
  spec.power = Power::on;
  host.reach(spec, MachineState::running);
  CHECK(host.wait_for_text(spec.uid, "guest: ready", 2));
  host.check_removed(spec);
}

TEST_CASE("power off works by the agent alone, by the power button alone, and against a guest that ignores both") {
  RealHost host;
  MachineSpec spec;
  SUBCASE("agent") {
    spec = host.spec("ironcore.acpi=off");
    host.run(spec);
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown);
    CHECK(host.console(spec.uid).find("agent poweroff") != std::string::npos);
    CHECK(host.events["ShutdownForced"] == 0);
  }
  SUBCASE("power button") {
    spec = host.spec("ironcore.agent=off");
    host.run(spec);
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown);
    CHECK(host.console(spec.uid).find("power button") != std::string::npos);
    CHECK(host.events["ShutdownForced"] == 0);
  }
  SUBCASE("neither") {
    spec = host.spec("ironcore.agent=off ironcore.acpi=off");
    spec.shutdown_grace = 8s;
    host.run(spec);
    spec.power = Power::off;
    const auto start = host.environment.clock().now();
    host.reach(spec, MachineState::shutdown);
    CHECK(host.environment.clock().now() - start >= 8s);
    CHECK(host.events["ShutdownForced"] == 1);
  }
  CHECK(host.host->status(spec.uid)->state == MachineState::shutdown);
  host.check_removed(spec);
}

TEST_CASE("a guest that powers itself off stays off, and a reboot token starts it again once") {
  RealHost host;
  auto spec = host.spec();
  host.run(spec);
  auto port = host.host->console(spec.uid);
  REQUIRE(port.has_value());
  REQUIRE((*port)->write("poweroff -f\r", host.environment.clock().now() + 1min).has_value());
  host.reach(spec, MachineState::shutdown);
  CHECK(host.events["GuestShutdown"] == 1);
  const auto closed = (*port)->read(host.environment.clock().now() + 1min, {});
  if (!closed.has_value()) CHECK(closed.error().code() == ErrorCode::gone);
  host.restart();
  CHECK(host.apply(spec).state == MachineState::shutdown);

  spec.reboot_token = "1";
  auto status = host.reach(spec, MachineState::running);
  CHECK(status.reboot_token == "1");
  REQUIRE(host.wait_for_text(spec.uid, "guest: ready", 2));
  spec.reboot_token = "2";
  CHECK(host.environment.wait_until([&] { return host.apply(spec).reboot_token == "2"; }));
  REQUIRE(host.wait_for_text(spec.uid, "guest: ready", 3));
  CHECK(host.apply(spec).reboot_token == "2");
  CHECK(host.events["Rebooted"] == 2);
  host.check_removed(spec, 1min);
}

TEST_CASE("disks and NICs of a running machine follow its spec") {
  RealHost host;
  auto spec = host.spec();
  host.run(spec);
  spec.disks.push_back({"data", "vdb", "serial-1", compute::LocalDisk{8 << 20}});
  spec.nics.push_back({"second", {}, compute::UserNetwork{}});
  auto status = host.apply(spec);
  CHECK(status.disks.size() == 1);
  CHECK(status.nics.size() == 2);
  const auto file = host.directory.path() / "state" / "machines" / spec.uid.to_text() / "disks" / "data.raw";
  CHECK(std::filesystem::exists(file));
  auto port = host.host->console(spec.uid);
  REQUIRE(port.has_value());
  REQUIRE((*port)
              ->write("until [ -e /sys/block/vda/serial ]; do :; done; cat /sys/block/vda/serial\r",
                      host.environment.clock().now() + 1min)
              .has_value());
  CHECK(host.wait_for_text(spec.uid, "serial-1"));
  const auto process = host.process(spec.uid);

  spec.disks.clear();
  spec.nics.pop_back();
  CHECK(host.environment.wait_until([&] {
    status = host.apply(spec);
    const bool is_attached = !host.hypervisor->domain(spec.uid)->disks.empty();
    CHECK((!is_attached || std::filesystem::exists(file)));
    return status.disks.empty() && status.nics.size() == 1;
  }));
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK(host.process(spec.uid) == process);
  host.check_removed(spec);
}

TEST_CASE("volumes of local files are disks: the guest reads an image through one, and one grows under it") {
  RealHost host;
  auto& environment = host.environment;
  const auto& rootfs = environment.image().rootfs;
  REQUIRE(rootfs.has_value());
  const auto place = host.directory.path() / "volumes";
  const auto store = storage::LocalStore::open({.directory = place, .executor = [](const auto& job) { job(); }},
                                               host.environment.clock())
                         .value();
  REQUIRE(store->set_mark(std::nullopt, {.store = Uid::random(), .pool = Uid::random(), .pool_name = "here"}));
  const storage::BlockId root{.tenant = "default", .uid = Uid::random()};
  const storage::BlockId data{.tenant = "default", .uid = Uid::random()};
  constexpr std::uint64_t mebibyte = 1 << 20;
  const auto base =
      store->import_base({.path = rootfs->path, .digest = rootfs->digest, .size_bytes = rootfs->size_bytes}, {}, {});
  REQUIRE_MESSAGE(base.has_value(), base.error().message());
  // Rounded as for any volume: the store takes whole MiB.
  const auto root_bytes = storage::rounded_size(rootfs->size_bytes).value();
  for (const auto& [id, spec] :
       {std::pair(root, storage::VolumeSpec{root_bytes, storage::FromBase{rootfs->digest}, {}, {}}),
        std::pair(data, storage::VolumeSpec{8 * mebibyte,
                                            storage::Empty{},
                                            {},
                                            {.iops = 2000, .burst_iops = 8000, .burst = std::chrono::seconds(5)}})}) {
    const auto made = store->create(id, spec, {}, {});
    REQUIRE_MESSAGE(made.has_value(), made.error().message());
  }
  const auto disk_of = [&](const storage::BlockId& id, const char* name, const char* device) {
    const auto access = store->access(id).value();
    auto disk =
        control::open_volume({.driver = access.driver, .handle = access.handle, .volume_attributes = access.attributes},
                             access.secrets, {.directories = {place}});
    REQUIRE_MESSAGE(disk.has_value(), disk.error().message());
    disk->name = name;
    disk->device = device;
    disk->size_bytes = store->volume(id)->size_bytes;
    return *disk;
  };

  auto spec = host.spec();
  spec.kernel.reset();
  spec.disks = {disk_of(root, "root", "vda")};
  host.run(spec);
  CHECK(in_guest(host, spec.uid, "cat /sys/block/vda/serial").find("vda-" + spec.disks[0].handle) != std::string::npos);
  spec.disks.push_back(disk_of(data, "data", "vdb"));
  host.apply(spec);
  CHECK(in_guest(host, spec.uid, "until [ -e /sys/block/vdb/serial ]; do :; done; cat /sys/block/vdb/size")
            .find("16384\n") != std::string::npos);
  in_guest(host, spec.uid, "echo written-by-the-guest >/dev/vdb; sync");
  // It has it, and nobody else may.
  CHECK(store->remove(data).error().code() == ErrorCode::wrong_state);

  REQUIRE(store->expand(data, 24 * mebibyte).has_value());
  REQUIRE(store->expand(root, root_bytes + 16 * mebibyte).has_value());
  for (auto& disk : spec.disks) disk.size_bytes = store->volume(&disk == &spec.disks[0] ? root : data)->size_bytes;
  host.apply(spec);
  CHECK(in_guest(host, spec.uid, "until [ $(cat /sys/block/vdb/size) = 49152 ]; do :; done; cat /sys/block/vda/size")
            .find(std::to_string((root_bytes + 16 * mebibyte) / 512)) != std::string::npos);
  CHECK(host.events["DiskResized"] == 2);

  spec.disks.pop_back();
  CHECK(environment.wait_until([&] { return host.apply(spec).disks.size() == 1; }));
  const auto file = store->access(data)->attributes.at("path");
  CHECK(text_of(file).substr(0, 20) == "written-by-the-guest");
  REQUIRE(store->remove(data).has_value());
  host.check_removed(spec);
  REQUIRE(store->remove(root).has_value());
}

TEST_CASE("a new process adopts the running guest, and libvirt may die and come back meanwhile") {
  RealHost host;
  auto spec = host.spec();
  host.run(spec);
  const auto process = host.process(spec.uid);
  CHECK(process > 0);
  host.restart();
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.process(spec.uid) == process);

  std::mutex mutex;
  std::vector<Uid> changes;
  host.host->on_change([&](const Uid& uid) {
    std::lock_guard guard(mutex);
    changes.push_back(uid);
  });
  const auto has_change = [&](const Uid& uid) {
    std::lock_guard guard(mutex);
    return std::find(changes.begin(), changes.end(), uid) != changes.end();
  };
  auto port = host.host->console(spec.uid);
  REQUIRE(port.has_value());
  host.environment.kill_daemon();
  CHECK(host.environment.wait_until([&] { return has_change(Uid()); }));
  // The console does not go through libvirt.
  REQUIRE((*port)->write("echo still $((40+2)) here\r", host.environment.clock().now() + 1min).has_value());
  CHECK(host.wait_for_text(spec.uid, "still 42 here"));
  port->reset();
  CHECK(host.environment.wait_until([&] { return host.host->apply(spec).has_value(); }));
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.process(spec.uid) == process);
  CHECK(tests::count(host.console(spec.uid), "guest: ready") == 1);

  // Events arrive over the new connection, and the console is free.
  CHECK(host.host->console(spec.uid).has_value());
  {
    std::lock_guard guard(mutex);
    changes.clear();
  }
  REQUIRE(host.hypervisor->destroy(spec.uid).has_value());
  CHECK(host.environment.wait_until([&] { return has_change(spec.uid); }));
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.events["Lost"] == 1);
  CHECK(host.host->orphans({})->size() == 1);
  host.host->on_change({});
  host.check_removed(spec);
}

TEST_CASE("a process that holds a console and dies frees it") {
  RealHost host;
  auto spec = host.spec();
  host.run(spec);
  auto other = host.environment.connect();
  auto held = other->console(spec.uid);
  REQUIRE(held.has_value());
  CHECK(host.host->console(spec.uid).error().code() == ErrorCode::wrong_state);
  SUBCASE("it lets go") {
    held->reset();
  }
  SUBCASE("its connection ends before its console") {
    other.reset();
    CHECK((*held)->read(host.environment.clock().now(), {}).has_value());
    held->reset();
  }
  CHECK(host.environment.wait_until([&] { return host.host->console(spec.uid).has_value(); }));
  host.check_removed(spec);
}

TEST_CASE("a console log of many megabytes keeps its end and is bounded, and a guest cannot go to sleep") {
  RealHost host;
  auto spec = host.spec();
  host.run(spec);
  auto port = host.host->console(spec.uid);
  REQUIRE(port.has_value());
  const auto soon = host.environment.clock().now() + 1min;
  REQUIRE((*port)->write("stty -echo; cat /sys/power/mem_sleep; echo states-$((1+1))\r", soon).has_value());
  REQUIRE(host.wait_for_text(spec.uid, "states-2"));
  const std::string text = host.console(spec.uid);
  CHECK(text.substr(text.rfind("stty")).find("deep") == std::string::npos);
  const std::string line(100, '7');
  REQUIRE((*port)->write("yes " + line + " | head -n 90000; echo END-$((1+1))\r", soon).has_value());
  port->reset();
  const auto end = [&] { return host.host->console_log(spec.uid, 100).value(); };
  CHECK(host.environment.wait_until([&] {
    host.apply(spec);
    return end().find("END-2") != std::string::npos;
  }));
  std::uint64_t bytes = 0;
  const auto logs = host.directory.path() / "state" / "machines" / spec.uid.to_text() / "logs";
  for (const auto& file : std::filesystem::directory_iterator(logs)) bytes += file.file_size();
  CHECK(bytes <= (std::uint64_t{9} << 20));
  CHECK(host.host->console_log(spec.uid, 64 << 20).value().size() == bytes);
  CHECK(bytes > (std::uint64_t{5} << 20));
  CHECK(host.host->console_log(spec.uid, 5 << 20).value().size() == std::size_t{5} << 20);
  host.check_removed(spec);
}

TEST_CASE("a crash of QEMU is noticed and repaired") {
  RealHost host;
  auto spec = host.spec();
  host.run(spec);
  const auto process = host.process(spec.uid);
  REQUIRE(::kill(static_cast<pid_t>(process), SIGKILL) == 0);
  // For a moment the domain still counts as running, without a process.
  CHECK(host.environment.wait_until([&] {
    const bool is_running = host.apply(spec).state == MachineState::running;
    const auto now = host.process(spec.uid);
    return is_running && now != 0 && now != process;
  }));
  CHECK(host.events["Crashed"] == 1);
  host.check_removed(spec);
}

TEST_CASE("a machine that cannot start says why, and removing it leaves nothing") {
  RealHost host;
  auto spec = host.spec();
  spec.nics[0].device = compute::Tap{"no-such-tap"};
  const auto failed = host.host->apply(spec);
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().message().find("machine web-1: start: ") == 0);
  CHECK(failed.error().message().find('\n') == std::string::npos);
  const auto status = host.host->status(spec.uid).value();
  CHECK(status.state == MachineState::pending);
  CHECK(status.message == failed.error().message());
  host.check_removed(spec);
}

}  // namespace ironcore::tests
