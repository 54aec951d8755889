// SPDX-License-Identifier: Apache-2.0
// Between counters and their record.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "ironcore/network/zmq.hpp"
#include "wire.hpp"

namespace ironcore::network::zmq {

/// The record's views point into this.
struct EncodedCounters {
  EncodedCounters(const DataplaneCounters& all, std::vector<InterfaceCounters> of_interfaces);
  EncodedCounters(const EncodedCounters&) = delete;
  EncodedCounters& operator=(const EncodedCounters&) = delete;
  std::vector<InterfaceCounters> interfaces;
  std::deque<std::string> macs;  ///< does not move what records point into
  CountersReply reply;
};

/// `invalid`: an address is none. `unsupported`: times of bursts that are divided in another way.
Result<AllCounters> counters_of(const CountersReply& record);

/// The names are for ever.
OffloadReply to_record(const std::optional<OffloadCounters>& counters);
std::optional<OffloadCounters> offload_of(const OffloadReply& record);

}  // namespace ironcore::network::zmq
