// SPDX-License-Identifier: Apache-2.0
// A client's endpoint and keys, and the first word with a server: whether we were let in.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ironcore/base/zmq_context.hpp"
#include "request_channel.hpp"

namespace ironcore::wire {

/// `invalid`: the endpoint is none, or has not the keys that it needs (tcp), or has keys that it does not need (ipc).
Result<void> check_endpoint(const std::string& endpoint, const std::optional<ClientKeys>& keys);
Reach reach_of(const std::string& endpoint);
/// As `prepare_client`, with keys if there are some.
Result<void> prepare_client(Socket& socket, const std::string& endpoint, const std::optional<ClientKeys>& keys);

/// Finishes the request of a fresh channel; when it fails, with what ZeroMQ saw of the connection: `forbidden` when keys are the reason.
Result<Answer> first_answer(Channel& channel, const std::shared_ptr<Context::Native>& context,
                            const std::optional<ClientKeys>& keys, Instant deadline);

}  // namespace ironcore::wire
