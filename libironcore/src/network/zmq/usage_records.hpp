// SPDX-License-Identifier: Apache-2.0
// Between usage and its record.
#pragma once

#include "ironcore/base/result.hpp"
#include "ironcore/network/counters.hpp"
#include "wire.hpp"

namespace ironcore::network::zmq {

/// Its views point into the usage.
UsageReply to_record(const DataplaneUsage& usage);
/// What this program does not know is left out.
DataplaneUsage usage_of(const UsageReply& record);

}  // namespace ironcore::network::zmq
