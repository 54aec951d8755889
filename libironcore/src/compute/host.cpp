// SPDX-License-Identifier: Apache-2.0
// Host: one lock per machine, and what concerns all machines together.
#include "ironcore/compute/host.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "machine_driver.hpp"

namespace ironcore::compute {

namespace {

class LocalHost final : public Host {
 public:
  LocalHost(Hypervisor& hypervisor, HostOptions options, Clock& clock, Log& log, std::unique_ptr<image::Cache> images)
      : options_(std::move(options)), images_(std::move(images)), around_{hypervisor, *images_,
                                                                          options_,   clock,
                                                                          log,        hypervisor.file_owner()} {}
  ~LocalHost() override { around_.hypervisor.on_event({}); }

  Result<MachineStatus> apply(const MachineSpec& spec, std::stop_token stop, const Progress& progress) override {
    return with_machine(spec.uid, [&](MachineDriver& driver) {
      return within(driver.apply(spec, std::move(stop), progress),
                    "machine " + (spec.name.empty() ? spec.uid.to_text() : spec.name));
    });
  }

  Result<MachineStatus> remove(const Uid& uid, Duration grace, ShutdownSignal signal) override {
    return with_machine(uid, [&](MachineDriver& driver) {
      return within(driver.remove(grace, signal), "remove machine " + uid.to_text());
    });
  }

  Result<MachineStatus> status(const Uid& uid) override {
    return with_machine(
        uid, [&](MachineDriver& driver) { return within(driver.status(), "look at machine " + uid.to_text()); },
        Keep::message);
  }

  Result<std::vector<Orphan>> orphans(const std::vector<Uid>& known) override {
    IRONCORE_TRY(const std::vector<Domain> domains, around_.hypervisor.domains());
    std::vector<Orphan> out;
    for (const auto& domain : domains) {
      if (std::find(known.begin(), known.end(), domain.uid) == known.end()) {
        out.push_back({domain.uid, domain.title.empty() ? domain.name : domain.title, domain.state});
      }
    }
    // A call that was cut short may have left files of a machine whose domain is gone, or was never defined.
    IRONCORE_TRY(const auto machines, MachineFiles::machines(options_.directory));
    for (const Uid& uid : machines) {
      const bool is_known = std::find(known.begin(), known.end(), uid) != known.end();
      const auto has_domain = [&](const Domain& domain) { return domain.uid == uid; };
      if (is_known || std::any_of(domains.begin(), domains.end(), has_domain)) continue;
      out.push_back({uid, uid.to_text(), DomainState::shut_off});
    }
    return out;
  }

  Result<std::uint64_t> remove_unused_images() override {
    IRONCORE_TRY(const auto machines, MachineFiles::machines(options_.directory));
    std::vector<crypto::Digest> layers;
    for (const auto& uid : machines) {
      IRONCORE_TRY(const auto backings, backings_of(MachineFiles(options_.directory, uid)));
      for (const auto& path : backings) {
        // images/blobs/ALGORITHM/HEX
        const auto digest =
            crypto::Digest::parse(path.parent_path().filename().string() + ":" + path.filename().string());
        if (digest) layers.push_back(*digest);
      }
    }
    return images_->remove_unused({}, layers);
  }

  Result<std::size_t> remove_unused_secrets() override {
    // First who has some: whoever hands them over has made files before.
    IRONCORE_TRY(const auto owners, around_.hypervisor.secret_owners());
    std::size_t removed = 0;
    for (const Uid& uid : owners) {
      if (MachineFiles(options_.directory, uid).is_anything_left()) continue;
      const auto domain = around_.hypervisor.domain(uid);
      if (domain) continue;
      if (domain.error().code() != ErrorCode::not_found) return domain.error();
      IRONCORE_CHECK(around_.hypervisor.undefine(uid));
      ++removed;
    }
    return removed;
  }

  Result<std::unique_ptr<Console>> console(const Uid& uid) override {
    return within(around_.hypervisor.console(uid), "console of machine " + uid.to_text());
  }

  Result<std::string> console_log(const Uid& uid, std::size_t limit) override {
    return within(MachineFiles(options_.directory, uid).read_log(limit), "log of machine " + uid.to_text());
  }

  Result<HostCapacity> capacity() override {
    IRONCORE_TRY(HostCapacity capacity, around_.hypervisor.capacity());
    capacity.memory_bytes -= std::min<std::uint64_t>(capacity.memory_bytes, options_.capacity_reserved_memory);
    return capacity;
  }

  void on_change(std::function<void(const Uid&)> changed) override {
    if (!changed) return around_.hypervisor.on_event({});
    around_.hypervisor.on_event([changed = std::move(changed)](const DomainEvent& event) { changed(event.uid); });
  }

 private:
  enum class Keep { nothing, message };

  /// What the disk files say they are children of. A guest can write there what it likes, but only keep an image by it.
  static Result<std::vector<std::filesystem::path>> backings_of(const MachineFiles& files) {
    std::vector<std::filesystem::path> out;
    IRONCORE_TRY(const auto names, files.disks());
    for (const auto& name : names) {
      const auto file = files.find_disk(name);
      if (!file || file->format != image::DiskFormat::qcow2) continue;
      if (auto backing = image::disk_backing(file->path)) out.push_back(std::move(*backing));
    }
    // The record is believed as well: QEMU may be writing the file just now.
    if (const auto record = files.load(); record && *record) {
      for (const auto& [name, disk] : (*record)->disks)
        if (!disk.backing.empty()) out.push_back(disk.backing);
    }
    return out;
  }

  template <class Step>
  Result<MachineStatus> with_machine(const Uid& uid, Step step, Keep keep = Keep::nothing) {
    std::shared_ptr<MachineMemory> memory;
    {
      std::lock_guard guard(mutex_);
      auto& slot = machines_[uid];
      if (!slot) slot = std::make_shared<MachineMemory>();
      memory = slot;
    }
    Result<MachineStatus> result = [&] {
      std::lock_guard guard(memory->mutex);
      MachineDriver driver(around_, uid, *memory);
      auto status = step(driver);
      if (!status) {
        memory->message = status.error().message();
      } else if (keep == Keep::nothing) {
        memory->message = status->message;
      }
      return status;
    }();
    if (result && result->state == MachineState::terminated) {
      // Nothing is left to remember, unless somebody waits for the lock.
      std::lock_guard guard(mutex_);
      if (memory.use_count() == 2) machines_.erase(uid);
    }
    return result;
  }

  const HostOptions options_;
  std::unique_ptr<image::Cache> images_;
  const MachineSurroundings around_;
  std::mutex mutex_;
  std::map<Uid, std::shared_ptr<MachineMemory>> machines_;
};

}  // namespace

Result<std::unique_ptr<Host>> Host::create(Hypervisor& hypervisor, HostOptions options, Clock& clock, Log& log) {
  if (options.shutdown_repeat <= Duration::zero()) {
    return Error(ErrorCode::invalid, "shutdown_repeat must be longer than nothing");
  }
  IRONCORE_CHECK(MachineFiles::make_root(options.directory, hypervisor.file_owner()));
  image::CacheOptions cache;
  cache.directory = options.directory / "images";
  cache.layout_roots = options.image_roots;
  IRONCORE_TRY(auto images, image::Cache::open(std::move(cache), clock, log));
  return std::unique_ptr<Host>(
      std::make_unique<LocalHost>(hypervisor, std::move(options), clock, log, std::move(images)));
}

}  // namespace ironcore::compute
