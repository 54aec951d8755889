// SPDX-License-Identifier: Apache-2.0
// Classes, architectures and URLs of network boot.
#include "boot_class.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace ironcore::network::dataplane {

namespace {

// https://www.iana.org/assignments/dhcpv6-parameters: 7 is x86-64 UEFI; 9, "EBC", is used for it by firmware that followed RFC 4578 before its
// errata.
bool is_loader_architecture(unsigned number) noexcept {
  return number == 7 || number == 9;
}

bool is_text(ConstBytes bytes, std::string_view text) noexcept {
  return std::equal(bytes.begin(), bytes.end(), text.begin(), text.end(),
                    [](std::uint8_t byte, char letter) { return byte == static_cast<std::uint8_t>(letter); });
}

void put_decimal(Writer& out, unsigned number) noexcept {
  if (number >= 10) put_decimal(out, number / 10);
  out.put8(static_cast<std::uint8_t>('0' + number % 10));
}

void put_hex(Writer& out, unsigned number) noexcept {
  if (number >= 16) put_hex(out, number / 16);
  out.put8(static_cast<std::uint8_t>("0123456789abcdef"[number % 16]));
}

/// Not shortened as RFC 5952 wishes: `IpAddress::to_text` allocates, and every parser takes it.
void put_text(Writer& out, const IpAddress& address) noexcept {
  const auto bytes = address.bytes();
  if (address.is_v4()) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (i != 0) out.put8('.');
      put_decimal(out, bytes[i]);
    }
    return;
  }
  out.put8('[');
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    if (i != 0) out.put8(':');
    put_hex(out, load16(&bytes[i]));
  }
  out.put8(']');
}

}  // namespace

bool is_firmware_class(ConstBytes vendor_class) noexcept {
  static constexpr std::string_view begin = "PXEClient:Arch:";
  constexpr std::size_t digits = 5;
  if (vendor_class.size() < begin.size() + digits || !is_text(vendor_class.first(begin.size()), begin)) return false;
  unsigned number = 0;
  for (const auto digit : vendor_class.subspan(begin.size(), digits)) {
    if (digit < '0' || digit > '9') return false;
    number = number * 10 + (digit - '0');
  }
  return is_loader_architecture(number);
}

bool has_loader_architecture(ConstBytes numbers) noexcept {
  for (; numbers.size() >= 2; numbers = numbers.subspan(2))
    if (is_loader_architecture(load16(numbers.data()))) return true;
  return false;
}

bool is_loader_class(ConstBytes user_class) noexcept {
  return is_text(user_class, "iPXE");
}

void put_boot_url(Writer& out, BootClass boot_class, const IpAddress& server, const NetworkBoot& boot) noexcept {
  const auto path = boot_class == BootClass::loader ? boot.path : boot.loader;
  out.put(boot_class == BootClass::loader ? std::string_view("http://") : std::string_view("tftp://"));
  put_text(out, server);
  if (!path.starts_with('/')) out.put8('/');
  out.put(path);
}

}  // namespace ironcore::network::dataplane
