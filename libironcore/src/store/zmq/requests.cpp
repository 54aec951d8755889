// SPDX-License-Identifier: Apache-2.0
// Requests that are answered at once, and commits.
#include "requests.hpp"

#include <algorithm>
#include <utility>

#include "jobs.hpp"

namespace ironcore::store::zmq {

namespace {
constexpr std::size_t messages_per_turn = 512;
constexpr std::size_t commit_bytes_per_turn = 8 * 1024 * 1024;
constexpr std::size_t commit_operations_per_turn = 16 * 1024;
constexpr std::size_t max_name_bytes = 1024;
/// Room that is kept from one answer to the next.
constexpr std::size_t kept_reply_bytes = 256 * 1024;
constexpr std::size_t max_unknown_fields = 256;

/// `spec.volumes[3].x` → `spec.volumes[].x`
std::string without_places(std::string_view field) {
  std::string path;
  bool is_inside = false;
  for (const char c : field) {
    if (c == ']') is_inside = false;
    if (!is_inside) path += c;
    if (c == '[') is_inside = true;
  }
  return path;
}
}  // namespace

struct Requests::Pending {
  std::vector<Origin> origins;
  RandomId id;
  bool is_empty;  ///< changes nothing, so it may happen twice
};

Requests::Requests(LocalStore& store, const KindTable& kinds, const Authorizer& authorizer, Publisher& publisher,
                   const ServerOptions& options, std::uint64_t instance, StreamGranter grant_stream, Clock& clock,
                   Log& log, Counters& counters)
    : store_(store),
      kinds_(kinds),
      authorizer_(authorizer),
      publisher_(publisher),
      options_(options),
      instance_(instance),
      grant_stream_(std::move(grant_stream)),
      clock_(clock),
      log_(log),
      counters_(counters),
      remembered_(options.remembered_commits, options.remembered_bytes),
      jobs_(std::make_unique<Jobs>()) {}
Requests::~Requests() = default;

void Requests::send(const Origin& origin, Message message) {
  Message routing_id = const_cast<Message&>(origin.routing_id).copy();
  if (!origin.listener->requests.send(routing_id, ZMQ_SNDMORE) || !origin.listener->requests.send(message))
    counters_.dropped_answers.add();
}

void Requests::answer_error(const Origin& origin, const Error& error) {
  answer(origin, to_record(error));
}

bool Requests::read() {
  bool may_have_more = false;
  for (auto* listener : listeners_) {
    std::size_t count = 0;
    for (; count < messages_per_turn && pending_bytes_ < commit_bytes_per_turn; ++count) {
      auto routing_id = listener->requests.receive();
      if (!routing_id) break;
      if (!routing_id->has_more()) continue;
      auto message = listener->requests.receive();
      if (!message) break;
      if (message->has_more()) {
        counters_.malformed.add();
        while (message && message->has_more()) message = listener->requests.receive();
        continue;
      }
      take(*listener, std::move(*routing_id), std::move(*message));
    }
    may_have_more = may_have_more || count == messages_per_turn || pending_bytes_ >= commit_bytes_per_turn;
  }
  return may_have_more;
}

void Requests::take(Listener& listener, Message routing_id, Message message) {
  Header header;
  auto read = decode_header(message.bytes(), header);
  if (!read && read.error().code() != ErrorCode::unsupported) {
    counters_.malformed.add();
    log_.debug("dropped a message that is none of this protocol", {{"bytes", std::to_string(message.bytes().size())}});
    return;
  }
  Origin origin{&listener, std::move(routing_id), header.request_id, std::string(message.user())};
  if (header.deadline_ms != 0) origin.until = clock_.now() + std::chrono::milliseconds(header.deadline_ms);
  if (!read) {
    counters_.foreign_version.add();
    return answer_error(origin, read.error());
  }
  counters_.requests.add();
  auto done = carry_out(origin, header.type, message.bytes());
  if (done) return;
  const auto& error = done.error();
  if (error.code() == ErrorCode::forbidden) counters_.refused.add();
  if (error.code() == ErrorCode::corrupt) {
    counters_.malformed.add();
    return answer_error(origin, Error(ErrorCode::invalid, error.message()));
  }
  answer_error(origin, error);
}

/// Errors are answered by the caller; everything else here, or later by a job or the commit.
Result<void> Requests::carry_out(Origin& origin, MessageType type, std::string_view message) {
  const auto peer = origin.peer();
  switch (type) {
    case MessageType::hello: {
      IRONCORE_TRY(auto request, decode<HelloRequest>(message));
      IRONCORE_TRY(auto revision, store_.revision());
      log_.debug("client said hello",
                 {{"program", std::string(request.program.substr(0, 64))}, {"identity", authorizer_.name(peer)}});
      HelloReply reply;
      reply.program = options_.program;
      reply.epoch = store_.epoch();
      reply.instance = instance_;
      reply.revision = revision.value;
      reply.heartbeat_ms =
          static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(options_.heartbeat).count());
      reply.changes_port = origin.listener->changes_port;
      reply.streams_port = origin.listener->streams_port;
      answer(origin, reply);
      return {};
    }
    case MessageType::get: {
      IRONCORE_TRY(auto request, decode<GetRequest>(message));
      IRONCORE_TRY(auto key, key_of(request.key, kinds_));
      auto object = store_.get(key);
      if (!object) {
        // Whether something is there is for those to know who may see it.
        IRONCORE_CHECK(authorizer_.may_read_name(peer, key));
        return std::move(object).error();
      }
      IRONCORE_CHECK(authorizer_.may_read(peer, *object));
      answer(origin, GetReply{object->json()});
      return {};
    }
    case MessageType::list: {
      IRONCORE_TRY(auto request, decode<ListRequest>(message));
      IRONCORE_TRY(auto query, query_of(request.query, kinds_));
      IRONCORE_CHECK(authorizer_.may_read(peer, query));
      // The origin is needed for the answer to an error, too.
      Origin here{origin.listener, origin.routing_id.copy(), origin.request_id, origin.public_key, origin.until};
      return enqueue(ListJob(std::move(here), std::move(query), request.limit == 0 ? SIZE_MAX : request.limit,
                             std::string(request.continue_at)));
    }
    case MessageType::commit:
      return take_commit(origin, message);
    case MessageType::changes: {
      IRONCORE_TRY(auto request, decode<ChangesRequest>(message));
      IRONCORE_TRY(auto query, query_of(request.query, kinds_));
      IRONCORE_CHECK(authorizer_.may_read(peer, query));
      if (!request.epoch.empty() && request.epoch != store_.epoch())
        return Error(ErrorCode::gone, "the store was restored from a backup or replaced: list again");
      const bool is_pushed = publisher_.is_pushed_to(peer, query);
      Origin here{origin.listener, origin.routing_id.copy(), origin.request_id, origin.public_key, origin.until};
      return enqueue(ChangesJob(std::move(here), std::move(query), request.from,
                                request.limit == 0 ? SIZE_MAX : request.limit, is_pushed));
    }
    case MessageType::revision: {
      IRONCORE_CHECK(decode<RevisionRequest>(message));
      IRONCORE_TRY(auto revision, store_.revision());
      answer(origin, RevisionReply{revision.value});
      return {};
    }
    case MessageType::acquire_lease: {
      IRONCORE_TRY(auto request, decode<AcquireLeaseRequest>(message));
      if (request.name.size() > max_name_bytes || request.holder.size() > max_name_bytes)
        return Error(ErrorCode::invalid,
                     "a lease's name and holder may have at most " + std::to_string(max_name_bytes) + " bytes");
      IRONCORE_CHECK(authorizer_.may_lease(peer, request.name));
      const Duration time_to_live(static_cast<Duration::rep>(request.time_to_live_ns & INT64_MAX));
      IRONCORE_TRY(auto lease,
                   store_.acquire_lease(std::string(request.name), std::string(request.holder), time_to_live));
      answer(origin, AcquireLeaseReply{to_record(lease)});
      return {};
    }
    case MessageType::release_lease: {
      IRONCORE_TRY(auto request, decode<ReleaseLeaseRequest>(message));
      IRONCORE_CHECK(authorizer_.may_lease(peer, request.name));
      IRONCORE_CHECK(store_.release_lease(std::string(request.name), request.token));
      answer(origin, ReleaseLeaseReply{});
      return {};
    }
    case MessageType::leases: {
      IRONCORE_TRY(auto request, decode<LeasesRequest>(message));
      IRONCORE_CHECK(authorizer_.may_read_leases(peer, request.prefix));
      IRONCORE_TRY(auto leases, store_.leases(std::string(request.prefix)));
      LeasesReply reply;
      for (const auto& lease : leases) reply.leases.push_back(to_record(lease));
      if (reply.leases.size() > max_list_elements)
        return Error(ErrorCode::exhausted,
                     "there are more than " + std::to_string(max_list_elements) + " such leases: give a longer prefix");
      answer(origin, reply);
      return {};
    }
    case MessageType::grant_stream: {
      IRONCORE_TRY(auto request, decode<GrantStreamRequest>(message));
      IRONCORE_TRY(auto key, key_of(request.key, kinds_));
      auto object = store_.get(key);
      if (!object) {
        IRONCORE_CHECK(authorizer_.may_read_name(peer, key));
        return std::move(object).error();
      }
      IRONCORE_CHECK(authorizer_.may_open_stream(peer, *object));
      IRONCORE_TRY(const auto grant, grant_stream_(peer, *object, request.what));
      answer(origin, GrantStreamReply{grant.high, grant.low});
      return {};
    }
    default:
      return Error(ErrorCode::corrupt, "the request is of a type that this server does not know");
  }
}

// ---- commits ----------------------------------------------------------------------------------------------------

Result<void> Requests::take_commit(Origin& origin, std::string_view message) {
  IRONCORE_TRY(auto request, decode<CommitRequest>(message));
  const RandomId id{request.id_high, request.id_low};
  if (const auto known = remembered_.find(origin.public_key, id, store_)) {
    answer_commit(origin, *known);
    return {};
  }
  const auto twin = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    return pending.id == id && pending.origins.front().public_key == origin.public_key;
  });
  if (twin != pending_.end()) {
    twin->origins.push_back(std::move(origin));
    return {};
  }
  if (request.instance != instance_) {
    answer(origin, RestartedReply{instance_});
    return {};
  }
  const NoteUnknown note = [&](const api::Kind& kind, std::string_view field) { note_unknown(kind, field); };
  IRONCORE_TRY(auto transaction,
               transaction_of(request, kinds_, unknown_fields_.size() < max_unknown_fields ? note : NoteUnknown()));
  IRONCORE_CHECK(authorizer_.may_commit(origin.peer(), transaction));
  counters_.commits.add();
  pending_bytes_ +=
      message.size() + transaction.operations.size() * (commit_bytes_per_turn / commit_operations_per_turn);
  auto& pending = pending_.emplace_back();
  pending.origins.push_back(std::move(origin));
  pending.id = id;
  pending.is_empty = transaction.operations.empty();
  transactions_.push_back(std::move(transaction));
  return {};
}

/// Whoever asked was told that it failed, or asked again elsewhere.
void Requests::drop_expired_commits() {
  const auto now = clock_.now();
  const auto is_expired = [&](const Pending& pending) {
    return std::all_of(pending.origins.begin(), pending.origins.end(),
                       [&](const Origin& origin) { return origin.until < now; });
  };
  std::size_t kept = 0;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    if (is_expired(pending_[i])) {
      const Error late(ErrorCode::timeout, "the server did not get to it in time: nothing was written, try again");
      for (const auto& origin : pending_[i].origins) answer_error(origin, late);
      continue;
    }
    if (kept != i) {
      pending_[kept] = std::move(pending_[i]);
      transactions_[kept] = std::move(transactions_[i]);
    }
    ++kept;
  }
  pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(kept), pending_.end());
  transactions_.erase(transactions_.begin() + static_cast<std::ptrdiff_t>(kept), transactions_.end());
}

void Requests::commit() {
  if (pending_.empty()) return;
  drop_expired_commits();
  counters_.commit_batches.add();
  auto results = store_.commit_all(std::exchange(transactions_, {}));
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    std::size_t bytes = 0;
    for (const auto& origin : pending_[i].origins) bytes = answer_commit(origin, results[i]);
    if (!pending_[i].is_empty)
      remembered_.add(pending_[i].origins.front().public_key, pending_[i].id, results[i], bytes, clock_.now());
  }
  pending_.clear();
  pending_bytes_ = 0;
}

std::size_t Requests::answer_commit(const Origin& origin, const Result<Committed>& result) {
  if (!result) {
    answer_error(origin, result.error());
    return 0;
  }
  std::vector<std::size_t> ends;
  ends.reserve(result->objects.size());
  texts_.clear();
  for (const auto& object : result->objects) {
    object.append_json(texts_);
    ends.push_back(texts_.size());
  }
  CommitReply reply;
  reply.revision = result->revision.value;
  reply.objects.reserve(result->objects.size());
  std::string_view rest = texts_;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const auto size = ends[i] - (i == 0 ? 0 : ends[i - 1]);
    reply.objects.push_back({kinds_.resource(result->objects[i].kind()), rest.substr(0, size)});
    rest.remove_prefix(size);
  }
  reply_.clear();
  encode(reply_, origin.request_id, 0, reply);
  send(origin, Message(std::string_view(reply_)));
  const auto bytes = texts_.size();
  if (bytes > kept_reply_bytes) {
    texts_ = {};
    reply_ = {};
  }
  return bytes;
}

void Requests::forget_old() {
  remembered_.forget_old(clock_.now());
}

void Requests::note_unknown(const api::Kind& kind, std::string_view field) {
  const auto path = without_places(field);
  const auto resource = std::string(kinds_.resource(kind));
  if (unknown_fields_.size() >= max_unknown_fields || !unknown_fields_.insert(resource + ' ' + path).second) return;
  log_.warning("a field that this version does not know was written; it is kept as it is",
               {{"resource", resource}, {"field", path}});
  if (unknown_fields_.size() == max_unknown_fields) log_.warning("no more unknown fields will be reported");
}

}  // namespace ironcore::store::zmq
