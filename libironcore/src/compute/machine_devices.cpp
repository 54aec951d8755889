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
constexpr Duration kProgressEvery = std::chrono::seconds(1);
constexpr std::string_view kLocal = "local";

template <class... F>
struct overloaded : F... {
  using F::operator()...;
};
template <class... F>
overloaded(F...) -> overloaded<F...>;

std::string source_of(const Disk& disk) {
  const auto* existing = std::get_if<ExistingDisk>(&disk.source);
  return existing == nullptr ? std::string(kLocal) : existing->format + ":" + existing->path.string();
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
  crypto::Hasher hasher;
  const auto add = [&](std::string_view text) {
    hasher.update(std::to_string(text.size()) + ":");
    hasher.update(text);
  };
  const auto add_number = [&](std::uint64_t number) { add(std::to_string(number)); };
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
  return hasher.finish().hex();
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
                 "the root disk of image " + local.image + " is a qcow2 file: pack it as a raw disk");
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

Result<MachineDriver::PreparedDisk> MachineDriver::prepare_disk(const Disk& disk, std::stop_token stop) {
  PreparedDisk out;
  const std::string handle = derived_handle(uid_, disk.name);
  out.domain.name = disk.name;
  out.domain.target = disk.device;
  out.domain.serial = disk.serial.empty() ? (disk.device + "-" + handle).substr(0, kSerialLimit) : disk.serial;
  out.record.source = source_of(disk);

  if (const auto* existing = std::get_if<ExistingDisk>(&disk.source)) {
    out.domain.path = existing->path;
    out.domain.format = existing->format;
    out.record.handle = existing->path.string();
    const auto size =
        image::disk_size(existing->path, image::parse_disk_format(existing->format).value_or(image::DiskFormat::raw));
    if (size) out.record.size_bytes = *size;  // else the hypervisor finds out whether it can open it
    return out;
  }

  const auto& local = std::get<LocalDisk>(disk.source);
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
  out.record.handle = handle;
  out.record.backing = out.domain.backing.string();
  const auto size = image::disk_size(file->path, file->format);
  if (size) {
    out.record.size_bytes = *size;
  } else if (const auto known = record_.disks.find(disk.name); known != record_.disks.end()) {
    out.record.size_bytes = known->second.size_bytes;  // it belongs to QEMU's user now
  } else {
    return size.error();
  }
  return out;
}

// ---- while the guest does not run ----

/// Makes all disks and remembers the machine's devices as the spec has them.
Result<void> MachineDriver::prepare(const MachineSpec& spec, DomainSpec& domain, std::stop_token stop) {
  std::map<std::string, MachineRecord::Disk> disks;
  for (const auto& disk : spec.disks) {
    auto prepared = prepare_disk(disk, stop);
    if (!prepared) return prepared.error().within("disk " + disk.name);
    domain.disks.push_back(std::move(prepared->domain));
    disks.emplace(disk.name, std::move(prepared->record));
  }
  record_.disks = std::move(disks);
  record_.nics.clear();
  for (const auto& nic : domain.nics) record_.nics[nic.name] = {source_of(nic), nic.mac.to_text()};
  return {};
}

/// The power is off: disks exist, nothing starts. A machine that boots a kernel is defined only when it starts.
Result<void> MachineDriver::prepare_down(const MachineSpec& spec, std::stop_token stop) {
  DomainSpec domain = describe(spec);
  IRONCORE_CHECK(prepare(spec, domain, std::move(stop)));
  if (!spec.kernel) IRONCORE_CHECK(define(domain));
  IRONCORE_CHECK(save());
  return remove_stale_disks(spec);
}

Result<void> MachineDriver::prepare_start(const MachineSpec& spec, std::stop_token stop) {
  DomainSpec domain = describe(spec);
  IRONCORE_CHECK(prepare(spec, domain, stop));
  if (spec.kernel) IRONCORE_CHECK(add_kernel(*spec.kernel, domain, stop));
  if (!spec.ignition.empty()) IRONCORE_CHECK(files_.write_ignition(spec.ignition, around_.file_owner));
  IRONCORE_CHECK(files_.rotate_log(around_.options.console_log_bytes));
  IRONCORE_CHECK(define(domain));
  if (spec.ignition.empty()) IRONCORE_CHECK(files_.remove_secrets());
  IRONCORE_CHECK(save());
  return remove_stale_disks(spec);
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

bool MachineDriver::may_ask_detach(const std::string& key) {
  const Instant now = around_.clock.now();
  const auto asked = memory_.detach_asked.find(key);
  const bool may = asked == memory_.detach_asked.end() || now >= asked->second + around_.options.shutdown_repeat;
  if (may) memory_.detach_asked[key] = now;
  wake(memory_.detach_asked[key] + around_.options.shutdown_repeat);
  return may;
}

Result<void> MachineDriver::unplug_disk(const std::string& name) {
  message_ = "waiting for the guest to release disk " + name;
  if (!may_ask_detach("disk/" + name)) return {};
  return within(around_.hypervisor.detach_disk(uid_, name), "detach disk " + name);
}

Result<void> MachineDriver::unplug_nic(const std::string& name) {
  message_ = "waiting for the guest to release NIC " + name;
  if (!may_ask_detach("nic/" + name)) return {};
  return within(around_.hypervisor.detach_nic(uid_, name), "detach NIC " + name);
}

Result<void> MachineDriver::plug_disk(const PreparedDisk& disk, std::uint64_t wished_bytes) {
  constexpr std::uint64_t sector = 512;
  const std::uint64_t size_bytes = wished_bytes + (sector - wished_bytes % sector) % sector;
  const std::string& name = disk.domain.name;
  const auto known = record_.disks.find(name);
  if (has_disk(name)) {
    if (known != record_.disks.end() && known->second.source != disk.record.source) return unplug_disk(name);
    record_.disks[name] = disk.record;
    if (disk.record.source != kLocal || size_bytes == disk.record.size_bytes || size_bytes == 0) return {};
    if (size_bytes < disk.record.size_bytes) {
      message_ = "disk " + name + " keeps its " + std::to_string(disk.record.size_bytes) + " bytes: disks only grow";
      return {};
    }
    IRONCORE_CHECK(within(around_.hypervisor.resize_disk(uid_, name, size_bytes), "enlarge disk " + name));
    record_.disks[name].size_bytes = size_bytes;
    event(EventType::normal, "DiskResized", "disk " + name + " has " + std::to_string(size_bytes) + " bytes now");
    return {};
  }
  record_.disks[name] = disk.record;
  memory_.detach_asked.erase("disk/" + name);
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
    return {};
  }
  record_.nics[nic.name] = wanted;
  memory_.detach_asked.erase("nic/" + nic.name);
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
  bool is_complete = true;
  for (const auto& disk : spec.disks) {
    auto prepared = prepare_disk(disk, stop);
    if (!prepared) {
      note(prepared.error().within("disk " + disk.name));
      is_complete = false;
      continue;
    }
    const auto* local = std::get_if<LocalDisk>(&disk.source);
    note(plug_disk(*prepared, local == nullptr ? 0 : local->size_bytes));
    domain.disks.push_back(std::move(prepared->domain));
  }
  for (const auto& nic : domain.nics) note(plug_nic(nic));

  const auto is_wanted = [](const auto& devices, const std::string& name) {
    return std::any_of(devices.begin(), devices.end(), [&](const auto& device) { return device.name == name; });
  };
  for (const auto& name : domain_->disks) {
    if (!is_wanted(spec.disks, name)) note(unplug_disk(name));
  }
  for (const auto& name : domain_->nics) {
    if (!is_wanted(spec.nics, name)) note(unplug_nic(name));
  }

  // The running guest has its kernel; if the image is gone, the next start will complain.
  const bool has_kernel = !spec.kernel || (is_complete && add_kernel(*spec.kernel, domain, stop).has_value());
  if (is_complete && has_kernel) note(define(domain));
  note(observe());
  for (auto it = record_.disks.begin(); it != record_.disks.end();) {
    const bool is_gone = !is_wanted(spec.disks, it->first) && !has_disk(it->first);
    if (is_gone) event(EventType::normal, "DetachVolumeSucceeded", "the guest released disk " + it->first);
    it = is_gone ? record_.disks.erase(it) : std::next(it);
  }
  for (auto it = record_.nics.begin(); it != record_.nics.end();) {
    const bool is_gone = !is_wanted(spec.nics, it->first) && !has_nic(it->first);
    if (is_gone) event(EventType::normal, "DetachNICSucceeded", "the guest released NIC " + it->first);
    it = is_gone ? record_.nics.erase(it) : std::next(it);
  }
  note(save());
  if (is_complete && !first) note(remove_stale_disks(spec));
  if (first) return *first;
  return {};
}

}  // namespace ironcore::compute
