// SPDX-License-Identifier: Apache-2.0
// What a capture can be told, without a dataplane.
#include "ironcore/network/capture.hpp"

#include <algorithm>

namespace ironcore::network {

namespace {

constexpr std::size_t most_ports = 256;
constexpr std::size_t longest_filter = 1024;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

using Errors = std::vector<FieldError>;
using Reason = FieldError::Reason;

void check_sink(const CaptureFile& file, Errors& errors) {
  constexpr std::size_t longest_name = 128;
  const auto& name = file.name;
  if (name.empty() || name.size() > longest_name || name.front() == '.' ||
      !std::all_of(name.begin(), name.end(), [](char c) { return is_name(c) || c == '.'; }))
    errors.push_back(
        {"sink.name", Reason::invalid,
         "must be 1 to 128 letters, digits, '.', '-' and '_' without '.' at the front: files are made in the "
         "directory of captures only"});
}

void check_sink(const CaptureUdp& udp, Errors& errors) {
  if (udp.address.is_unspecified() || udp.address.is_multicast())
    errors.push_back({"sink.address", Reason::invalid, "must be the address of one station"});
  if (udp.port == 0) errors.push_back({"sink.port", Reason::invalid, "must be 1 to 65535"});
  if (udp.vni > most_capture_vni) errors.push_back({"sink.vni", Reason::invalid, "must be 0 to 16777215"});
}

void check_sink(const CaptureStream&, Errors&) {}

}  // namespace

std::string_view name(CaptureDirection direction) noexcept {
  switch (direction) {
    case CaptureDirection::in:
      return "in";
    case CaptureDirection::out:
      return "out";
    case CaptureDirection::both:
      break;
  }
  return "both";
}

std::string_view name(CaptureFormat format) noexcept {
  return format == CaptureFormat::pcap ? "pcap" : "pcapng";
}

std::string_view name(CaptureUdp::Encapsulation encapsulation) noexcept {
  return encapsulation == CaptureUdp::Encapsulation::plain ? "plain" : "vxlan";
}

std::string_view name(CaptureState::Phase phase) noexcept {
  switch (phase) {
    case CaptureState::Phase::ended:
      return "ended";
    case CaptureState::Phase::failed:
      return "failed";
    case CaptureState::Phase::running:
      break;
  }
  return "running";
}

Result<void> check(const CaptureSpec& spec) {
  constexpr std::size_t longest_id = 63;
  Errors errors;
  if (spec.id.empty() || spec.id.size() > longest_id || !std::all_of(spec.id.begin(), spec.id.end(), is_name))
    errors.push_back({"id", Reason::invalid, "must be 1 to 63 letters, digits, '-' and '_'"});
  if (spec.ports.size() > most_ports)
    errors.push_back({"ports", Reason::too_long, "must be at most 256; none means all"});
  for (std::size_t i = 0; i < std::min(spec.ports.size(), most_ports); ++i)
    if (std::find(spec.ports.begin(), spec.ports.begin() + static_cast<std::ptrdiff_t>(i), spec.ports[i]) !=
        spec.ports.begin() + static_cast<std::ptrdiff_t>(i))
      errors.push_back({"ports[" + std::to_string(i) + "]", Reason::duplicate, spec.ports[i] + " is named twice"});
  if (spec.filter.size() > longest_filter)
    errors.push_back({"filter", Reason::too_long, "must not be longer than 1024 bytes"});
  if (spec.snap_length < least_snap_length || spec.snap_length > most_snap_length)
    errors.push_back({"snap_length", Reason::invalid, "must be 64 to 262144"});
  std::visit([&](const auto& sink) { check_sink(sink, errors); }, spec.sink);
  if (!errors.empty()) return Error(std::move(errors));
  return {};
}

}  // namespace ironcore::network
