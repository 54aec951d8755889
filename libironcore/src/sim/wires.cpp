// SPDX-License-Identifier: Apache-2.0
// One queue of all that is on its way, ordered by when it arrives.
#include "ironcore/sim/wires.hpp"

#include <algorithm>
#include <map>

namespace ironcore::sim {

using routing::Channel;
using routing::Link;
using routing::PeerId;
using routing::StreamName;

namespace {

constexpr std::size_t most_waiting = 100;  ///< publications for an end that is paused

}  // namespace

class Wires::End final : public Link {
 public:
  End(Wires& wires, EndId id, std::vector<EndId> reflectors)
      : wires_(wires), id_(id), reflectors_(std::move(reflectors)), is_speaker_(!reflectors_.empty()) {}

  void send(PeerId peer, Channel channel, std::string message) override {
    const auto to =
        is_speaker_ ? (peer < reflectors_.size() ? reflectors_[peer] : wires_.ends_.size()) : static_cast<EndId>(peer);
    if (to >= wires_.ends_.size()) return;
    wires_.send({.at = {},
                 .number = 0,
                 .kind = Parcel::Kind::message,
                 .from = id_,
                 .to = to,
                 .life = wires_.ends_[to]->life_,
                 .channel = channel,
                 .topic = {},
                 .bytes = std::make_shared<const std::string>(std::move(message))});
  }

  void publish(StreamName topic, std::string message) override {
    const auto found = subscribers_.find(topic);
    if (found == subscribers_.end()) return;
    const auto bytes = std::make_shared<const std::string>(std::move(message));
    for (const auto to : found->second) {
      ++wires_.publications_;
      wires_.send({.at = {},
                   .number = 0,
                   .kind = Parcel::Kind::publication,
                   .from = id_,
                   .to = to,
                   .life = wires_.ends_[to]->life_,
                   .channel = Channel::bulk,
                   .topic = topic,
                   .bytes = bytes});
    }
  }

  void connect(PeerId, std::string_view, std::string_view) override {}

  void subscribe(PeerId reflector, StreamName topic) override {
    if (reflector >= reflectors_.size() || !topics_.insert({reflectors_[reflector], topic}).second) return;
    tell(reflectors_[reflector], topic);
  }

  void unsubscribe(PeerId reflector, StreamName topic) override {
    if (reflector >= reflectors_.size() || topics_.erase({reflectors_[reflector], topic}) == 0) return;
    wires_.ends_[reflectors_[reflector]]->remove(id_, topic);
  }

  /// A subscription is on its way, and the reflector's socket repeats it until it is there: it is not lost, but late.
  void tell(EndId reflector, StreamName topic) {
    wires_.send({.at = {},
                 .number = 0,
                 .kind = Parcel::Kind::subscription,
                 .from = id_,
                 .to = reflector,
                 .life = wires_.ends_[reflector]->life_,
                 .channel = Channel::control,
                 .topic = topic,
                 .bytes = nullptr});
  }

  void add(EndId subscriber, StreamName topic) {
    subscribers_[topic].insert(subscriber);
    if (receivers_.subscribed) receivers_.subscribed(topic);
  }

  void remove(EndId subscriber, StreamName topic) {
    const auto found = subscribers_.find(topic);
    if (found == subscribers_.end() || found->second.erase(subscriber) == 0 || !found->second.empty()) return;
    subscribers_.erase(found);
    if (receivers_.unsubscribed) receivers_.unsubscribed(topic);
  }

  PeerId name_of(EndId other) const {
    if (!is_speaker_) return other;
    const auto found = std::ranges::find(reflectors_, other);
    return static_cast<PeerId>(found - reflectors_.begin());
  }

  Wires& wires_;
  const EndId id_;
  const std::vector<EndId> reflectors_;
  const bool is_speaker_;
  Receivers receivers_;
  std::uint64_t life_ = 1;
  Instant paused_until_{};
  std::vector<Parcel> waiting_;                        ///< while paused
  std::map<StreamName, std::set<EndId>> subscribers_;  ///< of a reflector
  std::set<std::pair<EndId, StreamName>> topics_;      ///< of a speaker
  std::map<std::pair<EndId, int>, Instant>
      last_;  ///< when the latest message from there arrives, by channel or publications
};

Wires::Wires(Clock& clock, Random& random, WireFaults faults) : clock_(clock), random_(random), faults_(faults) {}
Wires::~Wires() = default;

Wires::EndId Wires::add_reflector() {
  ends_.push_back(std::make_unique<End>(*this, ends_.size(), std::vector<EndId>()));
  return ends_.size() - 1;
}

Wires::EndId Wires::add_speaker(std::vector<EndId> reflectors) {
  ends_.push_back(std::make_unique<End>(*this, ends_.size(), std::move(reflectors)));
  return ends_.size() - 1;
}

routing::Link& Wires::link(EndId end) {
  return *ends_.at(end);
}

void Wires::attach(EndId end, Receivers receivers) {
  ends_.at(end)->receivers_ = std::move(receivers);
  if (ends_[end]->is_speaker_) return;
  for (const auto& other : ends_) {
    for (const auto& [reflector, topic] : other->topics_) {
      if (reflector == end) other->tell(end, topic);
    }
  }
}

void Wires::detach(EndId id) {
  auto& end = *ends_.at(id);
  end.receivers_ = {};
  ++end.life_;
  end.waiting_.clear();
  end.paused_until_ = {};
  end.last_.clear();
  end.subscribers_.clear();
  for (const auto& [reflector, topic] : std::exchange(end.topics_, {})) ends_[reflector]->remove(id, topic);
}

void Wires::cut(EndId a, EndId b) {
  cuts_.insert(std::minmax(a, b));
}
void Wires::mend(EndId a, EndId b) {
  cuts_.erase(std::minmax(a, b));
}
void Wires::mend_all() {
  cuts_.clear();
}

void Wires::pause(EndId end, Instant until) {
  ends_.at(end)->paused_until_ = until;
}

void Wires::send(Parcel parcel) {
  const bool is_subscription = parcel.kind == Parcel::Kind::subscription;
  if (!is_subscription && (is_cut(parcel.from, parcel.to) || random_.below(1000) < faults_.lost)) return;
  const auto span =
      static_cast<std::uint32_t>((faults_.most_delay - faults_.least_delay) / std::chrono::microseconds(1));
  const auto delay = [&] { return faults_.least_delay + std::chrono::microseconds(random_.below(span + 1)); };
  auto at = clock_.now() + delay();
  if (random_.below(1000) < faults_.disordered) {
    at += delay() * static_cast<int>(random_.below(20));
  } else {
    auto& last =
        ends_[parcel.to]
            ->last_[{parcel.from, parcel.kind == Parcel::Kind::publication ? 2 : static_cast<int>(parcel.channel)}];
    at = std::max(at, last);
    last = at;
  }
  parcel.at = at;
  parcel.number = next_number_++;
  if (!is_subscription && random_.below(1000) < faults_.doubled) {
    auto twin = parcel;
    twin.at += delay();
    twin.number = next_number_++;
    parcels_.push(std::move(twin));
  }
  parcels_.push(std::move(parcel));
}

Instant Wires::next() const {
  auto next = parcels_.empty() ? Instant::max() : parcels_.top().at;
  for (const auto& end : ends_) {
    if (!end->waiting_.empty()) next = std::min(next, end->paused_until_);
  }
  return next;
}

void Wires::deliver() {
  const auto now = clock_.now();
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    if (ends_[i]->waiting_.empty() || now < ends_[i]->paused_until_) continue;
    for (const auto& parcel : std::exchange(ends_[i]->waiting_, {})) hand_over(parcel);
  }
  while (!parcels_.empty() && parcels_.top().at <= now) {
    const auto parcel = parcels_.top();
    parcels_.pop();
    hand_over(parcel);
  }
}

void Wires::hand_over(const Parcel& parcel) {
  auto& to = *ends_[parcel.to];
  if (parcel.kind == Parcel::Kind::subscription) {
    auto& from = *ends_[parcel.from];
    if (!from.topics_.contains({parcel.to, parcel.topic}) || to.life_ != parcel.life) return;
    if (!is_cut(parcel.from, parcel.to)) return to.add(parcel.from, parcel.topic);
    auto later = parcel;
    later.at = clock_.now() + std::chrono::milliseconds(100);
    later.number = next_number_++;
    parcels_.push(std::move(later));
    return;
  }
  if (to.life_ != parcel.life || !to.receivers_.message || is_cut(parcel.from, parcel.to)) return;
  if (clock_.now() < to.paused_until_) {
    if (parcel.kind == Parcel::Kind::publication && to.waiting_.size() >= most_waiting) return;
    to.waiting_.push_back(parcel);
    return;
  }
  ++delivered_;
  // The receiver may go while it is called.
  const auto receive = to.receivers_.message;
  receive(to.name_of(parcel.from), parcel.channel, *parcel.bytes);
}

}  // namespace ironcore::sim
