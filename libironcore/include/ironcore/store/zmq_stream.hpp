// SPDX-License-Identifier: Apache-2.0
// Byte streams between a client and the worker that serves an object (a machine's console or log), relayed by the server.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "ironcore/base/log.hpp"
#include "ironcore/store/store.hpp"
#include "ironcore/store/zmq.hpp"

namespace ironcore::store::zmq {

/// Two ways, in order, with credit: a reader that does not read makes the writer wait, nothing in between grows. What is written before
/// `close` arrives before the end. Destroying it closes it. One thread may read while another one writes. Thread: any.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Bytes that arrived, at most `limit`; waits until there are some. Empty = the deadline passed or stop was requested.
  /// `gone` = the other side closed, with its reason; `unavailable` = the other side or the server was lost.
  virtual Result<std::string> read(Instant deadline, std::stop_token stop = {}, std::size_t limit = 16 * 1024) = 0;
  /// Waits for room; returns how many bytes were taken: all of them unless the deadline passed or stop was requested.
  virtual Result<std::size_t> write(std::string_view bytes, Instant deadline, std::stop_token stop = {}) = 0;
  /// Waits until what was written has been sent, as far as the other side takes it before the deadline, then ends the stream
  /// in both directions.
  virtual void close(std::string_view reason, Instant deadline) = 0;
};

/// Asks for streams. Same options as the store's client. Thread: any.
class StreamClient {
 public:
  static Result<std::unique_ptr<StreamClient>> connect(Context& context, ClientOptions options, Clock& clock, Log& log);
  virtual ~StreamClient() = default;
  /// `what` is `console` or `log`. The server looks up where the object is placed and asks that pool's worker. Errors: `not_found`,
  /// `wrong_state` (not placed yet; or the worker's own: another one holds the console), `unavailable` (no worker there now),
  /// `forbidden`, `timeout`.
  virtual Result<std::unique_ptr<Stream>> open(const Key& object, std::string_view what) = 0;
};

/// What a worker is asked for.
struct StreamRequest {
  Key object;
  std::string uid;       ///< of the object when it was looked up
  std::string what;      ///< `console`, `log`
  std::string identity;  ///< who asks; `local` for the server's own machine
};

/// Answers the streams of one pool. Keeps itself registered, also across restarts of the server.
class StreamWorker {
 public:
  /// Takes the stream, or refuses with an error that the client sees. Called inside `run`: must not block; hand the stream to
  /// a thread of your own.
  using Handler = std::function<Result<void>(const StreamRequest& request, std::unique_ptr<Stream> stream)>;

  /// `pool` is the placement that it answers for: `host-1`; `placed` the kind of the objects: machines. Connects in `run`.
  static Result<std::unique_ptr<StreamWorker>> create(Context& context, ClientOptions options, const api::Kind& placed,
                                                      std::string pool, Handler handler, Clock& clock, Log& log);
  virtual ~StreamWorker() = default;
  /// Serves until told to stop, then closes what is open. Moves the bytes of all its streams, so they stand still when it does not run.
  /// `forbidden` when the server refuses this identity. Another live worker of the same pool makes it wait. Thread: one.
  virtual Result<void> run(std::stop_token stop) = 0;
  /// Registered at a server now. Thread: any.
  virtual bool is_registered() const = 0;
};

}  // namespace ironcore::store::zmq
