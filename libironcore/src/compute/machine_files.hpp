// SPDX-License-Identifier: Apache-2.0
// Where a machine's files are, who may read them, and how they come and go.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/base/uid.hpp"
#include "ironcore/compute/hypervisor.hpp"
#include "ironcore/image/disk_file.hpp"
#include "machine_record.hpp"

namespace ironcore::compute {

///   <root>/machines/<uid>/            0711: QEMU's own user passes through, nobody lists it
///     record.json                     0600
///     disks/<name>.{raw,qcow2}        0600, handed to QEMU's user by the hypervisor while it runs
///     boot/{kernel,initramfs}         copies: the hypervisor changes their owner, the image cache must stay ours
///     logs/console.log{,.0,.1,.2}     virtlogd keeps three old ones
///     agent                         the guest agent's socket, of a session; short, because sockets' paths are limited
///   <root>/rbd.conf                   0644, for librados in QEMU
///   <root>/secrets/<uid>/             0711
///     ignition                        0400, owned by QEMU's user
class MachineFiles {
 public:
  MachineFiles(const std::filesystem::path& root, const Uid& uid);

  /// Makes what all machines share below `root`, and refuses a place that QEMU's user could not reach.
  static Result<void> make_root(const std::filesystem::path& root, std::optional<Hypervisor::FileOwner> owner);
  /// What librados of all machines here is told.
  static std::filesystem::path rbd_settings(const std::filesystem::path& root) { return root / "rbd.conf"; }
  /// Machines that have a directory or secrets.
  static Result<std::vector<Uid>> machines(const std::filesystem::path& root);

  Result<void> make();
  /// Whether a directory or a secret of this machine exists.
  bool is_anything_left() const;

  /// Nothing if there is none. A damaged one is an error.
  Result<std::optional<MachineRecord>> load() const;
  Result<void> save(const MachineRecord& record) const;

  struct DiskFile {
    std::filesystem::path path;
    image::DiskFormat format;
  };
  std::optional<DiskFile> find_disk(std::string_view name) const;
  DiskFile new_disk(std::string_view name, image::DiskFormat format) const;
  /// Names of all disks that have a file.
  Result<std::vector<std::string>> disks() const;
  Result<void> remove_disk(std::string_view name) const;

  std::filesystem::path console_log() const { return directory_ / "logs" / "console.log"; }
  /// For logs that the hypervisor does not rotate itself, and a no-op where it keeps them below `limit`, as virtlogd does.
  /// Moves the content to `console.log.0` once there are more than `limit` bytes. QEMU keeps the file open for appending, so it
  /// is emptied, not replaced; what the guest prints in that instant can be lost.
  Result<void> rotate_log(std::size_t limit) const;
  /// At most `limit` bytes from the end of old and new logs.
  Result<std::string> read_log(std::size_t limit) const;

  std::filesystem::path agent_socket() const { return directory_ / "agent"; }
  std::filesystem::path kernel() const { return directory_ / "boot" / "kernel"; }
  std::filesystem::path initramfs() const { return directory_ / "boot" / "initramfs"; }
  /// Made anew before each start and therefore not synced.
  Result<void> copy_boot_file(const std::filesystem::path& from, const std::filesystem::path& to) const;

  std::filesystem::path ignition() const { return secrets_ / "ignition"; }
  Result<void> write_ignition(std::string_view content, std::optional<Hypervisor::FileOwner> owner) const;

  Result<void> remove_disks() const;
  Result<void> remove_directory() const;
  Result<void> remove_secrets() const;

 private:
  std::filesystem::path directory_;
  std::filesystem::path secrets_;
};

}  // namespace ironcore::compute
