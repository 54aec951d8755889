// SPDX-License-Identifier: Apache-2.0
// Chains, subscriptions, publications.
#include "publisher.hpp"

#include <algorithm>
#include <utility>

#include "ironcore/api/core.hpp"

namespace ironcore::store::zmq {

namespace {
constexpr std::size_t changes_per_turn = 256;
constexpr std::size_t subscriptions_per_turn = 1024;
// New subscribers wait for a heartbeat; a thousand that come together share few.
constexpr Duration least_between_heartbeats = std::chrono::milliseconds(20);
constexpr unsigned bookmark_repeats = 3;
constexpr std::uint64_t quiet_bookmark_ticks = 10;
constexpr std::size_t max_refused_topics = 10'000;
}  // namespace

Publisher::Publisher(LocalStore& store, const KindTable& kinds, const Authorizer& authorizer,
                     const ServerOptions& options, std::uint64_t instance, Clock& clock)
    : store_(store), kinds_(kinds), authorizer_(authorizer), options_(options), instance_(instance), clock_(clock) {}

Result<void> Publisher::start() {
  IRONCORE_TRY(const auto revision, store_.revision());
  floor_ = published_ = revision.value;
  heartbeat_at_ = clock_.now();
  return {};
}

void Publisher::add(Listener& listener) {
  outputs_.push_back({&listener, {}, 0, false});
}

// ---- subscriptions ----------------------------------------------------------------------------------------------

std::optional<Query> Publisher::query_of_topic(std::string_view topic) const {
  const auto slash = topic.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto* kind = kinds_.find(topic.substr(0, slash));
  if (kind == nullptr) return std::nullopt;
  Query query{.kind = kind, .namespace_ = {}, .labels = {}, .fields = {}};
  const auto rest = topic.substr(slash + 1);
  if (rest.empty()) return query;
  if (!rest.ends_with('/') || rest.find('/') != rest.size() - 1) return std::nullopt;
  if (kind->info().placement.empty()) return rest == "/" ? std::optional(std::move(query)) : std::nullopt;
  auto fields =
      FieldSelector::parse(std::string(kind->info().placement) + "=" + std::string(rest.substr(0, rest.size() - 1)));
  if (!fields) return std::nullopt;
  query.fields = std::move(*fields);
  return query;
}

bool Publisher::is_permitted(const Peer& peer, std::string_view topic) const {
  if (topic == heartbeat_topic) return true;
  const auto query = query_of_topic(topic);
  return query && authorizer_.may_read(peer, *query);
}

bool Publisher::is_pushed_to(const Peer& peer, const Query& query) const {
  if (peer.is_local) return true;
  const auto resource = kinds_.resource(*query.kind);
  const auto placement = std::string(query.kind->info().placement);
  const auto* pool = placement.empty() ? nullptr : query.fields.required(placement);
  return is_permitted(peer, pool == nullptr ? resource_topic(resource) : placed_topic(resource, *pool));
}

std::size_t Publisher::read_subscriptions() {
  std::size_t refused = 0;
  for (auto& output : outputs_) {
    for (std::size_t i = 0; i < subscriptions_per_turn; ++i) {
      auto message = output.listener->changes.receive();
      if (!message) break;
      auto text = message->bytes();
      if (text.empty() || (text[0] != 0 && text[0] != 1)) continue;  // subscribers have nothing else to say
      const bool is_subscription = text[0] == 1;
      text.remove_prefix(1);
      // Applies to the peer whose message was just received.
      void* socket = output.listener->changes.native();
      if (!is_subscription) {
        zmq_setsockopt(socket, ZMQ_UNSUBSCRIBE, text.data(), text.size());
        end_subscription(output, text);
        continue;
      }
      const bool is_admitted = is_permitted({output.listener->is_local, message->user()}, text);
      if (!is_admitted) ++refused;
      // What no topic is need not be remembered: nobody will ever be admitted to it.
      if (!is_admitted && !query_of_topic(text)) continue;
      auto at = output.subscriptions.find(text);
      if (at == output.subscriptions.end()) {
        if (!is_admitted && output.refused >= max_refused_topics) {
          output.is_refusing_more = true;
          continue;
        }
        at = output.subscriptions.emplace(text, Subscribers{}).first;
        ++output.refused;
      }
      ++at->second.count;
      if (!is_admitted) continue;
      if (!std::exchange(at->second.is_heard, true)) --output.refused;
      zmq_setsockopt(socket, ZMQ_SUBSCRIBE, text.data(), text.size());
      if (text == heartbeat_topic) has_new_listener_ = true;
    }
  }
  return refused;
}

void Publisher::end_subscription(Output& output, std::string_view topic) {
  const auto at = output.subscriptions.find(topic);
  if (at == output.subscriptions.end() || at->second.count == 0) return;
  // When refused ones were not counted, their ends must not be taken for those of admitted ones: then a topic once heard
  // is published for good.
  if (output.is_refusing_more && at->second.is_heard) return;
  if (--at->second.count != 0) return;
  if (!at->second.is_heard) --output.refused;
  output.subscriptions.erase(at);
}

void Publisher::forget_subscriptions(const Listener& listener) {
  for (auto& output : outputs_)
    if (output.listener == &listener) output = Output{output.listener, {}, 0, false};
}

// ---- changes ----------------------------------------------------------------------------------------------------

Publisher::Chain& Publisher::chain(std::string_view topic) {
  const auto at = chains_.find(topic);
  return at != chains_.end() ? at->second : chains_.emplace(topic, Chain{floor_, 0}).first->second;
}

Publisher::Chain Publisher::find_chain(std::string_view topic) const {
  const auto at = chains_.find(topic);
  return at != chains_.end() ? at->second : Chain{floor_, 0};
}

Result<bool> Publisher::publish() {
  IRONCORE_TRY(const auto revision, store_.revision());
  auto changes = store_.changes(Revision{published_}, changes_per_turn);
  if (!changes) {
    if (changes.error().code() != ErrorCode::gone) return std::move(changes).error();
    // More was written at once than the history keeps: everybody has to ask.
    chains_.clear();
    IRONCORE_CHECK(start());
    return false;
  }
  for (const auto& change : *changes) publish(change);
  if (changes->size() >= changes_per_turn) return true;
  // The newest revision may be a lease's, which is no change.
  published_ = std::max(published_, revision.value);
  return false;
}

void Publisher::publish(const LocalStore::RawChange& change) {
  const auto resource = kinds_.resource(change.object.kind());
  auto topic = placed_topic(resource, placement_of(change.object));
  auto type = to_record(change.type);
  auto& resource_chain = chain(resource_topic(resource));
  const auto previous_of_resource = resource_chain.last;
  if (change.previous) {
    const auto before = placed_topic(resource, placement_of(*change.previous));
    if (before != topic && change.type == Change::Type::modified) {
      publish(change, resource, before, ChangeType::left, previous_of_resource);
      type = ChangeType::entered;
    } else if (before != topic) {
      // Moved by the write that removed it: it was never on the new topic.
      topic = before;
    }
  }
  publish(change, resource, topic, type, previous_of_resource);
  resource_chain.last = change.revision.value;
  resource_chain.bookmarks_due = bookmark_repeats;
  published_ = change.revision.value;
}

void Publisher::publish(const LocalStore::RawChange& change, Text resource, const std::string& topic, ChangeType type,
                        std::uint64_t previous_of_resource) {
  auto& topic_chain = chain(topic);
  const auto whole = resource_topic(resource);
  if (is_heard(topic, whole)) {
    ChangeMessage message;
    message.epoch = store_.epoch();
    message.revision = change.revision.value;
    message.previous_on_topic = topic_chain.last;
    message.previous_of_resource = previous_of_resource;
    message.change = type;
    const auto& metadata = change.object.metadata();
    message.has_same_labels = change.previous && change.previous->metadata().labels == metadata.labels;
    message.namespace_ = metadata.namespace_;
    message.name = metadata.name;
    std::string json;
    // What was moved by the write that removed it does not look like what was on this topic: whoever hears of it asks.
    const bool has_moved =
        type == ChangeType::deleted && change.previous && placement_of(change.object) != placement_of(*change.previous);
    if (type != ChangeType::left && !has_moved && !change.object.is<api::Secret>()) {
      json = change.object.json();
      if (json.size() <= options_.inline_bytes) message.json = json;
    }
    std::string published;
    published.reserve(topic.size() + 160 + message.json.size() + metadata.name.size() + metadata.namespace_.size());
    published.append(topic).append(1, '\0');
    encode(published, 0, 0, message);
    send(topic, whole, std::move(published));
    ++count_;
  }
  topic_chain.last = change.revision.value;
  topic_chain.bookmarks_due = bookmark_repeats;
}

bool Publisher::is_heard(const Output& output, std::string_view topic, std::string_view resource_topic) {
  const auto is_heard_at = [&](std::string_view text) {
    const auto at = output.subscriptions.find(text);
    return at != output.subscriptions.end() && at->second.is_heard;
  };
  return is_heard_at(topic) || is_heard_at(resource_topic);
}

bool Publisher::is_heard(std::string_view topic, std::string_view resource_topic) const {
  return std::any_of(outputs_.begin(), outputs_.end(),
                     [&](const Output& output) { return is_heard(output, topic, resource_topic); });
}

void Publisher::send(std::string_view topic, std::string_view resource_topic, std::string published) {
  Message message(std::move(published));
  for (auto& output : outputs_) {
    if (!is_heard(output, topic, resource_topic)) continue;
    auto copy = message.copy();
    output.listener->changes.send(copy);
  }
}

// ---- heartbeats and bookmarks -----------------------------------------------------------------------------------

Instant Publisher::next_tick() const noexcept {
  return has_new_listener_ ? std::min(heartbeat_at_, last_heartbeat_ + least_between_heartbeats) : heartbeat_at_;
}

void Publisher::tick() {
  const auto now = clock_.now();
  if (now >= heartbeat_at_) {
    ++ticks_;
    send_bookmarks();
    send_heartbeat();
    heartbeat_at_ = now + options_.heartbeat;
  } else if (has_new_listener_ && now >= last_heartbeat_ + least_between_heartbeats) {
    send_heartbeat();
  }
}

void Publisher::send_heartbeat() {
  std::string published(heartbeat_topic);
  published += '\0';
  encode(published, 0, 0, HeartbeatMessage{store_.epoch(), instance_, published_});
  Message message(std::move(published));
  for (auto& output : outputs_) {
    auto copy = message.copy();
    output.listener->changes.send(copy);
  }
  has_new_listener_ = false;
  last_heartbeat_ = clock_.now();
}

void Publisher::send_bookmarks() {
  for (auto& output : outputs_) {
    for (const auto& [topic, subscribers] : output.subscriptions) {
      if (!subscribers.is_heard) continue;
      const auto slash = topic.find('/');
      if (slash == std::string::npos) continue;
      const auto topic_chain = find_chain(topic);
      // Quiet topics are told now and then, spread over the ticks: their subscribers must not fall out of the history.
      const bool is_turn = (TextHash()(topic) + ticks_) % quiet_bookmark_ticks == 0;
      if (topic_chain.bookmarks_due == 0 && !is_turn) continue;
      const bool is_whole = slash + 1 == topic.size();
      BookmarkMessage bookmark;
      bookmark.epoch = store_.epoch();
      bookmark.revision = published_;
      bookmark.last_on_topic = is_whole ? 0 : topic_chain.last;
      bookmark.last_of_resource = find_chain(std::string_view(topic).substr(0, slash + 1)).last;
      std::string published(topic);
      published += '\0';
      encode(published, 0, 0, bookmark);
      Message message(std::move(published));
      output.listener->changes.send(message);
    }
  }
  for (auto& [topic, state] : chains_)
    if (state.bookmarks_due > 0) --state.bookmarks_due;
}

bool Publisher::is_unchanged(const Query& query, std::uint64_t from) const {
  const auto revision = store_.revision();
  if (!revision || published_ != revision->value || from < floor_) return false;
  const auto resource = kinds_.resource(*query.kind);
  const auto placement = std::string(query.kind->info().placement);
  const auto* pool = placement.empty() ? nullptr : query.fields.required(placement);
  const auto at = chains_.find(pool == nullptr ? resource_topic(resource) : placed_topic(resource, *pool));
  return at == chains_.end() || at->second.last <= from;
}

}  // namespace ironcore::store::zmq
