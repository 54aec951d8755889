// SPDX-License-Identifier: Apache-2.0
// A stream as the topic of its publications: one byte of view, four of VNI in network order.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ironcore/base/vni.hpp"
#include "ironcore/routing/link.hpp"

namespace ironcore::routing::zmq {

inline std::string topic_of(StreamName stream) {
  std::string topic(1, static_cast<char>(stream.view));
  for (int shift = 24; shift >= 0; shift -= 8) topic += static_cast<char>(stream.vni >> shift);
  return topic;
}

/// Empty for what is none, a mere beginning of one too.
inline std::optional<StreamName> stream_of(std::string_view topic) {
  if (topic.size() != 5) return std::nullopt;
  StreamName stream;
  for (std::size_t i = 1; i < 5; ++i) stream.vni = stream.vni << 8 | static_cast<unsigned char>(topic[i]);
  stream.view = static_cast<View>(topic[0]);
  if (stream.vni > Vni::max || (stream.view != View::direct && stream.view != View::relayed)) return std::nullopt;
  return stream;
}

// Beside the path of the socket of sessions.
inline constexpr std::string_view bulk_suffix = ".ann";
inline constexpr std::string_view publications_suffix = ".pub";

// Messages that wait for one peer, or from one. What comes then is dropped for it alone, and repaired.
inline constexpr int control_queue = 256;
inline constexpr int bulk_queue = 128;          ///< twice what is asked for at once, and more than a speaker's window
inline constexpr int publications_queue = 512;  ///< of 64 KB at most
inline constexpr std::size_t message_bytes = 128 * 1024;

/// Milliseconds that the end of a context waits for a farewell to leave.
inline constexpr int farewell_ms = 100;

// Messages that are read in one turn, so that none of the sockets waits long for the others.
inline constexpr int control_turn = 256;
inline constexpr int bulk_turn = 16;

}  // namespace ironcore::routing::zmq
