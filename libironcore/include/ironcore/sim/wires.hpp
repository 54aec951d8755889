// SPDX-License-Identifier: Apache-2.0
// Wires between speakers and reflectors in memory: with delay, loss, doubles, disorder, and cuts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/routing/link.hpp"

namespace ironcore::sim {

/// What wires do to each message. Chances are out of 1,000.
struct WireFaults {
  Duration least_delay = std::chrono::microseconds(50);
  Duration most_delay = std::chrono::microseconds(100);
  std::uint32_t lost = 0;
  std::uint32_t doubled = 0;
  std::uint32_t disordered = 0;  ///< those take up to 20 times as long, so that later ones overtake them
};

/// Ends are added, and connected by who adds them. A message is delivered by `deliver`, when its time has come; nothing happens by itself. Without disorder
/// messages of one channel, and publications, arrive in the order in which they were sent. Thread: one.
class Wires {
 public:
  Wires(Clock& clock, Random& random, WireFaults faults = {});
  ~Wires();
  Wires(const Wires&) = delete;
  Wires& operator=(const Wires&) = delete;

  using Receive = std::function<void(routing::PeerId, routing::Channel, std::string_view)>;
  using Subscribed = std::function<void(routing::StreamName)>;
  using EndId = std::size_t;

  /// What is done at an end: may be replaced, and empty for one that does not run: then what arrives there is lost.
  struct Receivers {
    Receive message;
    Subscribed subscribed;    ///< of a reflector: once for each subscriber
    Subscribed unsubscribed;  ///< of a reflector: when the last one has gone
  };
  EndId add_reflector();
  /// Peer n of its link is `reflectors[n]`.
  EndId add_speaker(std::vector<EndId> reflectors);
  /// For a Speaker or a Reflector; lives as long as the wires.
  routing::Link& link(EndId end);
  void attach(EndId end, Receivers receivers);
  /// The program at this end is gone: what is on its way there is lost, and so are a speaker's subscriptions. A reflector's subscribers
  /// come back to the next one that is attached, as sockets do.
  void detach(EndId end);

  void set_faults(const WireFaults& faults) { faults_ = faults; }
  void cut(EndId a, EndId b);
  void mend(EndId a, EndId b);
  void mend_all();
  /// Takes nothing from its wires until then; publications above a bound are lost, as when a socket's queue is full.
  void pause(EndId end, Instant until);

  /// When the next message arrives; `Instant::max()` = none is on its way.
  Instant next() const;
  /// Delivers everything whose time has come.
  void deliver();

  std::uint64_t delivered() const noexcept { return delivered_; }
  /// Of what was published, each subscriber counted.
  std::uint64_t publications() const noexcept { return publications_; }

 private:
  class End;
  struct Parcel {
    enum class Kind : std::uint8_t { message, publication, subscription };
    Instant at;
    std::uint64_t number;  ///< of equal times the earlier one first
    Kind kind;
    EndId from;
    EndId to;
    std::uint64_t life;  ///< of the receiving end when it was sent
    routing::Channel channel;
    routing::StreamName topic;
    std::shared_ptr<const std::string> bytes;
  };
  struct Later {
    bool operator()(const Parcel& a, const Parcel& b) const noexcept {
      return a.at != b.at ? a.at > b.at : a.number > b.number;
    }
  };
  void send(Parcel parcel);
  void hand_over(const Parcel& parcel);
  bool is_cut(EndId a, EndId b) const { return cuts_.contains(std::minmax(a, b)); }

  Clock& clock_;
  Random& random_;
  WireFaults faults_;
  std::vector<std::unique_ptr<End>> ends_;
  std::set<std::pair<EndId, EndId>> cuts_;
  std::priority_queue<Parcel, std::vector<Parcel>, Later> parcels_;
  std::uint64_t next_number_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t publications_ = 0;
};

}  // namespace ironcore::sim
