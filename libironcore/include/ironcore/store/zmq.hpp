// SPDX-License-Identifier: Apache-2.0
// The Store of another process, reached over ZeroMQ (client side).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "ironcore/base/log.hpp"
#include "ironcore/store/store.hpp"
#include "ironcore/store/zmq_context.hpp"

namespace ironcore::store::zmq {

struct ClientOptions {
  std::string endpoint;                                ///< `ipc:///run/ironcore/ironcored.sock` or `tcp://host:port`
  std::optional<ClientKeys> keys;                      ///< required for tcp, refused for ipc
  Duration timeout = std::chrono::seconds(10);         ///< for each call; a list may take this long for each page
  Duration connect_timeout = std::chrono::seconds(5);  ///< for `connect`
  Duration safety_replay =
      std::chrono::seconds(30);      ///< a watch asks this often whether it missed something, plus up to a fifth
  std::string program = "ironcore";  ///< shown in the server's log
};

/// Opens the remote body of the Store seam. Starts no thread: each call uses a connection of its own from a pool, each watch
/// has one more for publications. A restart of the server is bridged: calls wait and are sent again until their time is up, each
/// commit takes effect at most once. `timeout` from a commit means that it may have happened (the server died before it answered).
/// Errors: `unavailable` (nobody answers there), `unsupported` (other protocol version), `forbidden` (key not known), `invalid`.
/// `context`, `clock` and `log` must outlive the store; watches may outlive it. Thread: any.
Result<std::unique_ptr<Store>> connect(Context& context, ClientOptions options, Clock& clock, Log& log);

/// What the server at the endpoint calls itself (`ServerOptions::program`). Errors as `connect`.
Result<std::string> server_program(Context& context, ClientOptions options, Clock& clock, Log& log);

}  // namespace ironcore::store::zmq
