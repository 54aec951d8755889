// SPDX-License-Identifier: Apache-2.0
// The server's part in streams: who serves what, who may open one, and passing messages on within their credit.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "authorizer.hpp"
#include "codec.hpp"
#include "counters.hpp"
#include "listener.hpp"
#include "stream_link.hpp"

namespace ironcore::store::zmq {

/// Nothing is kept here but the streams themselves: each message is passed on at once or ends its stream. What can wait in ZeroMQ for one
/// slow reader is what that reader granted, at least `stream_message_cost` for each message. Thread: loop.
class StreamRelay {
 public:
  StreamRelay(const KindTable& kinds, const Authorizer& authorizer, const ServerOptions& options,
              std::uint64_t instance, Clock& clock, Log& log, Counters& counters);
  void add(Listener& listener) { listeners_.push_back(&listener); }

  /// The right to open one stream, once, soon, for this peer. `unavailable` when no worker serves the object's pool, `wrong_state` when it
  /// is not placed.
  Result<RandomId> grant(const Peer& peer, const Object& object, Text what);

  /// True = there may be more.
  bool read();
  /// Signs of life, when they are due.
  void tick();
  Instant next_tick() const noexcept { return tick_at_; }
  /// Ends what belongs to keys that nobody has any more.
  void drop_unknown_keys();
  /// Tells everybody that the server goes away.
  void close_all();

 private:
  /// One end of something: a connection, and there a stream number.
  struct Address {
    Listener* listener = nullptr;
    std::string routing_id;
    std::uint64_t id = 0;
    friend auto operator<=>(const Address&, const Address&) = default;
  };
  struct End {
    Address address;
    std::string public_key;      ///< empty for local ones
    std::uint64_t may_send = 0;  ///< credit that the other end granted
  };
  struct Relay {
    End client;
    End worker;
    bool is_accepted = false;
    Instant accept_until{};
  };
  struct Worker {
    Address address;  ///< id is 0
    std::string public_key;
    Instant heard{};
  };
  struct Grant {
    std::string public_key;
    bool is_local = false;
    std::string worker;
    std::string resource;
    std::string namespace_;
    std::string name;
    std::string uid;
    std::string what;
    Instant until{};
  };
  struct Order {
    bool operator()(const RandomId& a, const RandomId& b) const noexcept {
      return std::tie(a.high, a.low) < std::tie(b.high, b.low);
    }
  };
  using Relays = std::list<Relay>;

  static std::string worker_name(Text resource, Text pool);
  void take(Listener& listener, std::string routing_id, Message message);
  void take_serve(const Address& from, const Peer& peer, std::string_view message);
  void take_open(const Address& from, const Peer& peer, std::string_view message);
  void take_stream_message(const Address& from, MessageType type, std::string_view message);
  template <class Record>
  bool send(const Address& to, const Record& record);
  void refuse(const Address& to, const Error& error);
  void end(Relays::iterator relay, const Address* told, const Error& error);
  bool is_there(const Address& address);

  const KindTable& kinds_;
  const Authorizer& authorizer_;
  const ServerOptions& options_;
  const std::uint64_t instance_;
  Clock& clock_;
  Log& log_;
  Counters& counters_;
  std::vector<Listener*> listeners_;
  std::map<std::string, Worker, std::less<>> workers_;
  std::map<RandomId, Grant, Order> grants_;
  Relays relays_;
  std::map<Address, Relays::iterator> by_end_;
  std::uint64_t last_id_ = 0;
  Instant tick_at_{};
};

}  // namespace ironcore::store::zmq
