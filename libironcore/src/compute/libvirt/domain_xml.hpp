// SPDX-License-Identifier: Apache-2.0
// Definitions of domains and devices as libvirt's XML, and back again.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ironcore/compute/hypervisor.hpp"
#include "ironcore/compute/libvirt.hpp"
#include "xml.hpp"

namespace ironcore::compute::libvirt {

/// Our mark: an element of this namespace in a domain's metadata. A domain without it is not ours and is never touched.
inline constexpr std::string_view kNamespace = "https://ironcore.dev/libironcore/machine/1";

/// Device names become aliases, which libvirt keeps only if they start with `ua-`.
std::string disk_alias(std::string_view name);
std::string nic_alias(std::string_view name);

/// How an encrypted disk on Ceph is opened: by QEMU itself, or by rbd_namespace.cpp, where libvirt is too old to plug one in.
enum class Opener { qemu, preload };

/// A limit of a disk in QEMU's bounds; zeros = none. A burst lasts `burst_seconds`.
struct Throttle {
  std::uint64_t value = 0;
  std::uint64_t burst = 0;
  std::uint64_t burst_seconds = 0;
};
Throttle throttle(std::uint64_t value, std::uint64_t burst, std::chrono::seconds span);

/// One device, for hot-plug as well. `vcpus`: queues of a disk.
std::string disk_xml(const DomainDisk& disk, const Uid& domain, std::uint32_t vcpus, bool is_first,
                     Opener opener = Opener::qemu);
std::string nic_xml(const DomainNic& nic);

/// What libvirt's XML of a domain says; state and process are left to the caller. Nothing if the domain does not carry our mark.
std::optional<Domain> read_domain(const XmlElement& domain);

/// The pseudo-terminal of a running domain's first serial port; empty if it has none.
std::string console_path(const XmlElement& domain);

/// Where the first vhost-user NIC's switch shall connect; empty if there is none.
std::string vhost_socket(const XmlElement& domain);

/// What a disk of a domain is, as far as its size is concerned.
struct DiskPlace {
  std::string target;  ///< `vda`; empty if there is no such disk
  /// Bytes of the image before those that the guest sees: the header of LUKS2 by librbd, which counts in what QEMU is told.
  std::uint64_t header_bytes = 0;
};
DiskPlace disk_place(const XmlElement& domain, const Uid& uid, std::string_view name);

/// What is put before QEMU's libraries; empty if nothing is.
std::string preload_of(const XmlElement& domain);

}  // namespace ironcore::compute::libvirt
