// SPDX-License-Identifier: Apache-2.0
// The server's ends of its endpoints: one set of sockets on the local path, one on TCP with CURVE.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../../base/wire/local_socket.hpp"
#include "../../base/wire/socket.hpp"
#include "ironcore/store/zmq_server.hpp"

namespace ironcore::store::zmq {

struct Listener {
  bool is_local = false;
  std::string endpoint;  ///< that clients are told
  std::uint16_t changes_port = 0;
  std::uint16_t streams_port = 0;
  Socket requests;  ///< ROUTER
  Socket changes;   ///< XPUB
  Socket streams;   ///< ROUTER
  std::vector<SocketFile> files;
};

Result<std::unique_ptr<Listener>> listen_local(const Context& context, const ServerOptions& options);
Result<std::unique_ptr<Listener>> listen_tcp(const Context& context, const ServerOptions& options);

/// Ends every subscription of a TCP listener, with its connection; the new socket is bound by `bind_changes`.
Result<void> reopen_changes(Listener& listener, const std::shared_ptr<Context::Native>& context,
                            const ServerOptions& options);
/// To the same port. Fails as long as ZeroMQ has not closed the old one, in the background.
Result<void> bind_changes(Listener& listener, const TcpOptions& tcp);

}  // namespace ironcore::store::zmq
