// SPDX-License-Identifier: Apache-2.0
// tcpdump's filters for captures, by libpcap.
#pragma once

#include <memory>
#include <string>

#include "ironcore/base/result.hpp"
#include "ironcore/network/capture.hpp"

namespace ironcore::network::pcap {

/// pcap-filter(7) for Ethernet frames; a `CompileFilter`. Asks nobody: hosts and networks are addresses, only a service (`port http`) may have a name.
/// Without `protochain`, which makes loops, and what is of other links than Ethernet. `invalid` names the word that is wrong; `exhausted`: more
/// than 1,536 bytes or 1,000 instructions. Thread: any.
Result<std::unique_ptr<const CaptureFilter>> compile_filter(const std::string& text);

}  // namespace ironcore::network::pcap
