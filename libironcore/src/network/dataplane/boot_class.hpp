// SPDX-License-Identifier: Apache-2.0
// What kind of network boot a DHCP client is in, and the place that it is told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "local_frames.hpp"

namespace ironcore::network::dataplane {

enum class BootClass : std::uint8_t {
  none,      ///< it boots from its own disk, or is of an architecture that the loader is not made for
  firmware,  ///< PXE of a 64-bit x86 EFI: wants the loader
  loader,    ///< iPXE: wants what it shall run
};

/// `PXEClient:Arch:00007…` in a vendor class (RFC 4578 §2.4 and the PXE specification), for an architecture that the loader is made for.
bool is_firmware_class(ConstBytes vendor_class) noexcept;
/// Whether one of these 16-bit numbers (RFC 4578 §2.1, RFC 5970 §3.3) is an architecture that the loader is made for.
bool has_loader_architecture(ConstBytes numbers) noexcept;
/// Exactly `iPXE`.
bool is_loader_class(ConstBytes user_class) noexcept;

/// `http://SERVER/PATH`, or `tftp://SERVER/LOADER`, an IPv6 server in brackets.
void put_boot_url(Writer& out, BootClass boot_class, const IpAddress& server, const NetworkBoot& boot) noexcept;

}  // namespace ironcore::network::dataplane
