// SPDX-License-Identifier: Apache-2.0
// Disks, NICs and boot files: made before a start, plugged and unplugged while the guest runs.
#include <algorithm>
#include <set>
#include <utility>

#include "ironcore/crypto/digest.hpp"
#include "machine_driver.hpp"

namespace ironcore::compute {

namespace {

using EventType = MachineEvent::Type;

constexpr std::uint64_t kEmptyDisk = std::uint64_t{500} << 20;
constexpr std::size_t kSerialLimit = 20;
constexpr std::uint64_t kSector = 512;
constexpr Duration kDetachPauseLimit = std::chrono::minutes(5);
constexpr Duration kProgressEvery = std::chrono::seconds(1);
constexpr std::string_view kLocal = "local";

template <class... F>
struct overloaded : F... {
  using F::operator()...;
};
template <class... F>
overloaded(F...) -> overloaded<F...>;

std::string source_of(const Disk& disk) {
  return std::visit(overloaded{
                        [](const LocalDisk&) { return std::string(kLocal); },
                        [](const ExistingDisk& source) { return source.format + ":" + source.path.string(); },
                        [](const RbdImage& source) {
                          return (source.is_encrypted ? "rbd+luks2:" : "rbd:") + source.pool + "/" + source.space +
                                 "/" + source.image;
                        },
                    },
                    disk.source);
}

class Digest {
 public:
  void add(std::string_view text) {
    hasher_.update(std::to_string(text.size()) + ":");
    hasher_.update(text);
  }
  void add(std::uint64_t number) { add(std::to_string(number)); }
  std::string finish() { return hasher_.finish().hex(); }

 private:
  crypto::Hasher hasher_;
};

/// Tells one way to open an image from another, and nothing about it: keys are random and long.
std::string access_of(const Uid& uid, const RbdImage& image, const DiskSecrets& secrets) {
  constexpr std::size_t length = 16;
  Digest digest;
  digest.add(uid.to_text());
  for (const auto& monitor : image.monitors) digest.add(monitor);
  for (const auto& text : {image.user, secrets.key, secrets.passphrase}) digest.add(text);
  return digest.finish().substr(0, length);
}

std::uint64_t whole_sectors(std::uint64_t bytes) {
  return bytes + (kSector - bytes % kSector) % kSector;
}

/// Empty if there are none.
std::string text_of(const DiskLimits& limits) {
  if (limits == DiskLimits{}) return {};
  return std::to_string(limits.iops) + "/" + std::to_string(limits.bytes_per_second) + "/" +
         std::to_string(limits.burst_iops) + "/" + std::to_string(limits.burst_bytes_per_second) + "/" +
         std::to_string(limits.burst.count());
}

std::string source_of(const DomainNic& nic) {
  return std::visit(overloaded{
                        [](const UserNetwork&) { return std::string("user"); },
                        [](const LibvirtNetwork& device) { return "network:" + device.network; },
                        [](const Tap& device) { return "tap:" + device.interface; },
                        [](const VhostUser& device) { return "vhost-user:" + device.socket.string(); },
                        [](const PciDevice& device) { return "pci:" + device.address; },
                    },
                    nic.device);
}

/// Changes whenever anything does that the hypervisor would be told.
std::string digest_of(const DomainSpec& spec) {
  Digest digest;
  const auto add = [&](std::string_view text) { digest.add(text); };
  const auto add_number = [&](std::uint64_t number) { digest.add(number); };
  add(spec.name);
  add(spec.title);
  add_number(spec.vcpus);
  add_number(spec.memory_bytes);
  add_number(static_cast<std::uint64_t>(spec.accelerator));
  add_number(spec.disks.size());
  for (const auto& disk : spec.disks) {
    for (const auto& text :
         {disk.name, disk.target, disk.serial, disk.path.string(), disk.format, disk.backing.string()})
      add(text);
    if (disk.limits != DiskLimits{}) {
      for (const auto number :
           {disk.limits.iops, disk.limits.bytes_per_second, disk.limits.burst_iops, disk.limits.burst_bytes_per_second})
        add_number(number);
      add_number(static_cast<std::uint64_t>(disk.limits.burst.count()));
    }
    if (!disk.rbd) continue;
    for (const auto& text : {disk.rbd->pool, disk.rbd->space, disk.rbd->image, disk.rbd->user}) add(text);
    for (const auto& monitor : disk.rbd->monitors) add(monitor);
    add(disk.rbd->is_encrypted ? "luks2" : "");
    add(disk.rbd_settings.string());
  }
  add_number(spec.nics.size());
  for (const auto& nic : spec.nics) {
    for (const auto& text : {nic.name, nic.mac.to_text(), source_of(nic)}) add(text);
  }
  if (spec.kernel) {
    add(spec.kernel->kernel.string());
    add(spec.kernel->initramfs.string());
    add(spec.kernel->command_line);
  }
  add(spec.console_log.string());
  add(spec.ignition.string());
  add(spec.hostname);
  for (const auto& [key, value] : spec.labels) {
    add(key);
    add(value);
  }
  return digest.finish();
}

}  // namespace

bool MachineDriver::has_disk(const std::string& name) const {
  return domain_ && std::find(domain_->disks.begin(), domain_->disks.end(), name) != domain_->disks.end();
}

bool MachineDriver::has_nic(const std::string& name) const {
  return domain_ && std::find(domain_->nics.begin(), domain_->nics.end(), name) != domain_->nics.end();
}

/// Everything except disks and kernel, which may have to be made first.
DomainSpec MachineDriver::describe(const MachineSpec& spec) const {
  DomainSpec out;
  out.uid = uid_;
  out.name = "ironcore-" + uid_.to_text();
  out.title = spec.name;
  out.vcpus = spec.vcpus;
  out.memory_bytes = spec.memory_bytes;
  out.accelerator = around_.options.accelerator;
  for (const auto& nic : spec.nics) {
    out.nics.push_back({nic.name, nic.mac ? *nic.mac : derived_mac(uid_, nic.name), nic.device});
  }
  out.console_log = files_.console_log();
  out.agent_socket = files_.agent_socket();
  if (!spec.ignition.empty()) out.ignition = files_.ignition();
  out.hostname = spec.hostname;
  out.labels = spec.labels;
  return out;
}

// ---- images and disks ----

void MachineDriver::tell_progress(std::string message) {
  if (progress_ == nullptr) return;
  auto status = report();
  status.message = std::move(message);
  (*progress_)(status);
}

Result<image::CachedImage> MachineDriver::fetch(const std::string& reference, std::stop_token stop) {
  auto parsed = image::Reference::parse(reference);
  if (!parsed) return parsed.error();
  bool is_pulling = false;
  Instant told{};
  auto found = around_.images.ensure(
      *parsed, image::Platform::this_machine(),
      [&](const image::Progress& progress) {
        if (progress.total_bytes == 0) return;
        if (!std::exchange(is_pulling, true)) {
          event(EventType::normal, "PullingImage", "copying and checking image " + reference);
        } else if (around_.clock.now() < told + kProgressEvery) {
          return;
        }
        told = around_.clock.now();
        tell_progress("copying image " + reference + ": " + std::to_string(progress.done_bytes >> 20) + " of " +
                      std::to_string(progress.total_bytes >> 20) + " MiB");
      },
      std::move(stop));
  if (!found) return found.error();
  if (is_pulling) event(EventType::normal, "ImagePullSucceeded", "image " + reference + " is here");
  return found;
}

Result<MachineFiles::DiskFile> MachineDriver::create_disk(const Disk& disk, const LocalDisk& local,
                                                          std::stop_token stop) {
  if (local.image.empty()) {
    const auto file = files_.new_disk(disk.name, image::DiskFormat::raw);
    IRONCORE_CHECK(image::create_raw_disk(file.path, local.size_bytes == 0 ? kEmptyDisk : local.size_bytes));
    return file;
  }
  IRONCORE_TRY(const image::CachedImage image, fetch(local.image, std::move(stop)));
  if (!image.rootfs) {
    return Error(ErrorCode::invalid, "image " + local.image + " has no root disk: use an image with a rootfs layer");
  }
  IRONCORE_TRY(const bool is_qcow2, image::looks_like_qcow2(image.rootfs->path));
  if (is_qcow2) {
    // Taken as qcow2 it could name any file of this host as its parent.
    return Error(ErrorCode::unsupported,
                 "the root disk of image " + local.image +
                     " is a qcow2 file: make the image anew from what `qemu-img convert -O raw` makes of it");
  }
  const auto file = files_.new_disk(disk.name, image::DiskFormat::qcow2);
  IRONCORE_CHECK(
      image::create_overlay_disk(file.path, std::max(local.size_bytes, image.rootfs->size_bytes), image.rootfs->path));
  return file;
}

/// Our own record is believed, the header only as far as it names an image of ours: QEMU can write it.
std::filesystem::path MachineDriver::backing_of(const std::string& name, const MachineFiles::DiskFile& file) const {
  if (file.format != image::DiskFormat::qcow2) return {};
  const auto known = record_.disks.find(name);
  if (known != record_.disks.end() && !known->second.backing.empty()) return known->second.backing;
  const auto found = image::disk_backing(file.path);
  const auto images = (around_.options.directory / "images").string() + "/";
  if (!found || found->string().rfind(images, 0) != 0 || found->lexically_normal() != *found) return {};
  return *found;
}

Result<void> MachineDriver::prepare_local(const Disk& disk, const LocalDisk& local, PreparedDisk& out,
                                          std::stop_token stop) {
  auto file = files_.find_disk(disk.name);
  if (!file) {
    IRONCORE_TRY(file, create_disk(disk, local, std::move(stop)));
  } else if (!has_disk(disk.name)) {
    IRONCORE_CHECK(image::grow_disk(file->path, file->format, std::max<std::uint64_t>(local.size_bytes, 1)));
  }
  out.domain.path = file->path;
  out.domain.format = image::name(file->format);
  out.domain.backing = backing_of(disk.name, *file);
  if (file->format == image::DiskFormat::qcow2 && out.domain.backing.empty()) {
    return Error(ErrorCode::corrupt, file->path.string() + " does not say which image of this host it is based on");
  }
  out.record.backing = out.domain.backing.string();
  out.wished_bytes = whole_sectors(local.size_bytes);
  const auto size = image::disk_size(file->path, file->format);
  if (size) {
    out.record.size_bytes = *size;
  } else if (const auto known = record_.disks.find(disk.name); known != record_.disks.end()) {
    out.record.size_bytes = known->second.size_bytes;  // it belongs to QEMU's user now
  } else {
    return size.error();
  }
  return {};
}

Result<MachineDriver::PreparedDisk> MachineDriver::prepare_disk(const Disk& disk, std::stop_token stop) {
  PreparedDisk out;
  out.record.handle = disk.handle.empty() ? derived_handle(uid_, disk.name) : disk.handle;
  out.domain.name = disk.name;
  out.domain.target = disk.device;
  out.domain.serial =
      disk.serial.empty() ? (disk.device + "-" + out.record.handle).substr(0, kSerialLimit) : disk.serial;
  out.domain.limits = disk.limits;
  out.record.limits = text_of(disk.limits);
  out.record.source = source_of(disk);
  out.wished_bytes = whole_sectors(disk.size_bytes);
  if (const auto* local = std::get_if<LocalDisk>(&disk.source)) {
    IRONCORE_CHECK(prepare_local(disk, *local, out, std::move(stop)));
  } else if (const auto* existing = std::get_if<ExistingDisk>(&disk.source)) {
    out.domain.path = existing->path;
    out.domain.format = existing->format;
    if (disk.handle.empty()) out.record.handle = existing->path.string();
    const auto size =
        image::disk_size(existing->path, image::parse_disk_format(existing->format).value_or(image::DiskFormat::raw));
    if (size) out.record.size_bytes = *size;  // else the hypervisor finds out whether it can open it
  } else {
    const auto& image = std::get<RbdImage>(disk.source);
    out.domain.rbd = image;
    out.domain.rbd_settings = MachineFiles::rbd_settings(around_.options.directory);
    out.record.size_bytes = out.wished_bytes;
    out.record.access = access_of(uid_, image, disk.secrets);
    out.record.has_secrets = true;
    out.secrets = disk.secrets;
  }
  return out;
}

// ---- secrets of disks ----

/// The record says so first: whoever comes after a crash knows that there may be some.
Result<void> MachineDriver::hand_over(const PreparedDisk& disk) {
  if (!disk.record.has_secrets) return {};
  IRONCORE_CHECK(save());
  return within(around_.hypervisor.put_secrets(uid_, disk.domain.name, disk.secrets),
                "hand over what opens disk " + disk.domain.name);
}

Result<void> MachineDriver::take_secrets_back(const std::string& name) {
  const auto known = record_.disks.find(name);
  if (known == record_.disks.end() || !known->second.has_secrets) return {};
  IRONCORE_CHECK(within(around_.hypervisor.remove_secrets(uid_, name), "take back what opened disk " + name));
  known->second.has_secrets = false;
  return {};
}

// ---- while the guest does not run ----

/// Makes all disks and remembers the machine's devices as the spec has them. Nobody holds a disk now, so nobody needs its secrets.
Result<std::vector<MachineDriver::PreparedDisk>> MachineDriver::prepare(const MachineSpec& spec, DomainSpec& domain,
                                                                        std::stop_token stop) {
  std::vector<PreparedDisk> out;
  std::map<std::string, MachineRecord::Disk> disks;
  for (const auto& disk : spec.disks) {
    auto prepared = prepare_disk(disk, stop);
    if (!prepared) return prepared.error().within("disk " + disk.name);
    domain.disks.push_back(prepared->domain);
    disks.emplace(disk.name, prepared->record);
    disks[disk.name].has_secrets = false;
    out.push_back(std::move(*prepared));
  }
  for (const auto& [name, disk] : record_.disks) IRONCORE_CHECK(take_secrets_back(name));
  record_.disks = std::move(disks);
  record_.nics.clear();
  for (const auto& nic : domain.nics) record_.nics[nic.name] = {source_of(nic), nic.mac.to_text()};
  return out;
}

/// The power is off: disks exist, nothing starts. A machine that boots a kernel is defined only when it starts.
Result<void> MachineDriver::prepare_down(const MachineSpec& spec, std::stop_token stop) {
  DomainSpec domain = describe(spec);
  IRONCORE_TRY(const auto disks, prepare(spec, domain, std::move(stop)));
  if (!spec.kernel) IRONCORE_CHECK(define(domain));
  IRONCORE_CHECK(save());
  return remove_stale_disks(spec);
}

Result<void> MachineDriver::prepare_start(const MachineSpec& spec, std::stop_token stop) {
  DomainSpec domain = describe(spec);
  IRONCORE_TRY(const auto disks, prepare(spec, domain, stop));
  if (spec.kernel) IRONCORE_CHECK(add_kernel(*spec.kernel, domain, stop));
  if (!spec.ignition.empty()) IRONCORE_CHECK(files_.write_ignition(spec.ignition, around_.file_owner));
  IRONCORE_CHECK(files_.rotate_log(around_.options.console_log_bytes));
  IRONCORE_CHECK(define(domain));
  if (spec.ignition.empty()) IRONCORE_CHECK(files_.remove_secrets());
  IRONCORE_CHECK(save());
  IRONCORE_CHECK(remove_stale_disks(spec));
  for (const auto& disk : disks) {
    record_.disks[disk.domain.name].has_secrets = disk.record.has_secrets;
    IRONCORE_CHECK(hand_over(disk));
  }
  return {};
}

Result<void> MachineDriver::add_kernel(const KernelBoot& boot, DomainSpec& domain, std::stop_token stop) {
  IRONCORE_TRY(const image::CachedImage image, fetch(boot.image, std::move(stop)));
  if (!image.kernel)
    return Error(ErrorCode::invalid, "image " + boot.image + " has no kernel layer: boot from a disk instead");
  DomainKernel kernel;
  kernel.kernel = files_.kernel();
  kernel.command_line = image.command_line;
  if (!boot.command_line.empty()) kernel.command_line += (kernel.command_line.empty() ? "" : " ") + boot.command_line;
  if (!is_up()) IRONCORE_CHECK(files_.copy_boot_file(image.kernel->path, kernel.kernel));
  if (image.initramfs) {
    kernel.initramfs = files_.initramfs();
    if (!is_up()) IRONCORE_CHECK(files_.copy_boot_file(image.initramfs->path, kernel.initramfs));
  }
  domain.kernel = std::move(kernel);
  return {};
}

Result<void> MachineDriver::define(const DomainSpec& domain) {
  const std::string digest = digest_of(domain);
  // What another process defined is defined again before a start: this program may say the same in better words.
  if (domain_ && record_.defined == digest && (is_up() || memory_.defined_here == digest)) return {};
  IRONCORE_CHECK(within(around_.hypervisor.define(domain), "define"));
  record_.defined = digest;
  memory_.defined_here = digest;
  if (!domain_) return observe();
  return {};
}

/// Files of local disks that the spec has no more and the guest does not hold. Found by looking, so that one which an
/// interrupted call left is found as well.
Result<void> MachineDriver::remove_stale_disks(const MachineSpec& spec) {
  IRONCORE_TRY(const std::vector<std::string> names, files_.disks());
  for (const auto& name : names) {
    const bool is_wanted = std::any_of(spec.disks.begin(), spec.disks.end(), [&](const Disk& disk) {
      return disk.name == name && std::holds_alternative<LocalDisk>(disk.source);
    });
    const auto known = record_.disks.find(name);
    const bool is_held = has_disk(name) && (known == record_.disks.end() || known->second.source == kLocal);
    if (is_wanted || is_held) continue;
    IRONCORE_CHECK(files_.remove_disk(name));
  }
  return {};
}

// ---- while the guest runs ----

/// A guest that does not let go is asked again and again, less and less often, and the operator is told once.
bool MachineDriver::may_ask_detach(const std::string& key, const std::string& what, const char* reason) {
  const Instant now = around_.clock.now();
  const Duration pause = around_.options.shutdown_repeat;
  auto [entry, is_first] = memory_.detaching.try_emplace(key, MachineMemory::Detach{now, now + pause, pause});
  auto& detach = entry->second;
  const bool may = is_first || now >= detach.next;
  if (may && !is_first) {
    detach.pause = std::max(pause, std::min(kDetachPauseLimit, detach.pause * 2));
    detach.next = now + detach.pause;
  }
  message_ = "waiting for the guest to release " + what;
  const Instant late = detach.first + around_.options.detach_patience;
  if (now >= late) {
    const std::string help = "the guest has not released " + what + " within " +
                             to_text(around_.options.detach_patience) +
                             ": stop using it there (unmount it), or switch the power off";
    if (!std::exchange(detach.is_told, true))
      event(EventType::warning, reason, help + "; the guest is asked again from time to time");
    message_ += ", which it has not done for long: stop using it there (unmount it), or switch the power off";
  } else {
    wake(late);
  }
  wake(detach.next);
  return may;
}

Result<void> MachineDriver::unplug_disk(const std::string& name) {
  if (!may_ask_detach("disk/" + name, "disk " + name, "DetachVolumeFailed")) return {};
  return within(around_.hypervisor.detach_disk(uid_, name), "detach disk " + name);
}

Result<void> MachineDriver::unplug_nic(const std::string& name) {
  if (!may_ask_detach("nic/" + name, "NIC " + name, "DetachNICFailed")) return {};
  return within(around_.hypervisor.detach_nic(uid_, name), "detach NIC " + name);
}

/// A disk that the guest has and shall have: only its size and its limits can change.
Result<void> MachineDriver::keep_disk(const PreparedDisk& disk) {
  const std::string& name = disk.domain.name;
  memory_.detaching.erase("disk/" + name);
  const auto known = record_.disks.find(name);
  auto now = disk.record;
  if (known != record_.disks.end()) {
    now.access = known->second.access;
    now.next_access = known->second.next_access;
    now.has_secrets = known->second.has_secrets;
  }
  now.limits = known == record_.disks.end() ? "" : known->second.limits;
  // The file may be larger than what the guest has seen of it so far.
  if (disk.record.source != kLocal && known != record_.disks.end()) {
    now.size_bytes = known->second.size_bytes;
  } else if (disk.record.source != kLocal && disk.wished_bytes != 0) {
    now.size_bytes = 0;  // nobody knows
  }
  if (now.access == disk.record.access) {
    now.next_access.clear();
  } else if (now.next_access != disk.record.access) {
    now.next_access = disk.record.access;
    event(EventType::normal, "VolumeCredentialsPending",
          "the credentials or monitors of disk " + name +
              " have changed: they are used from its next attach or start on");
  }
  const std::uint64_t wished = disk.wished_bytes;
  if (wished != 0 && wished < now.size_bytes) {
    message_ = "disk " + name + " keeps its " + std::to_string(now.size_bytes) + " bytes: disks only grow";
  } else if (wished > now.size_bytes) {
    record_.disks[name] = now;
    IRONCORE_CHECK(within(around_.hypervisor.resize_disk(uid_, name, wished), "enlarge disk " + name));
    if (now.size_bytes != 0)
      event(EventType::normal, "DiskResized", "disk " + name + " has " + std::to_string(wished) + " bytes now");
    now.size_bytes = wished;
  }
  if (now.limits != disk.record.limits) {
    record_.disks[name] = now;
    IRONCORE_CHECK(
        within(around_.hypervisor.limit_disk(uid_, name, disk.domain.limits), "change the limits of disk " + name));
    event(EventType::normal, "DiskLimitsChanged", "the limits of disk " + name + " are as its volume says now");
    now.limits = disk.record.limits;
  }
  record_.disks[name] = std::move(now);
  return {};
}

Result<void> MachineDriver::plug_disk(const PreparedDisk& disk) {
  const std::string& name = disk.domain.name;
  const auto known = record_.disks.find(name);
  if (has_disk(name)) {
    if (known != record_.disks.end() && known->second.source != disk.record.source) return unplug_disk(name);
    return keep_disk(disk);
  }
  memory_.detaching.erase("disk/" + name);
  if (!disk.record.has_secrets) IRONCORE_CHECK(take_secrets_back(name));
  record_.disks[name] = disk.record;
  IRONCORE_CHECK(hand_over(disk));
  IRONCORE_CHECK(within(around_.hypervisor.attach_disk(uid_, disk.domain), "attach disk " + name));
  event(EventType::normal, "AttachVolumeSucceeded", "disk " + name + " is attached as " + disk.domain.target);
  return {};
}

Result<void> MachineDriver::plug_nic(const DomainNic& nic) {
  const MachineRecord::Nic wanted{source_of(nic), nic.mac.to_text()};
  const auto known = record_.nics.find(nic.name);
  if (has_nic(nic.name)) {
    if (known != record_.nics.end() && known->second != wanted) return unplug_nic(nic.name);
    record_.nics[nic.name] = wanted;
    memory_.detaching.erase("nic/" + nic.name);
    return {};
  }
  record_.nics[nic.name] = wanted;
  memory_.detaching.erase("nic/" + nic.name);
  IRONCORE_CHECK(within(around_.hypervisor.attach_nic(uid_, nic), "attach NIC " + nic.name));
  event(EventType::normal, "AttachNICSucceeded", "NIC " + nic.name + " is attached");
  return {};
}

/// One device that cannot be had must not keep the others waiting: all are tried, the first error is told.
Result<void> MachineDriver::reconcile_up(const MachineSpec& spec, std::stop_token stop) {
  std::optional<Error> first;
  const auto note = [&first](const Result<void>& result) {
    if (!result && !first) first = result.error();
  };
  DomainSpec domain = describe(spec);
  bool is_complete = spec.kept_disks.empty();
  for (const auto& disk : spec.disks) {
    auto prepared = prepare_disk(disk, stop);
    if (!prepared) {
      note(prepared.error().within("disk " + disk.name));
      is_complete = false;
      continue;
    }
    note(plug_disk(*prepared));
    domain.disks.push_back(std::move(prepared->domain));
  }
  for (const auto& nic : domain.nics) note(plug_nic(nic));

  const auto is_wanted = [](const auto& devices, const std::string& name) {
    return std::any_of(devices.begin(), devices.end(), [&](const auto& device) { return device.name == name; });
  };
  for (const auto& name : spec.kept_disks) memory_.detaching.erase("disk/" + name);
  for (const auto& name : domain_->disks) {
    const bool is_kept = std::find(spec.kept_disks.begin(), spec.kept_disks.end(), name) != spec.kept_disks.end();
    if (!is_kept && !is_wanted(spec.disks, name)) note(unplug_disk(name));
  }
  for (const auto& name : domain_->nics) {
    if (!is_wanted(spec.nics, name)) note(unplug_nic(name));
  }

  // The running guest has its kernel; if the image is gone, the next start will complain.
  const bool has_kernel = !spec.kernel || (is_complete && add_kernel(*spec.kernel, domain, stop).has_value());
  if (is_complete && has_kernel) note(define(domain));
  note(observe());
  for (auto it = record_.disks.begin(); it != record_.disks.end();) {
    const bool is_released = !is_wanted(spec.disks, it->first) && !has_disk(it->first);
    const auto taken_back = is_released ? take_secrets_back(it->first) : Result<void>();
    note(taken_back);
    const bool is_gone = is_released && taken_back;
    if (is_gone) {
      event(EventType::normal, "DetachVolumeSucceeded", "the guest released disk " + it->first);
      memory_.detaching.erase("disk/" + it->first);
    }
    it = is_gone ? record_.disks.erase(it) : std::next(it);
  }
  for (auto it = record_.nics.begin(); it != record_.nics.end();) {
    const bool is_gone = !is_wanted(spec.nics, it->first) && !has_nic(it->first);
    if (is_gone) {
      event(EventType::normal, "DetachNICSucceeded", "the guest released NIC " + it->first);
      memory_.detaching.erase("nic/" + it->first);
    }
    it = is_gone ? record_.nics.erase(it) : std::next(it);
  }
  note(save());
  if (is_complete && !first) note(remove_stale_disks(spec));
  if (first) return *first;
  return {};
}

}  // namespace ironcore::compute
