// SPDX-License-Identifier: Apache-2.0
// IP addresses as text and their special ranges.
#include "ironcore/base/ip_address.hpp"

#include <algorithm>

#include "digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore {

namespace {

std::optional<IpAddress> parse_v4(std::string_view text) {
  std::uint32_t value = 0;
  for (int part = 0; part < 4; ++part) {
    const auto end = part < 3 ? text.find('.') : text.size();
    if (end == std::string_view::npos) return std::nullopt;
    const auto byte = strict_decimal(text.substr(0, end), 255);
    if (!byte) return std::nullopt;
    value = value << 8 | *byte;
    text.remove_prefix(part < 3 ? end + 1 : end);
  }
  return IpAddress::v4(value);
}

std::optional<IpAddress> parse_v6(std::string_view text) {
  std::array<std::uint16_t, 8> groups{};
  std::size_t count = 0;
  std::optional<std::size_t> gap;  // how many groups stand before "::"
  std::size_t at = 0;
  if (text.starts_with("::")) {
    gap = 0;
    at = 2;
  }
  while (at < text.size()) {
    const auto end = std::min(text.find(':', at), text.size());
    const auto group = text.substr(at, end - at);
    if (group.find('.') != std::string_view::npos) {
      const auto v4 = parse_v4(group);
      if (!v4 || end != text.size() || count > 6) return std::nullopt;
      groups[count++] = static_cast<std::uint16_t>(v4->v4_value() >> 16);
      groups[count++] = static_cast<std::uint16_t>(v4->v4_value() & 0xffff);
      break;
    }
    if (group.empty() || group.size() > 4 || count == 8) return std::nullopt;
    unsigned value = 0;
    for (const char c : group) {
      const int digit = hex_digit(c);
      if (digit < 0) return std::nullopt;
      value = value << 4 | static_cast<unsigned>(digit);
    }
    groups[count++] = static_cast<std::uint16_t>(value);
    if (end == text.size()) break;
    at = end + 1;
    if (at == text.size()) return std::nullopt;  // a lone colon at the end
    if (text[at] == ':') {
      if (gap) return std::nullopt;
      gap = count;
      ++at;
    }
  }
  if (gap ? count > 7 : count != 8) return std::nullopt;
  if (gap) {
    const auto split = groups.begin() + static_cast<std::ptrdiff_t>(*gap);
    const auto used = groups.begin() + static_cast<std::ptrdiff_t>(count);
    std::move_backward(split, used, groups.end());
    std::fill(split, split + static_cast<std::ptrdiff_t>(8 - count), std::uint16_t{0});
  }
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(groups[i] & 0xff);
  }
  return IpAddress::v6(bytes);
}

void append_v4(std::string& out, std::span<const std::uint8_t> bytes) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (i != 0) out += '.';
    out += std::to_string(bytes[i]);
  }
}

std::string v6_text(std::span<const std::uint8_t> bytes) {
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(bytes[2 * i] << 8 | bytes[2 * i + 1]);

  const bool mapped =
      std::all_of(groups.begin(), groups.begin() + 5, [](unsigned g) { return g == 0; }) && groups[5] == 0xffff;
  if (mapped) {
    std::string text = "::ffff:";
    append_v4(text, bytes.subspan(12));
    return text;
  }

  std::size_t best_at = 8, best_length = 1;  // a single zero group is not shortened
  for (std::size_t at = 0; at < 8;) {
    std::size_t end = at;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - at > best_length) {
      best_at = at;
      best_length = end - at;
    }
    at = end + 1;
  }
  std::string text;
  for (std::size_t i = 0; i < 8;) {
    if (i == best_at) {
      text += "::";
      i += best_length;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    bool started = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
      const auto digit = groups[i] >> shift & 15U;
      if (digit == 0 && !started && shift != 0) continue;
      started = true;
      text += "0123456789abcdef"[digit];
    }
    ++i;
  }
  return text;
}

}  // namespace

Result<IpAddress> IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != 4 && bytes.size() != 16)
    return Error(ErrorCode::invalid, "an IP address has 4 or 16 bytes, not " + std::to_string(bytes.size()));
  IpAddress address;
  address.is_v6_ = bytes.size() == 16;
  std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  return address;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const auto address = text.find(':') == std::string_view::npos ? parse_v4(text) : parse_v6(text);
  if (!address)
    return Error(ErrorCode::invalid, in_quotes(text) + " is not an IP address; write it like 10.0.0.1 or 2001:db8::1");
  return *address;
}

bool IpAddress::is_unspecified() const noexcept {
  return std::all_of(bytes_.begin(), bytes_.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const noexcept {
  if (!is_v6_) return bytes_[0] == 127;
  return bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.end() - 1, [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_multicast() const noexcept {
  return is_v6_ ? bytes_[0] == 0xff : (bytes_[0] & 0xf0U) == 0xe0;
}

bool IpAddress::is_link_local() const noexcept {
  return is_v6_ ? bytes_[0] == 0xfe && (bytes_[1] & 0xc0U) == 0x80 : bytes_[0] == 169 && bytes_[1] == 254;
}

std::string IpAddress::to_text() const {
  if (is_v6_) return v6_text(bytes());
  std::string text;
  append_v4(text, bytes());
  return text;
}

}  // namespace ironcore

std::size_t std::hash<ironcore::IpAddress>::operator()(const ironcore::IpAddress& address) const noexcept {
  return ironcore::hash_bytes(address.bytes());
}
