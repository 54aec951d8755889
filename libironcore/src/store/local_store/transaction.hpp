// SPDX-License-Identifier: Apache-2.0
// Executing one transaction: preconditions, admission, the rules of the metadata.
#pragma once

#include "staging.hpp"

namespace ironcore::store::local_store {

/// Stages all of its changes, or none and says why; the objects to create become what is created.
/// `Committed::revision` is that of the batch so far.
Result<Committed> execute(Staging& staging, Transaction& transaction);

}  // namespace ironcore::store::local_store
