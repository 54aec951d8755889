// SPDX-License-Identifier: Apache-2.0
// What a reflector tells of itself: its state, its counts, and routes for those who look.
#include <algorithm>

#include "reflector_impl.hpp"

namespace ironcore::routing {

namespace {

/// Of a log, that one query looks at, and in one go.
constexpr std::size_t most_places = 10'000;
constexpr std::size_t piece_places = 1'000;

}  // namespace

ReflectorStatus Reflector::status() const {
  ReflectorStatus status{.name = impl_->options_.name,
                         .epoch = impl_->epoch_,
                         .is_ready = impl_->is_ready(),
                         .nodes = impl_->nodes_.size(),
                         .routes = impl_->direct_.routes(),
                         .relayed_routes = impl_->peers_.merged().routes(),
                         .vnis = 0,
                         .topics = impl_->topics_.size(),
                         .refused_vnis = 0,
                         .table_bytes = impl_->direct_.bytes() + impl_->peers_.merged().bytes(),
                         .heartbeat = impl_->options_.heartbeat,
                         .lease = impl_->options_.lease,
                         .counters = impl_->counters_,
                         .peers = {}};
  for (const auto vni : impl_->direct_.streams()) status.vnis += impl_->direct_.state(vni).routes > 0 ? 1 : 0;
  for (const auto& [id, node] : impl_->nodes_) status.refused_vnis += node.refused_vnis.size();
  auto& peers = status.peers;
  for (PeerId i = 0; i < impl_->peer_sessions_.size(); ++i) {
    const auto& session = impl_->peer_sessions_[i];
    peers.reflectors.push_back({.phase = session.phase,
                                .name = session.reflector,
                                .epoch = session.epoch,
                                .is_ready = session.is_ready,
                                .refusal = std::string(session.obstacle())});
  }
  for (const auto vni : impl_->peers_.wanted()) {
    for (const auto& [reflector, why] : impl_->peers_.refusals(vni)) {
      auto& refusal = peers.reflectors[reflector].refusal;
      if (refusal.empty()) refusal = why;  // the first one speaks for those of other VNIs
    }
  }
  peers.learned_routes = status.relayed_routes;
  const auto& counters = impl_->peers_.counters();
  peers.gaps = counters.gaps;
  peers.resyncs = counters.resyncs;
  peers.foreign = counters.foreign;
  peers.bad_records = counters.bad_records;
  return status;
}

std::vector<ReflectorCount> counts(const ReflectorStatus& status) {
  using enum ReflectorCount::Kind;
  const auto& c = status.counters;
  const auto& peers = status.peers;
  return {
      {"nodes", "Nodes that have a lease.", gauge, status.nodes},
      {"routes", "Routes that were announced here.", gauge, status.routes},
      {"relayed_routes", "Routes that peers told.", gauge, status.relayed_routes},
      {"vnis", "VNIs that have routes announced here.", gauge, status.vnis},
      {"topics", "VNIs and views that somebody subscribes to.", gauge, status.topics},
      {"refused_vnis", "VNIs that nodes asked for and may not read, of all nodes together.", gauge,
       status.refused_vnis},
      {"table_bytes", "Memory of the tables, about.", gauge, status.table_bytes},
      {"messages", "Messages that came.", counter, c.messages},
      {"malformed", "Messages that were none.", counter, c.malformed},
      {"foreign_version", "Messages of another protocol version.", counter, c.foreign_version},
      {"unknown_session", "Messages of sessions that are over.", counter, c.unknown_session},
      {"forbidden", "Sessions, messages, readings and routes that were refused for want of a right.", counter,
       c.forbidden},
      {"bad_records", "Single routes that cannot be.", counter, c.bad_records},
      {"exhausted", "Sessions, routes, topics and questions above a limit.", counter, c.exhausted},
      {"replaced", "Nodes whose name a later life took.", counter, c.replaced},
      {"gaps", "Announcements that were missed and asked for again.", counter, c.gaps},
      {"restarts", "Nodes that announced everything anew.", counter, c.restarts},
      {"deaths", "Nodes whose lease ended.", counter, c.deaths},
      {"stalls", "Times that this reflector itself stood still.", counter, c.stalls},
      {"changes", "Changes of routes.", counter, c.changes},
      {"publications", "Messages published.", counter, c.publications},
      {"pieces", "Messages to readers that asked.", counter, c.pieces},
      {"rereadings", "Readers that had to begin from 0.", counter, c.rereadings},
      {"snapshots", "Streams that were read from 0 to their end.", counter, c.snapshots},
      {"snapshot_us", "Microseconds that these took, together.", counter, c.snapshot_us},
      {"peer_gaps", "Publications of peers that were missed, and repaired.", counter, peers.gaps},
      {"peer_resyncs", "Tables of peers that differed, and were read again.", counter, peers.resyncs},
      {"peer_foreign", "Messages of peers of another life, or of what nobody asked for.", counter, peers.foreign},
      {"peer_bad_records", "Single routes of peers that cannot be.", counter, peers.bad_records},
  };
}

std::vector<NodeStatus> Reflector::nodes(std::string_view after, std::size_t limit) const {
  std::vector<const Impl::Node*> wanted;
  for (const auto& [id, node] : impl_->nodes_) {
    if (node.name > after) wanted.push_back(&node);
  }
  const auto by_name = [](const Impl::Node* node) -> const std::string& { return node->name; };
  if (wanted.size() > limit) {
    const auto end = wanted.begin() + static_cast<std::ptrdiff_t>(limit);
    std::ranges::nth_element(wanted, end, {}, by_name);
    wanted.erase(end, wanted.end());
  }
  std::ranges::sort(wanted, {}, by_name);
  std::vector<NodeStatus> nodes;
  const auto now = impl_->clock_.now();
  for (const auto* const node : wanted) {
    std::uint64_t behind = 0;
    for (const auto& [stream, sequence] : node->positions) {
      const auto head = impl_->rib_of(stream.view).state(stream.vni).sequence;
      behind += head > sequence ? head - sequence : 0;
    }
    nodes.push_back({.name = node->name,
                     .origin = node->origin,
                     .instance = node->instance,
                     .is_connected = node->session != 0,
                     .silent = now - node->heard,
                     .routes = impl_->direct_.origin(node->origin).routes,
                     .announced = node->sequence,
                     .refused = node->refused,
                     .streams = node->positions.size(),
                     .behind = behind});
  }
  return nodes;
}

std::vector<VniStatus> Reflector::vnis(Vni from, std::size_t limit) const {
  std::vector<VniStatus> vnis;
  for (const auto view : {View::direct, View::relayed}) {
    const auto& rib = impl_->rib_of(view);
    auto streams = rib.streams();
    std::erase_if(streams, [from](auto vni) { return vni < from.value(); });
    if (streams.size() > limit) {
      const auto end = streams.begin() + static_cast<std::ptrdiff_t>(limit);
      std::ranges::nth_element(streams, end);
      streams.erase(end, streams.end());
    }
    for (const auto vni : streams) {
      const auto state = rib.state(vni);
      vnis.push_back({.vni = *Vni::make(vni),
                      .view = view,
                      .routes = state.routes,
                      .tombstones = state.tombstones,
                      .sequence = state.sequence,
                      .digest = state.digest,
                      .is_subscribed = impl_->topics_.contains(stream_number({vni, view}))});
    }
  }
  std::ranges::sort(vnis,
                    [](const auto& a, const auto& b) { return std::pair(a.vni, a.view) < std::pair(b.vni, b.view); });
  // The lowest VNIs of each view are there; of both together the lowest ones are whole.
  std::size_t count = 0;
  for (auto it = vnis.begin(); it != vnis.end(); ++it) {
    if (it != vnis.begin() && it->vni == std::prev(it)->vni) continue;
    if (count++ == limit) {
      vnis.erase(it, vnis.end());
      break;
    }
  }
  return vnis;
}

RoutesPage Reflector::routes(const RoutesQuery& query) const {
  using What = LearnedRoute::What;
  const auto& rib = impl_->rib_of(query.view);
  const auto state = rib.state(query.vni.value());
  RoutesPage page{.next = query.after, .has_forgotten = query.after < state.complete_from, .epoch = impl_->epoch_};
  const auto is_wanted = [&](const Record& record, const Route& route) {
    if (record.operation() == Operation::origin_gone || query.match == RoutesQuery::Match::all) return true;
    return query.match == RoutesQuery::Match::covering ? route.destination.contains(query.prefix)
                                                       : query.prefix.contains(route.destination);
  };
  std::size_t looked_at = 0;
  // Pieces, because what is not wanted counts into the limit of the table, but not into ours.
  while (page.routes.size() < query.limit && looked_at < most_places && !page.is_last) {
    const auto piece = rib.changes(
        query.vni.value(), page.next, query.limit - page.routes.size(),
        [&](const Record& record) {
          const auto operation = record.operation();
          if (operation != Operation::announce && query.withdrawals == RoutesQuery::Withdrawals::left_out) return;
          const auto route = operation == Operation::origin_gone ? Route{} : route_of(record);
          if (!is_wanted(record, route)) return;
          const auto node = impl_->nodes_.find(record.origin);
          page.routes.push_back({.what = operation == Operation::announce   ? What::announced
                                         : operation == Operation::withdraw ? What::withdrawn
                                                                            : What::origin_gone,
                                 .route = route,
                                 .origin = OriginId{record.origin},
                                 .node = node == impl_->nodes_.end() ? std::string() : node->second.name,
                                 .version = record.version,
                                 .sequence = rib.sequence_of(record)});
        },
        piece_places);
    looked_at += piece_places;
    page.is_last = piece.is_last;
    page.next = std::max(piece.to, page.next);
  }
  return page;
}

}  // namespace ironcore::routing
