// SPDX-License-Identifier: Apache-2.0
// Captured frames as tools read them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "capture_ring.hpp"
#include "ironcore/network/capture.hpp"

namespace ironcore::network::dataplane {

/// pcap with nanoseconds (draft-ietf-opsawg-pcap), pcapng with an interface for each port (draft-ietf-opsawg-pcapng), VXLAN (RFC 7348), or plain
/// frames, as the sink wants it. Thread: one.
class CaptureEncoder {
 public:
  using NameOf = std::function<std::string(std::uint32_t port)>;
  CaptureEncoder(const CaptureSpec& spec, NameOf name_of);

  /// What stands before the first frame; once, at first. In pcapng also port 0: libpcap reads no file without any.
  std::string beginning();
  /// Appends a frame, `head.time_ns` being time since 1970, and whatever must stand before it. Frames must be written in the order in which they
  /// were encoded.
  void add(std::string& out, const CaptureHead& head, std::span<const std::uint8_t> frame);

 private:
  enum class Form { pcapng, pcap, vxlan, plain };
  void add_pcapng(std::string& out, const CaptureHead& head, std::span<const std::uint8_t> frame);
  std::uint32_t interface_of(std::string& out, std::uint32_t port);

  Form form_ = Form::plain;
  std::uint32_t snap_length_;
  std::uint32_t vni_ = 0;
  NameOf name_of_;
  std::vector<std::uint32_t> interfaces_;  ///< of each port, as far as they were told
  std::uint32_t told_ = 0;
};

}  // namespace ironcore::network::dataplane
