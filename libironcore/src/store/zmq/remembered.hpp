// SPDX-License-Identifier: Apache-2.0
// The answers to commits, so that one that is sent twice happens once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "../../base/wire/socket.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/zmq_context.hpp"

namespace ironcore::store::zmq {

/// Each client (the high half of a commit's id; the low half counts its commits) has a window of answers. What fell out
/// of the window is not known any more, but that it was there is: a commit that old is never taken for a new one. Peers
/// (by key; all local ones together) have a share of their own each, so that nobody shortens another one's memory.
/// Thread: one.
class RememberedCommits {
 public:
  /// Most answers of one peer, and most of their JSON.
  RememberedCommits(std::size_t answers, std::size_t bytes) : max_answers_(answers), max_bytes_(bytes) {}

  /// The result, if this commit was carried out and is in the window; `timeout` if it may have been before that;
  /// nothing if it is new. An answer that was too large to keep is made again from the store as long as it holds
  /// what the commit left there; otherwise it is `timeout` as well, saying at which revision it happened.
  std::optional<Result<Committed>> find(std::string_view public_key, RandomId id, LocalStore& store) const;
  /// Once for each id. `bytes`: of the objects as JSON.
  void add(std::string_view public_key, RandomId id, const Result<Committed>& result, std::size_t bytes, Instant now);
  /// Ends windows' answers that are older than a minute, and clients that said nothing for an hour.
  void forget_old(Instant now);

 private:
  /// In place of objects.
  struct Outline {
    Revision revision;
    std::vector<std::pair<Key, Revision>> objects;
  };
  struct Answer {
    std::uint64_t number;
    std::variant<Result<Committed>, Outline> kept;
    std::size_t bytes;
    Instant until;
  };
  struct Client {
    std::deque<Answer> answers;                      ///< in the order of their numbers, which is about that of time
    std::optional<std::uint64_t> forgotten_through;  ///< the latest that fell out
    Instant used{};
  };
  struct Peer {
    std::unordered_map<std::uint64_t, Client> clients;
    std::size_t answers = 0;
    std::size_t bytes = 0;
  };
  static std::deque<Answer>::const_iterator find(const Client& client, std::uint64_t number);
  static void forget_one(Peer& peer, Client& client);
  void make_room(Peer& peer, Client& client);

  const std::size_t max_answers_;
  const std::size_t max_bytes_;
  std::map<std::string, Peer, std::less<>> peers_;
  Instant look_again_{};
};

}  // namespace ironcore::store::zmq
