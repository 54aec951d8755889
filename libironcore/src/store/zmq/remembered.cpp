// SPDX-License-Identifier: Apache-2.0
// Windows of answers.
#include "remembered.hpp"

#include <algorithm>

namespace ironcore::store::zmq {

namespace {

// A client asks again for as long as its own time-out says; ours sends for 10 s by default.
constexpr Duration remember_for = std::chrono::seconds(60);
constexpr Duration remember_clients_for = std::chrono::hours(1);
constexpr Duration look_every = std::chrono::seconds(1);
/// Larger answers are kept as an outline.
constexpr std::size_t kept_whole = 4096;
constexpr std::size_t kept_of_message = 1024;
/// About what an answer takes beside its JSON.
constexpr std::size_t answer_cost = 240;
constexpr std::size_t max_clients = 1024;

/// Not after, in a count that may run over.
bool is_within(std::uint64_t number, std::uint64_t last) {
  return static_cast<std::int64_t>(number - last) <= 0;
}

/// Where an answer of this number is or would be. Numbers grow, so that it is nearly always at the end.
template <class Answers>
auto place_of(Answers& answers, std::uint64_t number) {
  if (answers.empty() || !is_within(number, answers.back().number)) return answers.end();
  return std::lower_bound(answers.begin(), answers.end(), number,
                          [](const auto& answer, std::uint64_t wanted) { return !is_within(wanted, answer.number); });
}

Error is_forgotten() {
  return Error(ErrorCode::timeout,
               "this write was asked for too long ago to know what became of it: it may have happened, read to see");
}

Error too_large_to_keep(Revision revision) {
  return Error(ErrorCode::timeout, "the write happened, by revision " + std::to_string(revision.value) +
                                       ", but its answer was lost and what it wrote has changed since: read again");
}

}  // namespace

std::optional<Result<Committed>> RememberedCommits::find(std::string_view public_key, RandomId id,
                                                         LocalStore& store) const {
  const auto peer = peers_.find(public_key);
  if (peer == peers_.end()) return std::nullopt;
  const auto client = peer->second.clients.find(id.high);
  if (client == peer->second.clients.end()) return std::nullopt;
  const auto answer = find(client->second, id.low);
  if (answer == client->second.answers.end()) {
    const auto& forgotten = client->second.forgotten_through;
    if (forgotten && is_within(id.low, *forgotten)) return Result<Committed>(is_forgotten());
    return std::nullopt;
  }
  if (const auto* whole = std::get_if<Result<Committed>>(&answer->kept)) return *whole;
  const auto& outline = std::get<Outline>(answer->kept);
  Committed committed{outline.revision, {}};
  for (const auto& [key, revision] : outline.objects) {
    auto object = store.get(key);
    if (!object || object->metadata().resource_version != revision)
      return Result<Committed>(too_large_to_keep(outline.revision));
    committed.objects.push_back(std::move(*object));
  }
  return Result<Committed>(std::move(committed));
}

auto RememberedCommits::find(const Client& client, std::uint64_t number) -> std::deque<Answer>::const_iterator {
  const auto place = place_of(client.answers, number);
  return place != client.answers.end() && place->number == number ? place : client.answers.end();
}

void RememberedCommits::add(std::string_view public_key, RandomId id, const Result<Committed>& result,
                            std::size_t bytes, Instant now) {
  auto found = peers_.find(public_key);
  if (found == peers_.end()) found = peers_.emplace(std::string(public_key), Peer{}).first;
  auto& peer = found->second;
  if (peer.clients.size() >= max_clients && !peer.clients.contains(id.high)) {
    const auto oldest = std::min_element(peer.clients.begin(), peer.clients.end(),
                                         [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
    while (!oldest->second.answers.empty()) forget_one(peer, oldest->second);
    peer.clients.erase(oldest);
  }
  auto& client = peer.clients[id.high];
  client.used = now;
  if (find(client, id.low) != client.answers.end()) return;
  Answer answer{id.low, result, bytes + answer_cost, now + remember_for};
  if (!result && result.error().message().size() > kept_of_message) {
    answer.kept = Result<Committed>(Error(result.error().code(), result.error().message().substr(0, kept_of_message)));
  } else if (result && bytes > kept_whole) {
    Outline outline{result->revision, {}};
    outline.objects.reserve(result->objects.size());
    for (const auto& object : result->objects)
      outline.objects.emplace_back(key_of(object), object.metadata().resource_version);
    answer.kept = std::move(outline);
    answer.bytes = answer_cost * (1 + result->objects.size());
  }
  const auto size = answer.bytes;
  client.answers.insert(place_of(client.answers, id.low), std::move(answer));
  ++peer.answers;
  peer.bytes += size;
  while (peer.answers > max_answers_ || (peer.bytes > max_bytes_ && peer.answers > 1)) make_room(peer, client);
}

/// Whoever fills the memory loses his own answers first.
void RememberedCommits::make_room(Peer& peer, Client& client) {
  if (client.answers.size() * peer.clients.size() >= peer.answers) return forget_one(peer, client);
  const auto largest = std::max_element(peer.clients.begin(), peer.clients.end(), [](const auto& a, const auto& b) {
    return a.second.answers.size() < b.second.answers.size();
  });
  forget_one(peer, largest->second);
}

void RememberedCommits::forget_one(Peer& peer, Client& client) {
  const auto number = client.answers.front().number;
  peer.bytes -= client.answers.front().bytes;
  --peer.answers;
  client.answers.pop_front();
  if (!client.forgotten_through || !is_within(number, *client.forgotten_through)) client.forgotten_through = number;
}

void RememberedCommits::forget_old(Instant now) {
  if (now < look_again_) return;
  look_again_ = now + look_every;
  for (auto& [key, peer] : peers_) {
    for (auto& [number, client] : peer.clients)
      while (!client.answers.empty() && client.answers.front().until <= now) forget_one(peer, client);
    std::erase_if(peer.clients, [&](const auto& one) {
      return one.second.answers.empty() && now - one.second.used > remember_clients_for;
    });
  }
  std::erase_if(peers_, [](const auto& one) { return one.second.clients.empty(); });
}

}  // namespace ironcore::store::zmq
