// SPDX-License-Identifier: Apache-2.0
// What every body of the Store must do: one suite for memory, SQLite and the remote store.
#pragma once

#include <functional>
#include <memory>

#include "ironcore/store/store.hpp"

namespace ironcore::test {

/// A store with nothing in it but the namespace `default`, and its time.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual store::Store& store() = 0;
  /// Moves the clock that the store's leases and timestamps follow.
  virtual void advance(Duration span) = 0;
};

using MakeStore = std::function<std::unique_ptr<StoreUnderTest>()>;

/// Call it inside a TEST_CASE; each rule is a SUBCASE with a store of its own. `make` must not fail.
void store_conformance(const MakeStore& make);

// Its chapters, for a body that is tried piece by piece.
void writing_conformance(store::Store& store);
void deleting_conformance(store::Store& store);
void transaction_conformance(StoreUnderTest& under_test);
void reading_conformance(store::Store& store);
void watching_conformance(store::Store& store);
void lease_conformance(StoreUnderTest& under_test);

}  // namespace ironcore::test
