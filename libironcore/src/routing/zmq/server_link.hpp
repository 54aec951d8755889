// SPDX-License-Identifier: Apache-2.0
// The sockets of a reflector towards nodes: three for each of its endpoints.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "../../base/wire/local_socket.hpp"
#include "../../base/wire/tcp_socket.hpp"
#include "ironcore/routing/link.hpp"
#include "ironcore/routing/zmq.hpp"
#include "loop_socket.hpp"

namespace ironcore::routing::zmq {

/// Thread: one.
class ServerLink final : public Link {
 public:
  static Result<std::unique_ptr<ServerLink>> create(Context& context, ServerOptions options);

  void send(PeerId peer, Channel channel, std::string message) override;
  void publish(StreamName topic, std::string message) override;
  void connect(PeerId, std::string_view, std::string_view) override {}
  void subscribe(PeerId, StreamName) override {}
  void unsubscribe(PeerId, StreamName) override {}

  struct Events {
    /// `rights` null = everything.
    std::function<void(PeerId, Channel, std::string_view, const KeyRights::Rights*)> receive;
    std::function<void(StreamName)> subscribed;
  };
  /// What to wait for, and what came of it.
  void add_descriptors(std::vector<pollfd>& items);
  void look(std::span<const pollfd> items);
  /// What has come, up to a bound.
  void read(const Events& events);
  /// After all else, before waiting: true = there is more to read, do not wait.
  bool has_input();

  /// Of the endpoint on TCP: where its other two sockets are, as a Welcome tells it; empty without one.
  const std::string& bulk() const noexcept { return bulk_; }
  const std::string& publications() const noexcept { return publications_; }
  const std::string& ipc_endpoint() const noexcept { return ipc_endpoint_; }
  const std::string& tcp_endpoint() const noexcept { return tcp_endpoint_; }
  /// All subscriptions over TCP end.
  Result<void> replace_rights(KeyRights rights);
  /// `read` wants to be called then, even if nothing comes.
  bool is_unbound() const noexcept { return is_unbound_; }
  std::uint64_t unknown_keys() const noexcept { return unknown_keys_; }
  std::uint64_t refused_subscriptions() const noexcept { return refused_; }

 private:
  struct Listener {
    bool is_local = false;
    std::uint8_t number = 0;
    LoopSocket control;
    LoopSocket bulk;
    LoopSocket publications;
    std::array<LoopSocket*, 3> sockets() { return {&control, &publications, &bulk}; }
    std::vector<wire::SocketFile> files;
  };
  explicit ServerLink(std::shared_ptr<Context::Native> context) : context_(std::move(context)) {}
  Result<void> listen_locally(const std::string& path);
  Result<void> listen_on_tcp(Context& context, TcpOptions options);
  Result<wire::Socket> open_publisher(const KeyPair* keys);
  const KeyRights::Rights* rights_of(const Listener& listener, const wire::Message& message) const;
  void read(Listener& listener, Channel channel, int most, const Events& events);
  void read_subscriptions(Listener& listener, const Events& events);
  void bind_again();

  std::shared_ptr<Context::Native> context_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unique_ptr<wire::KeyChecker> key_checker_;
  Input key_questions_;
  KeyRights rights_;
  KeyPair keys_;
  std::string address_;
  std::uint16_t publications_port_ = 0;
  std::string bulk_;
  std::string publications_;
  std::string ipc_endpoint_;
  std::string tcp_endpoint_;
  bool is_unbound_ = false;  ///< the publisher on TCP waits for its port
  std::uint64_t unknown_keys_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace ironcore::routing::zmq
