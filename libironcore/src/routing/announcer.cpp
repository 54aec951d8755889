// SPDX-License-Identifier: Apache-2.0
// A window of messages to each reflector, and going back when one was lost.
#include "announcer.hpp"

#include <algorithm>

namespace ironcore::routing {

namespace {

constexpr std::size_t window = 32;  ///< messages that may be under way to one reflector: 2 MB
constexpr Rib::StreamId own_stream = 0;

}  // namespace

Announcer::Announcer(OriginId self, std::uint64_t instance, std::size_t reflectors, std::uint64_t secret, Link& link,
                     Clock& clock)
    : self_(self),
      instance_(instance),
      secret_(secret),
      own_(std::make_unique<Rib>(Rib::Streams::one, secret)),
      readers_(reflectors),
      link_(link),
      clock_(clock) {}

void Announcer::announce(const Route& route) {
  own_->announce(announcement(route, self_, instance_ + own_->state(own_stream).sequence + 1));
}

void Announcer::withdraw(const Route& route) {
  const auto record = announcement(route, self_, instance_ + own_->state(own_stream).sequence + 1);
  if (own_->find_announcement(record) != nullptr) own_->withdraw(withdrawal(record, record.version));
}

void Announcer::set_instance(std::uint64_t instance) {
  auto before = std::exchange(own_, std::make_unique<Rib>(Rib::Streams::one, secret_));
  instance_ = instance;
  before->for_each(own_stream, [&](const Record& record) { announce(route_of(record)); });
}

Open Announcer::open(std::string_view name) const {
  const auto state = own_->state(own_stream);
  return {.name = name, .instance = instance_, .sequence = state.sequence, .digest = state.digest};
}

void Announcer::up(PeerId reflector, std::uint64_t session, Duration heartbeat, const Welcome& welcome) {
  const auto state = own_->state(own_stream);
  auto& reader = readers_[reflector];
  reader = {.session = session, .heartbeat = heartbeat, .must_tell = true, .progress = clock_.now()};
  if (welcome.instance == instance_ && welcome.sequence <= state.sequence)
    rewind(reader, reader.acknowledged = welcome.sequence);
  else if (welcome.digest == state.digest)
    reader.sent = reader.acknowledged = state.sequence;  // another life of this node said the same
  else
    rewind(reader, 0), reader.must_restart = true;
  send(reflector, reader);
}

void Announcer::down(PeerId reflector) {
  readers_[reflector].session = 0;
}

void Announcer::rewind(Reader& reader, std::uint64_t to) {
  const auto state = own_->state(own_stream);
  reader.must_restart = to == 0 || to < state.complete_from || to > state.sequence;
  reader.sent = reader.must_restart ? 0 : to;
  reader.base = reader.must_restart ? state.sequence : 0;
  if (reader.must_restart) reader.acknowledged = 0;  // what it had counts no more
  reader.under_way.clear();
  reader.must_tell = true;
}

void Announcer::receive(PeerId reflector, std::uint64_t session, const Position& position) {
  auto& reader = readers_[reflector];
  if (reader.session == 0 || reader.session != session || position.epoch != instance_) return;
  reader.refused = position.refused;
  if (position.wants != 0) {
    rewind(reader, position.sequence);
    reader.acknowledged = reader.sent;
  } else if (position.sequence >= reader.acknowledged && position.sequence <= own_->state(own_stream).sequence) {
    reader.acknowledged = position.sequence;
    while (!reader.under_way.empty() && reader.under_way.front() <= position.sequence) reader.under_way.pop_front();
  }
  reader.progress = clock_.now();
  send(reflector, reader);
}

void Announcer::send(PeerId to, Reader& reader) {
  const auto state = own_->state(own_stream);
  while (reader.session != 0 && reader.under_way.size() < window &&
         (reader.sent < state.sequence || reader.must_tell)) {
    if (!reader.must_restart && std::max(reader.sent, reader.base) < state.complete_from)
      rewind(reader, 0);  // more was withdrawn than is remembered
    ChangesWriter writer(std::min<std::size_t>(max_records, state.sequence - reader.sent));
    const auto piece =
        own_->changes(own_stream, reader.sent, max_records, [&](const Record& record) { writer.add(record); });
    link_.send(
        to, Channel::bulk,
        std::move(writer).finish(reader.session, {.stream = {0, View::own},
                                                  .epoch = instance_,
                                                  .from = reader.sent,
                                                  .to = piece.to,
                                                  .head = state.sequence,
                                                  .digest = state.digest,
                                                  .is_ready = 1,
                                                  .is_restart = static_cast<std::uint8_t>(reader.must_restart)}));
    reader.must_restart = reader.must_tell = false;
    reader.sent = piece.to;
    if (reader.under_way.empty()) reader.progress = clock_.now();
    reader.under_way.push_back(piece.to);
  }
}

void Announcer::advance() {
  const auto now = clock_.now();
  for (PeerId i = 0; i < readers_.size(); ++i) {
    auto& reader = readers_[i];
    if (reader.session == 0) continue;
    if (!reader.under_way.empty() && now - reader.progress > 2 * reader.heartbeat) {
      rewind(reader, reader.acknowledged);
      reader.progress = now;
    }
    send(i, reader);
  }
}

}  // namespace ironcore::routing
