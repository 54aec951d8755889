// SPDX-License-Identifier: Apache-2.0
// The calls of the seam on libvirt.
#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "calls.hpp"
#include "connection.hpp"
#include "console.hpp"
#include "domain_handle.hpp"
#include "domain_xml.hpp"
#include "errors.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "monitor.hpp"
#include "process.hpp"
#include "secrets.hpp"

namespace ironcore::compute::libvirt {

namespace {

struct FreeText {
  void operator()(char* text) const { std::free(text); }
};
using Text = std::unique_ptr<char, FreeText>;

/// libvirt's list of named numbers.
struct Parameters {
  Parameters() = default;
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;
  ~Parameters() { virTypedParamsFree(list, count); }
  void add(const char* name, std::uint64_t value) { virTypedParamsAddULLong(&list, &count, &room, name, value); }

  virTypedParameterPtr list = nullptr;
  int count = 0;
  int room = 0;
};

Error no_domain(const Uid& uid) {
  return {ErrorCode::not_found, "no domain " + uid.to_text()};
}
Error not_running() {
  return {ErrorCode::wrong_state, "the domain does not run"};
}

DomainState state_of(int state, int reason) {
  switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
      return DomainState::running;
    case VIR_DOMAIN_PAUSED:
      return reason == VIR_DOMAIN_PAUSED_SHUTTING_DOWN ? DomainState::shutting_down : DomainState::paused;
    case VIR_DOMAIN_PMSUSPENDED:
      return DomainState::paused;
    case VIR_DOMAIN_SHUTDOWN:
      return DomainState::shutting_down;
    case VIR_DOMAIN_SHUTOFF:
      return DomainState::shut_off;
    case VIR_DOMAIN_CRASHED:
      return DomainState::crashed;
    default:
      return DomainState::unknown;
  }
}

/// Without an error policy of its own, and no disk of ours has one, QEMU pauses a guest for one I/O error only: no room.
PauseReason pause_reason_of(DomainState state, int reason) {
  if (state != DomainState::paused) return PauseReason::none;
  return reason == VIR_DOMAIN_PAUSED_IOERROR ? PauseReason::no_space : PauseReason::other;
}

StopReason stop_reason_of(int state, int reason) {
  if (state == VIR_DOMAIN_CRASHED) return StopReason::crashed;
  if (state != VIR_DOMAIN_SHUTOFF) return StopReason::unknown;
  switch (reason) {
    case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
      return StopReason::shutdown;
    case VIR_DOMAIN_SHUTOFF_DESTROYED:
      return StopReason::destroyed;
    case VIR_DOMAIN_SHUTOFF_CRASHED:
      return StopReason::crashed;
    case VIR_DOMAIN_SHUTOFF_FAILED:
      return StopReason::failed;
    default:
      return StopReason::unknown;
  }
}

/// An error if libvirt cannot say: a lost connection is not a domain that does not run.
Result<bool> is_active(virDomainPtr domain) {
  const int active = virDomainIsActive(domain);
  if (active < 0) return last_error("ask whether the domain runs");
  return active == 1;
}
/// `error`, unless the domain does not run any more: then there is nothing left to be done.
Result<void> unless_inactive(virDomainPtr domain, Error error) {
  const auto active = is_active(domain);
  if (active && !*active) return {};
  return error;
}

/// /dev/kvm may exist where guests hang: the processor must be able to do it, too.
Accelerator detect_accelerator() {
  const UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) return Accelerator::tcg;
#if defined(__x86_64__)
  const auto text = read_file("/proc/cpuinfo", 16 << 20);
  if (!text) return Accelerator::tcg;
  const std::size_t start = text->find("\nflags");
  if (start == std::string::npos) return Accelerator::tcg;
  const std::string flags = text->substr(start + 1, text->find('\n', start + 1) - start - 1) + " ";
  if (flags.find(" vmx ") == std::string::npos && flags.find(" svm ") == std::string::npos) return Accelerator::tcg;
#endif
  return Accelerator::kvm;
}

/// `+64055:+107` of the DAC security model: whom QEMU runs as.
std::optional<Hypervisor::FileOwner> read_file_owner(virConnectPtr connection) {
  const Text text(virConnectGetCapabilities(connection));
  if (!text) return std::nullopt;
  const auto capabilities = parse_xml(text.get());
  if (!capabilities) return std::nullopt;
  const XmlElement* host = capabilities->child("host");
  if (host == nullptr) return std::nullopt;
  for (const auto& model : host->children) {
    const XmlElement* name = model.child("model");
    const XmlElement* label = model.child("baselabel");
    if (model.name != "secmodel" || name == nullptr || label == nullptr || name->text != "dac") continue;
    const std::string& owner = label->text;
    const std::size_t colon = owner.find(":+");
    if (owner.empty() || owner.front() != '+' || colon == std::string::npos) continue;
    Hypervisor::FileOwner out{};
    const auto user = std::from_chars(owner.data() + 1, owner.data() + colon, out.user);
    const auto group = std::from_chars(owner.data() + colon + 2, owner.data() + owner.size(), out.group);
    if (user.ec == std::errc() && group.ec == std::errc()) return out;
  }
  return std::nullopt;
}

/// `qemu:///system` and `qemu+unix:///system?…` are on this host, `qemu+ssh://host/system` is not.
bool is_local(std::string_view uri) {
  return uri.find(":///") != std::string_view::npos;
}

class LibvirtHypervisor final : public Hypervisor {
 public:
  LibvirtHypervisor(Options options, Openings& openings, Clock& clock, Log& log)
      : options_(std::move(options)),
        clock_(clock),
        driver_(options_.uri.rfind("test", 0) == 0 ? Driver::test : Driver::qemu),
        accelerator_(detect_accelerator()),
        connection_(std::make_shared<Connection>(options_, clock, log)),
        calls_(std::make_shared<Calls>(options_, openings, clock)),
        monitor_(clock, options_.monitor_patience) {}
  ~LibvirtHypervisor() override { connection_->close(); }

  Result<void> open(Openings& openings, std::stop_token stop) {
    IRONCORE_CHECK(connection_->open(openings, std::move(stop)));
    if (driver_ == Driver::qemu) {
      IRONCORE_TRY(const Call call, take_call());
      file_owner_ = read_file_owner(call.get());
      unsigned long version = 0;  // major * 1,000,000 + minor * 1,000 + release
      constexpr unsigned long knows_namespaces = 11'006'000;
      if (virConnectGetLibVersion(call.get(), &version) < 0) return last_error("ask for libvirt's version");
      if (version >= knows_namespaces) {
        knows_namespaces_ = true;
      } else if (!options_.rbd_namespace_library.empty() &&
                 ::access(options_.rbd_namespace_library.c_str(), R_OK) == 0) {
        preload_ = options_.rbd_namespace_library;
      }
    }
    IRONCORE_CHECK(domains());  // learn which ones are ours, so that their events are heard
    return {};
  }

  Result<HostCapacity> capacity() override {
    IRONCORE_TRY(const Call call, take_call());
    virNodeInfo info;
    if (virNodeGetInfo(call.get(), &info) < 0) return last_error("ask for the host's size");
    return HostCapacity{info.cpus, std::uint64_t{info.memory} << 10};
  }

  Result<std::vector<Domain>> domains() override {
    IRONCORE_TRY(const Call call, take_call());
    virDomainPtr* list = nullptr;
    const int count = virConnectListAllDomains(call.get(), &list, 0);
    if (count < 0) return last_error("list domains");
    std::vector<DomainHandle> handles;
    for (int i = 0; i < count; ++i) handles.emplace_back(list[i]);
    std::free(list);
    std::vector<Domain> out;
    for (const auto& handle : handles) {
      auto domain = describe(handle.get());
      if (domain) {
        out.push_back(std::move(*domain));
      } else if (domain.error().code() != ErrorCode::not_found) {  // foreign, or gone since the list was made
        return domain.error();
      }
    }
    std::sort(out.begin(), out.end(), [](const Domain& a, const Domain& b) { return a.uid < b.uid; });
    return out;
  }

  Result<Domain> domain(const Uid& uid) override {
    IRONCORE_TRY(const Found found, find(uid));
    return describe(found.handle.get());
  }

  Result<void> define(const DomainSpec& wanted) override {
    if (wanted.uid.is_nil()) return Error(ErrorCode::invalid, "a domain needs a uid");
    if (wanted.name.empty() || wanted.name.find_first_of("/\n") != std::string::npos) {
      return Error(ErrorCode::invalid, "a domain's name must not be empty nor contain a slash or a line feed");
    }
    if (wanted.vcpus == 0) return Error(ErrorCode::invalid, "a domain needs at least one vcpu");
    // libvirt hands both on to QEMU without escaping them: a comma would begin another option.
    if (wanted.hostname.find(',') != std::string::npos || wanted.ignition.native().find(',') != std::string::npos) {
      return Error(ErrorCode::invalid, "the hostname and the path of the ignition must not contain a comma");
    }
    if (wanted.memory_bytes == 0) return Error(ErrorCode::invalid, "a domain needs memory");
    for (const auto& disk : wanted.disks) IRONCORE_CHECK(check_namespace(disk));
    IRONCORE_TRY(const Call call, take_call());
    if (!connection_->is_ours(wanted.uid)) {
      const auto known = lookup(call, wanted.uid);
      if (known && !describe(known->get())) {
        return Error(ErrorCode::already_exists,
                     "a domain with the uid " + wanted.uid.to_text() + " exists that is not ours");
      }
    }
    DomainSpec spec = wanted;
    if (spec.accelerator == Accelerator::automatic) spec.accelerator = accelerator_;
    // QEMU of the system instance could not make it in a directory that is ours, and has one of its own. A session's own
    // place is below the user's home and easily longer than a socket's path may be.
    constexpr std::size_t kSocketPathLimit = 107;
    const bool is_session = options_.uri.find(":///session") != std::string::npos;
    if (!is_session || spec.agent_socket.native().size() > kSocketPathLimit) spec.agent_socket.clear();
    connection_->add_ours(spec.uid);
    const DomainHandle defined(virDomainDefineXML(call.get(), domain_xml(spec, driver_, preload_).c_str()));
    if (defined) return {};
    const Error error = last_error("define the domain");
    const DomainHandle other(virDomainLookupByName(call.get(), spec.name.c_str()));
    if (other && uid_of(other.get()) != spec.uid) {
      return Error(ErrorCode::already_exists, "another domain is called " + spec.name);
    }
    return error;
  }

  Result<void> start(const Uid& uid) override {
    IRONCORE_TRY(const Found found, find(uid));
    IRONCORE_TRY(const bool runs, is_active(found.handle.get()));
    if (runs) return {};
    IRONCORE_TRY(const XmlElement xml, xml_of(found.handle.get()));
    const std::string socket = vhost_socket(xml);
    if (!socket.empty()) return start_with_switch(uid, found.handle.get(), socket);
    if (virDomainCreate(found.handle.get()) == 0) return {};
    const Error error = last_error("start the domain");
    if (virDomainIsActive(found.handle.get()) == 1) return {};  // somebody else was faster
    return error;
  }

  Result<void> shutdown(const Uid& uid, ShutdownSignal signal) override {
    IRONCORE_TRY(Found found, find(uid));
    IRONCORE_TRY(const bool runs, is_active(found.handle.get()));
    if (!runs) return {};
    if (signal != ShutdownSignal::acpi) {
      Result<void> asked = ask_agent(found.handle.get(), "powerdown");
      if (asked || signal == ShutdownSignal::agent) return asked;
    }
    return monitor_.ask(uid, std::move(found), [](virDomainPtr domain) -> Result<void> {
      if (virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) == 0) return {};
      return unless_inactive(domain, last_error("press the power button"));
    });
  }

  Result<void> reboot(const Uid& uid) override {
    IRONCORE_TRY(Found found, find_running(uid));
    if (ask_agent(found.handle.get(), "reboot")) return {};
    // The power button would have to be told that it means something else this time: reset.
    return monitor_.ask(uid, std::move(found), [](virDomainPtr domain) -> Result<void> {
      if (virDomainReset(domain, 0) < 0) return last_error("reset the domain");
      return {};
    });
  }

  Result<void> resume(const Uid& uid) override {
    IRONCORE_TRY(Found found, find_running(uid));
    int state = 0;
    if (virDomainGetState(found.handle.get(), &state, nullptr, 0) < 0) return last_error("ask for the domain's state");
    if (state != VIR_DOMAIN_PAUSED) return {};
    return monitor_.ask(uid, std::move(found), [](virDomainPtr domain) -> Result<void> {
      if (virDomainResume(domain) == 0) return {};
      const Error error = last_error("resume the domain");
      int now = 0;
      if (virDomainGetState(domain, &now, nullptr, 0) == 0 && now == VIR_DOMAIN_RUNNING) return {};
      return error;
    });
  }

  /// Does not need QEMU's consent.
  Result<void> destroy(const Uid& uid) override {
    IRONCORE_TRY(const Found found, find(uid));
    IRONCORE_TRY(const bool runs, is_active(found.handle.get()));
    if (!runs || virDomainDestroy(found.handle.get()) == 0) return {};
    return unless_inactive(found.handle.get(), last_error("stop the domain"));
  }

  Result<void> undefine(const Uid& uid) override {
    auto found = find(uid);
    if (!found) {
      if (found.error().code() != ErrorCode::not_found) return found.error();
      if (driver_ == Driver::test) return {};
      IRONCORE_TRY(const Call call, take_call());
      return remove_all_secrets(call.get(), uid);
    }
    const virDomainPtr domain = found->handle.get();
    IRONCORE_TRY(const bool runs, is_active(domain));
    if (runs) return Error(ErrorCode::wrong_state, "the domain runs: stop it first");
    if (driver_ == Driver::qemu) IRONCORE_CHECK(remove_all_secrets(found->call.get(), uid));
    constexpr unsigned kEverything = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                                     VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM;
    if (virDomainUndefineFlags(domain, driver_ == Driver::qemu ? kEverything : 0U) == 0) return {};
    const Error error = last_error("remove the definition");
    if (error.code() == ErrorCode::not_found) return {};
    return error;
  }

  Result<void> attach_disk(const Uid& uid, const DomainDisk& disk) override {
    IRONCORE_TRY(Found found, find_running(uid));
    IRONCORE_TRY(const Domain seen, describe(found.handle.get()));
    if (std::find(seen.disks.begin(), seen.disks.end(), disk.name) != seen.disks.end()) return {};
    IRONCORE_CHECK(check_namespace(disk));
    const bool needs_preload = disk.rbd && !knows_namespaces_ && (!disk.rbd->space.empty() || disk.rbd->is_encrypted);
    if (needs_preload) {
      IRONCORE_TRY(const XmlElement xml, xml_of(found.handle.get()));
      if (preload_.empty() || preload_of(xml) != preload_.native()) {
        return Error(ErrorCode::unsupported,
                     "the machine was started without libironcore-rbd-namespace.so, with which a libvirt before 11.6 "
                     "plugs such a disk in: switch its power off and on");
      }
    }
    return attach(uid, std::move(found), disk_xml(disk, uid, 1, false, needs_preload ? Opener::preload : Opener::qemu));
  }

  Result<void> attach_nic(const Uid& uid, const DomainNic& nic) override {
    IRONCORE_TRY(Found found, find_running(uid));
    IRONCORE_TRY(const Domain seen, describe(found.handle.get()));
    if (std::find(seen.nics.begin(), seen.nics.end(), nic.name) != seen.nics.end()) return {};
    if (std::holds_alternative<VhostUser>(nic.device)) {
      IRONCORE_TRY(const XmlElement xml, xml_of(found.handle.get()));
      // QEMU would crash on its interrupts, and libvirt takes no overrides for what is plugged in.
      if (xml.attribute("type") == "qemu") {
        return Error(ErrorCode::unsupported,
                     "a vhost-user NIC cannot be plugged into an emulated machine: switch its power off and on");
      }
    }
    return attach(uid, std::move(found), nic_xml(nic));
  }

  Result<void> detach_disk(const Uid& uid, const std::string& name) override { return detach(uid, disk_alias(name)); }
  Result<void> detach_nic(const Uid& uid, const std::string& name) override { return detach(uid, nic_alias(name)); }

  Result<void> resize_disk(const Uid& uid, const std::string& name, std::uint64_t size_bytes) override {
    IRONCORE_TRY(Found found, find_running(uid));
    IRONCORE_TRY(const XmlElement xml, xml_of(found.handle.get()));
    const DiskPlace place = disk_place(xml, uid, name);
    if (place.target.empty()) return Error(ErrorCode::not_found, "no disk " + name + " is attached");
    return monitor_.ask(uid, std::move(found), [place, name, size_bytes](virDomainPtr domain) -> Result<void> {
      virDomainBlockInfo seen{};
      if (virDomainGetBlockInfo(domain, place.target.c_str(), &seen, 0) < 0)
        return last_error("ask for the disk's size");
      if (seen.capacity > size_bytes) {
        return Error(ErrorCode::invalid,
                     "disk " + name + " has " + std::to_string(seen.capacity) + " bytes: disks only grow");
      }
      if (seen.capacity == size_bytes) return {};
      // QEMU hands the size on to librbd, which means the whole image: said without its header, it would be cut.
      if (virDomainBlockResize(domain, place.target.c_str(), size_bytes + place.header_bytes,
                               VIR_DOMAIN_BLOCK_RESIZE_BYTES) < 0)
        return last_error("enlarge the disk");
      return {};
    });
  }

  Result<void> limit_disk(const Uid& uid, const std::string& name, const DiskLimits& limits) override {
    IRONCORE_TRY(Found found, find_running(uid));
    IRONCORE_TRY(const XmlElement xml, xml_of(found.handle.get()));
    const std::string target = disk_place(xml, uid, name).target;
    if (target.empty()) return Error(ErrorCode::not_found, "no disk " + name + " is attached");
    return monitor_.ask(uid, std::move(found), [target, limits](virDomainPtr domain) -> Result<void> {
      Parameters all;
      const auto bytes = throttle(limits.bytes_per_second, limits.burst_bytes_per_second, limits.burst);
      const auto operations = throttle(limits.iops, limits.burst_iops, limits.burst);
      // What is not said stays as it was.
      all.add(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, bytes.value);
      all.add(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX, bytes.burst);
      all.add(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX_LENGTH, bytes.burst_seconds);
      all.add(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC, operations.value);
      all.add(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX, operations.burst);
      all.add(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX_LENGTH, operations.burst_seconds);
      if (virDomainSetBlockIoTune(domain, target.c_str(), all.list, all.count, VIR_DOMAIN_AFFECT_LIVE) < 0)
        return last_error("limit the disk");
      return {};
    });
  }

  Result<void> put_secrets(const Uid& uid, const std::string& disk, const DiskSecrets& secrets) override {
    if (driver_ == Driver::test) return Error(ErrorCode::unsupported, "libvirt's test driver keeps no secrets");
    IRONCORE_TRY(const Call call, take_call());
    return libvirt::put_secrets(call.get(), uid, disk, secrets);
  }

  Result<void> remove_secrets(const Uid& uid, const std::string& disk) override {
    if (driver_ == Driver::test) return {};
    IRONCORE_TRY(const Call call, take_call());
    return libvirt::remove_secrets(call.get(), uid, disk);
  }

  Result<std::vector<Uid>> secret_owners() override {
    if (driver_ == Driver::test) return std::vector<Uid>();
    IRONCORE_TRY(const Call call, take_call());
    return libvirt::secret_owners(call.get());
  }

  Result<std::unique_ptr<Console>> console(const Uid& uid) override {
    IRONCORE_TRY(const Found found, find_running(uid));
    const virDomainPtr domain = found.handle.get();
    IRONCORE_TRY(const XmlElement xml, xml_of(domain));
    const std::string path = console_path(xml);
    if (path.empty() || !is_local(options_.uri)) {
      return Error(ErrorCode::unsupported, "consoles can be opened only on the host of the machine");
    }
    return open_console(
        path,
        [&] {
          const auto again = xml_of(domain);
          return again && virDomainIsActive(domain) == 1 && console_path(*again) == path;
        },
        clock_);
  }

  void on_event(std::function<void(const DomainEvent&)> listener) override {
    connection_->set_listener(std::move(listener));
  }
  std::optional<FileOwner> file_owner() override { return file_owner_; }

 private:
  Result<Call> take_call() {
    IRONCORE_CHECK(connection_->check());
    return calls_->take();
  }

  Result<void> check_namespace(const DomainDisk& disk) const {
    if (!disk.rbd || disk.rbd->space.empty() || knows_namespaces_ || !preload_.empty()) return {};
    return Error(ErrorCode::unsupported,
                 "disk " + disk.name +
                     " is an image in a RADOS namespace, which this libvirt cannot say to QEMU: use libvirt 11.6, or "
                     "install libironcore-rbd-namespace.so where rbd-namespace-library names it");
  }

  static Result<DomainHandle> lookup(const Call& call, const Uid& uid) {
    DomainHandle handle(virDomainLookupByUUID(call.get(), uid.bytes().data()));
    if (handle) return handle;
    const Error error = last_error("look for the domain");
    if (error.code() == ErrorCode::not_found) return no_domain(uid);
    return error;
  }

  /// A domain that carries our mark.
  Result<Found> find(const Uid& uid) {
    IRONCORE_TRY(Call call, take_call());
    IRONCORE_TRY(DomainHandle handle, lookup(call, uid));
    if (!connection_->is_ours(uid)) IRONCORE_CHECK(describe(handle.get()));
    return Found{std::move(call), std::move(handle)};
  }

  Result<Found> find_running(const Uid& uid) {
    IRONCORE_TRY(Found found, find(uid));
    IRONCORE_TRY(const bool runs, is_active(found.handle.get()));
    if (!runs) return not_running();
    return found;
  }

  static Result<XmlElement> xml_of(virDomainPtr domain) {
    const Text text(virDomainGetXMLDesc(domain, 0));
    if (!text) return last_error("read the domain");
    return parse_xml(text.get());
  }

  Result<Domain> describe(virDomainPtr domain) {
    int state = 0;
    int reason = 0;
    if (virDomainGetState(domain, &state, &reason, 0) < 0) return last_error("ask for the domain's state");
    IRONCORE_TRY(const XmlElement xml, xml_of(domain));
    auto out = read_domain(xml);
    if (!out) return no_domain(uid_of(domain));
    connection_->add_ours(out->uid);
    out->state = state_of(state, reason);
    out->pause_reason = pause_reason_of(out->state, reason);
    out->stop_reason = stop_reason_of(state, reason);
    if (out->state == DomainState::shut_off || out->state == DomainState::crashed) {
      out->disks.clear();
      out->nics.clear();
      out->is_agent_connected = false;
    } else if (driver_ == Driver::qemu && is_local(options_.uri)) {
      out->process = processes_.find(out->uid);
    }
    return std::move(*out);
  }

  /// QEMU is the server of a vhost-user socket and answers nobody, libvirt included, before the switch has come. libvirt
  /// would wait for ever; somebody must stop it, which takes a second thread and a call of its own for as long as this one lasts.
  Result<void> start_with_switch(const Uid& uid, virDomainPtr domain, const std::string& socket) {
    std::mutex mutex;
    std::condition_variable_any changed;
    bool is_done = false;
    bool is_over = false;
    std::jthread watch([&] {
      std::unique_lock lock(mutex);
      const Instant deadline = clock_.now() + options_.switch_patience;
      if (clock_.wait(lock, changed, {}, deadline, [&] { return is_done; })) return;
      is_over = true;
      while (!is_done) {
        lock.unlock();
        if (const auto again = find(uid)) virDomainDestroy(again->handle.get());
        lock.lock();
        clock_.wait(lock, changed, {}, clock_.now() + options_.reconnect, [&] { return is_done; });
      }
    });
    const bool has_started = virDomainCreate(domain) == 0;
    const Error error = has_started ? Error(ErrorCode::internal, {}) : last_error("start the domain");
    {
      std::lock_guard guard(mutex);
      is_done = true;
      changed.notify_all();
    }
    watch.join();
    if (is_over) return Error(ErrorCode::timeout, "no switch connected to " + socket + ": is it running?");
    if (has_started || virDomainIsActive(domain) == 1) return {};
    return error;
  }

  /// virDomainShutdown would wait up to a minute for the guest to be gone. Instead: is the agent there? Then tell it;
  /// a successful guest-shutdown is never answered, so the end of our patience is its success.
  Result<void> ask_agent(virDomainPtr domain, const std::string& mode) const {
    const auto patience = std::chrono::duration_cast<std::chrono::seconds>(options_.agent_patience).count();
    const Text pong(virDomainQemuAgentCommand(domain, R"({"execute":"guest-ping"})",
                                              static_cast<int>(std::max<std::int64_t>(1, patience)), 0));
    if (!pong) return Error(ErrorCode::unavailable, last_error("ask the guest agent").message());
    const std::string command = R"({"execute":"guest-shutdown","arguments":{"mode":")" + mode + R"("}})";
    const Text answer(virDomainQemuAgentCommand(domain, command.c_str(), 1, 0));
    if (answer) return {};
    const virErrorPtr error = virGetLastError();
    if (error != nullptr && error->code == VIR_ERR_AGENT_UNRESPONSIVE) return {};
    const Error translated(ErrorCode::unavailable, last_error("tell the guest agent").message());
    return unless_inactive(domain, translated);  // that was quick
  }

  Result<void> attach(const Uid& uid, Found found, std::string xml) {
    return monitor_.ask(uid, std::move(found), [xml = std::move(xml)](virDomainPtr domain) -> Result<void> {
      if (virDomainAttachDeviceFlags(domain, xml.c_str(), VIR_DOMAIN_AFFECT_LIVE) == 0) return {};
      const Error error = last_error("plug the device in");
      if (error.message().find("PCI slots") != std::string::npos) {
        return Error(ErrorCode::exhausted, "no free port is left in the running machine: switch its power off and on");
      }
      return error;
    });
  }

  Result<void> detach(const Uid& uid, const std::string& alias) {
    IRONCORE_TRY(Found found, find_running(uid));
    return monitor_.ask(uid, std::move(found), [alias](virDomainPtr domain) -> Result<void> {
      if (virDomainDetachDeviceAlias(domain, alias.c_str(), VIR_DOMAIN_AFFECT_LIVE) == 0) return {};
      const Error error = last_error("unplug the device");
      // Told by different numbers, depending on whether the device is absent from the definition or from the process.
      const bool is_absent =
          error.code() == ErrorCode::not_found || error.message().find("no device found") != std::string::npos;
      const bool is_asked_already = error.message().find("in the process of unplug") != std::string::npos;
      if (is_absent || is_asked_already) return {};
      return error;
    });
  }

  const Options options_;
  Clock& clock_;
  const Driver driver_;
  const Accelerator accelerator_;
  std::shared_ptr<Connection> connection_;
  const std::shared_ptr<Calls> calls_;
  Monitor monitor_;
  Processes processes_;
  std::optional<FileOwner> file_owner_;
  bool knows_namespaces_ = false;  ///< of RADOS
  std::filesystem::path preload_;  ///< what helps a libvirt that does not
};

}  // namespace

Result<std::unique_ptr<Hypervisor>> connect(EventLoop& loop, Options options, Clock& clock, Log& log,
                                            std::stop_token stop) {
  auto hypervisor = std::make_unique<LibvirtHypervisor>(std::move(options), *loop.openings_, clock, log);
  IRONCORE_CHECK(hypervisor->open(*loop.openings_, std::move(stop)));
  return std::unique_ptr<Hypervisor>(std::move(hypervisor));
}

}  // namespace ironcore::compute::libvirt
