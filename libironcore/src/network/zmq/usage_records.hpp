// SPDX-License-Identifier: Apache-2.0
// Between usage, networks and their records.
#pragma once

#include "ironcore/base/result.hpp"
#include "ironcore/network/counters.hpp"
#include "ironcore/network/dataplane.hpp"
#include "wire.hpp"

namespace ironcore::network::zmq {

/// Its views point into the usage.
UsageReply to_record(const DataplaneUsage& usage);
/// What this program does not know is left out.
DataplaneUsage usage_of(const UsageReply& record);
VnisReply to_record(const ConfigurationPage<VniUse>& page);
/// Likewise; `corrupt` if something is no VNI.
Result<ConfigurationPage<VniUse>> vnis_of(const VnisReply& record);

}  // namespace ironcore::network::zmq
