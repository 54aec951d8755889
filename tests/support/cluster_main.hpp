// SPDX-License-Identifier: Apache-2.0
// The main of a test program that needs a Ceph cluster. For one source of the program, after DOCTEST_CONFIG_IMPLEMENT.
#pragma once

#include <doctest/doctest.h>

#include <memory>

#include "ceph_cluster.hpp"

namespace ironcore::tests {

/// Arguments: tests/support/ceph-cluster, then doctest's own. `cluster` is there while the tests run. 77 without Ceph.
inline int run_with_cluster(int argc, char** argv, std::unique_ptr<CephCluster>& cluster) {
  if (argc < 2) return 2;
  cluster = CephCluster::start(argv[1]);
  if (!cluster) return 77;
  doctest::Context context(argc, argv);
  const int result = context.run();
  cluster.reset();
  return result;
}

}  // namespace ironcore::tests
