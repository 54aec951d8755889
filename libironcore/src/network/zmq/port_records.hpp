// SPDX-License-Identifier: Apache-2.0
// Between ports and their records.
#pragma once

#include <string>

#include "ironcore/network/zmq.hpp"
#include "wire.hpp"

namespace ironcore::network::zmq {

/// `mac` keeps the text that the record views.
PortSpecRecord to_record(const PortSpec& spec, std::string& mac);
/// `invalid`: the address is none.
Result<PortSpec> spec_of(const PortSpecRecord& record);

/// The record's views point into this and into the report.
struct EncodedPort {
  EncodedPort(const PortState& state, const PortCounters& counters);
  std::string spec_mac;
  std::string mac;
  const PortState& state;
  PortCounters counters;
  PortRecord record();
};
Result<PortReport> report_of(const PortRecord& record);

}  // namespace ironcore::network::zmq
