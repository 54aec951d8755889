// SPDX-License-Identifier: Apache-2.0
// Domains as XML. Where libvirt's default is what we want, nothing is said.
#include "domain_xml.hpp"

#include <algorithm>

#include "../device_name.hpp"
#include "secrets.hpp"

namespace ironcore::compute::libvirt {

namespace {

#if defined(__aarch64__)
constexpr std::string_view kArchitecture = "aarch64";
constexpr std::string_view kMachine = "virt";
constexpr std::string_view kSerial = "system-serial";
#else
constexpr std::string_view kArchitecture = "x86_64";
constexpr std::string_view kMachine = "q35";
constexpr std::string_view kSerial = "isa-serial";
#endif

constexpr std::string_view kDiskPrefix = "ua-disk-";
constexpr std::string_view kNicPrefix = "ua-nic-";
// Devices that can be plugged in until the next start. An emulated processor pays 50 ms of boot for each port.
constexpr std::size_t kSparePorts = 8;
constexpr std::size_t kSparePortsEmulated = 4;

/// The value of an attribute, in quotes.
std::string attr(std::string_view text) {
  return "'" + xml_escape(text) + "'";
}

template <class... F>
struct overloaded : F... {
  using F::operator()...;
};
template <class... F>
overloaded(F...) -> overloaded<F...>;

bool is_vhost_user(const DomainNic& nic) {
  return std::holds_alternative<VhostUser>(nic.device);
}

/// `0000:3b:02.1` → attributes of an <address>.
std::string pci_address(std::string_view text) {
  if (text.size() != 12) return {};
  return " domain='0x" + std::string(text.substr(0, 4)) + "' bus='0x" + std::string(text.substr(5, 2)) + "' slot='0x" +
         std::string(text.substr(8, 2)) + "' function='0x" + std::string(text.substr(11, 1)) + "'";
}

std::optional<std::string> name_of(const XmlElement& device, std::string_view prefix) {
  const XmlElement* alias = device.child("alias");
  if (alias == nullptr) return std::nullopt;
  const std::string_view text = alias->attribute("name");
  if (text.substr(0, prefix.size()) != prefix) return std::nullopt;
  return decode_device_name(text.substr(prefix.size()));
}

std::string metadata(const DomainSpec& spec) {
  std::string out = "<metadata><ironcore:machine xmlns:ironcore=" + attr(kNamespace) + ">";
  for (const auto& [key, value] : spec.labels) {
    out += "<ironcore:label key=" + attr(key) + ">" + xml_escape(value) + "</ironcore:label>";
  }
  return out + "</ironcore:machine></metadata>\n";
}

std::string memory_and_cpu(const DomainSpec& spec, Driver driver) {
  std::string out = "<memory unit='b'>" + std::to_string(spec.memory_bytes) + "</memory>\n";
  // Shared with a switch that speaks vhost-user; every domain has it, so that such a NIC can be plugged in later.
  if (driver == Driver::qemu) out += "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>\n";
  out += "<vcpu>" + std::to_string(spec.vcpus) + "</vcpu>\n";
  if (driver == Driver::qemu) {
    out += spec.accelerator == Accelerator::kvm ? "<cpu mode='host-passthrough'/>\n" : "<cpu mode='maximum'/>\n";
  }
  return out;
}

std::string firmware(const DomainSpec& spec, Driver driver) {
  std::string out;
  if (driver == Driver::test) return "<os><type>hvm</type></os>\n";
  if (!spec.ignition.empty() || !spec.hostname.empty()) {
    out += "<sysinfo type='fwcfg'>";
    if (!spec.ignition.empty())
      out += "<entry name='opt/com.coreos/config' file=" + attr(spec.ignition.native()) + "/>";
    if (!spec.hostname.empty()) out += "<entry name='opt/ironcore/hostname'>" + xml_escape(spec.hostname) + "</entry>";
    out += "</sysinfo>\n";
  }
  out += "<os><type arch=" + attr(kArchitecture) + " machine=" + attr(kMachine) + ">hvm</type>";
  if (spec.kernel) {
    out += "<kernel>" + xml_escape(spec.kernel->kernel.native()) + "</kernel>";
    if (!spec.kernel->initramfs.empty()) out += "<initrd>" + xml_escape(spec.kernel->initramfs.native()) + "</initrd>";
    if (!spec.kernel->command_line.empty()) out += "<cmdline>" + xml_escape(spec.kernel->command_line) + "</cmdline>";
  }
  return out + "</os>\n";
}

std::string fixed_devices(const DomainSpec& spec, Driver driver) {
  std::string out;
  std::string serial_log;
  if (!spec.console_log.empty()) serial_log = "<log file=" + attr(spec.console_log.native()) + " append='on'/>";
  if (driver == Driver::test) return out;
  out += "<controller type='usb' model='none'/>\n";
  out += "<controller type='pci' index='0' model='pcie-root'/>\n";
  // One port per device, as hot-plug needs: disks, NICs, serial bus, random numbers, balloon, and some to spare.
  const std::size_t ports = spec.disks.size() + spec.nics.size() + 3 +
                            (spec.accelerator == Accelerator::kvm ? kSparePorts : kSparePortsEmulated);
  for (std::size_t i = 1; i <= ports; ++i) {
    out += "<controller type='pci' index='" + std::to_string(i) + "' model='pcie-root-port'/>\n";
  }
  out += "<serial type='pty'>" + serial_log + "<target type=" + attr(kSerial) + " port='0'/></serial>\n";
  out += "<console type='pty'><target type='serial' port='0'/></console>\n";
  out += "<channel type='unix'>";
  if (!spec.agent_socket.empty()) out += "<source mode='bind' path=" + attr(spec.agent_socket.native()) + "/>";
  out += "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>\n";
  out += "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n";
  out += "<memballoon model='virtio' autodeflate='on' freePageReporting='on'/>\n";
  return out;
}

/// QEMU under TCG crashes on a vhost-user NIC with MSI-X: without vectors it has none.
std::string overrides(const DomainSpec& spec) {
  if (spec.accelerator == Accelerator::kvm || std::none_of(spec.nics.begin(), spec.nics.end(), is_vhost_user))
    return {};
  std::string out = "<qemu:override>\n";
  for (const auto& nic : spec.nics) {
    if (!is_vhost_user(nic)) continue;
    out += "<qemu:device alias=" + attr(nic_alias(nic.name)) +
           "><qemu:frontend><qemu:property name='vectors' type='unsigned' value='0'/></qemu:frontend></qemu:device>\n";
  }
  return out + "</qemu:override>\n";
}

std::string_view domain_type(const DomainSpec& spec, Driver driver) {
  if (driver == Driver::test) return "test";
  return spec.accelerator == Accelerator::kvm ? "kvm" : "qemu";
}

/// A title must be one line.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

}  // namespace

std::string disk_alias(std::string_view name) {
  return std::string(kDiskPrefix) + encode_device_name(name);
}
std::string nic_alias(std::string_view name) {
  return std::string(kNicPrefix) + encode_device_name(name);
}

namespace {

std::string rbd_source(const DomainDisk& disk, const Uid& domain, Opener opener) {
  const auto& rbd = *disk.rbd;
  const std::string space = rbd.space.empty() ? "" : rbd.space + "/";
  std::string out = "<source protocol='rbd' name=" + attr(rbd.pool + "/" + space + rbd.image) + ">";
  for (const auto& monitor : rbd.monitors) {
    const auto colon = std::min(monitor.rfind(':'), monitor.size());
    std::string_view host = std::string_view(monitor).substr(0, colon);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);  // QEMU puts them around again
    out += "<host name=" + attr(host) +
           " port=" + attr(std::string_view(monitor).substr(std::min(colon + 1, monitor.size()))) + "/>";
  }
  if (!disk.rbd_settings.empty()) out += "<config file=" + attr(disk.rbd_settings.native()) + "/>";
  const bool is_preloaded = rbd.is_encrypted && opener == Opener::preload;
  const auto secret = [&](const char* type, SecretKind kind) {
    return std::string("<secret type='") + type + "' uuid='" + secret_uid(domain, disk.name, kind).to_text() + "'/>";
  };
  out += "<auth username=" + attr(rbd.user) + ">" + secret("ceph", is_preloaded ? SecretKind::both : SecretKind::key) +
         "</auth>";
  if (rbd.is_encrypted && !is_preloaded) {
    out +=
        "<encryption format='luks2' engine='librbd'>" + secret("passphrase", SecretKind::passphrase) + "</encryption>";
  }
  return out + "</source>";
}

std::string limit(const char* name, const Throttle& wanted) {
  const auto element = [&](const char* suffix, std::uint64_t number) {
    if (number == 0) return std::string();
    return std::string("<") + name + suffix + ">" + std::to_string(number) + "</" + name + suffix + ">";
  };
  return element("", wanted.value) + element("_max", wanted.burst) + element("_max_length", wanted.burst_seconds);
}

std::string limits_xml(const DiskLimits& limits) {
  const std::string out =
      limit("total_bytes_sec", throttle(limits.bytes_per_second, limits.burst_bytes_per_second, limits.burst)) +
      limit("total_iops_sec", throttle(limits.iops, limits.burst_iops, limits.burst));
  return out.empty() ? out : "<iotune>" + out + "</iotune>";
}

}  // namespace

Throttle throttle(std::uint64_t value, std::uint64_t burst, std::chrono::seconds span) {
  constexpr std::uint64_t most = 1'000'000'000'000'000;
  if (value == 0) return {};
  Throttle out{.value = std::min(value, most)};
  const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(1, span.count()));
  burst = std::min(burst, most / seconds);
  if (burst <= out.value) return out;
  out.burst = burst;
  out.burst_seconds = seconds;
  return out;
}

std::string disk_xml(const DomainDisk& disk, const Uid& domain, std::uint32_t vcpus, bool is_first, Opener opener) {
  const bool is_block = disk.path.native().rfind("/dev/", 0) == 0;
  const char* type = disk.rbd ? "'network'" : is_block ? "'block'" : "'file'";
  std::string out = std::string("<disk type=") + type + " device='disk'>";
  out += "<driver name='qemu' type=" + attr(disk.rbd ? "raw" : disk.format) + " discard='unmap' queues='" +
         std::to_string(vcpus) + "'/>";
  if (disk.rbd) {
    out += rbd_source(disk, domain, opener);
  } else {
    out += std::string("<source ") + (is_block ? "dev=" : "file=") + attr(disk.path.native()) + "/>";
  }
  if (!disk.backing.empty()) {
    // Said here, so that libvirt neither trusts the disk's header nor hands the shared image to QEMU's user.
    out += "<backingStore type='file'><format type='raw'/><source file=" + attr(disk.backing.native()) +
           "><seclabel model='dac' relabel='no'/></source><backingStore/></backingStore>";
  }
  out += "<target dev=" + attr(disk.target) + " bus='virtio'/>";
  out += limits_xml(disk.limits);
  if (!disk.serial.empty()) out += "<serial>" + xml_escape(disk.serial) + "</serial>";
  if (is_first) out += "<boot order='1'/>";
  return out + "<alias name=" + attr(disk_alias(disk.name)) + "/></disk>\n";
}

std::string nic_xml(const DomainNic& nic) {
  const std::string alias = "<alias name=" + attr(nic_alias(nic.name)) + "/>";
  const std::string common =
      "<mac address='" + nic.mac.to_text() + "'/><model type='virtio'/>" + alias + "</interface>\n";
  return std::visit(
      overloaded{
          [&](const UserNetwork&) { return "<interface type='user'>" + common; },
          [&](const LibvirtNetwork& device) {
            return "<interface type='network'><source network=" + attr(device.network) + "/>" + common;
          },
          [&](const Tap& device) {
            return "<interface type='ethernet'><target dev=" + attr(device.interface) + " managed='no'/>" + common;
          },
          [&](const VhostUser& device) {
            return "<interface type='vhostuser'><source type='unix' path=" + attr(device.socket.native()) +
                   " mode='server'/>" + common;
          },
          [&](const PciDevice& device) {
            // As an interface, because libvirt then gives the virtual function the MAC that the machine was promised.
            return "<interface type='hostdev' managed='yes'><source><address type='pci'" + pci_address(device.address) +
                   "/></source><mac address='" + nic.mac.to_text() + "'/>" + alias + "</interface>\n";
          },
      },
      nic.device);
}

std::string domain_xml(const DomainSpec& spec, Driver driver, const std::filesystem::path& preload) {
  std::string out =
      "<domain type=" + attr(domain_type(spec, driver)) + " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n";
  out += "<name>" + xml_escape(spec.name) + "</name>\n<uuid>" + spec.uid.to_text() + "</uuid>\n";
  if (!spec.title.empty()) out += "<title>" + xml_escape(one_line(spec.title)) + "</title>\n";
  out += metadata(spec);
  out += memory_and_cpu(spec, driver);
  out += firmware(spec, driver);
#if defined(__aarch64__)
  out += "<features><acpi/></features>\n";
#else
  out += "<features><acpi/><apic/></features>\n";
#endif
  if (driver == Driver::qemu) out += "<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/></clock>\n";
  out += "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>\n";
  // A guest that slept could not be woken by anything that this library does.
  if (driver == Driver::qemu) out += "<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>\n";
  out += "<devices>\n";
  out += fixed_devices(spec, driver);
  for (std::size_t i = 0; i < spec.disks.size(); ++i)
    out += disk_xml(spec.disks[i], spec.uid, spec.vcpus, i == 0 && !spec.kernel);
  for (const auto& nic : spec.nics) out += nic_xml(nic);
  out += "</devices>\n";
  if (driver == Driver::qemu && !preload.empty()) {
    out += "<qemu:commandline><qemu:env name='LD_PRELOAD' value=" + attr(preload.native()) + "/></qemu:commandline>\n";
  }
  if (driver == Driver::qemu) out += overrides(spec);
  return out + "</domain>\n";
}

std::optional<Domain> read_domain(const XmlElement& domain) {
  const XmlElement* meta = domain.child("metadata");
  const bool is_ours =
      meta != nullptr && std::any_of(meta->children.begin(), meta->children.end(), [](const XmlElement& one) {
        const std::size_t colon = one.name.find(':');
        const std::string prefix = colon == std::string::npos ? "xmlns" : "xmlns:" + one.name.substr(0, colon);
        return one.attribute(prefix) == kNamespace;
      });
  const XmlElement* uuid = domain.child("uuid");
  if (!is_ours || uuid == nullptr) return std::nullopt;
  const auto uid = Uid::parse(uuid->text);
  if (!uid) return std::nullopt;
  Domain out;
  out.uid = *uid;
  if (const XmlElement* name = domain.child("name")) out.name = name->text;
  if (const XmlElement* title = domain.child("title")) out.title = title->text;
  const XmlElement* devices = domain.child("devices");
  if (devices == nullptr) return out;
  for (const auto& device : devices->children) {
    if (device.name == "disk") {
      if (auto name = name_of(device, kDiskPrefix)) out.disks.push_back(std::move(*name));
    } else if (device.name == "interface" || device.name == "hostdev") {
      if (auto name = name_of(device, kNicPrefix)) out.nics.push_back(std::move(*name));
    } else if (device.name == "channel") {
      const XmlElement* target = device.child("target");
      if (target != nullptr && target->attribute("name") == "org.qemu.guest_agent.0") {
        out.is_agent_connected = target->attribute("state") == "connected";
      }
    }
  }
  return out;
}

std::string console_path(const XmlElement& domain) {
  const XmlElement* devices = domain.child("devices");
  const XmlElement* serial = devices == nullptr ? nullptr : devices->child("serial");
  const XmlElement* source = serial == nullptr ? nullptr : serial->child("source");
  if (source == nullptr || serial->attribute("type") != "pty") return {};
  return std::string(source->attribute("path"));
}

std::string vhost_socket(const XmlElement& domain) {
  const XmlElement* devices = domain.child("devices");
  if (devices == nullptr) return {};
  for (const auto& device : devices->children) {
    if (device.name != "interface" || device.attribute("type") != "vhostuser") continue;
    if (const XmlElement* source = device.child("source")) return std::string(source->attribute("path"));
  }
  return {};
}

DiskPlace disk_place(const XmlElement& domain, const Uid& uid, std::string_view name) {
  constexpr std::uint64_t luks2_header = std::uint64_t{16} << 20;
  const XmlElement* devices = domain.child("devices");
  if (devices == nullptr) return {};
  for (const auto& device : devices->children) {
    if (device.name != "disk" || name_of(device, kDiskPrefix) != name) continue;
    DiskPlace out;
    if (const XmlElement* target = device.child("target")) out.target = std::string(target->attribute("dev"));
    const XmlElement* source = device.child("source");
    const XmlElement* encryption = source == nullptr ? nullptr : source->child("encryption");
    const XmlElement* auth = source == nullptr ? nullptr : source->child("auth");
    const XmlElement* secret = auth == nullptr ? nullptr : auth->child("secret");
    const bool is_preloaded =
        secret != nullptr && secret->attribute("uuid") == secret_uid(uid, name, SecretKind::both).to_text();
    if (is_preloaded || (encryption != nullptr && encryption->attribute("engine") == "librbd"))
      out.header_bytes = luks2_header;
    return out;
  }
  return {};
}

std::string preload_of(const XmlElement& domain) {
  const XmlElement* more = domain.child("qemu:commandline");
  if (more == nullptr) return {};
  for (const auto& one : more->children) {
    if (one.name == "qemu:env" && one.attribute("name") == "LD_PRELOAD") return std::string(one.attribute("value"));
  }
  return {};
}

}  // namespace ironcore::compute::libvirt
