// SPDX-License-Identifier: Apache-2.0
// Requests that are answered at once, and commits.
#include "requests.hpp"

#include <algorithm>

#include "jobs.hpp"

namespace ironcore::store::zmq {

namespace {
constexpr std::size_t messages_per_turn = 512;
constexpr std::size_t commit_bytes_per_turn = 8 * 1024 * 1024;
constexpr std::size_t commit_operations_per_turn = 16 * 1024;
constexpr std::size_t waiting_jobs = 8192;
constexpr std::size_t max_name_bytes = 1024;
// A client asks again for as long as its own time-out says; ours sends for 10 s by default.
constexpr Duration remember_for = std::chrono::seconds(60);
}  // namespace

struct Requests::Pending {
  std::vector<Origin> origins;
  RandomId id;
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
      counters_(counters) {
  remembered_.reserve(options.remembered_commits);
}
Requests::~Requests() = default;

template <class Record>
void Requests::answer(const Origin& origin, const Record& record) {
  std::string bytes;
  encode(bytes, origin.request_id, 0, record);
  Message routing_id = const_cast<Message&>(origin.routing_id).copy();
  Message message(std::move(bytes));
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
      if (lists_.size() >= waiting_jobs)
        return Error(ErrorCode::exhausted, "too many lists are under way: try again later");
      lists_.emplace_back(std::move(origin), std::move(query), request.limit == 0 ? SIZE_MAX : request.limit,
                          std::string(request.continue_at));
      return {};
    }
    case MessageType::commit:
      return take_commit(origin, message);
    case MessageType::changes: {
      IRONCORE_TRY(auto request, decode<ChangesRequest>(message));
      IRONCORE_TRY(auto query, query_of(request.query, kinds_));
      IRONCORE_CHECK(authorizer_.may_read(peer, query));
      if (!request.epoch.empty() && request.epoch != store_.epoch())
        return Error(ErrorCode::gone, "the store was restored from a backup or replaced: list again");
      if (replays_.size() >= waiting_jobs)
        return Error(ErrorCode::exhausted, "too many replays are under way: try again later");
      const bool is_pushed = publisher_.is_pushed_to(peer, query);
      replays_.emplace_back(std::move(origin), std::move(query), request.from,
                            request.limit == 0 ? SIZE_MAX : request.limit, is_pushed);
      return {};
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
      IRONCORE_CHECK(authorizer_.may_lease(peer, request.prefix));
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
  if (const auto known = remembered_.find(id); known != remembered_.end()) {
    answer_commit(origin, *known->second.result);
    return {};
  }
  const auto twin =
      std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) { return pending.id == id; });
  if (twin != pending_.end()) {
    twin->origins.push_back(std::move(origin));
    return {};
  }
  if (request.instance != instance_) {
    answer(origin, RestartedReply{instance_});
    return {};
  }
  IRONCORE_TRY(auto transaction, transaction_of(request, kinds_));
  IRONCORE_CHECK(authorizer_.may_commit(origin.peer(), transaction));
  counters_.commits.add();
  pending_bytes_ +=
      message.size() + transaction.operations.size() * (commit_bytes_per_turn / commit_operations_per_turn);
  auto& pending = pending_.emplace_back();
  pending.origins.push_back(std::move(origin));
  pending.id = id;
  transactions_.push_back(std::move(transaction));
  return {};
}

void Requests::commit() {
  if (pending_.empty()) return;
  counters_.commit_batches.add();
  auto results = store_.commit_all(transactions_);
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    auto result = std::make_shared<const Result<Committed>>(std::move(results[i]));
    for (const auto& origin : pending_[i].origins) answer_commit(origin, *result);
    remember(pending_[i].id, std::move(result));
  }
  transactions_.clear();
  pending_.clear();
  pending_bytes_ = 0;
}

void Requests::answer_commit(const Origin& origin, const Result<Committed>& result) {
  if (!result) return answer_error(origin, result.error());
  std::vector<std::string> texts;
  texts.reserve(result->objects.size());
  CommitReply reply;
  reply.revision = result->revision.value;
  reply.objects.reserve(result->objects.size());
  for (const auto& object : result->objects) {
    texts.push_back(object.json());
    reply.objects.push_back({kinds_.resource(object.kind()), texts.back()});
  }
  answer(origin, reply);
}

void Requests::remember(RandomId id, std::shared_ptr<const Result<Committed>> result) {
  const auto now = clock_.now();
  if (!remembered_.emplace(id, Remembered{std::move(result), now + remember_for}).second) return;
  remembered_order_.push_back(id);
  if (remembered_order_.size() > options_.remembered_commits) {
    remembered_.erase(remembered_order_.front());
    remembered_order_.pop_front();
  }
}

void Requests::forget_old() {
  const auto now = clock_.now();
  while (!remembered_order_.empty()) {
    const auto oldest = remembered_.find(remembered_order_.front());
    if (oldest->second.until > now) return;
    remembered_.erase(oldest);
    remembered_order_.pop_front();
  }
}

// ---- long ones --------------------------------------------------------------------------------------------------

bool Requests::work() {
  // In turn, so that neither a storm of lists nor one of replays keeps the other waiting. Within a kind, round robin.
  is_list_turn_ = !is_list_turn_;
  const bool use_list = !lists_.empty() && (is_list_turn_ || replays_.empty());
  const auto step = [&](auto& jobs) {
    auto job = std::move(jobs.front());
    jobs.pop_front();
    if (work(job)) jobs.push_back(std::move(job));
  };
  if (use_list)
    step(lists_);
  else if (!replays_.empty())
    step(replays_);
  return !lists_.empty() || !replays_.empty();
}

bool Requests::work(ListJob& job) {
  const auto until = clock_.now() + slice_time;
  auto& average = bytes_per_object_.try_emplace(job.query.kind, 1024.0).first->second;
  for (;;) {
    const auto room = options_.page_bytes > job.bytes ? options_.page_bytes - job.bytes : 0;
    const auto fitting = static_cast<std::size_t>(static_cast<double>(room) / average) + 1;
    const auto wanted =
        std::min({fitting, options_.page_objects, std::max<std::size_t>(job.limit - job.texts.size(), 1)});
    // Selectors that no index answers are applied here, so that looking for a needle takes many short slices.
    const auto looked_at =
        job.is_filtered_here ? std::clamp<std::size_t>(job.limit - job.texts.size(), 1, 256) : wanted;
    auto page = store_.list(job.base, {.limit = looked_at, .continue_at = job.continue_at});
    if (!page) {
      answer_error(job.origin, page.error());
      return false;
    }
    const bool is_first = !job.revision;
    if (!is_first && *job.revision != page->revision && !job.texts.empty()) break;  // the rest belongs to the next page
    job.revision = page->revision;
    job.continue_at = page->continue_at;
    for (const auto& object : page->objects) {
      if (job.is_filtered_here && !job.query.matches(object)) continue;
      job.texts.push_back(object.json());
      job.bytes += job.texts.back().size();
      average = 0.95 * average + 0.05 * static_cast<double>(job.texts.back().size());
    }
    if (job.continue_at.empty() || job.bytes >= options_.page_bytes ||
        job.texts.size() >= std::min(job.limit, options_.page_objects))
      break;
    if (clock_.now() >= until) return true;
  }
  ListReply reply;
  reply.epoch = store_.epoch();
  reply.revision = job.revision->value;
  reply.continue_at = job.continue_at;
  reply.objects.assign(job.texts.begin(), job.texts.end());
  answer(job.origin, reply);
  return false;
}

bool Requests::work(ChangesJob& job) {
  const auto until = clock_.now() + slice_time;
  const auto reply_with = [&](bool has_more) {
    ChangesReply reply;
    reply.epoch = store_.epoch();
    reply.through = job.through;
    reply.is_pushed = job.is_pushed;
    reply.has_more = has_more;
    reply.changes.reserve(job.changes.size());
    for (const auto& change : job.changes) reply.changes.push_back({change.type, change.revision, change.json});
    answer(job.origin, reply);
    return false;
  };
  for (;;) {
    auto revision = store_.revision();
    if (!revision) {
      answer_error(job.origin, revision.error());
      return false;
    }
    if (job.through <= revision->value && publisher_.is_unchanged(job.query, job.through)) {
      job.through = revision->value;
      return reply_with(false);
    }
    auto changes = store_.changes(Revision{job.through}, changes_per_slice);
    if (!changes) {
      answer_error(job.origin, changes.error());
      return false;
    }
    for (const auto& change : *changes) {
      job.through = change.revision.value;
      if (&change.object.kind() != job.query.kind) continue;
      const bool is_there = change.type != Change::Type::deleted && job.query.matches(change.object);
      const bool was_there = change.previous && job.query.matches(*change.previous);
      if (!is_there && !was_there) continue;
      const auto type = !is_there ? ChangeType::deleted : was_there ? ChangeType::modified : ChangeType::added;
      job.changes.push_back({type, change.revision.value, change.object.json()});
      job.bytes += job.changes.back().json.size();
      if (job.bytes >= options_.page_bytes || job.changes.size() >= std::min(job.limit, max_list_elements))
        return reply_with(true);
    }
    if (changes->size() < changes_per_slice) {
      job.through = std::max(job.through, revision->value);
      return reply_with(false);
    }
    if (clock_.now() >= until) return true;
  }
}

}  // namespace ironcore::store::zmq
