// SPDX-License-Identifier: Apache-2.0
// The context and the keys of ZeroMQ, as the store's adapter names them.
#pragma once

#include "ironcore/base/zmq_context.hpp"

namespace ironcore::store::zmq {
using namespace ironcore::wire;
}
