// SPDX-License-Identifier: Apache-2.0
// Addresses as text, the rest as it is.
#include "port_records.hpp"

namespace ironcore::network::zmq {

PortSpecRecord to_record(const PortSpec& spec, std::string& mac) {
  mac = spec.mac ? spec.mac->to_text() : std::string();
  return {spec.name, spec.device, spec.mtu, mac};
}

Result<PortSpec> spec_of(const PortSpecRecord& record) {
  PortSpec spec{.name = std::string(record.name), .device = std::string(record.device), .mtu = record.mtu, .mac = {}};
  if (!record.mac.empty()) {
    IRONCORE_TRY(const auto mac, within(MacAddress::parse(record.mac), "mac"));
    spec.mac = mac;
  }
  return spec;
}

EncodedPort::EncodedPort(const PortState& a_state, const PortCounters& some_counters)
    : mac(a_state.mac.to_text()), state(a_state), counters(some_counters) {}

PortRecord EncodedPort::record() {
  return {.spec = to_record(state.spec, spec_mac),
          .number = state.number,
          .mac = mac,
          .is_up = state.is_up,
          .received_packets = counters.received_packets,
          .received_bytes = counters.received_bytes,
          .sent_packets = counters.sent_packets,
          .sent_bytes = counters.sent_bytes,
          .missed = counters.missed,
          .unsent = counters.unsent,
          .errors = counters.errors};
}

Result<PortReport> report_of(const PortRecord& record) {
  PortReport report;
  IRONCORE_TRY(report.state.spec, spec_of(record.spec));
  IRONCORE_TRY(report.state.mac, MacAddress::parse(record.mac));
  report.state.number = record.number;
  report.state.is_up = record.is_up;
  report.counters = {.received_packets = record.received_packets,
                     .received_bytes = record.received_bytes,
                     .sent_packets = record.sent_packets,
                     .sent_bytes = record.sent_bytes,
                     .missed = record.missed,
                     .unsent = record.unsent,
                     .errors = record.errors};
  return report;
}

}  // namespace ironcore::network::zmq
