// SPDX-License-Identifier: Apache-2.0
// Reading the words of a device.
#include "device_words.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

#include "ironcore/base/names.hpp"

namespace ironcore::network::dpdk {

namespace {

constexpr std::array<std::string_view, 8> kinds = {"pci", "tap", "af_packet", "memif", "pcap", "null", "ring", "vhost"};

Error wrong(std::string what) {
  return Error({{"device", FieldError::Reason::invalid, std::move(what)}});
}

/// Drivers take commas, `=` and brackets for their own, and hold up to 107 bytes of a socket's path.
bool is_path(std::string_view text) {
  return !text.empty() && text.size() <= longest_socket_path && std::all_of(text.begin(), text.end(), [](char c) {
    return is_word_character(c) || c == '/' || c == '.' || c == '+' || c == '@' || c == ':';
  });
}
bool is_interface(std::string_view text) {
  return !text.empty() && text.size() <= 15 && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_word_character(c) || c == '.' || c == '@'; });
}

struct Setting {
  std::string_view key;
  std::string_view value;
};

/// Calls `take` for each `key=value`; its Result is the end of it.
template <class Take>
Result<void> each_setting(std::string_view text, std::span<const std::string_view> keys, Take take) {
  std::vector<std::string_view> seen;
  while (!text.empty()) {
    const auto part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const auto equals = part.find('=');
    if (equals == std::string_view::npos || equals + 1 == part.size())
      return wrong("'" + std::string(part) + "' must be KEY=VALUE");
    const Setting setting{part.substr(0, equals), part.substr(equals + 1)};
    if (std::find(keys.begin(), keys.end(), setting.key) == keys.end())
      return wrong("there is no key '" + std::string(setting.key) + "'" + did_you_mean(setting.key, keys));
    if (std::find(seen.begin(), seen.end(), setting.key) != seen.end())
      return wrong("'" + std::string(setting.key) + "' stands there twice");
    seen.push_back(setting.key);
    IRONCORE_CHECK(take(setting));
  }
  return {};
}

Result<void> take_path(std::string& into, const Setting& setting) {
  if (!is_path(setting.value))
    return wrong(std::string(setting.key) + " must be a path of up to 107 letters, digits and -_/.+@:");
  into = setting.value;
  return {};
}

Result<void> read_memif(std::string_view text, DeviceWords& out) {
  constexpr std::array<std::string_view, 3> keys = {"socket", "role", "id"};
  IRONCORE_CHECK(each_setting(text, keys, [&](const Setting& setting) -> Result<void> {
    if (setting.key == "socket") return take_path(out.socket, setting);
    if (setting.key == "role") {
      if (setting.value != "server" && setting.value != "client") return wrong("role must be server or client");
      out.role = setting.value;
      return {};
    }
    const auto* end = setting.value.data() + setting.value.size();
    const auto result = std::from_chars(setting.value.data(), end, out.id);
    if (result.ec != std::errc() || result.ptr != end) return wrong("id must be a number of 32 bits");
    return {};
  }));
  if (out.socket.empty() || out.role.empty()) return wrong("must be memif:socket=PATH,role=server or client");
  return {};
}

Result<void> read_pcap(std::string_view text, DeviceWords& out) {
  constexpr std::array<std::string_view, 3> keys = {"rx", "tx", "infinite_rx"};
  IRONCORE_CHECK(each_setting(text, keys, [&](const Setting& setting) -> Result<void> {
    if (setting.key == "rx") return take_path(out.rx, setting);
    if (setting.key == "tx") return take_path(out.tx, setting);
    if (setting.value != "0" && setting.value != "1") return wrong("infinite_rx must be 0 or 1");
    out.is_infinite = setting.value == "1";
    return {};
  }));
  if (out.rx.empty() && out.tx.empty()) return wrong("must be pcap:rx=FILE,tx=FILE or one of these");
  if (out.is_infinite && out.rx.empty()) return wrong("infinite_rx needs rx");
  return {};
}

}  // namespace

bool is_word_character(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool is_pci_address(std::string_view text) noexcept {
  constexpr std::string_view form = "hhhh:hh:hh.o";
  if (text.size() != form.size()) return false;
  for (std::size_t i = 0; i < form.size(); ++i) {
    const char c = text[i];
    const bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    const bool is_right = form[i] == 'h' ? is_hex : form[i] == 'o' ? c >= '0' && c <= '7' : c == form[i];
    if (!is_right) return false;
  }
  return true;
}

Result<DeviceWords> parse_device(std::string_view text) {
  const auto colon = text.find(':');
  const auto word = text.substr(0, colon);
  const auto rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  const auto found = std::find(kinds.begin(), kinds.end(), word);
  if (found == kinds.end())
    return wrong("'" + std::string(word) + "' is no kind of device" + did_you_mean(word, kinds) +
                 "; there are pci, tap, af_packet, memif, pcap, null, ring and vhost");
  DeviceWords out;
  out.kind = static_cast<Kind>(found - kinds.begin());
  out.name = rest;
  switch (out.kind) {
    case Kind::pci:
      if (!is_pci_address(rest)) return wrong("must be like pci:0000:01:00.0");
      break;
    case Kind::tap:
    case Kind::af_packet:
      if (!is_interface(rest))
        return wrong("the name of an interface must be 1 to 15 letters, digits and -_.@, and is '" + std::string(rest) +
                     "'");
      break;
    case Kind::memif:
      IRONCORE_CHECK(read_memif(rest, out));
      break;
    case Kind::pcap:
      IRONCORE_CHECK(read_pcap(rest, out));
      break;
    case Kind::null:
      if (colon != std::string_view::npos) return wrong("null has nothing behind it");
      break;
    case Kind::ring:
      if (rest.empty() || rest.size() > 20 || !std::all_of(rest.begin(), rest.end(), is_word_character))
        return wrong("the name of a ring must be 1 to 20 letters, digits, '-' and '_'");
      break;
    case Kind::vhost:
      if (!is_path(rest))
        return wrong("must be vhost:PATH, with a path of up to 107 letters, digits and -_/.+@:, and has " +
                     std::to_string(rest.size()) + " bytes");
      break;
  }
  return out;
}

}  // namespace ironcore::network::dpdk
