// SPDX-License-Identifier: Apache-2.0
// Link: the network between speakers and reflectors, as seen by one of them. The seam of this pillar.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace ironcore::routing {

/// Which table of a reflector, or the one of a speaker.
enum class View : std::uint8_t {
  own = 0,      ///< what a speaker announces itself; all VNIs are in it, and its VNI is 0
  direct = 1,   ///< what was announced to this reflector
  relayed = 2,  ///< what it read from other reflectors
};

/// A history that is read as one: a VNI of a table. Also the topic of its publications.
struct StreamName {
  std::uint32_t vni = 0;
  View view = View::own;
  friend bool operator==(const StreamName&, const StreamName&) noexcept = default;
  friend auto operator<=>(const StreamName&, const StreamName&) noexcept = default;
};

/// The other end of a connection, for as long as it lasts. Of a speaker: the number of the reflector, from 0, in the order of its options.
using PeerId = std::uint64_t;

/// Two ways to the same peer, so that sessions never wait behind routes.
enum class Channel : std::uint8_t { control, bulk };

/// Nothing here waits, and everything may be lost, late, or twice: those who use it notice and repair. In good times messages of one channel arrive
/// in order, and so do publications. What arrives is handed to `receive` of the Speaker or Reflector, which calls these functions from within. Thread: one, theirs.
class Link {
 public:
  virtual ~Link() = default;
  /// Dropped if the peer cannot take it now.
  virtual void send(PeerId peer, Channel channel, std::string message) = 0;

  /// Of a reflector: to all that subscribe to the topic.
  virtual void publish(StreamName topic, std::string message) = 0;

  /// Of a speaker: where the other two sockets of a reflector are, as it says itself. Empty = beside the one of control.
  virtual void connect(PeerId reflector, std::string_view bulk, std::string_view publications) = 0;
  /// Of a speaker. Twice is once. A subscription is answered by a publication on the topic that says how things are.
  virtual void subscribe(PeerId reflector, StreamName topic) = 0;
  virtual void unsubscribe(PeerId reflector, StreamName topic) = 0;
};

}  // namespace ironcore::routing
