// SPDX-License-Identifier: Apache-2.0
// Machines come to be, keep running and go, on the simulated hypervisor.
#include "ironcore/compute/host.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "ironcore/base/file.hpp"
#include "ironcore/image/disk_file.hpp"
#include "sim_host.hpp"

namespace ironcore::tests {

using namespace std::chrono_literals;

namespace {

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

void check_nothing_left(SimHost& host, const Uid& uid) {
  CHECK(host.hypervisor.domain(uid).has_error());
  CHECK_FALSE(std::filesystem::exists(host.machine_directory(uid)));
  CHECK(std::filesystem::is_empty(host.directory.path() / "state" / "secrets"));
}

}  // namespace

TEST_CASE("a new machine runs with its disk and its NIC, and applying it again changes nothing") {
  SimHost host;
  auto spec = host.spec();
  spec.hostname = "web-1.example";
  spec.labels = {{"team", "a"}};
  const auto status = host.run(spec);
  CHECK(status.message.empty());
  REQUIRE(status.disks.size() == 1);
  CHECK(status.disks[0].name == "root");
  CHECK(status.disks[0].state == compute::DeviceStatus::State::attached);
  CHECK(status.disks[0].size_bytes == 8 << 20);
  CHECK(status.disks[0].handle == compute::derived_handle(spec.uid, "root"));
  REQUIRE(status.nics.size() == 1);
  CHECK(status.nics[0].mac == compute::derived_mac(spec.uid, "net").to_text());
  CHECK(status.nics[0].state == compute::DeviceStatus::State::attached);
  CHECK(host.events == std::map<std::string, int>{{"PullingImage", 1}, {"ImagePullSucceeded", 1}, {"Started", 1}});

  const auto inside = host.inside(spec.uid);
  CHECK(inside.definition.title == "web-1");
  CHECK(inside.definition.hostname == "web-1.example");
  CHECK(inside.definition.labels == spec.labels);
  REQUIRE(inside.disks.size() == 1);
  CHECK(inside.disks[0].target == "vda");
  CHECK(inside.disks[0].serial == "vda-" + compute::derived_handle(spec.uid, "root"));
  CHECK(inside.disks[0].serial.size() == 20);
  CHECK(inside.disks[0].format == "qcow2");

  int defines = 0;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name != "domain") ++defines;
    return std::nullopt;
  });
  for (int i = 0; i < 3; ++i) CHECK(host.apply(spec).state == MachineState::running);
  CHECK(defines == 0);
  CHECK(host.inside(spec.uid).starts == 1);
}

TEST_CASE("files of a machine are for nobody but the hypervisor") {
  SimHost host;
  auto spec = host.spec();
  spec.ignition = R"({"secret":"x"})";
  host.run(spec);
  const auto directory = host.machine_directory(spec.uid);
  CHECK(mode_of(host.directory.path() / "state" / "machines") == 0711);
  CHECK(mode_of(directory) == 0711);
  CHECK(mode_of(directory / "disks") == 0711);
  CHECK(mode_of(directory / "disks" / "root.qcow2") == 0600);
  CHECK(mode_of(directory / "record.json") == 0600);
  CHECK(mode_of(host.directory.path() / "state" / "secrets") == 0711);
  const auto ignition = host.inside(spec.uid).definition.ignition;
  CHECK(ignition == host.directory.path() / "state" / "secrets" / spec.uid.to_text() / "ignition");
  CHECK(mode_of(ignition) == 0400);
  CHECK(read_file(ignition, 1000).value() == spec.ignition);
  CHECK(read_file(directory / "record.json", 100000).value().find("secret") == std::string::npos);

  SUBCASE("a machine that has no ignition any more keeps no copy of it") {
    spec.power = Power::off;
    host.reach(spec, MachineState::shutdown);
    spec.power = Power::on;
    spec.ignition.clear();
    host.run(spec);
    CHECK_FALSE(std::filesystem::exists(ignition));
  }
}

TEST_CASE("every wrong field of a spec is named") {
  SimHost host;
  compute::MachineSpec spec;
  spec.vcpus = 0;
  spec.name = "two\nlines";
  spec.disks.push_back({"", "sda", std::string(21, 'x'), compute::LocalDisk{}});
  spec.disks.push_back({"a", "vda", "<&>", compute::ExistingDisk{"relative", "vmdk"}});
  spec.disks.push_back({"a", "vda", "", compute::LocalDisk{}});
  spec.nics.push_back({std::string(64, 'n'), MacAddress::parse("01:00:00:00:00:01").value(), compute::Tap{"bad/name"}});
  spec.nics.push_back({"p", {}, compute::PciDevice{"3b:02.1"}});
  spec.nics.push_back({"v", {}, compute::VhostUser{"socket"}});
  spec.nics.push_back({"l", {}, compute::LibvirtNetwork{""}});
  spec.kernel = compute::KernelBoot{"", "a\nb"};
  spec.hostname = "a\nb";
  spec.shutdown_grace = -1s;
  const auto result = host.host->apply(spec);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code() == ErrorCode::invalid);
  std::vector<std::string> fields;
  const Error error = result.error();
  for (const auto& field : error.fields()) fields.push_back(field.field);
  const std::vector<std::string> expected{"uid",
                                          "name",
                                          "vcpus",
                                          "memory_bytes",
                                          "disks[0].name",
                                          "disks[0].device",
                                          "disks[0].serial",
                                          "disks[1].serial",
                                          "disks[1].source.path",
                                          "disks[1].source.format",
                                          "disks[2].name",
                                          "disks[2].device",
                                          "nics[0].name",
                                          "nics[0].mac",
                                          "nics[0].device.interface",
                                          "nics[1].device.address",
                                          "nics[2].device.socket",
                                          "nics[3].device.network",
                                          "kernel.image",
                                          "kernel.command_line",
                                          "hostname",
                                          "shutdown_grace"};
  CHECK(fields == expected);
  CHECK(std::filesystem::is_empty(host.directory.path() / "state" / "machines"));
}

TEST_CASE("a machine whose image is missing or unfit waits and says why") {
  SimHost host;
  auto spec = host.spec();
  SUBCASE("no such layout") {
    std::get<compute::LocalDisk>(spec.disks[0].source).image = "oci:" + (host.directory.path() / "absent").string();
    const auto result = host.host->apply(spec);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == ErrorCode::not_found);
  }
  SUBCASE("a qcow2 file as root disk, which could name other files of the host") {
    const auto image =
        make_image(host.directory.path() / "evil", {.rootfs = std::string("QFI\xfb", 4) + std::string(1000, 'x')});
    std::get<compute::LocalDisk>(spec.disks[0].source).image = image;
    const auto result = host.host->apply(spec);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == ErrorCode::unsupported);
  }
  SUBCASE("an image without a root disk") {
    const auto image = make_image(host.directory.path() / "kernel", {.kernel = "k"});
    std::get<compute::LocalDisk>(spec.disks[0].source).image = image;
    const auto result = host.host->apply(spec);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == ErrorCode::invalid);
  }
  const auto status = host.host->status(spec.uid);
  REQUIRE(status.has_value());
  CHECK(status->state == MachineState::pending);
  CHECK(status->message.find("machine web-1: disk root: ") == 0);
  CHECK(host.remove(spec.uid).state == MachineState::terminated);
  check_nothing_left(host, spec.uid);
}

TEST_CASE("a machine boots a kernel from an image, from a copy that the hypervisor may own") {
  SimHost host;
  auto spec = host.spec();
  spec.disks.clear();
  const auto image = make_image(host.directory.path() / "kernel",
                                {.kernel = "the kernel", .initramfs = "the initramfs", .command_line = "quiet"});
  spec.kernel = compute::KernelBoot{image, "ro"};
  host.run(spec);
  const auto kernel = host.inside(spec.uid).definition.kernel;
  REQUIRE(kernel);
  CHECK(kernel->command_line == "quiet ro");
  CHECK(kernel->kernel.parent_path() == host.machine_directory(spec.uid) / "boot");
  CHECK(read_file(kernel->kernel, 100).value() == "the kernel");
  CHECK(read_file(kernel->initramfs, 100).value() == "the initramfs");
  CHECK(host.remove(spec.uid, 0s).state == MachineState::terminated);
  check_nothing_left(host, spec.uid);
}

TEST_CASE("a disk has the larger of image and wish, an empty one 500 MiB unless told otherwise, and disks only grow") {
  SimHost host;
  auto spec = host.spec();
  spec.disks[0].source = compute::LocalDisk{0, host.image};
  spec.disks.push_back({"small", "vdb", "", compute::LocalDisk{4096, host.image}});
  spec.disks.push_back({"empty", "vdc", "", compute::LocalDisk{}});
  spec.disks.push_back({"odd", "vdd", "", compute::LocalDisk{1000}});
  auto status = host.run(spec);
  std::map<std::string, std::uint64_t> sizes;
  for (const auto& disk : status.disks) sizes[disk.name] = disk.size_bytes;
  CHECK(sizes == std::map<std::string, std::uint64_t>{
                     {"root", 1 << 20}, {"small", 1 << 20}, {"empty", 500u << 20}, {"odd", 1024}});

  std::get<compute::LocalDisk>(spec.disks[0].source).size_bytes = 64 << 20;
  std::get<compute::LocalDisk>(spec.disks[2].source).size_bytes = 1 << 20;
  status = host.apply(spec);
  CHECK(status.disks[2].size_bytes == 64 << 20);
  CHECK(status.disks[0].size_bytes == 500u << 20);
  CHECK(status.message.find("disks only grow") != std::string::npos);
  // What is no whole number of sectors is rounded up, which is no wish to shrink.
  auto rounded = spec;
  std::get<compute::LocalDisk>(rounded.disks[0].source).size_bytes = (64u << 20) - 100;
  std::get<compute::LocalDisk>(rounded.disks[1].source).size_bytes = 1 << 20;
  std::get<compute::LocalDisk>(rounded.disks[2].source).size_bytes = (500u << 20) - 100;
  CHECK(host.apply(rounded).message.find("disks only grow") == std::string::npos);
  CHECK(host.events["DiskResized"] == 1);

  spec.power = Power::off;
  host.reach(spec, MachineState::shutdown);
  std::get<compute::LocalDisk>(spec.disks[0].source).size_bytes = 128 << 20;
  CHECK(host.apply(spec).disks[2].size_bytes == 128 << 20);
}

TEST_CASE("disks and NICs of a running machine follow the spec, and a disk's file stays until the guest lets go") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  spec.disks.push_back({"data/1", "vdb", "", compute::LocalDisk{1 << 20}});
  spec.nics.push_back({"second", {}, compute::Tap{"tap7"}});
  auto status = host.apply(spec);
  CHECK(status.state == MachineState::running);
  CHECK(status.disks.size() == 2);
  CHECK(host.inside(spec.uid).disks.size() == 2);
  CHECK(host.inside(spec.uid).nics.size() == 2);
  const auto file = host.inside(spec.uid).disks[1].path;
  CHECK(std::filesystem::exists(file));

  sim::Guest stubborn;
  stubborn.releases_devices = false;
  host.hypervisor.set_guest(spec.uid, stubborn);
  spec.disks.pop_back();
  spec.nics.pop_back();
  status = host.apply(spec);
  CHECK(status.state == MachineState::running);
  CHECK(status.disks.size() == 2);
  CHECK(status.message.find("waiting for the guest to release") == 0);
  REQUIRE(status.next_check);
  CHECK(*status.next_check <= host.clock.now() + 10s);
  host.clock.advance(1min);
  CHECK(host.apply(spec).disks.size() == 2);
  CHECK(std::filesystem::exists(file));

  host.hypervisor.set_guest(spec.uid, {});
  host.clock.advance(20s);  // asked twice in vain: the pause has doubled
  host.apply(spec);
  host.clock.advance(1s);
  status = host.apply(spec);
  CHECK(status.disks.size() == 1);
  CHECK(status.nics.size() == 1);
  CHECK(status.message.empty());
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK(host.events["AttachVolumeSucceeded"] == 1);
  CHECK(host.events["DetachVolumeSucceeded"] == 1);
  CHECK(host.events["AttachNICSucceeded"] == 1);
  CHECK(host.events["DetachNICSucceeded"] == 1);
  CHECK(host.inside(spec.uid).definition.disks.size() == 1);
  CHECK(host.inside(spec.uid).starts == 1);
}

TEST_CASE("a device whose source changes under the same name is exchanged") {
  SimHost host;
  auto spec = host.spec();
  for (const char* name : {"one", "two"}) std::ofstream(host.directory.path() / name) << std::string(4096, 'x');
  spec.disks.push_back({"data", "vdb", "", compute::ExistingDisk{host.directory.path() / "one"}});
  host.run(spec);
  spec.disks[1].source = compute::ExistingDisk{host.directory.path() / "two"};
  spec.nics[0].device = compute::Tap{"tap1"};
  host.apply(spec);
  host.clock.advance(1s);
  host.apply(spec);
  const auto inside = host.inside(spec.uid);
  REQUIRE(inside.disks.size() == 2);
  CHECK(inside.disks[1].path == host.directory.path() / "two");
  REQUIRE(inside.nics.size() == 1);
  CHECK(std::holds_alternative<compute::Tap>(inside.nics[0].device));
  CHECK(host.remove(spec.uid, 0s).state == MachineState::terminated);
  CHECK(std::filesystem::exists(host.directory.path() / "one"));
  CHECK(std::filesystem::exists(host.directory.path() / "two"));
}

TEST_CASE("one disk that cannot be had does not keep the others waiting") {
  SimHost host;
  auto spec = host.spec();
  host.run(spec);
  spec.disks.push_back({"absent", "vdb", "", compute::ExistingDisk{host.directory.path() / "absent"}});
  spec.disks.push_back({"data", "vdc", "", compute::LocalDisk{1 << 20}});
  const auto result = host.host->apply(spec);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code() == ErrorCode::not_found);
  CHECK(host.inside(spec.uid).disks.size() == 2);
  const auto status = host.host->status(spec.uid).value();
  CHECK(status.state == MachineState::running);
  REQUIRE(status.disks.size() == 3);
  CHECK(status.disks[0].name == "absent");
  CHECK(status.disks[0].state == compute::DeviceStatus::State::pending);
  CHECK(status.disks[1].state == compute::DeviceStatus::State::attached);
  CHECK(status.message.find("absent") != std::string::npos);
}

TEST_CASE("removing leaves nothing, and removing what never was succeeds") {
  SimHost host;
  auto spec = host.spec();
  spec.ignition = "{}";
  CHECK(host.remove(spec.uid).state == MachineState::terminated);
  host.run(spec);
  auto status = host.remove(spec.uid);
  CHECK(status.state == MachineState::terminating);
  CHECK(std::filesystem::exists(host.inside(spec.uid).disks[0].path));
  status = host.until([&] { return host.remove(spec.uid); }, MachineState::terminated, 10s);
  CHECK(host.events["ShutdownTriggered"] == 1);
  CHECK(host.events["MachineDeletionSucceeded"] == 1);
  CHECK(host.events["ShutdownForced"] == 0);
  check_nothing_left(host, spec.uid);
  CHECK(host.remove(spec.uid).state == MachineState::terminated);
  CHECK(host.host->status(spec.uid)->state == MachineState::terminated);
}

TEST_CASE("removing a machine whose guest does not listen takes the grace period, without grace no time") {
  SimHost host;
  const auto spec = host.spec();
  sim::Guest deaf;
  deaf.has_agent = false;
  deaf.heeds_power_button = false;
  host.hypervisor.set_guest(spec.uid, deaf);
  host.run(spec);
  Duration grace = 0s;
  SUBCASE("with grace") {
    grace = 1min;
    const auto start = host.clock.now();
    host.until([&] { return host.remove(spec.uid, grace); }, MachineState::terminated);
    CHECK(host.clock.now() - start == grace);
    CHECK(host.events["ShutdownForced"] == 1);
  }
  SUBCASE("without") {
    CHECK(host.remove(spec.uid, grace).state == MachineState::terminated);
  }
  check_nothing_left(host, spec.uid);
}

TEST_CASE("another process adopts what runs: nothing is defined, started or stopped") {
  SimHost host;
  auto spec = host.spec();
  spec.reboot_token = "first";
  host.run(spec);
  const auto before = host.hypervisor.domain(spec.uid).value();
  host.restart();
  std::vector<std::string> calls;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name != "domain") calls.emplace_back(call.name);
    return std::nullopt;
  });
  const auto status = host.apply(spec);
  CHECK(status.state == MachineState::running);
  CHECK(status.reboot_token == "first");
  CHECK(status.disks[0].size_bytes == 8 << 20);
  CHECK(calls.empty());
  CHECK(host.hypervisor.domain(spec.uid)->process == before.process);
  CHECK(host.inside(spec.uid).boots == 1);

  SUBCASE("also when its record is lost or damaged") {
    const auto record = host.machine_directory(spec.uid) / "record.json";
    SUBCASE("lost") {
      std::filesystem::remove(record);
    }
    SUBCASE("damaged") {
      std::ofstream(record) << "{\"version\":1,\"wish\":7";
    }
    SUBCASE("of a wrong type") {
      std::ofstream(record) << R"({"version":1,"wish":7})";
    }
    host.restart();
    CHECK(host.apply(spec).state == MachineState::running);
    CHECK(host.hypervisor.domain(spec.uid)->process == before.process);
    CHECK(host.inside(spec.uid).boots == 1);
    CHECK(host.inside(spec.uid).definition.disks[0].backing.string().find("/images/") != std::string::npos);
  }
}

TEST_CASE("domains for which nobody gave a spec are reported") {
  SimHost host;
  const auto mine = host.spec();
  const auto lost = host.spec();
  host.run(mine);
  host.run(lost);
  const auto orphans = host.host->orphans({mine.uid}).value();
  REQUIRE(orphans.size() == 1);
  CHECK(orphans[0].uid == lost.uid);
  CHECK(orphans[0].name == "web-1");
  CHECK(orphans[0].state == compute::DomainState::running);
  CHECK(host.host->orphans({mine.uid, lost.uid})->empty());

  // Files without a domain: of a machine whose removal was cut short, and of one that left only a secret.
  REQUIRE(host.hypervisor.destroy(lost.uid).has_value());
  REQUIRE(host.hypervisor.undefine(lost.uid).has_value());
  const auto secret = Uid::random();
  std::filesystem::create_directory(host.directory.path() / "state" / "secrets" / secret.to_text());
  const auto left = host.host->orphans({mine.uid}).value();
  REQUIRE(left.size() == 2);
  CHECK(left[0].uid == lost.uid);
  CHECK(left[0].state == compute::DomainState::shut_off);
  CHECK(left[1].uid == secret);
  CHECK(left[1].name == secret.to_text());
  for (const auto& orphan : left) CHECK(host.remove(orphan.uid).state == MachineState::terminated);
  CHECK(host.host->orphans({mine.uid})->empty());
}

TEST_CASE("images can be reached by QEMU's user whatever the umask is") {
  const mode_t before = ::umask(077);
  SimHost host;
  ::umask(before);
  for (const char* name : {"machines", "secrets", "images", "images/blobs", "images/blobs/sha256"}) {
    struct stat status {};
    REQUIRE(::stat((host.directory.path() / "state" / name).c_str(), &status) == 0);
    CHECK_MESSAGE((status.st_mode & 0777) == 0711, name);
  }
}

TEST_CASE("a hostname cannot carry an option for QEMU") {
  SimHost host;
  auto spec = host.spec();
  for (const char* name : {",file=/etc/shadow", "a b", "-a", "a.", "\xc3\xa4"}) {
    spec.hostname = name;
    const auto result = host.host->apply(spec);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().fields().front().field == "hostname");
  }
  compute::HostOptions options;
  options.directory = host.directory.path() / "a,file=b";
  CHECK(compute::Host::create(host.hypervisor, options, host.clock, host.log).error().code() == ErrorCode::invalid);
}

TEST_CASE("a log that something else rotated is read in its order") {
  SimHost host;
  const auto spec = host.spec();
  host.run(spec);
  const auto logs = host.machine_directory(spec.uid) / "logs";
  for (const char* number : {"0", "1", "2"})
    std::ofstream(logs / (std::string("console.log.") + number)) << "old " << number << '\n';
  CHECK(host.host->console_log(spec.uid, 1000).value() == "old 2\nold 1\nold 0\nironcore guest: ready\n");
  CHECK(host.host->console_log(spec.uid, 30).value() == "1\nold 0\nironcore guest: ready\n");
}

TEST_CASE("the console log is rotated at its size and read from its end") {
  SimHost host;
  host.host.reset();
  compute::HostOptions options;
  options.directory = host.directory.path() / "state";
  options.console_log_bytes = 1000;
  host.host = compute::Host::create(host.hypervisor, options, host.clock, host.log).value();
  const auto spec = host.spec();
  host.run(spec);
  CHECK(host.host->console_log(spec.uid, 1000).value() == "ironcore guest: ready\n");
  CHECK(host.host->console_log(spec.uid, 6).value() == "ready\n");
  CHECK(host.hypervisor.guest_prints(spec.uid, std::string(1200, 'a')).has_value());
  host.apply(spec);
  CHECK(host.hypervisor.guest_prints(spec.uid, "bbb").has_value());
  CHECK(host.host->console_log(spec.uid, 10).value() == "aaaaaaabbb");
  CHECK(host.host->console_log(spec.uid, 100000).value() == std::string(1000, 'a') + "bbb");
  CHECK(std::filesystem::file_size(host.machine_directory(spec.uid) / "logs" / "console.log") == 3);
  CHECK(host.host->console_log(Uid::random(), 100).value().empty());
}

TEST_CASE("changes are reported by machine, and after a reconnect everything is to be looked at") {
  SimHost host;
  const auto spec = host.spec();
  std::vector<Uid> changed;
  host.host->on_change([&](const Uid& uid) { changed.push_back(uid); });
  host.run(spec);
  CHECK(std::count(changed.begin(), changed.end(), spec.uid) >= 2);
  changed.clear();
  host.hypervisor.disconnect();
  const auto failed = host.host->apply(spec);
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().code() == ErrorCode::unavailable);
  host.hypervisor.reconnect();
  host.clock.advance(0s);
  CHECK(changed == std::vector<Uid>{Uid()});
  CHECK(host.apply(spec).state == MachineState::running);
  CHECK(host.inside(spec.uid).starts == 1);
}

TEST_CASE("machines are worked on in parallel, one machine by one call at a time") {
  SimHost host;
  std::vector<compute::MachineSpec> specs;
  for (int i = 0; i < 4; ++i) specs.push_back(host.spec());
  std::vector<int> failures(16, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < failures.size(); ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 5; ++i) failures[t] += !host.host->apply(specs[t % specs.size()]).has_value();
      });
    }
  }
  CHECK(std::count(failures.begin(), failures.end(), 0) == 16);
  for (const auto& spec : specs) CHECK(host.inside(spec.uid).starts == 1);
  CHECK(host.hypervisor.domains()->size() == specs.size());
}

TEST_CASE("capacity leaves something for the host itself") {
  SimHost host;
  const auto capacity = host.host->capacity().value();
  CHECK(capacity.cpus == 8);
  CHECK(capacity.memory_bytes == (std::uint64_t{16} << 30) - (512u << 20));
}

TEST_CASE("a domain that does not start is tried again later each time, and its reason told once") {
  SimHost host;
  auto spec = host.spec();
  int starts = 0;
  host.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name != "start") return std::nullopt;
    ++starts;
    return sim::Hypervisor::Fault{Error(ErrorCode::internal, "no. " + std::to_string(starts))};
  });
  const Instant end = host.clock.now() + 2min;
  while (host.clock.now() < end) {
    if (const auto status = host.host->apply(spec)) {
      host.count(*status);
      CHECK(status->state == MachineState::pending);
      CHECK(status->message.find("did not start (start: no. ") == 0);
    }
    host.clock.advance(250ms);
  }
  CHECK(starts == 6);  // at once, again at once, then after 5, 10, 20 and 40 seconds
  CHECK(host.events["StartFailed"] == 1);
  host.hypervisor.set_faults({});
  host.run(spec);
}

TEST_CASE("a copy of an image goes when the last machine made from it is gone") {
  SimHost host;
  const auto spec = host.spec();
  host.run(spec);
  const auto blobs = host.directory.path() / "state" / "images" / "blobs" / "sha256";
  const auto backing = host.inside(spec.uid).disks[0].backing;
  REQUIRE(backing.parent_path() == blobs);
  host.clock.advance(1h);
  CHECK(host.host->remove_unused_images().has_value());
  CHECK(std::filesystem::exists(backing));
  host.until([&] { return host.remove(spec.uid); }, MachineState::terminated);
  CHECK(host.host->remove_unused_images().value() > 0);
  CHECK(std::filesystem::is_empty(blobs));
}

TEST_CASE("images outside the places that were allowed are refused") {
  SimHost host;
  compute::HostOptions options;
  options.directory = host.directory.path() / "other";
  options.image_roots = {"/usr"};
  const auto strict = compute::Host::create(host.hypervisor, options, host.clock, host.log).value();
  const auto result = strict->apply(host.spec());
  REQUIRE(result.has_error());
  CHECK(result.error().code() == ErrorCode::forbidden);
  CHECK(result.error().message().find("must lie below /usr") != std::string::npos);
}

TEST_CASE("while an image is copied its progress is told") {
  SimHost host;
  const auto spec = host.spec();
  std::vector<std::string> messages, reasons;
  const auto status = host.host->apply(spec, {}, [&](const compute::MachineStatus& so_far) {
    CHECK(so_far.state == MachineState::pending);
    messages.push_back(so_far.message);
    for (const auto& event : so_far.events) reasons.push_back(event.reason);
  });
  REQUIRE(status.has_value());
  REQUIRE_FALSE(messages.empty());
  CHECK(messages[0].find("copying image oci:") == 0);
  CHECK(messages[0].find(" of 1 MiB") != std::string::npos);
  CHECK(reasons == std::vector<std::string>{"PullingImage"});
  for (const auto& event : status->events) CHECK(event.reason != "PullingImage");
}

}  // namespace ironcore::tests
