// SPDX-License-Identifier: Apache-2.0
// Routers and publishers, and who may subscribe.
#include "server_link.hpp"

#include <cstring>

#include "topic.hpp"

namespace ironcore::routing::zmq {

using wire::Message;
using wire::Socket;

namespace {

constexpr std::size_t routing_id_bytes =
    5;  ///< of those that ZeroMQ gives, which begin with 0; peers may not choose theirs
constexpr int subscriptions_turn = 1024;

std::optional<PeerId> peer_of(std::string_view routing_id, std::uint8_t listener) {
  if (routing_id.size() != routing_id_bytes || routing_id[0] != 0) return std::nullopt;
  std::uint32_t number = 0;
  std::memcpy(&number, routing_id.data() + 1, sizeof number);
  return PeerId{listener} << 32 | number;
}

}  // namespace

Result<std::unique_ptr<ServerLink>> ServerLink::create(Context& context, ServerOptions options) {
  if (options.path.empty() && !options.tcp)
    return Error(ErrorCode::invalid, "the reflector has neither a path nor a tcp endpoint");
  std::unique_ptr<ServerLink> link(new ServerLink(context.native()));
  if (!options.path.empty()) IRONCORE_CHECK(link->listen_locally(options.path));
  if (options.tcp) IRONCORE_CHECK(link->listen_on_tcp(context, std::move(*options.tcp)));
  return link;
}

Result<Socket> ServerLink::open_publisher(const KeyPair* keys) {
  IRONCORE_TRY(auto socket, Socket::open(context_, ZMQ_XPUB));
  IRONCORE_CHECK(socket.set(ZMQ_XPUB_MANUAL, 1));  // it is us who admit subscriptions
  IRONCORE_CHECK(socket.set(ZMQ_SNDHWM, publications_queue));
  IRONCORE_CHECK(socket.set(ZMQ_MAXMSGSIZE, std::int64_t{1024}));
  if (keys != nullptr) IRONCORE_CHECK(wire::secure(socket, *keys));
  return socket;
}

Result<void> ServerLink::listen_locally(const std::string& path) {
  const auto longest = wire::max_path_bytes - bulk_suffix.size();
  if (path.size() > longest)
    return Error(ErrorCode::invalid, "socket path " + path + " is longer than " + std::to_string(longest) + " bytes");
  IRONCORE_CHECK(wire::check_path(path));
  auto listener = std::make_unique<Listener>();
  listener->is_local = true;
  listener->number = static_cast<std::uint8_t>(listeners_.size());
  IRONCORE_TRY(listener->control, Socket::open(context_, ZMQ_ROUTER));
  IRONCORE_CHECK(wire::prepare_router(listener->control, {control_queue, control_queue, message_bytes}));
  IRONCORE_CHECK(listener->control.set(ZMQ_LINGER, farewell_ms));
  IRONCORE_TRY(listener->bulk, Socket::open(context_, ZMQ_ROUTER));
  IRONCORE_CHECK(wire::prepare_router(listener->bulk, {bulk_queue, bulk_queue, message_bytes}));
  IRONCORE_TRY(listener->publications, open_publisher(nullptr));
  const auto bind = [&](Socket& socket, const std::string& at) -> Result<void> {
    IRONCORE_TRY(auto file, wire::bind_local(socket, at));
    listener->files.push_back(std::move(file));
    return {};
  };
  IRONCORE_CHECK(bind(listener->control, path));
  IRONCORE_CHECK(bind(listener->bulk, path + std::string(bulk_suffix)));
  IRONCORE_CHECK(bind(listener->publications, path + std::string(publications_suffix)));
  ipc_endpoint_ = "ipc://" + path;
  listeners_.push_back(std::move(listener));
  return {};
}

Result<void> ServerLink::listen_on_tcp(Context& context, TcpOptions options) {
  if (options.port > 65'533)
    return Error(ErrorCode::invalid, "port " + std::to_string(options.port) + " leaves no room for the two after it");
  IRONCORE_TRY(key_checker_, wire::KeyChecker::open(context));
  rights_ = std::move(options.identities);
  keys_ = std::move(options.keys);
  address_ = options.address;
  auto listener = std::make_unique<Listener>();
  listener->number = static_cast<std::uint8_t>(listeners_.size());
  const auto port_after = [&](int distance) {
    return options.port == 0 ? std::uint16_t{0} : static_cast<std::uint16_t>(options.port + distance);
  };
  IRONCORE_TRY(listener->control, Socket::open(context_, ZMQ_ROUTER));
  IRONCORE_CHECK(wire::prepare_router(listener->control, {control_queue, control_queue, message_bytes}));
  IRONCORE_CHECK(listener->control.set(ZMQ_LINGER, farewell_ms));
  IRONCORE_CHECK(wire::secure(listener->control, keys_));
  IRONCORE_TRY(const auto port, wire::bind_tcp(listener->control, address_, options.port));
  IRONCORE_TRY(listener->bulk, Socket::open(context_, ZMQ_ROUTER));
  IRONCORE_CHECK(wire::prepare_router(listener->bulk, {bulk_queue, bulk_queue, message_bytes}));
  IRONCORE_CHECK(wire::secure(listener->bulk, keys_));
  IRONCORE_TRY(const auto bulk_port, wire::bind_tcp(listener->bulk, address_, port_after(1)));
  IRONCORE_TRY(listener->publications, open_publisher(&keys_));
  IRONCORE_TRY(publications_port_, wire::bind_tcp(listener->publications, address_, port_after(2)));
  bulk_ = ":" + std::to_string(bulk_port);
  publications_ = ":" + std::to_string(publications_port_);
  tcp_endpoint_ = "tcp://" + address_ + ":" + std::to_string(port);
  listeners_.push_back(std::move(listener));
  return {};
}

void ServerLink::send(PeerId peer, Channel channel, std::string message) {
  const auto number = peer >> 32;
  if (number >= listeners_.size()) return;
  auto& listener = *listeners_[number];
  auto& socket = channel == Channel::control ? listener.control : listener.bulk;
  char routing_id[routing_id_bytes] = {};
  const auto low = static_cast<std::uint32_t>(peer);
  std::memcpy(routing_id + 1, &low, sizeof low);
  Message to(std::string_view(routing_id, sizeof routing_id));
  if (!socket.send(to, ZMQ_SNDMORE)) return;
  Message frame(std::move(message));
  socket.send(frame);
}

void ServerLink::publish(StreamName topic, std::string message) {
  const auto name = topic_of(topic);
  Message frame(std::move(message));
  for (const auto& listener : listeners_) {
    Message first{std::string_view(name)};
    auto copy = frame.copy();
    if (listener->publications.send(first, ZMQ_SNDMORE)) listener->publications.send(copy);
  }
}

const KeyRights::Rights* ServerLink::rights_of(const Listener& listener, const Message& message) const {
  static const KeyRights::Rights none;
  if (listener.is_local) return nullptr;
  const auto* const rights = rights_.find(message.user());
  return rights == nullptr ? &none : rights;
}

void ServerLink::read(Listener& listener, Channel channel, int most, const Events& events) {
  auto& socket = channel == Channel::control ? listener.control : listener.bulk;
  for (int count = 0; socket.has_input() && count < most; ++count) {
    const auto routing_id = socket.receive();
    if (!routing_id) return;
    if (!routing_id->has_more()) continue;
    auto message = socket.receive();
    if (!message) return;
    const auto peer = peer_of(routing_id->bytes(), listener.number);
    if (message->has_more() || !peer) {
      while (message && message->has_more()) message = socket.receive();
      continue;
    }
    events.receive(*peer, channel, message->bytes(), rights_of(listener, *message));
  }
}

void ServerLink::read_subscriptions(Listener& listener, const Events& events) {
  auto* const socket = listener.publications.native();
  for (int count = 0; listener.publications.has_input() && count < subscriptions_turn; ++count) {
    const auto message = listener.publications.receive();
    if (!message) return;
    auto text = message->bytes();
    if (text.empty() || (text[0] != 0 && text[0] != 1)) continue;  // subscribers have nothing else to say
    const bool is_subscription = text[0] == 1;
    text.remove_prefix(1);
    const auto stream = stream_of(text);
    // What follows applies to the peer whose message was just received.
    if (is_subscription) {
      const auto* const rights = rights_of(listener, *message);
      if (!stream || (rights != nullptr && !rights->node.may_subscribe(stream->vni))) {
        ++refused_;
        continue;
      }
      zmq_setsockopt(socket, ZMQ_SUBSCRIBE, text.data(), text.size());
      events.subscribed(*stream);
      continue;
    }
    zmq_setsockopt(socket, ZMQ_UNSUBSCRIBE, text.data(), text.size());
  }
}

void ServerLink::read(const Events& events) {
  if (key_questions_.is_there()) {
    key_questions_.use();
    unknown_keys_ += key_checker_->answer([this](auto key) { return rights_.find(key) != nullptr; });
  }
  if (is_unbound_) bind_again();
  for (const auto& listener : listeners_) {
    read(*listener, Channel::control, control_turn, events);
    read_subscriptions(*listener, events);
    read(*listener, Channel::bulk, bulk_turn, events);
  }
}

void ServerLink::add_descriptors(std::vector<pollfd>& items) {
  for (const auto& listener : listeners_)
    for (auto* const socket : listener->sockets()) socket->add_to(items);
  if (key_checker_) key_questions_.add_to(items, key_checker_->socket());
}
void ServerLink::look(std::span<const pollfd> items) {
  for (const auto& listener : listeners_)
    for (auto* const socket : listener->sockets()) socket->look(items);
  key_questions_.look(items);
}
bool ServerLink::has_input() {
  bool is_there = key_checker_ && key_questions_.settle(key_checker_->socket());
  for (const auto& listener : listeners_)
    for (auto* const socket : listener->sockets()) is_there = socket->settle() || is_there;
  return is_there;
}

void ServerLink::bind_again() {
  for (const auto& listener : listeners_) {
    // ZeroMQ closes the one before in its own time, a few milliseconds.
    if (!listener->is_local && wire::bind_tcp(listener->publications, address_, publications_port_))
      is_unbound_ = false;
  }
}

Result<void> ServerLink::replace_rights(KeyRights rights) {
  rights_ = std::move(rights);
  for (const auto& listener : listeners_) {
    if (listener->is_local) continue;
    // Another socket on the same port: subscribers connect to it, and ask again.
    listener->publications.close();
    IRONCORE_TRY(listener->publications, open_publisher(&keys_));
    is_unbound_ = true;
  }
  return {};
}

}  // namespace ironcore::routing::zmq
