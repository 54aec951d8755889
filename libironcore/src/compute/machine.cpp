// SPDX-License-Identifier: Apache-2.0
// What a machine's spec may say, and names derived from it.
#include "ironcore/compute/machine.hpp"

#include <algorithm>
#include <set>

#include "ironcore/crypto/derived_uid.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/image/disk_file.hpp"

namespace ironcore::compute {

namespace {

using Reason = FieldError::Reason;

constexpr std::size_t kNameLimit = 63;    // its encoding must fit into a file name and a device id
constexpr std::size_t kSerialLimit = 20;  // virtio-blk
constexpr std::size_t kHandleLimit = 63;
constexpr std::uint64_t kSizeLimit = std::uint64_t{1} << 50;
constexpr std::size_t kDevicesLimit = 24;  // disks and NICs: one PCIe port each
constexpr std::size_t kIgnitionLimit = 1 << 20;
constexpr std::uint64_t kLeastMemory = std::uint64_t{64} << 20;

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

class Checker {
 public:
  void wrong(std::string field, Reason reason, std::string message) {
    found_.push_back({std::move(field), reason, std::move(message)});
  }

  void device_name(const std::string& field, const std::string& name, std::set<std::string>& seen) {
    if (name.empty()) {
      wrong(field, Reason::required, "must not be empty");
    } else if (name.size() > kNameLimit) {
      wrong(field, Reason::too_long, "must have at most 63 bytes");
    } else if (!is_printable(name)) {
      wrong(field, Reason::invalid, "must not contain control characters");
    } else if (!seen.insert(name).second) {
      wrong(field, Reason::duplicate, "\"" + name + "\" is used twice");
    }
  }

  void absolute(const std::string& field, const std::filesystem::path& path) {
    if (path.empty()) {
      wrong(field, Reason::required, "must not be empty");
    } else if (!path.is_absolute() || !is_printable(path.native())) {
      wrong(field, Reason::invalid, "must be an absolute path without control characters");
    }
  }

  std::vector<FieldError> take() { return std::move(found_); }

 private:
  std::vector<FieldError> found_;
};

/// `vd` and one or two lower-case letters.
bool is_target(std::string_view text) {
  return (text.size() == 3 || text.size() == 4) && text.substr(0, 2) == "vd" &&
         std::all_of(text.begin() + 2, text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

bool is_serial(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' ||
           c == '.' || c == '+' || c == ' ';
  });
}

/// `HOST:PORT` or `[IPv6]:PORT`. librados gets them as one text, where other characters separate them.
bool is_monitor(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || text.size() > 255) return false;
  const auto port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5 ||
      !std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return false;
  auto host = text.substr(0, colon);
  const bool is_address = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (is_address) host = host.substr(1, host.size() - 2);
  return std::all_of(host.begin(), host.end(), [&](char c) {
    const bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (is_address) return is_hex || c == ':' || c == '.';
    return is_hex || (c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z') || c == '-' || c == '.';
  });
}

/// Parts of an image's name: `pool/space/image@snapshot` is how Ceph writes them.
void check_rbd_name(Checker& check, const std::string& field, const std::string& text) {
  constexpr std::size_t limit = 255;
  if (text.empty()) {
    check.wrong(field, Reason::required, "must not be empty");
  } else if (text.size() > limit || !is_printable(text) || text.find_first_of("/@") != std::string::npos) {
    check.wrong(field, Reason::invalid, "must be at most 255 bytes without /, @ and control characters");
  }
}

void check_rbd(Checker& check, const std::string& field, const RbdImage& image, const DiskSecrets& secrets) {
  constexpr std::size_t secret_limit = 4096;
  constexpr std::size_t monitors_limit = 32;
  if (image.monitors.empty()) check.wrong(field + ".source.monitors", Reason::required, "must not be empty");
  if (image.monitors.size() > monitors_limit) {
    check.wrong(field + ".source.monitors", Reason::too_long, "must be at most 32");
  }
  if (!std::all_of(image.monitors.begin(), image.monitors.end(), is_monitor)) {
    check.wrong(field + ".source.monitors", Reason::invalid, "must be like 10.0.0.1:6789 or [fd00::1]:6789");
  }
  check_rbd_name(check, field + ".source.pool", image.pool);
  if (!image.space.empty()) check_rbd_name(check, field + ".source.space", image.space);
  check_rbd_name(check, field + ".source.image", image.image);
  check_rbd_name(check, field + ".source.user", image.user);
  if (secrets.key.empty() || secrets.key.size() > secret_limit) {
    check.wrong(field + ".secrets.key", Reason::required, "must be the key of the cephx user, at most 4096 bytes");
  }
  if (secrets.passphrase.empty() == image.is_encrypted || secrets.passphrase.size() > secret_limit) {
    check.wrong(field + ".secrets.passphrase", Reason::invalid,
                "must be there for an encrypted image, and for no other; at most 4096 bytes");
  }
}

void check_disk(Checker& check, const std::string& field, const Disk& disk, std::set<std::string>& names,
                std::set<std::string>& targets) {
  check.device_name(field + ".name", disk.name, names);
  if (!is_target(disk.device)) {
    check.wrong(field + ".device", Reason::invalid, "must be vda to vdz or vdaa to vdzz");
  } else if (!targets.insert(disk.device).second) {
    check.wrong(field + ".device", Reason::duplicate, "\"" + disk.device + "\" is used twice");
  }
  if (disk.serial.size() > kSerialLimit) {
    check.wrong(field + ".serial", Reason::too_long, "must have at most 20 bytes");
  } else if (!is_serial(disk.serial)) {
    check.wrong(field + ".serial", Reason::invalid, "may contain letters, digits, space and - _ . + only");
  }
  if (const auto* existing = std::get_if<ExistingDisk>(&disk.source)) {
    check.absolute(field + ".source.path", existing->path);
    if (existing->path.native().find(',') != std::string::npos) {
      check.wrong(field + ".source.path", Reason::invalid, "must not contain a comma, which means something to QEMU");
    }
    if (!image::parse_disk_format(existing->format)) {
      check.wrong(field + ".source.format", Reason::not_supported, "must be raw or qcow2");
    }
  } else if (const auto* image = std::get_if<RbdImage>(&disk.source)) {
    check_rbd(check, field, *image, disk.secrets);
  }
  if (disk.handle.size() > kHandleLimit || !is_serial(disk.handle)) {
    check.wrong(field + ".handle", Reason::invalid, "must be at most 63 letters, digits, space and - _ . +");
  }
  if (disk.size_bytes > kSizeLimit) check.wrong(field + ".size_bytes", Reason::too_long, "must be at most 1 PiB");
}

bool is_interface_name(std::string_view text) {
  return !text.empty() && text.size() < 16 && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%'; });
}

/// What DNS allows, or nothing. It becomes part of a QEMU option, where other characters could begin another one.
bool is_hostname(std::string_view text) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (text.empty()) return true;
  return text.size() <= 253 && is_plain(text.front()) && is_plain(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return is_plain(c) || c == '-' || c == '.'; });
}

bool is_pci_address(std::string_view text) {
  constexpr std::string_view kShape = "hhhh:hh:hh.d";
  if (text.size() != kShape.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool is_digit = c >= '0' && c <= '9';
    if (kShape[i] == 'h'   ? !(is_digit || (c >= 'a' && c <= 'f'))
        : kShape[i] == 'd' ? !(c >= '0' && c <= '7')
                           : c != kShape[i]) {
      return false;
    }
  }
  return true;
}

void check_nic(Checker& check, const std::string& field, const Nic& nic, std::set<std::string>& names,
               std::set<MacAddress>& macs) {
  check.device_name(field + ".name", nic.name, names);
  if (nic.mac) {
    if (nic.mac->is_multicast() || *nic.mac == MacAddress()) {
      check.wrong(field + ".mac", Reason::invalid, nic.mac->to_text() + " is not the address of one interface");
    } else if (!macs.insert(*nic.mac).second) {
      check.wrong(field + ".mac", Reason::duplicate, nic.mac->to_text() + " is used twice");
    }
  }
  if (const auto* network = std::get_if<LibvirtNetwork>(&nic.device)) {
    if (network->network.empty() || !is_printable(network->network)) {
      check.wrong(field + ".device.network", Reason::invalid, "must be the name of a libvirt network");
    }
  } else if (const auto* tap = std::get_if<Tap>(&nic.device)) {
    if (!is_interface_name(tap->interface)) {
      check.wrong(field + ".device.interface", Reason::invalid, "must be the name of an interface, 1 to 15 bytes");
    }
  } else if (const auto* vhost = std::get_if<VhostUser>(&nic.device)) {
    check.absolute(field + ".device.socket", vhost->socket);
  } else if (const auto* pci = std::get_if<PciDevice>(&nic.device)) {
    if (!is_pci_address(pci->address)) {
      check.wrong(field + ".device.address", Reason::invalid, "must look like 0000:3b:02.1");
    }
  }
}

}  // namespace

std::vector<FieldError> problems(const MachineSpec& spec) {
  Checker check;
  if (spec.uid.is_nil()) check.wrong("uid", Reason::required, "must not be nil");
  if (!is_printable(spec.name)) check.wrong("name", Reason::invalid, "must not contain control characters");
  if (spec.vcpus == 0) check.wrong("vcpus", Reason::invalid, "must be at least 1");
  if (spec.memory_bytes < kLeastMemory) check.wrong("memory_bytes", Reason::invalid, "must be at least 64 MiB");
  if (spec.disks.size() + spec.nics.size() > kDevicesLimit) {
    check.wrong("disks", Reason::too_long, "a machine can have at most 24 disks and NICs together");
  }
  std::set<std::string> disk_names, targets, nic_names;
  std::set<MacAddress> macs;
  for (std::size_t i = 0; i < spec.disks.size(); ++i) {
    check_disk(check, "disks[" + std::to_string(i) + "]", spec.disks[i], disk_names, targets);
  }
  for (std::size_t i = 0; i < spec.kept_disks.size(); ++i) {
    check.device_name("kept_disks[" + std::to_string(i) + "]", spec.kept_disks[i], disk_names);
  }
  if (!spec.kept_disks.empty() && spec.hold.empty()) {
    check.wrong("hold", Reason::required, "must say what is lacking while there are kept_disks");
  }
  for (std::size_t i = 0; i < spec.nics.size(); ++i) {
    check_nic(check, "nics[" + std::to_string(i) + "]", spec.nics[i], nic_names, macs);
  }
  if (spec.kernel) {
    if (spec.kernel->image.empty()) check.wrong("kernel.image", Reason::required, "must not be empty");
    if (!is_printable(spec.kernel->command_line)) {
      check.wrong("kernel.command_line", Reason::invalid, "must be one line");
    }
  }
  if (spec.ignition.size() > kIgnitionLimit) check.wrong("ignition", Reason::too_long, "must have at most 1 MiB");
  if (!is_hostname(spec.hostname)) {
    check.wrong("hostname", Reason::invalid, "must be letters, digits, - and ., at most 253, like web-1.example.org");
  }
  if (spec.reboot_token.size() > 1024) check.wrong("reboot_token", Reason::too_long, "must have at most 1024 bytes");
  if (spec.shutdown_grace < Duration::zero()) check.wrong("shutdown_grace", Reason::invalid, "must not be negative");
  return check.take();
}

MacAddress derived_mac(const Uid& machine, std::string_view nic) {
  const auto derived = crypto::derived_uid(machine, "mac/" + std::string(nic));
  std::array<std::uint8_t, 6> bytes{};
  std::copy_n(derived.bytes().begin(), bytes.size(), bytes.begin());
  bytes[0] = static_cast<std::uint8_t>((bytes[0] & 0xfcU) | 0x02U);  // one interface, locally administered
  return MacAddress(bytes);
}

std::string derived_handle(const Uid& machine, std::string_view disk) {
  const auto derived = crypto::derived_uid(machine, "disk/" + std::string(disk));
  return crypto::hex(std::as_bytes(std::span(derived.bytes()))).substr(0, 16);
}

}  // namespace ironcore::compute
