// SPDX-License-Identifier: Apache-2.0
// Requests of operators: from bytes, to the reflector, and back.
#include "operations.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "../../base/wire/records.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::routing::zmq {

// The order here is the order on the wire.
IRONCORE_WIRE(StatusRequest)
IRONCORE_WIRE(CountRecord, archive(record.name, record.count))
IRONCORE_WIRE(PeerRecord,
              archive(record.endpoint, record.phase, record.name, record.epoch, record.is_ready, record.refusal))
IRONCORE_WIRE(StatusReply, archive(record.program, record.name, record.epoch, record.is_ready, record.heartbeat_ms,
                                   record.lease_ms, record.counts, record.peers))
IRONCORE_WIRE(NodesRequest, archive(record.after, record.limit))
IRONCORE_WIRE(NodeRecord, archive(record.name, record.origin, record.instance, record.is_connected, record.silent_ms,
                                  record.routes, record.announced, record.refused, record.streams, record.behind))
IRONCORE_WIRE(NodesReply, archive(record.nodes, record.has_more))
IRONCORE_WIRE(VnisRequest, archive(record.from, record.limit))
IRONCORE_WIRE(VniRecord, archive(record.vni, record.view, record.routes, record.tombstones, record.sequence,
                                 record.digest, record.is_subscribed))
IRONCORE_WIRE(VnisReply, archive(record.vnis, record.has_more))
IRONCORE_WIRE(RoutesRequest, archive(record.vni, record.view, record.after, record.limit, record.has_withdrawals,
                                     record.match, record.prefix))
IRONCORE_WIRE(RouteRecord,
              archive(record.what, record.route, record.origin, record.node, record.version, record.sequence))
IRONCORE_WIRE(RoutesReply, archive(record.routes, record.next, record.is_last, record.has_forgotten, record.epoch))

namespace {

constexpr std::size_t most_waiting = 256;
constexpr int answers_per_turn = 4;
constexpr std::size_t most_request_bytes = 4 * 1024;
constexpr std::uint16_t first_type = 0x0281, last_type = 0x02ff;

constexpr std::array views{View::direct, View::relayed};
constexpr std::array matches{RoutesQuery::Match::all, RoutesQuery::Match::covering, RoutesQuery::Match::inside};
constexpr std::array fates{LearnedRoute::What::announced, LearnedRoute::What::withdrawn,
                           LearnedRoute::What::origin_gone};

/// The one of `values` that has this name.
template <class Values>
Result<typename Values::value_type> by_name(const Values& values, Text word, std::string_view field) {
  for (const auto value : values)
    if (name(value) == word) return value;
  return Error(ErrorCode::invalid, std::string(field) + ": " + in_quotes(word) + " is not known here");
}

std::uint32_t milliseconds(Duration span) {
  return static_cast<std::uint32_t>(span / std::chrono::milliseconds(1));
}

std::size_t at_most(std::uint32_t limit, std::size_t most) {
  return std::clamp<std::size_t>(limit, 1, most);
}

}  // namespace

std::string_view name(View view) noexcept {
  return view == View::relayed ? "relayed" : "direct";
}
Result<View> view_of(Text word) {
  return by_name(views, word, "view");
}
std::string_view name(RoutesQuery::Match match) noexcept {
  switch (match) {
    case RoutesQuery::Match::covering:
      return "covering";
    case RoutesQuery::Match::inside:
      return "inside";
    case RoutesQuery::Match::all:
      break;
  }
  return "all";
}
std::string_view name(LearnedRoute::What what) noexcept {
  switch (what) {
    case LearnedRoute::What::withdrawn:
      return "withdrawn";
    case LearnedRoute::What::origin_gone:
      return "origin-gone";
    case LearnedRoute::What::announced:
      break;
  }
  return "announced";
}

Result<RoutesQuery> query_of(const RoutesRequest& request) {
  RoutesQuery query{
      .after = request.after,
      .limit = at_most(request.limit, page_routes),
      .withdrawals = request.has_withdrawals ? RoutesQuery::Withdrawals::included : RoutesQuery::Withdrawals::left_out};
  IRONCORE_TRY(query.vni, within(Vni::make(request.vni), "vni"));
  IRONCORE_TRY(query.view, view_of(request.view));
  IRONCORE_TRY(query.match, by_name(matches, request.match, "match"));
  if (query.match != RoutesQuery::Match::all) {
    IRONCORE_TRY(query.prefix, within(Prefix::parse(request.prefix), "prefix"));
  }
  return query;
}

Result<KnownRoute> route_of(const RouteRecord& record) {
  KnownRoute route{.origin = OriginId{record.origin},
                   .node = std::string(record.node),
                   .version = record.version,
                   .sequence = record.sequence};
  IRONCORE_TRY(route.what, by_name(fates, record.what, "what"));
  if (route.what != LearnedRoute::What::origin_gone) {
    IRONCORE_TRY(route.route, within(parse_route(record.route), "route"));
  }
  return route;
}

bool Operations::is_request(std::string_view message) noexcept {
  if (message.size() < 8 || !message.starts_with(wire::magic)) return false;
  const auto type = static_cast<std::uint16_t>(static_cast<unsigned char>(message[6]) |
                                               static_cast<unsigned>(static_cast<unsigned char>(message[7])) << 8);
  return type >= first_type && type <= last_type;
}

void Operations::refuse(PeerId peer, std::uint64_t request, const Error& error) {
  link_.send(peer, Channel::control, wire::encode(request, 0, wire::to_record(error)));
}

void Operations::take(PeerId peer, std::string_view message, const KeyRights::Rights* rights) {
  Waiting request{.peer = peer, .header = {}, .message = {}};
  const auto read = wire::decode_header(message, request.header);
  if (!read && read.error().code() != ErrorCode::unsupported) {
    ++malformed_;
    return;
  }
  const auto id = request.header.request_id;
  if (!read) {
    ++foreign_version_;
    return refuse(peer, id, read.error());
  }
  ++requests_;
  if (rights != nullptr && !rights->may_read_status) {
    ++refused_;
    const auto who = rights->node.name.empty() ? std::string("this key") : in_quotes(rights->node.name);
    return refuse(peer, id,
                  Error(ErrorCode::forbidden,
                        who + " may not read status: give it the verb read for the resource status in the reflector's "
                              "identities file"));
  }
  if (message.size() > most_request_bytes) {
    ++malformed_;
    return refuse(peer, id, Error(ErrorCode::invalid, "a request takes 4 KiB at most"));
  }
  // Asked again: answered once.
  std::erase_if(waiting_, [&](const Waiting& other) { return other.peer == peer && other.header.request_id == id; });
  if (waiting_.size() == most_waiting) waiting_.pop_front();
  request.message = std::string(message);
  waiting_.push_back(std::move(request));
}

bool Operations::answer(const std::vector<ReflectorCount>& further) {
  for (int count = 0; count < answers_per_turn && !waiting_.empty(); ++count) {
    const auto request = std::move(waiting_.front());
    waiting_.pop_front();
    auto reply = carry_out(request, further);
    if (reply) {
      link_.send(request.peer, Channel::control, std::move(*reply));
      continue;
    }
    auto error = reply.error();
    if (error.code() == ErrorCode::corrupt) {
      ++malformed_;
      error = Error(ErrorCode::invalid, error.message());
    }
    refuse(request.peer, request.header.request_id, error);
  }
  return !waiting_.empty();
}

Result<std::string> Operations::carry_out(const Waiting& request, const std::vector<ReflectorCount>& further) {
  using wire::decode;
  using wire::MessageType;
  switch (request.header.type) {
    case MessageType::reflector_status:
      IRONCORE_CHECK(decode<StatusRequest>(request.message));
      return status(request, further);
    case MessageType::reflector_nodes: {
      IRONCORE_TRY(const auto wish, decode<NodesRequest>(request.message));
      return nodes(request, wish);
    }
    case MessageType::reflector_vnis: {
      IRONCORE_TRY(const auto wish, decode<VnisRequest>(request.message));
      IRONCORE_TRY(const auto from, within(Vni::make(wish.from), "from"));
      return vnis(request, wish, from);
    }
    case MessageType::reflector_routes: {
      IRONCORE_TRY(const auto wish, decode<RoutesRequest>(request.message));
      IRONCORE_TRY(const auto query, query_of(wish));
      return routes(request, query);
    }
    default:
      return Error(ErrorCode::unsupported, "a reflector has no answer to messages of type " +
                                               std::to_string(static_cast<std::uint16_t>(request.header.type)));
  }
}

std::string Operations::status(const Waiting& request, const std::vector<ReflectorCount>& further) const {
  const auto status = reflector_.status();
  StatusReply reply{.program = program_,
                    .name = status.name,
                    .epoch = status.epoch,
                    .is_ready = status.is_ready,
                    .heartbeat_ms = milliseconds(status.heartbeat),
                    .lease_ms = milliseconds(status.lease),
                    .counts = {},
                    .peers = {}};
  const auto own = counts();
  for (const auto& list : {routing::counts(status), further, own})
    for (const auto& count : list) reply.counts.push_back({count.name, count.value});
  for (std::size_t i = 0; i < status.peers.reflectors.size(); ++i) {
    const auto& peer = status.peers.reflectors[i];
    reply.peers.push_back({.endpoint = peers_[i],
                           .phase = routing::name(peer.phase),
                           .name = peer.name,
                           .epoch = peer.epoch,
                           .is_ready = peer.is_ready,
                           .refusal = peer.refusal});
  }
  return wire::encode(request.header.request_id, 0, reply);
}

std::string Operations::nodes(const Waiting& request, const NodesRequest& wish) const {
  const auto limit = at_most(wish.limit, page_nodes);
  const auto nodes = reflector_.nodes(wish.after, limit + 1);
  NodesReply reply{.nodes = {}, .has_more = nodes.size() > limit};
  for (std::size_t i = 0; i < std::min(nodes.size(), limit); ++i) {
    const auto& node = nodes[i];
    reply.nodes.push_back({.name = node.name,
                           .origin = static_cast<std::uint64_t>(node.origin),
                           .instance = node.instance,
                           .is_connected = node.is_connected,
                           .silent_ms = static_cast<std::uint64_t>(node.silent / std::chrono::milliseconds(1)),
                           .routes = node.routes,
                           .announced = node.announced,
                           .refused = node.refused,
                           .streams = node.streams,
                           .behind = node.behind});
  }
  return wire::encode(request.header.request_id, 0, reply);
}

std::string Operations::vnis(const Waiting& request, const VnisRequest& wish, Vni from) const {
  const auto limit = at_most(wish.limit, page_vnis);
  const auto vnis = reflector_.vnis(from, limit + 1);
  VnisReply reply;
  std::size_t count = 0;
  for (const auto& one : vnis) {
    const auto is_new = reply.vnis.empty() || reply.vnis.back().vni != one.vni.value();
    if (is_new && ++count > limit) {
      reply.has_more = true;
      break;
    }
    reply.vnis.push_back({.vni = one.vni.value(),
                          .view = name(one.view),
                          .routes = one.routes,
                          .tombstones = one.tombstones,
                          .sequence = one.sequence,
                          .digest = one.digest,
                          .is_subscribed = one.is_subscribed});
  }
  return wire::encode(request.header.request_id, 0, reply);
}

std::string Operations::routes(const Waiting& request, const RoutesQuery& query) const {
  const auto page = reflector_.routes(query);
  std::vector<std::string> texts;
  texts.reserve(page.routes.size());  // records view into them
  RoutesReply reply{.routes = {},
                    .next = page.next,
                    .is_last = page.is_last,
                    .has_forgotten = page.has_forgotten,
                    .epoch = page.epoch};
  for (const auto& route : page.routes) {
    texts.push_back(route.what == LearnedRoute::What::origin_gone ? std::string() : to_text(route.route));
    reply.routes.push_back({.what = name(route.what),
                            .route = texts.back(),
                            .origin = static_cast<std::uint64_t>(route.origin),
                            .node = route.node,
                            .version = route.version,
                            .sequence = route.sequence});
  }
  return wire::encode(request.header.request_id, 0, reply);
}

std::vector<ReflectorCount> Operations::counts() const {
  using enum ReflectorCount::Kind;
  return {{"requests", "Requests of operators.", counter, requests_},
          {"malformed_requests", "Of those, and of what looked like some: could not be read.", counter, malformed_},
          {"foreign_requests", "Requests of another protocol version.", counter, foreign_version_},
          {"forbidden_requests", "Requests that were refused for want of a right.", counter, refused_}};
}

}  // namespace ironcore::routing::zmq

namespace ironcore::wire {

IRONCORE_WIRE_RECORD(routing::zmq::StatusRequest)
IRONCORE_WIRE_RECORD(routing::zmq::StatusReply)
IRONCORE_WIRE_RECORD(routing::zmq::NodesRequest)
IRONCORE_WIRE_RECORD(routing::zmq::NodesReply)
IRONCORE_WIRE_RECORD(routing::zmq::VnisRequest)
IRONCORE_WIRE_RECORD(routing::zmq::VnisReply)
IRONCORE_WIRE_RECORD(routing::zmq::RoutesRequest)
IRONCORE_WIRE_RECORD(routing::zmq::RoutesReply)

}  // namespace ironcore::wire
