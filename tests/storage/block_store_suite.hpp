// SPDX-License-Identifier: Apache-2.0
// What every body of the BlockStore seam must do, as one suite: each body's test program instantiates it.
#pragma once

#include "block_store_access.hpp"
#include "block_store_bases.hpp"
#include "block_store_concurrency.hpp"
#include "block_store_encryption.hpp"
#include "block_store_mark.hpp"
#include "block_store_snapshots.hpp"
#include "block_store_volumes.hpp"

namespace ironcore::storage::testing {

#define IRONCORE_BLOCK_STORE_CONFORMANCE(Fixture)                   \
  TEST_CASE_TEMPLATE_INVOKE(blocks_absent, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_capacity, Fixture);              \
  TEST_CASE_TEMPLATE_INVOKE(blocks_mark, Fixture);                  \
  TEST_CASE_TEMPLATE_INVOKE(blocks_create, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_sizes, Fixture);                 \
  TEST_CASE_TEMPLATE_INVOKE(blocks_hostile_names, Fixture);         \
  TEST_CASE_TEMPLATE_INVOKE(blocks_tenants, Fixture);               \
  TEST_CASE_TEMPLATE_INVOKE(blocks_data, Fixture);                  \
  TEST_CASE_TEMPLATE_INVOKE(blocks_bounds, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_many_operations, Fixture);       \
  TEST_CASE_TEMPLATE_INVOKE(blocks_expand, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_limits, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_import, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_bad_import, Fixture);            \
  TEST_CASE_TEMPLATE_INVOKE(blocks_stopped_import, Fixture);        \
  TEST_CASE_TEMPLATE_INVOKE(blocks_two_imports, Fixture);           \
  TEST_CASE_TEMPLATE_INVOKE(blocks_clones, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_snapshot, Fixture);              \
  TEST_CASE_TEMPLATE_INVOKE(blocks_any_order, Fixture);             \
  TEST_CASE_TEMPLATE_INVOKE(blocks_generations, Fixture);           \
  TEST_CASE_TEMPLATE_INVOKE(blocks_restore_sizes, Fixture);         \
  TEST_CASE_TEMPLATE_INVOKE(blocks_snapshot_in_use, Fixture);       \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted, Fixture);             \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_small, Fixture);       \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_base, Fixture);        \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_snapshot, Fixture);    \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_restore, Fixture);     \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_generations, Fixture); \
  TEST_CASE_TEMPLATE_INVOKE(blocks_foreign_header, Fixture);        \
  TEST_CASE_TEMPLATE_INVOKE(blocks_guests_encryption, Fixture);     \
  TEST_CASE_TEMPLATE_INVOKE(blocks_stopped_copy, Fixture);          \
  TEST_CASE_TEMPLATE_INVOKE(blocks_access, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_credentials, Fixture);           \
  TEST_CASE_TEMPLATE_INVOKE(blocks_clients, Fixture);               \
  TEST_CASE_TEMPLATE_INVOKE(blocks_fence, Fixture);                 \
  TEST_CASE_TEMPLATE_INVOKE(blocks_maintain, Fixture);              \
  TEST_CASE_TEMPLATE_INVOKE(blocks_concurrent, Fixture);            \
  TEST_CASE_TEMPLATE_INVOKE(blocks_many_volumes, Fixture)

}  // namespace ironcore::storage::testing
