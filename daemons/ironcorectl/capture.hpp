// SPDX-License-Identifier: Apache-2.0
// dataplane capture: copies of frames, in a file of the host, sent somewhere, or printed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ironcore/network/capture.hpp"
#include "ironcorectl/output.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct CaptureWishes {
  std::string file;  ///< `-` = it is printed
  bool is_replacing = false;
  network::CaptureFormat format = network::CaptureFormat::pcapng;
  std::string udp;  ///< ADDRESS[:PORT]
  network::CaptureUdp::Encapsulation encapsulation = network::CaptureUdp::Encapsulation::vxlan;
  std::uint64_t vni = 0;
  std::vector<std::string> ports;
  network::CaptureDirection direction = network::CaptureDirection::both;
  std::uint64_t snap_length = network::CaptureSpec().snap_length;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

/// `start ID [FILTER…]`, `stop ID`, `list`. One that is printed ends with its limits, when it is interrupted or when nobody reads any more.
Result<void> capture(Session& session, const std::vector<std::string>& words, const CaptureWishes& wishes,
                     OutputFormat format);

}  // namespace ironcore::ctl
