// SPDX-License-Identifier: Apache-2.0
// Dealers and subscribers.
#include "client_link.hpp"

#include "../../base/wire/first_contact.hpp"
#include "topic.hpp"

namespace ironcore::routing::zmq {

using wire::Message;
using wire::Socket;

namespace {

/// `:PORT` of the same host, or beside an ipc path; anything else is not for us.
std::string endpoint_beside(const std::string& control, std::string_view told, std::string_view suffix, int distance) {
  if (wire::reach_of(control) == wire::Reach::this_machine) return control + std::string(suffix);
  const auto colon = control.rfind(':');
  if (told.size() > 1 && told.size() <= 6 && told[0] == ':' &&
      told.find_first_not_of("0123456789", 1) == std::string_view::npos)
    return control.substr(0, colon) + std::string(told);
  return control.substr(0, colon + 1) +
         std::to_string(std::stoul(control.substr(colon + 1)) + static_cast<unsigned>(distance));
}

constexpr Duration watch_pause = std::chrono::milliseconds(250);
/// From when ZeroMQ gave a connection up until we try again: longer than between two looks, because it may only seem so in one of them.
constexpr Duration given_up_pause = std::chrono::seconds(2);
constexpr std::size_t control_at = 0;

}  // namespace

Result<std::unique_ptr<ClientLink>> ClientLink::create(Context& context, std::vector<ReflectorEndpoint> reflectors) {
  std::unique_ptr<ClientLink> link(new ClientLink(context.native()));
  for (auto& where : reflectors) {
    IRONCORE_CHECK(within(wire::check_endpoint(where.endpoint, where.keys), "reflector"));
    if (wire::reach_of(where.endpoint) == wire::Reach::network) {
      const auto port = where.endpoint.substr(where.endpoint.rfind(':') + 1);
      if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos ||
          std::stoul(port) > 65'533)
        return Error(ErrorCode::invalid, "reflector: endpoint " + where.endpoint + " has no port from 1 to 65533");
    }
    auto reflector = std::make_unique<Reflector>();
    reflector->where = std::move(where);
    IRONCORE_CHECK(within(link->open(*reflector), "reflector " + reflector->where.endpoint));
    link->reflectors_.push_back(std::move(reflector));
  }
  return link;
}

Result<void> ClientLink::open(Reflector& reflector) {
  IRONCORE_TRY(auto control, Socket::open(context_, ZMQ_DEALER));
  IRONCORE_CHECK(wire::prepare_client(control, reflector.where.endpoint, reflector.where.keys));
  IRONCORE_CHECK(control.set(ZMQ_LINGER, farewell_ms));
  IRONCORE_CHECK(control.set(ZMQ_SNDHWM, control_queue));
  IRONCORE_CHECK(control.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(message_bytes)));
  IRONCORE_TRY(auto monitor, wire::ConnectionMonitor::open(context_, control));
  IRONCORE_CHECK(control.connect(reflector.where.endpoint));
  reflector.monitors[control_at].reset();
  reflector.control = std::move(control);
  reflector.monitors[control_at].emplace(std::move(monitor));
  return {};
}

void ClientLink::send(PeerId peer, Channel channel, std::string message) {
  if (peer >= reflectors_.size()) return;
  auto& reflector = *reflectors_[peer];
  auto& socket = channel == Channel::control ? reflector.control : reflector.bulk;
  if (!socket) return;
  Message frame(std::move(message));
  socket.send(frame);
}

void ClientLink::connect(PeerId peer, std::string_view bulk, std::string_view publications) {
  if (peer >= reflectors_.size()) return;
  auto& reflector = *reflectors_[peer];
  reflector.wanted_bulk = endpoint_beside(reflector.where.endpoint, bulk, bulk_suffix, 1);
  reflector.wanted_publications = endpoint_beside(reflector.where.endpoint, publications, publications_suffix, 2);
  if (reflector.wanted_bulk == reflector.bulk_endpoint &&
      reflector.wanted_publications == reflector.publications_endpoint)
    return;
  // At once, because announcements follow.
  static_cast<void>(reconnect(reflector));
}

Result<void> ClientLink::reconnect(Reflector& reflector) {
  IRONCORE_TRY(auto bulk, Socket::open(context_, ZMQ_DEALER));
  IRONCORE_CHECK(wire::prepare_client(bulk, reflector.where.endpoint, reflector.where.keys));
  IRONCORE_CHECK(bulk.set(ZMQ_IMMEDIATE, 0));  // what is said while it connects is not said again soon
  IRONCORE_CHECK(bulk.set(ZMQ_SNDHWM, bulk_queue));
  IRONCORE_CHECK(bulk.set(ZMQ_RCVHWM, bulk_queue));
  IRONCORE_CHECK(bulk.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(message_bytes)));
  IRONCORE_TRY(auto bulk_monitor, wire::ConnectionMonitor::open(context_, bulk));
  IRONCORE_CHECK(bulk.connect(reflector.wanted_bulk));
  IRONCORE_TRY(auto publications, Socket::open(context_, ZMQ_SUB));
  IRONCORE_CHECK(wire::prepare_client(publications, reflector.where.endpoint, reflector.where.keys));
  IRONCORE_CHECK(publications.set(ZMQ_RCVHWM, publications_queue));
  IRONCORE_CHECK(publications.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(message_bytes)));
  for (const auto& stream : reflector.topics) IRONCORE_CHECK(publications.set(ZMQ_SUBSCRIBE, topic_of(stream)));
  IRONCORE_TRY(auto publications_monitor, wire::ConnectionMonitor::open(context_, publications));
  IRONCORE_CHECK(publications.connect(reflector.wanted_publications));
  for (auto i = control_at + 1; i < reflector.monitors.size(); ++i) reflector.monitors[i].reset();
  reflector.bulk = std::move(bulk);
  reflector.publications = std::move(publications);
  reflector.monitors[control_at + 1].emplace(std::move(bulk_monitor));
  reflector.monitors[control_at + 2].emplace(std::move(publications_monitor));
  reflector.bulk_endpoint = reflector.wanted_bulk;
  reflector.publications_endpoint = reflector.wanted_publications;
  return {};
}

void ClientLink::act() {
  for (const auto& wish : wishes_) {
    if (wish.reflector >= reflectors_.size() || !reflectors_[wish.reflector]->publications) continue;
    auto& reflector = *reflectors_[wish.reflector];
    const bool is_new =
        wish.is_wanted ? reflector.topics.insert(wish.topic).second : reflector.topics.erase(wish.topic) > 0;
    if (!is_new) continue;
    const auto topic = topic_of(wish.topic);
    zmq_setsockopt(reflector.publications.native(), wish.is_wanted ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE, topic.data(),
                   topic.size());
  }
  wishes_.clear();
}

Instant ClientLink::watch(Instant now) {
  for (const auto& reflector : reflectors_) {
    for (std::size_t i = 0; i < reflector->monitors.size(); ++i) {
      auto& monitor = reflector->monitors[i];
      auto& given_up = reflector->given_up[i];
      if (monitor) monitor->read();
      if (!monitor || !monitor->has_given_up()) {
        given_up.reset();
      } else if (!given_up) {
        given_up = now;
      } else if (now - *given_up >= given_up_pause) {
        // Without descriptors it fails, and is tried again then.
        if (i == control_at ? open(*reflector) : reconnect(*reflector)) given_up.reset();
      }
    }
  }
  return now + watch_pause;
}

std::string ClientLink::trouble(PeerId reflector) const {
  if (reflector >= reflectors_.size() || !reflectors_[reflector]->monitors[control_at]) return {};
  const auto& where = reflectors_[reflector]->where;
  switch (reflectors_[reflector]->monitors[control_at]->obstacle()) {
    using enum wire::ConnectionMonitor::Obstacle;
    case none:
      return {};
    case unreachable:
      return "nobody answers at " + where.endpoint + ": is the reflector running, and may this host reach it?";
    case unknown_key:
      return where.endpoint + " does not know our key " + where.keys->own.public_key +
             ": add it to the reflector's identities file, and send it SIGHUP";
    case unchecked_key:
      return where.endpoint + " cannot say whether it knows our key: see the reflector's log";
    case other_protocol:
      return where.endpoint +
             " does not speak as a reflector does: is it the endpoint of one, with tcp where there are keys?";
    case broken_off:
      return where.endpoint +
             (where.keys ? " breaks off the handshake: check that the reflector's public key is right, then see its log"
                         : " takes no more connections: see the reflector's log");
  }
  return {};
}

void ClientLink::read(const Receive& receive) {
  for (PeerId i = 0; i < reflectors_.size(); ++i) {
    auto& reflector = *reflectors_[i];
    const auto take = [&](LoopSocket& socket, Channel channel, int most) {
      for (int count = 0; socket.has_input() && count < most; ++count) {
        auto message = socket.receive();
        if (!message) return;
        if (&socket == &reflector.publications) {  // the topic comes first, and says nothing new
          if (!message->has_more()) continue;
          message = socket.receive();
          if (!message) return;
        }
        if (message->has_more()) {  // none of ours
          while (message && message->has_more()) message = socket.receive();
          continue;
        }
        receive(i, channel, message->bytes());
      }
    };
    take(reflector.control, Channel::control, control_turn);
    take(reflector.publications, Channel::bulk, bulk_turn);
    take(reflector.bulk, Channel::bulk, bulk_turn);
  }
}

void ClientLink::add_descriptors(std::vector<pollfd>& items) {
  for (const auto& reflector : reflectors_)
    for (auto* const socket : reflector->sockets()) socket->add_to(items);
}
void ClientLink::look(std::span<const pollfd> items) {
  for (const auto& reflector : reflectors_)
    for (auto* const socket : reflector->sockets()) socket->look(items);
}
bool ClientLink::has_input() {
  bool is_there = false;
  for (const auto& reflector : reflectors_)
    for (auto* const socket : reflector->sockets()) is_there = socket->settle() || is_there;
  return is_there;
}

}  // namespace ironcore::routing::zmq
