// SPDX-License-Identifier: Apache-2.0
// What the server does with requests: quick ones at once, commits together, long ones in slices.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "authorizer.hpp"
#include "codec.hpp"
#include "counters.hpp"
#include "listener.hpp"
#include "publisher.hpp"
#include "remembered.hpp"

namespace ironcore::store::zmq {

/// Where an answer goes to.
struct Origin {
  Listener* listener = nullptr;
  Message routing_id;
  std::uint64_t request_id = 0;
  std::string public_key;
  Instant until = Instant::max();  ///< then the sender waits no longer
  Peer peer() const noexcept { return {listener->is_local, public_key}; }
};

/// What the streams add to the requests: gives out the right to open one.
using StreamGranter = std::function<Result<RandomId>(const Peer& peer, const Object& object, Text what)>;

/// Thread: loop.
class Requests {
 public:
  Requests(LocalStore& store, const KindTable& kinds, const Authorizer& authorizer, Publisher& publisher,
           const ServerOptions& options, std::uint64_t instance, StreamGranter grant_stream, Clock& clock, Log& log,
           Counters& counters);
  ~Requests();
  void add(Listener& listener) { listeners_.push_back(&listener); }

  /// Takes some of what is waiting: answers what is quick, collects commits. True = there may be more.
  bool read();
  /// Carries the collected commits out and answers them.
  void commit();
  /// One slice of a long request, some milliseconds; true = there is more to do.
  bool work();
  /// Answers to commits that nobody will ask for again.
  void forget_old();

 private:
  struct Pending;
  struct ListJob;
  struct ChangesJob;
  struct Jobs;

  void take(Listener& listener, Message routing_id, Message message);
  Result<void> carry_out(Origin& origin, MessageType type, std::string_view message);
  Result<void> take_commit(Origin& origin, std::string_view message);
  void send(const Origin& origin, Message message);
  template <class Record>
  void answer(const Origin& origin, const Record& record) {
    send(origin, Message(encode(origin.request_id, 0, record)));
  }
  void answer_error(const Origin& origin, const Error& error);
  /// Returns the size of the objects as JSON.
  std::size_t answer_commit(const Origin& origin, const Result<Committed>& result);
  void drop_expired_commits();
  void note_unknown(const api::Kind& kind, std::string_view field);
  template <class Job>
  Result<void> enqueue(Job job);
  bool work(ListJob& job);
  bool work(ChangesJob& job);

  LocalStore& store_;
  const KindTable& kinds_;
  const Authorizer& authorizer_;
  Publisher& publisher_;
  const ServerOptions& options_;
  const std::uint64_t instance_;
  const StreamGranter grant_stream_;
  Clock& clock_;
  Log& log_;
  Counters& counters_;
  std::vector<Listener*> listeners_;

  // Commits found waiting, one place for each; a commit that was sent twice has two origins.
  std::vector<Transaction> transactions_;
  std::vector<Pending> pending_;
  std::size_t pending_bytes_ = 0;

  std::string texts_, reply_;  ///< room for one answer

  RememberedCommits remembered_;
  std::set<std::string> unknown_fields_;  ///< that were warned of
  const std::unique_ptr<Jobs> jobs_;
  std::map<const api::Kind*, double> bytes_per_object_;
};

}  // namespace ironcore::store::zmq
