// SPDX-License-Identifier: Apache-2.0
// Sinks as words and what belongs to them.
#include "capture_records.hpp"

#include <array>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::network::zmq {

namespace {

template <class Value, std::size_t Count>
Result<Value> value_of(Text word, std::string_view field, const std::array<Value, Count>& values) {
  std::array<std::string_view, Count> words;
  for (std::size_t i = 0; i < Count; ++i) {
    words[i] = name(values[i]);
    if (words[i] == word) return values[i];
  }
  return Error(ErrorCode::invalid,
               std::string(field) + ": " + in_quotes(word) + " is not known" + did_you_mean(word, words));
}

constexpr std::array formats{CaptureFormat::pcapng, CaptureFormat::pcap};

}  // namespace

EncodedCaptureSpec::EncodedCaptureSpec(const CaptureSpec& a_spec) : spec(a_spec) {
  if (const auto* udp = std::get_if<CaptureUdp>(&spec.sink)) address = udp->address.to_text();
}

CaptureSpecRecord EncodedCaptureSpec::record() const {
  CaptureSpecRecord out{.id = spec.id,
                        .ports = {spec.ports.begin(), spec.ports.end()},
                        .direction = name(spec.direction),
                        .filter = spec.filter,
                        .snap_length = spec.snap_length,
                        .sink = "stream",
                        .format = {},
                        .target = {},
                        .most_packets = spec.most_packets,
                        .most_bytes = spec.most_bytes};
  if (const auto* file = std::get_if<CaptureFile>(&spec.sink)) {
    out.sink = "file";
    out.format = name(file->format);
    out.target = file->name;
    out.replaces = file->existing == CaptureFile::Existing::replace;
  } else if (const auto* udp = std::get_if<CaptureUdp>(&spec.sink)) {
    out.sink = "udp";
    out.format = name(udp->encapsulation);
    out.target = address;
    out.port = udp->port;
    out.vni = udp->vni;
  } else {
    out.format = name(std::get<CaptureStream>(spec.sink).format);
  }
  return out;
}

Result<CaptureSpec> spec_of(const CaptureSpecRecord& record) {
  CaptureSpec spec;
  spec.id = record.id;
  spec.ports.assign(record.ports.begin(), record.ports.end());
  IRONCORE_TRY(spec.direction,
               value_of(record.direction, "direction",
                        std::array{CaptureDirection::both, CaptureDirection::in, CaptureDirection::out}));
  spec.filter = record.filter;
  spec.snap_length = record.snap_length;
  spec.most_packets = record.most_packets;
  spec.most_bytes = record.most_bytes;
  if (record.sink == "file") {
    CaptureFile file{.name = std::string(record.target)};
    IRONCORE_TRY(file.format, value_of(record.format, "sink.format", formats));
    if (record.replaces) file.existing = CaptureFile::Existing::replace;
    spec.sink = std::move(file);
  } else if (record.sink == "udp") {
    CaptureUdp udp{.port = record.port, .vni = record.vni};
    IRONCORE_TRY(udp.address, within(IpAddress::parse(record.target), "sink.address"));
    using Encapsulation = CaptureUdp::Encapsulation;
    IRONCORE_TRY(udp.encapsulation,
                 value_of(record.format, "sink.encapsulation", std::array{Encapsulation::vxlan, Encapsulation::plain}));
    spec.sink = udp;
  } else if (record.sink == "stream") {
    CaptureStream stream;
    IRONCORE_TRY(stream.format, value_of(record.format, "sink.format", formats));
    spec.sink = stream;
  } else {
    return Error(ErrorCode::invalid,
                 "sink: " + in_quotes(record.sink) + " is not known; there are file, udp and stream");
  }
  return spec;
}

EncodedCapture::EncodedCapture(const CaptureState& a_state) : state(a_state), spec(a_state.spec) {}

CaptureRecord EncodedCapture::record() const {
  return {.spec = spec.record(),
          .phase = name(state.phase),
          .reason = state.reason,
          .seen = state.seen,
          .written = state.written,
          .lost = state.lost,
          .bytes = state.bytes};
}

Result<CaptureState> state_of(const CaptureRecord& record) {
  CaptureState state;
  IRONCORE_TRY(state.spec, spec_of(record.spec));
  using Phase = CaptureState::Phase;
  IRONCORE_TRY(state.phase, value_of(record.phase, "phase", std::array{Phase::running, Phase::ended, Phase::failed}));
  state.reason = record.reason;
  state.seen = record.seen;
  state.written = record.written;
  state.lost = record.lost;
  state.bytes = record.bytes;
  return state;
}

}  // namespace ironcore::network::zmq
