// SPDX-License-Identifier: Apache-2.0
// Readers of a reflector: what they subscribe to and ask for, and publishing what has changed.
#include "reflector_impl.hpp"

namespace ironcore::routing {

namespace {

/// Messages to one node between two heartbeats: as many as a million routes take in half of that time. Who asks for more asks again later.
constexpr std::size_t most_pieces = 2'000;
constexpr std::size_t most_positions = 100'000;  ///< streams that one node reads
constexpr std::size_t most_refused_vnis = 100;   ///< of one node that are remembered, each with a line in the log
/// A topic is published for so long after nobody was heard to want it.
constexpr Duration linger = std::chrono::minutes(1);

}  // namespace

void Reflector::Impl::answer(Node& node, PeerId peer, const Position& position, const NodeRights* rights) {
  const auto stream = position.stream;
  if (rights != nullptr && !rights->may_subscribe(stream.vni)) return refuse_stream(node, peer, stream);
  const auto& rib = rib_of(stream.view);
  const auto state = rib.state(stream.vni);
  auto from = position.sequence;
  bool is_restart = false;
  if (position.epoch != epoch_) return;
  if (from > state.sequence || std::max(from, position.base) < state.complete_from) {
    from = 0;
    is_restart = true;
    ++counters_.rereadings;
  }
  if (from == 0 && position.wants > 0 && state.sequence > 0 && node.snapshots.size() < most_positions)
    node.snapshots.try_emplace(stream, clock_.now());
  for (std::uint8_t i = 0; i < position.wants; ++i) {
    if (node.pieces == most_pieces) {
      ++counters_.exhausted;
      return;
    }
    ++node.pieces;
    ChangesWriter writer(std::min<std::size_t>(max_records, state.sequence - from));
    const auto piece = rib.changes(stream.vni, from, max_records, [&](const Record& record) { writer.add(record); });
    ++counters_.pieces;
    link_.send(peer, Channel::bulk,
               std::move(writer).finish(node.session, {.stream = stream,
                                                       .epoch = epoch_,
                                                       .from = from,
                                                       .to = std::max(piece.to, from),
                                                       .head = state.sequence,
                                                       .digest = state.digest,
                                                       .is_ready = is_complete(stream),
                                                       .is_restart = is_restart}));
    if (piece.is_last) {
      if (const auto began = node.snapshots.find(stream); began != node.snapshots.end()) {
        ++counters_.snapshots;
        counters_.snapshot_us +=
            static_cast<std::uint64_t>((clock_.now() - began->second) / std::chrono::microseconds(1));
        node.snapshots.erase(began);
      }
      return;
    }
    from = piece.to;
    is_restart = false;
  }
}

void Reflector::Impl::refuse_stream(Node& node, PeerId peer, StreamName stream) {
  ++counters_.forbidden;
  const auto vni = std::to_string(stream.vni);
  if (node.refused_vnis.size() < most_refused_vnis && node.refused_vnis.insert(stream.vni).second)
    log_.warning("node may not read a VNI", {{"node", node.name}, {"vni", vni}});
  refuse(peer, Channel::bulk, node.session, Refuse::Reason::stream,
         "this node's key has no right to VNI " + vni + ": give it one in the reflector's identities file",
         stream_number(stream));
}

void Reflector::Impl::subscribed(StreamName name) {
  if (is_closed_ || (name.view != View::direct && name.view != View::relayed) || name.vni > Vni::max) return;
  const auto number = stream_number(name);
  if (!topics_.contains(number) &&
      (topics_.size() >= options_.max_topics ||
       (name.view == View::relayed && !peers_.wants(name.vni) && peers_.wanted().size() >= options_.max_topics))) {
    ++counters_.exhausted;
    return;
  }
  auto& topic = topics_[number];
  if (topic.name != name) {
    topic.name = name;
    topic.published = rib_of(name.view).state(name.vni).sequence;
    if (name.view == View::relayed) peers_.want(name.vni);
  }
  topic.wanted = clock_.now();
  publish(topic);
}

/// Subscriptions come without names, and their ends are not to be trusted: a topic stays for as long as nodes say that they read it.
void Reflector::Impl::take_position(Node& node, const Heartbeat::Position& position) {
  const auto topic = topics_.find(stream_number(position.stream));
  if (topic == topics_.end()) return;
  topic->second.wanted = clock_.now();
  const auto known = node.positions.find(position.stream);
  if (position.sequence == not_read) {
    if (known == node.positions.end()) return;
    --topic->second.readers;
    node.positions.erase(known);
  } else if (known != node.positions.end()) {
    known->second = position.sequence;
  } else if (node.positions.size() < most_positions) {
    ++topic->second.readers;
    node.positions[position.stream] = position.sequence;
  }
}

void Reflector::Impl::drop_positions(Node& node) {
  node.snapshots.clear();
  for (const auto& [stream, sequence] : std::exchange(node.positions, {})) {
    auto& topic = topics_.at(stream_number(stream));
    --topic.readers;
    topic.wanted = clock_.now();
  }
}

void Reflector::Impl::forget_topics(Instant now) {
  std::erase_if(topics_, [&](const auto& entry) {
    const auto& topic = entry.second;
    if (topic.readers > 0 || now - topic.wanted < linger) return false;
    if (topic.name.view == View::relayed) peers_.unwant(topic.name.vni);
    std::erase(dirty_, &topic);
    return true;
  });
}

void Reflector::Impl::make_dirty(std::uint32_t vni) {
  const auto found = topics_.find(stream_number({vni, View::direct}));
  if (found == topics_.end() || found->second.is_dirty) return;
  found->second.is_dirty = true;
  dirty_.push_back(&found->second);
}

void Reflector::Impl::publish(Topic& topic) {
  const auto& rib = rib_of(topic.name.view);
  const auto state = rib.state(topic.name.vni);
  topic.is_dirty = false;
  do {
    ChangesWriter writer(std::min<std::size_t>(max_records, state.sequence - topic.published));
    const auto from = topic.published;
    const auto piece =
        rib.changes(topic.name.vni, from, max_records, [&](const Record& record) { writer.add(record); });
    topic.published = std::max(piece.to, from);
    ++counters_.publications;
    link_.publish(topic.name, std::move(writer).finish(0, {.stream = topic.name,
                                                           .epoch = epoch_,
                                                           .from = from,
                                                           .to = topic.published,
                                                           .head = state.sequence,
                                                           .digest = state.digest,
                                                           .is_ready = is_complete(topic.name),
                                                           .is_restart = 0}));
  } while (topic.published < state.sequence);
}

void Reflector::Impl::publish_changes() {
  for (auto* const topic : dirty_) publish(*topic);
  dirty_.clear();
  touched_vni_ = ~std::uint32_t{0};
  unpublished_withdrawals_ = 0;
}

void Reflector::Impl::flush() {
  if (std::exchange(has_peer_changes_, false)) {
    for (auto& [number, topic] : topics_) {
      if (topic.name.view == View::relayed && !topic.is_dirty &&
          peers_.merged().state(topic.name.vni).sequence != topic.published)
        publish(topic);
    }
  }
  publish_changes();
  for (const auto origin : to_acknowledge_) {
    const auto found = nodes_.find(origin);
    if (found == nodes_.end()) continue;
    auto& node = found->second;
    node.must_acknowledge = false;
    if (node.session == 0) continue;
    const Position position{.stream = {},
                            .epoch = node.instance,
                            .sequence = node.sequence,
                            .base = 0,
                            .refused = node.refused,
                            .wants = 0};
    link_.send(node.bulk, Channel::bulk, encode(node.session, position));
  }
  to_acknowledge_.clear();
}

}  // namespace ironcore::routing
