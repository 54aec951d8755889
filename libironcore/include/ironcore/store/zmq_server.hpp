// SPDX-License-Identifier: Apache-2.0
// Offers a LocalStore to other processes over ZeroMQ, publishes its changes, and relays streams (console, log).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "ironcore/base/log.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/zmq_context.hpp"
#include "ironcore/store/zmq_identities.hpp"

namespace ironcore::store::zmq {

/// An endpoint on the network; only with CURVE, only for known keys.
struct TcpOptions {
  std::string address = "127.0.0.1";  ///< or `[::1]`, `0.0.0.0`
  std::uint16_t port = 0;             ///< for requests; changes use port + 1, streams port + 2; 0 = three free ports
  KeyPair keys;
  Identities identities;
};

struct ServerOptions {
  /// Path of the local socket; `<path>.changes` and `<path>.streams` stand beside it. All get mode 0600: who may open them may do
  /// everything. Empty = none. At most 95 bytes.
  std::string path;
  std::optional<TcpOptions> tcp;

  Duration heartbeat = std::chrono::seconds(1);  ///< a watch that hears nothing for three of them asks
  std::size_t page_objects = 500;                ///< objects in one reply to a list, at most
  std::size_t page_bytes = 256 * 1024;           ///< and not more than about this
  std::size_t inline_bytes = 4096;               ///< larger objects are published by key and revision only
  std::size_t subscriber_messages =
      2000;  ///< waiting for one slow subscriber; what comes then is dropped and replayed later
  /// Answers kept for each peer (by key; all local ones together), at most a minute, so that a commit that is sent twice
  /// happens once. A commit that comes again after that is answered with `timeout`.
  std::size_t remembered_commits = 50'000;
  std::size_t remembered_bytes = 32 * 1024 * 1024;     ///< and not more JSON than this, for each peer
  Duration stream_grant = std::chrono::seconds(60);    ///< a granted stream must be opened within this time
  Duration stream_silence = std::chrono::seconds(10);  ///< a peer that says nothing for this long is gone
  std::string program = "ironcore";                    ///< told to clients
};

/// What happened so far. All counts grow.
struct ServerCounters {
  std::uint64_t requests = 0;
  std::uint64_t commits = 0;          ///< transactions
  std::uint64_t commit_batches = 0;   ///< calls of `LocalStore::commit_all` that they took
  std::uint64_t refused = 0;          ///< requests and subscriptions without the right
  std::uint64_t malformed = 0;        ///< messages that could not be read: dropped or answered with `invalid`
  std::uint64_t foreign_version = 0;  ///< messages of another protocol version
  std::uint64_t unknown_keys = 0;     ///< TCP connections of keys that nobody has
  std::uint64_t published = 0;        ///< changes handed to subscribers
  std::uint64_t dropped_answers = 0;  ///< the client was gone or did not read
  std::uint64_t streams_opened = 0;
};

/// One poll loop on the embedder's thread. Commits that are found waiting share one `commit_all`; long lists and replays are answered in
/// slices between them. Nothing that a peer sends blocks or ends it. Thread: `run` one, everything else any.
class Server {
 public:
  /// Binds the endpoints. A socket file of a dead server is replaced; `wrong_state` when a live server has the path or the port.
  /// `context`, `store`, `clock` and `log` must outlive the server.
  static Result<std::unique_ptr<Server>> create(Context& context, LocalStore& store, ServerOptions options,
                                                Clock& clock, Log& log);
  virtual ~Server() = default;

  /// Serves until told to stop. `internal` if ZeroMQ itself fails.
  virtual Result<void> run(std::stop_token stop) = 0;

  /// Where clients connect to: `ipc://…`; empty when there is none.
  virtual std::string ipc_endpoint() const = 0;
  virtual std::string tcp_endpoint() const = 0;

  /// From the next request on. Subscriptions over TCP end, and are asked for and judged anew; streams of keys that nobody
  /// has any more end too.
  virtual void replace_identities(Identities identities) = 0;

  virtual ServerCounters counters() const = 0;
};

}  // namespace ironcore::store::zmq
