// SPDX-License-Identifier: Apache-2.0
// The process dies between any two steps of a machine's life, file operations included, and the next one repairs it.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <set>

#include "sim_host.hpp"

namespace {

/// Counts what changes the world. After `limit` of them the process counts as dead: nothing it does has an effect any
/// more, until the test lets another one live. The functions of the C library below ask it before each change.
struct Fuse {
  bool is_armed = false;
  bool is_dead = false;
  long limit = 0;
  long steps = 0;

  bool step() {
    if (!is_armed) return true;
    if (is_dead) return false;
    if (steps++ < limit) return true;
    is_dead = true;
    return false;
  }
};
Fuse fuse;

int refused() {
  errno = EIO;
  return -1;
}

template <class... Arguments>
int change(long call, Arguments... arguments) {
  return fuse.step() ? static_cast<int>(::syscall(call, arguments...)) : refused();
}

int open_file(int directory, const char* path, int flags, mode_t mode) {
  const bool is_change = (flags & (O_CREAT | O_TRUNC)) != 0;
  if (is_change && !fuse.step()) return refused();
  return static_cast<int>(::syscall(SYS_openat, directory, path, flags, mode));
}

}  // namespace

// These take the place of the C library's functions in this program, also for the standard library.
extern "C" {
// With 64-bit offsets, which the build asks for, this is open64.
int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_file(AT_FDCWD, path, flags, mode);
}
ssize_t write(int fd, const void* bytes, size_t count) {
  if (fd > 2 && !fuse.step()) return refused();
  return ::syscall(SYS_write, fd, bytes, count);
}
ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  return fuse.step() ? ::syscall(SYS_pwrite64, fd, bytes, count, offset) : refused();
}
ssize_t copy_file_range(int in, off64_t* from, int out, off64_t* to, size_t count, unsigned flags) {
  return fuse.step() ? ::syscall(SYS_copy_file_range, in, from, out, to, count, flags) : refused();
}
int ftruncate64(int fd, off64_t size) noexcept {
  return change(SYS_ftruncate, fd, size);
}
int truncate64(const char* path, off64_t size) noexcept {
  return change(SYS_truncate, path, size);
}
int mkdir(const char* path, mode_t mode) noexcept {
  return change(SYS_mkdir, path, mode);
}
int chmod(const char* path, mode_t mode) noexcept {
  return change(SYS_chmod, path, mode);
}
int fchmod(int fd, mode_t mode) noexcept {
  return change(SYS_fchmod, fd, mode);
}
int rename(const char* from, const char* to) noexcept {
  return change(SYS_rename, from, to);
}
int link(const char* from, const char* to) noexcept {
  return change(SYS_link, from, to);
}
int unlink(const char* path) noexcept {
  return change(SYS_unlink, path);
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  return change(SYS_unlinkat, directory, path, flags);
}
int rmdir(const char* path) noexcept {
  return change(SYS_rmdir, path);
}
// Syncing is a step at which one can die, but here nobody pulls the plug: no need to wait for the disk.
int fsync(int) {
  return fuse.step() ? 0 : refused();
}
int fdatasync(int) {
  return fuse.step() ? 0 : refused();
}
}

namespace ironcore::tests {

using namespace std::chrono_literals;
using compute::MachineSpec;
using compute::MachineStatus;

namespace {

/// A machine's whole life, one wish after the other.
struct Chapter {
  const char* name;
  std::function<Result<MachineStatus>(SimHost&, const MachineSpec&)> step;
  std::function<bool(SimHost&, const MachineSpec&, const MachineStatus&)> is_reached;
  std::uint64_t starts;  // of a process, in all, when it is reached
};

Result<MachineStatus> apply(SimHost& host, const MachineSpec& spec) {
  return host.host->apply(spec);
}

compute::Disk on_ceph(const std::string& name, const std::string& device) {
  compute::Disk disk;
  disk.name = name;
  disk.device = device;
  disk.source = compute::RbdImage{
      .monitors = {"10.0.0.1:6789"}, .pool = "pool", .space = "tenant", .image = name, .user = "user"};
  disk.size_bytes = std::uint64_t{1} << 30;
  disk.secrets.key = "a key";
  return disk;
}

std::vector<std::pair<MachineSpec, Chapter>> life(const SimHost& host) {
  std::vector<std::pair<MachineSpec, Chapter>> out;
  const auto is_running = [](SimHost&, const MachineSpec& spec, const MachineStatus& status) {
    return status.state == MachineState::running && status.disks.size() == spec.disks.size() &&
           status.nics.size() == spec.nics.size() && status.reboot_token == spec.reboot_token;
  };
  auto spec = host.spec();
  spec.ignition = "{}";
  spec.disks.push_back({"data", "vdb", "", compute::LocalDisk{1 << 20}});
  spec.disks.push_back(on_ceph("volume", "vdd"));
  out.push_back({spec, {"create", apply, is_running, 1}});
  // A guest that is still booting hears nothing.
  out.push_back(
      {spec,
       {"boot", apply,
        [](SimHost& on, const MachineSpec& of, const MachineStatus&) { return on.inside(of.uid).has_booted; }, 1}});
  auto more = spec;
  more.disks.push_back({"extra", "vdc", "", compute::LocalDisk{1 << 20, host.image}});
  more.disks.push_back(on_ceph("another", "vde"));
  more.nics.push_back({"second", {}, compute::UserNetwork{}});
  out.push_back({more, {"plug", apply, is_running, 1}});
  out.push_back({spec, {"unplug", apply, is_running, 1}});
  spec.disks[2].size_bytes *= 2;
  spec.disks[2].secrets.key = "another key";
  out.push_back({spec,
                 {"grow", apply,
                  [](SimHost& on, const MachineSpec& of, const MachineStatus& status) {
                    return on.inside(of.uid).sizes.at("volume") == of.disks[2].size_bytes &&
                           std::any_of(status.disks.begin(), status.disks.end(),
                                       [](const auto& disk) { return !disk.notice.empty(); });
                  },
                  1}});
  spec.reboot_token = "1";
  out.push_back({spec, {"reboot", apply, is_running, 2}});
  out.push_back(
      {spec,
       {"boot again", apply,
        [](SimHost& on, const MachineSpec& of, const MachineStatus&) { return on.inside(of.uid).has_booted; }, 2}});
  spec.power = Power::off;
  out.push_back({spec,
                 {"power off", apply,
                  [](SimHost&, const MachineSpec&, const MachineStatus& status) {
                    return status.state == MachineState::shutdown;
                  },
                  2}});
  spec.power = Power::on;
  std::get<compute::LocalDisk>(spec.disks[0].source).size_bytes = 16 << 20;
  out.push_back({spec, {"power on", apply, is_running, 3}});
  out.push_back({spec,
                 {"remove", [](SimHost& on, const MachineSpec& of) { return on.host->remove(of.uid, 1min); },
                  [](SimHost&, const MachineSpec&, const MachineStatus& status) {
                    return status.state == MachineState::terminated;
                  },
                  3}});
  return out;
}

void check_invariants(SimHost& host, const MachineSpec& spec, const Chapter& chapter) {
  REQUIRE(host.hypervisor.domains()->size() <= 1);
  const auto inside = host.hypervisor.inside(spec.uid);
  if (!inside) return;
  REQUIRE(inside->starts <= chapter.starts);
  for (const auto& disk : inside->disks) {
    if (!disk.rbd) REQUIRE_MESSAGE(std::filesystem::exists(disk.path), disk.path);
  }
  // What the guest has not let go of can still be opened again.
  for (const auto& [name, secrets] : inside->opened) REQUIRE(inside->secrets.contains(name));
}

/// Lives through everything; `lives` says after how many steps each process dies. The last one does not die. Returns
/// whether all of them died.
bool live(const std::vector<long>& lives) {
  SimHost host;
  host.hypervisor.set_faults([](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    using When = sim::Hypervisor::Fault::When;
    const Error dead(ErrorCode::unavailable, "nobody hears the answer");
    const bool is_looking = call.name == "domain" || call.name == "domains";
    if (is_looking) return fuse.is_dead ? std::optional(sim::Hypervisor::Fault{dead, When::before}) : std::nullopt;
    if (!fuse.step()) return sim::Hypervisor::Fault{dead, When::before};
    if (!fuse.step()) return sim::Hypervisor::Fault{dead, When::after};
    return std::nullopt;
  });
  std::size_t life_number = 0;
  fuse = {true, false, lives.empty() ? 0 : lives[0], 0};
  for (const auto& step : life(host)) {
    const auto& spec = step.first;
    const auto& chapter = step.second;
    INFO("chapter " << chapter.name);
    bool is_reached = false;
    for (int i = 0; i < 200 && !is_reached; ++i) {
      fuse.is_armed = life_number < lives.size();
      const auto status = chapter.step(host, spec);
      const bool has_died = fuse.is_dead;
      fuse.is_armed = fuse.is_dead = false;
      if (has_died) {
        host.restart();
        ++life_number;
        fuse.steps = 0;
        if (life_number < lives.size()) fuse.limit = lives[life_number];
      } else {
        REQUIRE_MESSAGE(status.has_value(), status.error().message());
        is_reached = chapter.is_reached(host, spec, *status);
      }
      check_invariants(host, spec, chapter);
      if (!is_reached) host.clock.advance(1s);
    }
    REQUIRE(is_reached);
    const auto inside = host.hypervisor.inside(spec.uid);
    if (!inside) continue;
    REQUIRE(inside->starts == chapter.starts);
    for (const auto& [name, secrets] : inside->secrets) REQUIRE_MESSAGE(inside->opened.contains(name), name);
  }
  CHECK(host.hypervisor.domains()->empty());
  CHECK(host.hypervisor.secret_owners()->empty());
  CHECK(std::filesystem::is_empty(host.directory.path() / "state" / "machines"));
  CHECK(std::filesystem::is_empty(host.directory.path() / "state" / "secrets"));
  return life_number == lives.size();
}

}  // namespace

TEST_CASE("a crash at every single step is repaired by the next process") {
  long step = 0;
  for (; step < 10000; ++step) {
    INFO("the process dies after " << step << " steps");
    if (!live({step})) break;
  }
  MESSAGE("lived through " << step << " crashes");
  CHECK(step > 100);
  CHECK(step < 10000);
}

TEST_CASE("several crashes in one life are repaired as well") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(seed);
    std::vector<long> lives;
    for (int i = 0; i < 8; ++i) lives.push_back(static_cast<long>(random() % 60));
    live(lives);
  }
}

}  // namespace ironcore::tests
