// SPDX-License-Identifier: Apache-2.0
// A watch over the network: publications as they come, replays when something is missing.
#include "watch.hpp"

#include <algorithm>
#include <deque>

namespace ironcore::store::zmq {

namespace {

constexpr std::size_t subscription_messages = 1000;  // waiting in this process; more wait at the server
constexpr std::uint32_t replay_limit = 1000;
/// After this many revisions of no concern the reader is told how far it is; as the local bodies do.
constexpr std::uint64_t bookmark_interval = 1000;
/// Before a replay that could not be had is asked for again.
constexpr Duration first_pause = std::chrono::milliseconds(100);
constexpr Duration last_pause = std::chrono::seconds(5);

/// The server is overloaded, away, or this process short of something: all of that passes.
bool is_passing(const Error& error) {
  return error.code() == ErrorCode::exhausted || error.code() == ErrorCode::timeout ||
         error.code() == ErrorCode::unavailable;
}

/// How this query looks from the publications' side.
struct Subscription {
  std::string topic;                ///< prefix subscribed to
  std::string bookmark;             ///< exact topic of its bookmarks
  bool is_placed = false;           ///< of one placement only
  std::optional<std::string> name;  ///< the one name that matches
  bool has_labels = false;
  bool has_other_fields = false;  ///< fields that can change: whether the version before matched is not known here
};

/// Requirements on the placement become the topic, those on the name and namespace never change in an object's life; whatever else the
/// selector says makes it one that only a replay can answer exactly.
Subscription subscription_of(const Query& query, Text resource) {
  Subscription subscription;
  subscription.has_labels = !query.labels.is_empty();
  std::vector<std::pair<std::string, std::string>> known;
  const auto placement = std::string(query.kind->info().placement);
  if (!placement.empty()) {
    if (const auto* pool = query.fields.required(placement)) {
      subscription.is_placed = true;
      subscription.topic = placed_topic(resource, *pool);
      known.emplace_back(placement, *pool);
    }
  }
  if (!subscription.is_placed) subscription.topic = resource_topic(resource);
  subscription.bookmark = subscription.topic;
  if (const auto* name = query.fields.required("metadata.name")) {
    subscription.name = *name;
    known.emplace_back("metadata.name", *name);
  }
  if (const auto* space = query.fields.required("metadata.namespace")) known.emplace_back("metadata.namespace", *space);
  // The selector has only these requirements if some order of them reads back as the same selector.
  std::sort(known.begin(), known.end());
  subscription.has_other_fields = !query.fields.is_empty();
  do {
    std::string text;
    for (const auto& [path, value] : known) text += (text.empty() ? "" : ",") + path + "=" + value;
    if (const auto same = FieldSelector::parse(text); same && *same == query.fields)
      subscription.has_other_fields = false;
  } while (subscription.has_other_fields && std::next_permutation(known.begin(), known.end()));
  return subscription;
}

//            open: history asked for        first `~`              gap, silence, new start, not inline
//   (list) ─────────────────────▶ deaf ───────────▶ replaying ◀────────────────────────────────────┐
//                                   │ silence           │ nothing more                              │
//                                   └───────────────────┴──────────────▶ live ────────────────────┘
class RemoteWatch final : public Watch {
 public:
  RemoteWatch(std::shared_ptr<ClientCore> core, const Query& query)
      : core_(std::move(core)),
        query_(query),
        encoded_(query_, core_->kinds),
        subscription_(subscription_of(query_, encoded_.record.resource)) {}

  Result<void> open(Revision from);
  Result<std::vector<Change>> next(Instant deadline, std::stop_token stop, std::size_t limit) override;

 private:
  Result<void> subscribe();
  Result<void> start_replay();
  Result<void> advance_replay();
  /// Fails only for good.
  Result<void> try_replay();
  Result<void> take_replay(const Answer& answer);
  Result<void> read_publications(std::size_t limit);
  Result<void> take_publication(std::string_view published);
  Result<void> take_change(const ChangeMessage& change);
  void take_bookmark(const BookmarkMessage& bookmark);
  void take_heartbeat(const HeartbeatMessage& heartbeat);
  void heard() { silent_at_ = core_->clock.now() + 3 * heartbeat_; }
  void schedule_safety_replay();
  void push(Change::Type type, std::uint64_t revision, std::optional<Object> object);
  /// Nothing of concern happened up to `revision`.
  void move_on(std::uint64_t revision);
  Result<std::vector<Change>> deliver(std::size_t limit);

  const std::shared_ptr<ClientCore> core_;
  const Query query_;
  const EncodedQuery encoded_;
  const Subscription subscription_;
  std::shared_ptr<Wake> wake_;
  Socket socket_;
  int fd_ = -1;
  std::unique_ptr<Channel> channel_;  ///< while a replay is asked for

  std::deque<Change> ready_;
  std::uint64_t through_ = 0;  ///< everything up to here is in `ready_` or was delivered
  std::uint64_t told_ = 0;     ///< up to here the reader knows that
  std::string epoch_;
  std::uint64_t instance_ = 0;
  Duration heartbeat_{};
  bool is_pushed_ = true;  ///< the server would admit the subscription
  bool is_subscribed_ =
      false;  ///< and we asked for it; otherwise every heartbeat with a new revision leads to a replay
  bool has_heard_heartbeat_ = false;
  bool needs_replay_ = false;
  Instant silent_at_{};
  Instant safety_replay_at_{};
  Instant replay_again_at_{};  ///< not before
  Duration pause_ = first_pause;
  std::optional<Error> failure_;  ///< for good
};

Result<void> RemoteWatch::open(Revision from) {
  const auto facts = core_->facts();
  heartbeat_ = facts.heartbeat;
  IRONCORE_TRY(wake_, Wake::create());
  core_->wake_on_close(wake_);
  if (from.value == 0) {
    IRONCORE_TRY(auto page, list_remote(*core_, query_, {}));
    for (auto& object : page.objects) {
      const auto revision = object.metadata().resource_version.value;
      push(Change::Type::added, revision, std::move(object));
    }
    epoch_ = core_->facts().epoch;
    push(Change::Type::bookmark, page.revision.value, std::nullopt);
  } else {
    through_ = told_ = from.value;
    epoch_ = facts.epoch;
  }
  // Also when there was a list: it tells whether we may subscribe, and `gone` belongs to the opening.
  IRONCORE_CHECK(start_replay());
  IRONCORE_TRY(auto answer, channel_->finish(core_->clock.now() + core_->options.timeout, wake_));
  IRONCORE_CHECK(take_replay(answer));
  if (failure_) return *failure_;
  IRONCORE_CHECK(subscribe());
  schedule_safety_replay();
  return {};
}

Result<void> RemoteWatch::subscribe() {
  IRONCORE_TRY(socket_, Socket::open(core_->context, ZMQ_SUB));
  IRONCORE_CHECK(prepare_client(socket_, core_->options.endpoint, core_->options.keys));
  IRONCORE_CHECK(socket_.set(ZMQ_RCVHWM, static_cast<int>(subscription_messages)));
  // While nobody calls `next`, our queue fills, and then the server's for us: the connection ends by itself, on ipc too.
  IRONCORE_CHECK(socket_.set(ZMQ_HEARTBEAT_IVL, 3000));
  IRONCORE_CHECK(socket_.set(ZMQ_HEARTBEAT_TIMEOUT, 9000));
  IRONCORE_CHECK(socket_.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(max_request_bytes)));
  // Heartbeats last: the server sees subscriptions in this order, so the first heartbeat proves that the other one is active.
  if (is_pushed_) {
    IRONCORE_CHECK(socket_.set(ZMQ_SUBSCRIBE, std::string_view(subscription_.topic)));
    is_subscribed_ = true;
  }
  IRONCORE_CHECK(socket_.set(ZMQ_SUBSCRIBE, heartbeat_topic));
  IRONCORE_CHECK(socket_.connect(core_->facts().changes_endpoint));
  IRONCORE_TRY(fd_, socket_.fd());
  heard();
  return {};
}

void RemoteWatch::schedule_safety_replay() {
  // A fifth of jitter, so that a thousand watches that were opened together do not ask together for ever.
  const auto span = core_->options.safety_replay;
  safety_replay_at_ = core_->clock.now() + span +
                      Duration(static_cast<Duration::rep>(static_cast<double>(span.count()) * 0.2 *
                                                          (static_cast<double>(random_number() % 1024) / 1024.0)));
}

void RemoteWatch::push(Change::Type type, std::uint64_t revision, std::optional<Object> object) {
  ready_.push_back({type, Revision{revision}, std::move(object)});
  through_ = told_ = revision;
}

void RemoteWatch::move_on(std::uint64_t revision) {
  through_ = std::max(through_, revision);
  if (ready_.empty() && through_ - told_ >= bookmark_interval) push(Change::Type::bookmark, through_, std::nullopt);
}

Result<std::vector<Change>> RemoteWatch::deliver(std::size_t limit) {
  std::vector<Change> changes;
  const auto count = std::min(limit, ready_.size());
  changes.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    changes.push_back(std::move(ready_.front()));
    ready_.pop_front();
  }
  return changes;
}

Result<std::vector<Change>> RemoteWatch::next(Instant deadline, std::stop_token stop, std::size_t limit) {
  limit = std::max<std::size_t>(limit, 1);
  const bool can_stop = stop.stop_possible();
  std::optional<StopWake> stop_wake;
  wake_->clear();
  if (can_stop) stop_wake.emplace(stop, wake_);
  for (;;) {
    if (core_->is_closed()) return Error(ErrorCode::cancelled, "the store was closed");
    const bool reads_publications = !needs_replay_;
    if (!failure_ && ready_.size() < limit) {
      auto advanced = needs_replay_ ? try_replay() : read_publications(limit);
      if (advanced && needs_replay_ && channel_ == nullptr) advanced = try_replay();
      if (!advanced) failure_ = std::move(advanced).error();
    }
    if (!ready_.empty()) return deliver(limit);
    if (failure_) return *failure_;
    if (stop.stop_requested()) return std::vector<Change>();
    auto now = core_->clock.now();
    if (now >= deadline) return std::vector<Change>();
    if (!needs_replay_ && (now >= silent_at_ || now >= safety_replay_at_)) {
      needs_replay_ = true;
      continue;
    }
    if (channel_ != nullptr) {
      zmq_pollitem_t items[2] = {poll_item(wake_->fd(), ZMQ_POLLIN), channel_->poll_item()};
      poll(items, std::min(deadline, channel_->next_send()), core_->clock);
    } else if (needs_replay_ && now < replay_again_at_) {
      pollfd item{wake_->fd(), POLLIN, 0};
      poll_descriptors({&item, 1}, std::min(deadline, replay_again_at_), core_->clock);
    } else if (reads_publications) {
      // All of them, so that the descriptor tells when there are more.
      pollfd items[2] = {{wake_->fd(), POLLIN, 0}, {fd_, POLLIN, 0}};
      poll_descriptors(items, std::min({deadline, silent_at_, safety_replay_at_}), core_->clock);
    }
  }
}

// ---- replays ----------------------------------------------------------------------------------------------------

Result<void> RemoteWatch::start_replay() {
  IRONCORE_TRY(channel_, core_->take());
  const ChangesRequest request{encoded_.record, epoch_, through_, replay_limit};
  const auto id = channel_->next_id();
  channel_->start(id, encode(id, 60'000, request));
  return {};
}

Result<void> RemoteWatch::advance_replay() {
  IRONCORE_TRY(auto answer, channel_->advance());
  if (!answer) return {};
  return take_replay(*answer);
}

Result<void> RemoteWatch::try_replay() {
  const auto now = core_->clock.now();
  const auto pause = [&]() -> Result<void> {
    channel_ = nullptr;
    replay_again_at_ = now + pause_;
    pause_ = std::min(2 * pause_, last_pause);
    return {};
  };
  if (channel_ == nullptr) {
    if (now < replay_again_at_) return {};
    // Whatever this process is short of, it may have again later.
    if (auto started = start_replay(); !started)
      return started.error().code() == ErrorCode::cancelled ? std::move(started) : pause();
  }
  auto advanced = advance_replay();
  return advanced || !is_passing(advanced.error()) ? std::move(advanced) : pause();
}

Result<void> RemoteWatch::take_replay(const Answer& answer) {
  core_->give_back(std::move(channel_));
  channel_ = nullptr;
  IRONCORE_TRY(auto reply, core_->reply<ChangesReply>(answer));
  for (const auto& change : reply.changes) {
    if (change.revision <= through_) continue;
    IRONCORE_TRY(auto object, query_.kind->decode(change.json));
    const auto type = change.change == ChangeType::added     ? Change::Type::added
                      : change.change == ChangeType::deleted ? Change::Type::deleted
                                                             : Change::Type::modified;
    push(type, change.revision, std::move(object));
  }
  move_on(reply.through);
  epoch_ = reply.epoch;
  is_pushed_ = reply.is_pushed;
  needs_replay_ = reply.has_more;
  pause_ = first_pause;
  heard();
  schedule_safety_replay();
  return {};
}

// ---- publications -----------------------------------------------------------------------------------------------

Result<void> RemoteWatch::read_publications(std::size_t limit) {
  while (!needs_replay_ && ready_.size() < limit) {
    auto message = socket_.receive();
    if (!message) break;
    heard();
    IRONCORE_CHECK(take_publication(message->bytes()));
  }
  return {};
}

Result<void> RemoteWatch::take_publication(std::string_view published) {
  std::string_view topic;
  std::string_view message;
  Header header;
  if (!split_topic(published, topic, message)) return {};
  if (auto read = decode_header(message, header); !read) {
    // A server of another version took the place of ours: the request channel says so in words.
    needs_replay_ = read.error().code() == ErrorCode::unsupported;
    return {};
  }
  switch (header.type) {
    case MessageType::change: {
      const auto change = decode<ChangeMessage>(message);
      if (!change)
        needs_replay_ = true;
      else
        IRONCORE_CHECK(take_change(*change));
      break;
    }
    case MessageType::bookmark: {
      // One of another topic says nothing about ours, except that this much of the resource was published.
      const auto bookmark = decode<BookmarkMessage>(message);
      if (bookmark && (topic == subscription_.bookmark || !subscription_.is_placed)) take_bookmark(*bookmark);
      break;
    }
    case MessageType::heartbeat: {
      const auto heartbeat = decode<HeartbeatMessage>(message);
      if (heartbeat) take_heartbeat(*heartbeat);
      break;
    }
    default:
      break;
  }
  return {};
}

Result<void> RemoteWatch::take_change(const ChangeMessage& change) {
  if (change.epoch != epoch_) {
    needs_replay_ = true;
    return {};
  }
  if (change.revision <= through_) return {};
  if ((subscription_.is_placed ? change.previous_on_topic : change.previous_of_resource) > through_) {
    needs_replay_ = true;  // something between was dropped
    return {};
  }
  if (change.change == ChangeType::left) {
    // Under another topic the same change comes again. In our only topic it is the end, with a state that is not in the message.
    needs_replay_ = subscription_.is_placed;
    return {};
  }
  const bool is_elsewhere = (!query_.namespace_.empty() && change.namespace_ != query_.namespace_) ||
                            (subscription_.name && change.name != *subscription_.name);
  if (is_elsewhere) {
    move_on(change.revision);
    return {};
  }
  // A deletion too: the write that takes the last finalizer away may change everything else.
  const bool had_before = change.change != ChangeType::added;
  const bool is_before_unknown =
      had_before && (subscription_.has_other_fields || (subscription_.has_labels && !change.has_same_labels));
  if (change.json.empty() || is_before_unknown) {
    needs_replay_ = true;
    return {};
  }
  IRONCORE_TRY(auto object, core_->decoded(*query_.kind, change.epoch, change.revision, change.json));
  if (query_.matches(object)) {
    auto type = Change::Type::modified;
    if (change.change == ChangeType::added || (change.change == ChangeType::entered && subscription_.is_placed))
      type = Change::Type::added;
    else if (change.change == ChangeType::deleted)
      type = Change::Type::deleted;
    push(type, change.revision, std::move(object));
  } else {
    move_on(change.revision);
  }
  return {};
}

void RemoteWatch::take_bookmark(const BookmarkMessage& bookmark) {
  const auto last = subscription_.is_placed ? bookmark.last_on_topic : bookmark.last_of_resource;
  if (bookmark.epoch != epoch_ || last > through_) {
    needs_replay_ = true;
  } else {
    move_on(bookmark.revision);
  }
}

void RemoteWatch::take_heartbeat(const HeartbeatMessage& heartbeat) {
  // The first one closes the gap between opening and subscribing. A new start of the server may have lost what was on its way.
  if (!has_heard_heartbeat_ || heartbeat.epoch != epoch_ || heartbeat.instance != instance_) needs_replay_ = true;
  if (!(is_pushed_ && is_subscribed_) && heartbeat.revision > through_) needs_replay_ = true;
  has_heard_heartbeat_ = true;
  instance_ = heartbeat.instance;
}

}  // namespace

Result<std::unique_ptr<Watch>> watch_remote(std::shared_ptr<ClientCore> core, const Query& query, Revision from) {
  auto watch = std::make_unique<RemoteWatch>(std::move(core), query);
  IRONCORE_CHECK(watch->open(from));
  return std::unique_ptr<Watch>(std::move(watch));
}

}  // namespace ironcore::store::zmq
