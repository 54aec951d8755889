// SPDX-License-Identifier: Apache-2.0
// Publishes the store's changes to those who subscribed to them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "authorizer.hpp"
#include "codec.hpp"
#include "ironcore/store/local_store.hpp"
#include "listener.hpp"

namespace ironcore::store::zmq {

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
};
template <class T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

/// Two chains hold the changes together: one for each topic and one for each resource. A subscriber of one topic follows the first, one
/// of a whole resource the second; whoever finds a link missing asks. After a start the chains begin at the present revision, which is
/// never too early: at worst a subscriber asks once too often. Thread: loop.
class Publisher {
 public:
  Publisher(LocalStore& store, const KindTable& kinds, const Authorizer& authorizer, const ServerOptions& options,
            std::uint64_t instance, Clock& clock);
  Result<void> start();
  void add(Listener& listener);
  /// The listener's socket for changes is a new one: nobody is subscribed to it yet.
  void forget_subscriptions(const Listener& listener);

  /// Admits or refuses what peers want to hear. Returns how many were refused.
  std::size_t read_subscriptions();
  /// Everything the store has that was not published, at most some hundreds; true = there is more.
  Result<bool> publish();
  /// Heartbeat and bookmarks, when they are due.
  void tick();
  Instant next_tick() const noexcept;

  /// Nothing that this query can match changed after `from`. False when that is not known.
  bool is_unchanged(const Query& query, std::uint64_t from) const;
  /// The peer may subscribe to the topic of this query.
  bool is_pushed_to(const Peer& peer, const Query& query) const;
  std::uint64_t published() const noexcept { return published_; }
  std::uint64_t count() const noexcept { return count_; }

 private:
  /// Of one topic. Refused ones count too: when a peer goes away, ZeroMQ reports the end of all that it asked for, not
  /// naming the peer.
  struct Subscribers {
    std::size_t count = 0;
    bool is_heard = false;  ///< one of them was admitted
  };
  struct Output {
    Listener* listener;
    TextMap<Subscribers> subscriptions;
    std::size_t refused = 0;  ///< topics that nobody was admitted to
    bool is_refusing_more = false;
  };
  /// Where a topic or a resource stands.
  struct Chain {
    std::uint64_t last = 0;
    unsigned bookmarks_due = 0;  ///< bookmarks to repeat after a change: one of them could be dropped too
  };

  /// What this topic publishes; nothing if there is no such topic.
  std::optional<Query> query_of_topic(std::string_view topic) const;
  bool is_permitted(const Peer& peer, std::string_view topic) const;
  static void end_subscription(Output& output, std::string_view topic);
  void publish(const LocalStore::RawChange& change);
  void publish(const LocalStore::RawChange& change, Text resource, const std::string& topic, ChangeType type,
               std::uint64_t previous_of_resource);
  Chain& chain(std::string_view topic);
  Chain find_chain(std::string_view topic) const;
  static bool is_heard(const Output& output, std::string_view topic, std::string_view resource_topic);
  bool is_heard(std::string_view topic, std::string_view resource_topic) const;
  void send(std::string_view topic, std::string_view resource_topic, std::string published);
  void send_heartbeat();
  void send_bookmarks();

  LocalStore& store_;
  const KindTable& kinds_;
  const Authorizer& authorizer_;
  const ServerOptions& options_;
  const std::uint64_t instance_;
  Clock& clock_;
  std::vector<Output> outputs_;
  TextMap<Chain> chains_;    ///< topics and resources (as `machines.…/`) together: their texts differ
  std::uint64_t floor_ = 0;  ///< the last link of every chain that has none yet
  std::uint64_t published_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t ticks_ = 0;
  bool has_new_listener_ = false;
  Instant heartbeat_at_{};
  Instant last_heartbeat_{};
};

}  // namespace ironcore::store::zmq
