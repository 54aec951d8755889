// SPDX-License-Identifier: Apache-2.0
// One operation as a transaction of its own.
#include "ironcore/store/typed.hpp"

namespace ironcore::store {

Result<Object> commit_one(Store& store, Operation operation) {
  Transaction transaction;
  transaction.operations.push_back(std::move(operation));
  IRONCORE_TRY(auto committed, store.commit(transaction));
  if (committed.objects.size() != 1)
    return Error(ErrorCode::internal,
                 "the store answered one operation with " + std::to_string(committed.objects.size()) + " objects");
  return std::move(committed.objects.front());
}

}  // namespace ironcore::store
