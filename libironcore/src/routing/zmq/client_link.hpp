// SPDX-License-Identifier: Apache-2.0
// The sockets of one that is a node: three to each reflector.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../base/wire/connection_monitor.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/routing/link.hpp"
#include "ironcore/routing/zmq.hpp"
#include "loop_socket.hpp"

namespace ironcore::routing::zmq {

/// Functions of Link may be called by whoever has the lock of the loop; subscriptions and connections are noted and made by `act`. Thread: one
/// (`act`, `read`, `watch`, descriptors).
class ClientLink final : public Link {
 public:
  static Result<std::unique_ptr<ClientLink>> create(Context& context, std::vector<ReflectorEndpoint> reflectors);

  void send(PeerId peer, Channel channel, std::string message) override;
  void publish(StreamName, std::string) override {}
  void connect(PeerId reflector, std::string_view bulk, std::string_view publications) override;
  void subscribe(PeerId reflector, StreamName topic) override { wishes_.push_back({reflector, topic, true}); }
  void unsubscribe(PeerId reflector, StreamName topic) override { wishes_.push_back({reflector, topic, false}); }

  /// Makes connections and subscriptions that were asked for.
  void act();
  /// Looks at the connections, and makes those anew that ZeroMQ has given up. When to call again.
  Instant watch(Instant now);
  /// What keeps us from the reflector as of the last `watch`, and what to do; empty = nothing that is known.
  std::string trouble(PeerId reflector) const;
  std::size_t size() const noexcept { return reflectors_.size(); }
  using Receive = std::function<void(PeerId, Channel, std::string_view)>;
  /// What to wait for, and what came of it.
  void add_descriptors(std::vector<pollfd>& items);
  void look(std::span<const pollfd> items);
  /// What has come, up to a bound.
  void read(const Receive& receive);
  /// After all else, before waiting: true = there is more to read, do not wait.
  bool has_input();

 private:
  struct Reflector {
    ReflectorEndpoint where;
    LoopSocket control;
    LoopSocket bulk;
    LoopSocket publications;
    std::array<LoopSocket*, 3> sockets() { return {&control, &publications, &bulk}; }
    std::set<StreamName> topics;  ///< that are subscribed to
    std::string bulk_endpoint;    ///< that are connected to; empty = none yet
    std::string publications_endpoint;
    std::string wanted_bulk;
    std::string wanted_publications;
    /// Of the three sockets, in this order; after them, because they are closed first.
    std::array<std::optional<wire::ConnectionMonitor>, 3> monitors;
    std::array<std::optional<Instant>, 3> given_up;  ///< since when
  };
  struct Wish {
    PeerId reflector;
    StreamName topic;
    bool is_wanted;
  };
  explicit ClientLink(std::shared_ptr<Context::Native> context) : context_(std::move(context)) {}
  Result<void> open(Reflector& reflector);
  Result<void> reconnect(Reflector& reflector);

  std::shared_ptr<Context::Native> context_;
  std::vector<std::unique_ptr<Reflector>> reflectors_;
  std::vector<Wish> wishes_;
};

}  // namespace ironcore::routing::zmq
