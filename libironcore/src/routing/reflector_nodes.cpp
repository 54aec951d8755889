// SPDX-License-Identifier: Apache-2.0
// Nodes of a reflector: their messages, sessions and leases.
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "reflector_impl.hpp"

namespace ironcore::routing {

namespace {

std::uint32_t milliseconds(Duration span) {
  return static_cast<std::uint32_t>(span / std::chrono::milliseconds(1));
}

}  // namespace

void Reflector::Impl::receive(PeerId peer, Channel channel, std::string_view message, const NodeRights* rights) {
  if (is_closed_) return;
  ++counters_.messages;
  const auto envelope = read_envelope(message);
  if (!envelope) {
    if (envelope.error().code() != ErrorCode::unsupported) {
      ++counters_.malformed;
      return;
    }
    ++counters_.foreign_version;
    if (channel == Channel::control)
      refuse(peer, channel, 0, Refuse::Reason::foreign_version, envelope.error().message());
    return;
  }
  const auto malformed = [&] { ++counters_.malformed; };
  if (envelope->type == MessageType::open) {
    Open wish;
    if (!decode(envelope->body, wish)) return malformed();
    return open(peer, wish, rights);
  }
  if (envelope->type == MessageType::refuse) return malformed();  // and no answer: it would be answered too
  auto* const node = node_of(envelope->session);
  if (node != nullptr && rights != nullptr && rights->name != node->name) {
    ++counters_.forbidden;
    return;
  }
  if (node == nullptr) {
    ++counters_.unknown_session;
    return refuse(peer, channel, envelope->session, Refuse::Reason::unknown_session, "open a session first");
  }
  node->heard = clock_.now();
  switch (envelope->type) {
    case MessageType::heartbeat: {
      Heartbeat heartbeat;
      if (!decode(envelope->body, heartbeat)) return malformed();
      node->control = peer;
      return beat(*node, heartbeat);
    }
    case MessageType::close: {
      Close close;
      if (!decode(envelope->body, close)) return malformed();
      return leave(*node, close.reason);
    }
    case MessageType::changes: {
      Changes changes;
      if (!decode(envelope->body, changes) || changes.stream != StreamName{}) return malformed();
      node->bulk = peer;
      return announced(*node, changes, rights);
    }
    case MessageType::position: {
      Position position;
      if (!decode(envelope->body, position) || position.stream.view == View::own) return malformed();
      return answer(*node, peer, position, rights);
    }
    default:
      return malformed();
  }
}

Reflector::Impl::Node* Reflector::Impl::node_of(std::uint64_t session) {
  const auto found = origin_of_session_.find(session);
  return found == origin_of_session_.end() ? nullptr : &nodes_.at(found->second);
}

void Reflector::Impl::refuse(PeerId peer, Channel channel, std::uint64_t session, Refuse::Reason reason,
                             std::string_view text, std::uint64_t detail) {
  link_.send(peer, channel, encode(session, Refuse{.reason = reason, .detail = detail, .text = text}));
}

void Reflector::Impl::open(PeerId peer, const Open& open, const NodeRights* rights) {
  if (rights != nullptr && rights->name != open.name) {
    ++counters_.forbidden;
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "this key belongs to " + in_quotes(rights->name) + ", not to " + in_quotes(open.name));
  }
  if (const auto reason = check_dns_subdomain(open.name)) {
    ++counters_.malformed;
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "name: " + in_quotes(open.name) + ' ' + *reason);
  }
  if (options_.peers > 0 && open.name == options_.name && open.instance == peer_instance_)
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "that is this reflector itself: take it out of its peers");
  const auto origin = origin_id(open.name);
  const auto found = nodes_.find(static_cast<std::uint64_t>(origin));
  if (found == nodes_.end() && nodes_.size() == options_.max_nodes) {
    ++counters_.exhausted;
    return refuse(peer, Channel::control, 0, Refuse::Reason::exhausted,
                  "this reflector serves no more nodes: raise its limit");
  }
  auto& node = found == nodes_.end() ? nodes_[static_cast<std::uint64_t>(origin)] : found->second;
  if (node.name.empty()) {
    node.name = open.name;
    node.origin = origin;
    log_.info("node connected", {{"node", node.name}});
  } else if (node.name != open.name) {
    ++counters_.forbidden;
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "the name has the same number as that of " + in_quotes(node.name) + ": choose another one");
  } else if (open.instance < node.instance) {
    ++counters_.replaced;
    return refuse(peer, Channel::control, 0, Refuse::Reason::older_instance, "a later life of this node was here",
                  node.instance);
  }
  if (node.session != 0) {
    origin_of_session_.erase(node.session);
    if (open.instance != node.instance) {
      ++counters_.replaced;
      log_.info("node began anew, or another one has its name", {{"node", node.name}});
      refuse(node.control, Channel::control, node.session, Refuse::Reason::replaced,
             "a later life of this node has come");
    }
  }
  const auto known = Welcome{.instance = node.instance, .sequence = node.sequence};
  if (std::exchange(node.must_be_judged, false) && rights != nullptr) judge(node, *rights);
  node.comes_back = false;
  node.session = random_identifier(random_);
  node.control = node.bulk = peer;
  node.heard = clock_.now();
  node.refused = 0;
  node.asked_at = {};
  drop_positions(node);
  origin_of_session_[node.session] = static_cast<std::uint64_t>(origin);
  link_.send(peer, Channel::control,
             encode(node.session, Welcome{.name = options_.name,
                                          .epoch = epoch_,
                                          .instance = known.instance,
                                          .sequence = known.sequence,
                                          .digest = direct_.origin(origin).digest,
                                          .lease_ms = milliseconds(options_.lease),
                                          .heartbeat_ms = milliseconds(options_.heartbeat),
                                          .is_ready = is_ready_,
                                          .has_relayed = options_.peers > 0,
                                          .bulk = options_.bulk,
                                          .publications = options_.publications}));
  if (node.instance != open.instance) {
    node.instance = open.instance;
    node.sequence = 0;
    node.has_restarted = false;
  }
}

void Reflector::Impl::beat(Node& node, const Heartbeat& heartbeat) {
  for (const auto& position : heartbeat.positions) take_position(node, position);
  link_.send(
      node.control, Channel::control,
      encode(node.session, Heartbeat{.is_ready = is_ready_, .has_relayed = options_.peers > 0, .positions = {}}));
}

void Reflector::Impl::leave(Node& node, Close::Reason reason) {
  if (reason == Close::Reason::leaving) {
    log_.info("node left", {{"node", node.name}});
    remove_routes(node);
    return forget(node);
  }
  log_.info("node comes back", {{"node", node.name}});
  origin_of_session_.erase(node.session);
  node.session = 0;
  node.comes_back = true;
  drop_positions(node);
}

/// What it may not announce any more goes, whether it says it again or not.
void Reflector::Impl::judge(const Node& node, const NodeRights& rights) {
  direct_.unmark_origin(node.origin);
  direct_.for_unmarked_of_origin(node.origin, [&](const Record& record) {
    if (rights.may_announce(record.vni(), route_of(record).destination)) return;
    direct_.withdraw(withdrawal(record, record.version));
    ++counters_.changes;
    touch(record.vni());
    if (++unpublished_withdrawals_ >= max_records) publish_changes();
  });
}

void Reflector::Impl::remove_routes(const Node& node) {
  direct_.remove_origin(node.origin, [&](const Record& record) {
    ++counters_.changes;
    touch(record.vni());
  });
}

void Reflector::Impl::forget(Node& node) {
  drop_positions(node);
  origin_of_session_.erase(node.session);
  nodes_.erase(static_cast<std::uint64_t>(node.origin));
}

void Reflector::Impl::look_at_leases(Instant now) {
  std::vector<Node*> dead;
  for (auto& [id, node] : nodes_) {
    const auto patience = node.comes_back ? options_.restart_time : options_.lease;
    if (now - node.heard > patience) dead.push_back(&node);
  }
  for (auto* const node : dead) {
    ++counters_.deaths;
    log_.warning("node is dead: its routes are withdrawn",
                 {{"node", node->name}, {"routes", std::to_string(direct_.origin(node->origin).routes)}});
    remove_routes(*node);
    forget(*node);
  }
}

}  // namespace ironcore::routing
