// SPDX-License-Identifier: Apache-2.0
// Reading, repairing, merging.
#include "subscriber.hpp"

#include <algorithm>

namespace ironcore::routing {

namespace {

constexpr std::size_t most_held = 64;    ///< publications that wait for what is missing before them: 4 MB
constexpr unsigned tell_all_every = 10;  ///< heartbeats
constexpr int silent_heartbeats = 3;     ///< after which a subscription is made again

}  // namespace

Subscriber::Subscriber(SubscriberOptions options, Link& link, Clock& clock, Random& random)
    : options_(std::move(options)),
      link_(link),
      clock_(clock),
      random_(random),
      reflectors_(options_.reflectors),
      merged_(Rib::Streams::per_vni, options_.secret) {
  for (std::size_t i = 0; i < options_.reflectors; ++i) {
    for (const auto view : options_.views) sources_.push_back(std::make_unique<Source>(i, view, options_.secret));
  }
}

void Subscriber::want(std::uint32_t vni) {
  if (!wanted_.insert(vni).second) return;
  for (auto& reflector : reflectors_)
    std::erase_if(reflector.left, [&](const auto& stream) { return stream.vni == vni; });
  const auto now = clock_.now();
  for (const auto& source : sources_) {
    auto& stream = source->streams[vni];
    stream.stale_since = now;
    if (!is_read(*source)) continue;
    stream.heard = now;
    link_.subscribe(source->reflector, {vni, source->view});
    ask(*source, vni, stream);
  }
}

void Subscriber::unwant(std::uint32_t vni) {
  if (wanted_.erase(vni) == 0) return;
  for (const auto& source : sources_) {
    link_.unsubscribe(source->reflector, {vni, source->view});
    if (is_read(*source)) reflectors_[source->reflector].left.push_back({vni, source->view});
    clear(*source, vni, source->streams[vni]);
    source->streams.erase(vni);
  }
}

bool Subscriber::is_read(const Source& source) const noexcept {
  const auto& reflector = reflectors_[source.reflector];
  return reflector.session != 0 && (source.view != View::relayed || reflector.has_relayed);
}

void Subscriber::up(PeerId reflector, std::uint64_t session, std::uint64_t epoch, Duration heartbeat,
                    bool has_relayed) {
  const auto now = clock_.now();
  reflectors_[reflector] = {
      .session = session, .epoch = epoch, .heartbeat = heartbeat, .has_relayed = has_relayed, .left = {}};
  for (const auto& source : sources_) {
    if (source->reflector != reflector) continue;
    for (auto& [vni, stream] : source->streams) {
      if (!is_read(*source)) {  // it was, in an earlier life
        clear(*source, vni, stream);
        continue;
      }
      stream.heard = now;
      stream.pieces = 0;
      link_.subscribe(reflector, {vni, source->view});
      if (stream.epoch != 0 && stream.epoch != epoch) begin(*source, vni, stream, epoch, 0);
      ask(*source, vni, stream);
    }
  }
}

void Subscriber::down(PeerId reflector) {
  reflectors_[reflector].session = 0;
  for (const auto& source : sources_) {
    if (source->reflector != reflector) continue;
    for (auto& [vni, stream] : source->streams) become_stale(stream);
  }
}

void Subscriber::become_stale(Stream& stream) {
  if (stream.is_in_sync) stream.stale_since = clock_.now();
  stream.is_in_sync = stream.is_complete = false;
}

bool Subscriber::receive(PeerId reflector, std::string_view message, const Changes& changes) {
  auto* const source = reflector < reflectors_.size() ? source_of(reflector, changes.stream.view) : nullptr;
  const auto vni = changes.stream.vni;
  if (source == nullptr || !is_read(*source) || !source->streams.contains(vni)) {
    ++counters_.foreign;
    return true;
  }
  if (changes.epoch != reflectors_[reflector].epoch) {
    ++counters_.foreign;
    return false;
  }
  auto& stream = source->streams.at(vni);
  ++counters_.changes;
  stream.heard = clock_.now();
  if (!stream.refusal.empty()) stream.refusal.clear();
  if (stream.epoch == 0) begin(*source, vni, stream, changes.epoch, 0);
  if (changes.head < stream.sequence) return true;  // late: it knew less than is known here
  // A restart is an answer. One that was asked for long ago must not undo what was read since.
  if (changes.is_restart != 0 && stream.pieces > 0) begin(*source, vni, stream, changes.epoch, changes.head);
  if (changes.from > stream.sequence) {
    if (stream.pieces == 0) {
      ++counters_.gaps;
      ask(*source, vni, stream);
    }
    if (stream.held.size() == most_held) stream.held.pop_front();
    stream.held.emplace_back(message);
    return true;
  }
  take(*source, vni, stream, changes);
  take_held(*source, vni, stream);
  return true;
}

bool Subscriber::refused(PeerId reflector, StreamName name, const std::string& why) {
  auto* const source = reflector < reflectors_.size() ? source_of(reflector, name.view) : nullptr;
  if (source == nullptr || !is_read(*source) || !source->streams.contains(name.vni)) return false;
  const bool is_known =
      std::ranges::any_of(refusals(name.vni), [&](const auto& refusal) { return refusal.first == reflector; });
  source->streams.at(name.vni).refusal = why;
  return !is_known;
}

void Subscriber::take(Source& source, std::uint32_t vni, Stream& stream, const Changes& changes) {
  if (changes.to < stream.sequence) return;  // late: what it says is known, or was replaced
  const auto count = changes.count();
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = changes.record(i);
    if (record.vni() != vni || fault_of(record) != nullptr)
      ++counters_.bad_records;
    else
      apply(source, vni, record);
  }
  const bool is_piece = stream.pieces > 0;
  if (changes.to > stream.sequence) {
    stream.is_moved = true;
    stream.sequence = changes.to;
  }
  if (changes.to == changes.head) {
    stream.pieces = 0;
    compare(source, vni, stream, changes);
  } else if (is_piece && --stream.pieces == 0) {
    ask(source, vni, stream);
  }
}

void Subscriber::compare(Source& source, std::uint32_t vni, Stream& stream, const Changes& changes) {
  const auto state = source.replica.state(vni);
  if (state.marked_digest != changes.digest) {
    ++counters_.resyncs;
    become_stale(stream);
    begin(source, vni, stream, stream.epoch, changes.head);
    ask(source, vni, stream);
    return;
  }
  stream.is_in_sync = true;
  if (changes.is_ready == 0) return;
  stream.is_complete = true;
  if (!stream.has_unconfirmed) return;
  stream.has_unconfirmed = false;
  sweep(source, vni);
}

void Subscriber::take_held(Source& source, std::uint32_t vni, Stream& stream) {
  while (!stream.held.empty()) {
    const auto message = std::move(stream.held.front());
    Changes changes;
    const auto envelope = read_envelope(message);
    if (envelope && decode(envelope->body, changes) && changes.epoch == stream.epoch) {
      if (changes.from > stream.sequence) {
        stream.held.front() = std::move(message);
        return;
      }
      stream.held.pop_front();
      take(source, vni, stream, changes);
    } else {
      stream.held.pop_front();
    }
  }
}

void Subscriber::begin(Source& source, std::uint32_t vni, Stream& stream, std::uint64_t epoch, std::uint64_t base) {
  stream.epoch = epoch;
  stream.sequence = 0;
  stream.base = base;
  stream.is_moved = true;
  stream.held.clear();
  become_stale(stream);
  source.replica.unmark_stream(vni);
  const auto known = source.replica.state(vni);
  stream.has_unconfirmed = known.routes + known.tombstones > 0;
}

void Subscriber::ask(Source& source, std::uint32_t vni, Stream& stream) {
  if (!is_read(source)) return;
  const auto& reflector = reflectors_[source.reflector];
  stream.pieces = max_pieces;
  stream.asked = clock_.now();
  const Position position{.stream = {vni, source.view},
                          .epoch = reflector.epoch,
                          .sequence = stream.sequence,
                          .base = stream.base,
                          .refused = 0,
                          .wants = stream.pieces};
  link_.send(source.reflector, Channel::bulk, encode(reflector.session, position));
}

// ---- merging ----------------------------------------------------------------------------------------------------

void Subscriber::apply(Source& source, std::uint32_t vni, const Record& record) {
  switch (record.operation()) {
    case Operation::announce:
      source.replica.announce(record);
      return settle(record, &source);
    case Operation::withdraw:
      source.replica.withdraw(record);
      return settle(record);
    case Operation::origin_gone:
      return take_death(source, vni, OriginId{record.origin});
  }
}

void Subscriber::settle(const Record& like, const Source* announcer) {
  if (OriginId{like.origin} == options_.self) return;
  const Record* best = announcer == nullptr ? nullptr : &like;
  for (const auto& source : sources_) {
    if (source.get() == announcer) continue;
    const auto* const known = source->replica.find(like);
    if (known == nullptr) continue;
    if (best == nullptr || known->version > best->version ||
        (known->version == best->version && known->operation() == Operation::withdraw))
      best = known;
  }
  if (best != nullptr && best->operation() == Operation::announce)
    merged_.announce(*best);
  else
    merged_.withdraw(withdrawal(like, best == nullptr ? 0 : best->version));
}

void Subscriber::take_death(Source& source, std::uint32_t vni, OriginId origin) {
  std::vector<Record> removed;
  const auto remove_from = [&](Source& from) {
    from.replica.remove_origin(vni, origin, [&](const Record& record) { removed.push_back(record); });
  };
  remove_from(source);
  for (const auto& other : sources_) {
    if (other.get() == &source || other->streams.at(vni).is_in_sync) continue;
    // It does not know better: it is not heard. Should it see the host after all, then its digest will say so.
    remove_from(*other);
  }
  const bool is_seen = std::ranges::any_of(sources_, [&](const auto& other) {
    return std::ranges::any_of(removed,
                               [&](const auto& record) { return other->replica.find_announcement(record) != nullptr; });
  });
  // One record for those who read on from here, if nobody sees any of it.
  if (!is_seen) merged_.remove_origin(vni, origin, [&](const Record& record) { removed.push_back(record); });
  for (const auto& record : removed) settle(record);
}

void Subscriber::sweep(Source& source, std::uint32_t vni) {
  source.replica.for_unmarked_of_stream(vni, [&](const Record& record) {
    source.replica.withdraw(withdrawal(record, 0));
    settle(record);
  });
  // A withdrawal that is not told any more must not stand against what a later life of a host says elsewhere. It stays where a source that is not heard would
  // bring the route back.
  source.replica.for_unmarked_withdrawals(vni, [&](const Record& record) {
    for (const auto& other : sources_) {
      if (other.get() == &source || other->streams.at(vni).is_in_sync) continue;
      if (other->replica.find_announcement(record) != nullptr) return;
    }
    source.replica.forget_withdrawal(record);
    if (record.operation() != Operation::origin_gone) settle(record);
  });
}

void Subscriber::clear(Source& source, std::uint32_t vni, Stream& stream) {
  begin(source, vni, stream, 0, 0);
  stream.has_unconfirmed = false;
  ++counters_.cleared;
  // Its withdrawals too: what it does not say any more must not stand against what others say.
  source.replica.clear_stream(vni, [&](const Record& record) {
    if (record.operation() != Operation::origin_gone) settle(record);
  });
}

// ---- time -------------------------------------------------------------------------------------------------------

Instant Subscriber::advance() {
  const auto now = clock_.now();
  if (now < next_look_) return next_look_;
  Duration shortest = std::chrono::seconds(1);
  for (const auto& source : sources_) {
    const auto& reflector = reflectors_[source->reflector];
    if (reflector.session != 0) shortest = std::min(shortest, reflector.heartbeat);
    for (auto& [vni, stream] : source->streams) {
      if (is_read(*source)) {
        // Jitter, so that many readers that lost the same do not ask at the same time.
        const auto half = static_cast<std::uint32_t>(reflector.heartbeat / std::chrono::microseconds(2));
        const auto patience = reflector.heartbeat + std::chrono::microseconds(random_.below(half));
        if (stream.pieces > 0 && now - stream.asked > patience) ask(*source, vni, stream);
        if (now - stream.heard > silent_heartbeats * reflector.heartbeat) {
          become_stale(stream);
          stream.heard = now;
          link_.unsubscribe(source->reflector, {vni, source->view});
          link_.subscribe(source->reflector, {vni, source->view});
          ask(*source, vni, stream);
        }
      }
      const auto known = source->replica.state(vni);
      if (stream.is_in_sync || known.routes + known.tombstones == 0) continue;
      if (is_old(stream) ||
          (reflector.session == 0 && now - stream.stale_since >= options_.comparison_time && is_complete(vni)))
        clear(*source, vni, stream);
    }
  }
  return next_look_ = now + shortest / 4;
}

bool Subscriber::is_old(const Stream& stream) const {
  return !stream.is_in_sync && options_.stale_time != Duration{} &&
         clock_.now() - stream.stale_since >= options_.stale_time;
}

bool Subscriber::is_complete(std::uint32_t vni) const {
  if (!wants(vni)) return false;
  for (PeerId i = 0; i < reflectors_.size(); ++i) {
    if (reflectors_[i].session != 0 && std::ranges::all_of(sources_, [&](const auto& source) {
          return source->reflector != i || !is_read(*source) || source->streams.at(vni).is_complete;
        }))
      return true;
  }
  return false;
}

bool Subscriber::are_all_complete(std::uint32_t vni) const {
  return wants(vni) && std::ranges::all_of(sources_, [&](const auto& source) {
           const auto& stream = source->streams.at(vni);
           return stream.is_complete || is_old(stream);
         });
}

bool Subscriber::is_stale(std::uint32_t vni) const {
  return std::ranges::none_of(sources_, [&](const auto& source) {
    const auto found = source->streams.find(vni);
    return found != source->streams.end() && found->second.is_in_sync;
  });
}

std::vector<std::pair<PeerId, std::string>> Subscriber::refusals(std::uint32_t vni) const {
  std::vector<std::pair<PeerId, std::string>> refusals;
  for (const auto& source : sources_) {  // views of one reflector follow each other
    const auto found = source->streams.find(vni);
    if (!is_read(*source) || found == source->streams.end() || found->second.refusal.empty()) continue;
    if (refusals.empty() || refusals.back().first != source->reflector)
      refusals.emplace_back(source->reflector, found->second.refusal);
  }
  return refusals;
}

Subscriber::Source* Subscriber::source_of(PeerId reflector, View view) {
  for (const auto& source : sources_) {
    if (source->reflector == reflector && source->view == view) return source.get();
  }
  return nullptr;
}

std::vector<Heartbeat::Position> Subscriber::take_positions(PeerId reflector) {
  std::vector<Heartbeat::Position> positions;
  auto& of = reflectors_[reflector];
  while (!of.left.empty() && positions.size() < max_positions) {
    positions.push_back({of.left.back(), not_read});
    of.left.pop_back();
  }
  const bool tells_all = of.until_all == 0;
  of.until_all = tells_all ? tell_all_every : of.until_all - 1;
  for (const auto& source : sources_) {
    if (source->reflector != reflector || !is_read(*source)) continue;
    for (auto& [vni, stream] : source->streams) {
      stream.is_moved = stream.is_moved || tells_all;
      if (!stream.is_moved || positions.size() == max_positions) continue;
      stream.is_moved = false;
      positions.push_back({{vni, source->view}, stream.sequence});
    }
  }
  return positions;
}

std::vector<Subscriber::StreamStatus> Subscriber::streams() const {
  std::vector<StreamStatus> all;
  for (const auto& source : sources_) {
    for (const auto& [vni, stream] : source->streams)
      all.push_back({source->reflector,
                     {vni, source->view},
                     stream.sequence,
                     source->replica.state(vni).routes,
                     stream.is_in_sync,
                     stream.is_complete,
                     stream.held.size()});
  }
  return all;
}

}  // namespace ironcore::routing
