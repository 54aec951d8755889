// SPDX-License-Identifier: Apache-2.0
// ClusterStores: the stores of one Ceph cluster, opened when the cluster answers, and anew with another key or when a new connection gets further.
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

/// Starts a thread, which connects, opens what is not open, and tries again what failed. librados does not come back by itself to a cluster that has refused
/// it for a while (its key was revoked, or it was fenced): stores that fail get a new connection if that one reaches them, and none while the key is refused.
/// Destroying it waits for an attempt: for as long as it takes to connect, most often 10 s at most.
class ClusterStores {
 public:
  struct Store {
    Named settings;
    LateBlockStore* late = nullptr;
  };
  ClusterStores(Named cluster, std::vector<Store> stores, PoolOwners& owners, program::Daemon& daemon);

  /// Looks whether the file has another key. Thread: any.
  void reload();
  /// Until all stores have been opened, or the first attempt has failed. Thread: any.
  void wait_until_tried(Instant deadline, std::stop_token stop);

 private:
  void run(const std::stop_token& stop);
  Result<void> open_all();
  Result<void> connect();
  Result<void> connect(const storage::ceph::ClusterOptions& options);
  bool may_be_cut_off() const;
  /// Whether a store that does not answer does so to a new connection; an error if there is none.
  Result<bool> is_better_connected(storage::ceph::ClusterOptions options) const;
  void close_all(const Error& why);
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
  bool is_tried_ = false;
  std::jthread thread_;  // ends first
};

}  // namespace ironcore::ceph_providerd
