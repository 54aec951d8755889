// SPDX-License-Identifier: Apache-2.0
// ClusterStores: the stores of one Ceph cluster, opened when the cluster answers, and anew with another key.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ceph-providerd/late.hpp"
#include "ceph-providerd/options.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/storage/ceph.hpp"
#include "program/daemon.hpp"

namespace ironcore::ceph_providerd {

/// Which store has which pool of which cluster, however the cluster is named in the settings. Thread: any.
class PoolOwners {
 public:
  /// `conflict` names the other store, if one has the pool or keeps its data in the same one: room would count twice. What the store had before is given up.
  Result<void> take(const std::string& cluster_id, const Named& store);

 private:
  struct Owner {
    std::string store, cluster;
  };
  std::mutex mutex_;
  std::map<std::string, Owner> pools_, data_pools_;  ///< by id of the cluster and name of the pool
};

/// Starts a thread, which connects, opens what is not open, and tries again what failed. Destroying it waits for an attempt: for as long as it takes to
/// connect, 10 s at most.
class ClusterStores {
 public:
  struct Store {
    Named settings;
    LateBlockStore* late = nullptr;
  };
  ClusterStores(Named cluster, std::vector<Store> stores, PoolOwners& owners, program::Daemon& daemon);

  /// Looks whether the file has another key. Thread: any.
  void reload();

 private:
  void run(const std::stop_token& stop);
  Result<void> open_all();
  Result<void> connect();
  Result<void> open(const Store& store);
  void tell(const std::string& what, const Error& error);

  const Named settings_;
  const std::vector<Store> stores_;
  PoolOwners& owners_;
  Clock& clock_;
  Log& log_;
  std::shared_ptr<storage::ceph::Cluster> cluster_;
  crypto::Digest key_{};        ///< of the key that `cluster_` was connected with
  std::set<std::string> open_;  ///< stores on `cluster_`
  std::map<std::string, std::string> told_;

  std::mutex mutex_;
  std::condition_variable_any asked_;
  bool is_asked_ = false;
  std::jthread thread_;  // ends first
};

}  // namespace ironcore::ceph_providerd
