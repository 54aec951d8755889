// SPDX-License-Identifier: Apache-2.0
// The memory body of the Store.
#include <doctest/doctest.h>

#include "local_fixture.hpp"

using namespace ironcore;

TEST_CASE("the memory store keeps the contract of the Store") {
  test::store_conformance([] { return std::make_unique<test::LocalUnderTest>(); });
}
