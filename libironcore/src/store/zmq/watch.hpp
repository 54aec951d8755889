// SPDX-License-Identifier: Apache-2.0
// What a client reads in more than one message: lists and watches.
#pragma once

#include <memory>

#include "channel.hpp"

namespace ironcore::store::zmq {

/// Page after page, the next one asked for while this one is decoded. Exact at the revision that it returns.
Result<Page> list_remote(ClientCore& core, const Query& query, const ListOptions& options);

Result<std::unique_ptr<Watch>> watch_remote(std::shared_ptr<ClientCore> core, const Query& query, Revision from);

}  // namespace ironcore::store::zmq
