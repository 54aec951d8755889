// SPDX-License-Identifier: Apache-2.0
// Passing stream messages on.
#include "stream_relay.hpp"

#include <algorithm>
#include <set>

namespace ironcore::store::zmq {

namespace {
constexpr std::size_t messages_per_turn = 256;
constexpr std::size_t max_grants = 10'000;
constexpr std::size_t max_relays = 4096;
constexpr std::size_t max_what_bytes = 64;
constexpr std::uint64_t max_credit = 1024 * 1024;
constexpr Duration accept_within = std::chrono::seconds(10);
}  // namespace

StreamRelay::StreamRelay(const KindTable& kinds, const Authorizer& authorizer, const ServerOptions& options,
                         std::uint64_t instance, Clock& clock, Log& log, Counters& counters)
    : kinds_(kinds),
      authorizer_(authorizer),
      options_(options),
      instance_(instance),
      clock_(clock),
      log_(log),
      counters_(counters) {}

std::string StreamRelay::worker_name(Text resource, Text pool) {
  return std::string(resource) + "/" + std::string(pool);
}

template <class Record>
bool StreamRelay::send(const Address& to, const Record& record) {
  Message routing_id{std::string_view(to.routing_id)};
  Message message(encode(to.id, 0, record));
  return to.listener->streams.send(routing_id, ZMQ_SNDMORE) && to.listener->streams.send(message);
}

void StreamRelay::refuse(const Address& to, const Error& error) {
  if (error.code() == ErrorCode::forbidden) counters_.refused.add();
  send(to, CloseStream{to_record(error)});
}

// ---- opening ----------------------------------------------------------------------------------------------------

Result<RandomId> StreamRelay::grant(const Peer& peer, const Object& object, Text what) {
  const auto resource = object.kind().resource();
  const auto& metadata = object.metadata();
  if (what.empty() || what.size() > max_what_bytes)
    return Error(ErrorCode::invalid, "a stream must be named, for example console");
  if (object.kind().info().placement.empty()) return Error(ErrorCode::unsupported, resource + " have no streams");
  const auto pool = placement_of(object);
  if (pool.empty())
    return Error(ErrorCode::wrong_state, metadata.name + " is not placed yet: wait until it is scheduled");
  const auto name = worker_name(resource, pool);
  const auto worker = workers_.find(name);
  if (worker == workers_.end())
    return Error(ErrorCode::unavailable,
                 "pool " + pool + " serves no streams now: is its provider running and connected?");
  if (grants_.size() >= max_grants)
    return Error(ErrorCode::exhausted, "too many streams are being opened: try again later");
  const auto id = random_id();
  grants_.emplace(id, Grant{std::string(peer.public_key), peer.is_local, name, resource, metadata.namespace_,
                            metadata.name, metadata.uid, std::string(what), clock_.now() + options_.stream_grant});
  return id;
}

void StreamRelay::take_serve(const Address& from, const Peer& peer, std::string_view message) {
  const auto record = decode<ServeStreams>(message);
  if (!record) return refuse(from, Error(ErrorCode::invalid, record.error().message()));
  const auto answer_error = [&](const Error& error) {
    if (error.code() == ErrorCode::forbidden) counters_.refused.add();
    send(from, to_record(error));
  };
  const auto* kind = kinds_.find(record->resource);
  if (kind == nullptr || kind->info().placement.empty() || record->pool.empty() || record->pool.size() > 256)
    return answer_error(Error(ErrorCode::invalid, "no streams can be served for this resource and pool"));
  if (const auto allowed = authorizer_.may_serve(peer, record->resource, record->pool); !allowed)
    return answer_error(allowed.error());
  const auto name = worker_name(record->resource, record->pool);
  const auto at = workers_.find(name);
  if (at != workers_.end() && at->second.address != from) {
    if (is_there(at->second.address))
      return answer_error(
          Error(ErrorCode::already_exists, "pool " + std::string(record->pool) + " is served by another one already"));
    workers_.erase(at);
  }
  auto [worker, is_new] = workers_.try_emplace(name);
  worker->second.heard = clock_.now();
  if (is_new) {
    worker->second.address = from;
    worker->second.public_key = peer.public_key;
    log_.info("streams are served", {{"pool", std::string(record->pool)}, {"identity", authorizer_.name(peer)}});
  }
  send(from, ServeStreamsReply{instance_});
}

void StreamRelay::take_open(const Address& from, const Peer& peer, std::string_view message) {
  const auto record = decode<OpenStream>(message);
  if (!record) return refuse(from, Error(ErrorCode::invalid, record.error().message()));
  if (by_end_.contains(from)) return refuse(from, Error(ErrorCode::invalid, "this stream is open already"));
  auto found = grants_.extract({record->grant_high, record->grant_low});  // used up, whatever comes
  if (found.empty() || found.mapped().until < clock_.now())
    return refuse(from, Error(ErrorCode::forbidden, "the right to open this stream was used or ran out: ask again"));
  const auto& grant = found.mapped();
  if (grant.is_local != peer.is_local || grant.public_key != peer.public_key)
    return refuse(from, Error(ErrorCode::forbidden, "the right to open this stream belongs to another identity"));
  if (relays_.size() >= max_relays)
    return refuse(from, Error(ErrorCode::exhausted, "too many streams are open: close some"));
  const auto worker = workers_.find(grant.worker);
  if (worker == workers_.end()) return refuse(from, Error(ErrorCode::unavailable, "the provider went away: try again"));

  auto& entry = worker->second;
  Relay relay;
  relay.client.address = from;
  relay.client.public_key = peer.public_key;
  relay.worker.public_key = entry.public_key;
  relay.worker.address = {entry.address.listener, entry.address.routing_id, ++last_id_};
  relay.worker.may_send = std::min<std::uint64_t>(record->credit, max_credit);
  relay.accept_until = clock_.now() + accept_within;
  OfferStream offer;
  offer.key = {grant.resource, grant.namespace_, grant.name};
  offer.uid = grant.uid;
  offer.what = grant.what;
  const auto identity = authorizer_.name(peer);
  offer.identity = identity;
  offer.credit = static_cast<std::uint32_t>(relay.worker.may_send);
  if (!send(relay.worker.address, offer)) {
    workers_.erase(worker);
    return refuse(from, Error(ErrorCode::unavailable, "the provider went away: try again"));
  }
  const auto at = relays_.insert(relays_.end(), std::move(relay));
  by_end_.emplace(at->client.address, at);
  by_end_.emplace(at->worker.address, at);
  counters_.streams_opened.add();
}

// ---- passing on -------------------------------------------------------------------------------------------------

bool StreamRelay::read() {
  bool may_have_more = false;
  for (auto* listener : listeners_) {
    std::size_t count = 0;
    for (; count < messages_per_turn; ++count) {
      auto routing_id = listener->streams.receive();
      if (!routing_id) break;
      if (!routing_id->has_more()) continue;
      auto message = listener->streams.receive();
      if (!message) break;
      if (message->has_more()) {
        counters_.malformed.add();
        while (message && message->has_more()) message = listener->streams.receive();
        continue;
      }
      take(*listener, std::string(routing_id->bytes()), std::move(*message));
    }
    may_have_more = may_have_more || count == messages_per_turn;
  }
  return may_have_more;
}

void StreamRelay::take(Listener& listener, std::string routing_id, Message message) {
  Header header;
  const auto read = decode_header(message.bytes(), header);
  if (!read && read.error().code() != ErrorCode::unsupported) return counters_.malformed.add();
  const Address from{&listener, std::move(routing_id), header.request_id};
  if (!read) {
    counters_.foreign_version.add();
    send(from, to_record(read.error()));
    return;
  }
  const Peer peer{listener.is_local, message.user()};
  switch (header.type) {
    case MessageType::serve_streams:
      return take_serve({from.listener, from.routing_id, 0}, peer, message.bytes());
    case MessageType::open_stream:
      return take_open(from, peer, message.bytes());
    case MessageType::accept_stream:
    case MessageType::stream_data:
    case MessageType::stream_credit:
    case MessageType::close_stream:
      return take_stream_message(from, header.type, message.bytes());
    case MessageType::ping:
      return;
    default:
      counters_.malformed.add();
  }
}

void StreamRelay::take_stream_message(const Address& from, MessageType type, std::string_view message) {
  const auto found = by_end_.find(from);
  if (found == by_end_.end()) {
    // Of a stream that ended, or of a server before this one.
    if (type != MessageType::close_stream)
      send(from, CloseStream{to_record(
                     Error(ErrorCode::unavailable, "the server does not know this stream: it was restarted"))});
    return;
  }
  const auto at = found->second;
  const bool is_client = at->client.address == from;
  auto& sender = is_client ? at->client : at->worker;
  auto& other = is_client ? at->worker : at->client;
  const auto broken = [&](const char* why) {
    counters_.malformed.add();
    end(at, nullptr, Error(ErrorCode::invalid, why));
  };
  const auto pass_on = [&](const auto& record) {
    if (!send(other.address, record))
      end(at, nullptr, Error(ErrorCode::unavailable, "the other side went away or does not read"));
  };
  switch (type) {
    case MessageType::accept_stream: {
      const auto record = decode<AcceptStream>(message);
      if (!record || is_client || at->is_accepted) return broken("the stream was accepted twice or by its client");
      at->is_accepted = true;
      other.may_send = std::min<std::uint64_t>(record->credit, max_credit);
      return pass_on(AcceptStream{static_cast<std::uint32_t>(other.may_send)});
    }
    case MessageType::stream_data: {
      const auto record = decode<StreamData>(message);
      if (!record || !at->is_accepted) return broken("data came before the stream was accepted, or damaged");
      const auto cost = record->bytes.size() + stream_message_cost;
      if (cost > sender.may_send) return broken("more was sent than the other side granted");
      sender.may_send -= cost;
      return pass_on(*record);
    }
    case MessageType::stream_credit: {
      const auto record = decode<StreamCredit>(message);
      if (!record || other.may_send + record->credit > max_credit) return broken("more credit was granted than may be");
      other.may_send += record->credit;
      return pass_on(*record);
    }
    default: {
      const auto record = decode<CloseStream>(message);
      end(at, &from, record ? error_of(record->error) : Error(ErrorCode::gone, "the other side closed"));
    }
  }
}

/// Tells both ends, except the one that knows.
void StreamRelay::end(Relays::iterator relay, const Address* told, const Error& error) {
  const auto ended = std::move(*relay);
  by_end_.erase(ended.client.address);
  by_end_.erase(ended.worker.address);
  relays_.erase(relay);
  for (const auto* side : {&ended.client.address, &ended.worker.address})
    if (told == nullptr || *side != *told) send(*side, CloseStream{to_record(error)});
}

// ---- signs of life ----------------------------------------------------------------------------------------------

bool StreamRelay::is_there(const Address& address) {
  return send(Address{address.listener, address.routing_id, 0}, Ping{});
}

void StreamRelay::tick() {
  const auto now = clock_.now();
  if (now < tick_at_) return;
  tick_at_ = now + stream_ping;
  std::erase_if(grants_, [&](const auto& grant) { return grant.second.until < now; });

  // ZeroMQ forgets a connection that broke, or whose other end does not answer its own heartbeats: then a ping cannot be sent.
  std::set<std::pair<Listener*, std::string>> asked;
  std::set<std::pair<Listener*, std::string>> lost;
  const auto check = [&](const Address& address) {
    std::pair<Listener*, std::string> connection(address.listener, address.routing_id);
    if (asked.insert(connection).second && !is_there(address)) lost.insert(connection);
    return !lost.contains(connection);
  };
  std::erase_if(workers_, [&](const auto& worker) {
    const bool is_gone = !check(worker.second.address) || now - worker.second.heard > options_.stream_silence;
    if (is_gone) log_.warning("streams are not served any more", {{"worker", worker.first}});
    return is_gone;
  });
  for (auto at = relays_.begin(); at != relays_.end();) {
    const auto relay = at++;
    const bool has_client = check(relay->client.address);
    const bool has_worker = check(relay->worker.address);
    if (!has_client || !has_worker) {
      const Address gone = has_client ? relay->worker.address : relay->client.address;
      end(relay, &gone, Error(ErrorCode::unavailable, "the other side was lost"));
    } else if (!relay->is_accepted && relay->accept_until < now) {
      end(relay, nullptr, Error(ErrorCode::timeout, "the provider did not take the stream in time"));
    }
  }
}

void StreamRelay::drop_unknown_keys() {
  const auto is_unknown = [&](const Address& address, const std::string& key) {
    return !address.listener->is_local && !authorizer_.knows(key);
  };
  std::erase_if(grants_, [&](const auto& grant) {
    return !grant.second.is_local && !authorizer_.knows(grant.second.public_key);
  });
  std::erase_if(workers_,
                [&](const auto& worker) { return is_unknown(worker.second.address, worker.second.public_key); });
  for (auto at = relays_.begin(); at != relays_.end();) {
    const auto relay = at++;
    if (is_unknown(relay->client.address, relay->client.public_key) ||
        is_unknown(relay->worker.address, relay->worker.public_key))
      end(relay, nullptr, Error(ErrorCode::forbidden, "the server does not know the key of one side any more"));
  }
}

void StreamRelay::close_all() {
  while (!relays_.empty()) end(relays_.begin(), nullptr, Error(ErrorCode::unavailable, "the server was stopped"));
}

}  // namespace ironcore::store::zmq
