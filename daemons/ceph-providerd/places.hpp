// SPDX-License-Identifier: Apache-2.0
// Places: the stores of blocks and of buckets that the settings name, each as soon as it can be reached.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ceph-providerd/options.hpp"
#include "ironcore/control/provider_counts.hpp"
#include "ironcore/crypto/key_file.hpp"
#include "ironcore/storage/block_store.hpp"
#include "ironcore/storage/bucket_store.hpp"
#include "program/daemon.hpp"

namespace ironcore::ceph_providerd {

/// Owns what the providers work on; outlives them. Each cluster has a thread that connects to it, and destroying this waits for it: 10 s at most.
class Places {
 public:
  /// Waits for no cluster: until one answers, what is kept there is `unavailable` and says why. `unsupported` for Ceph in a build without it.
  static Result<std::unique_ptr<Places>> open(const Options& options, program::Daemon& daemon);
  virtual ~Places() = default;

  /// Reads all files of keys again: those that wrap keys, of gateways, of clusters. What is under way ends with the key that it began with; a file that is wrong changes
  /// nothing. Thread: any.
  virtual void reload() = 0;
  /// Waits until each cluster has answered or refused once, and some seconds at most: who begins with volumes before that would say of each that its store is away.
  virtual void wait_for_clusters(std::stop_token stop) = 0;
  /// Which stores and gateways answer, and why others do not. Thread: any.
  virtual std::vector<control::ProviderCount> counts() const = 0;

  /// Class → store.
  std::map<std::string, storage::BlockStore*> volume_classes;
  std::map<std::string, storage::BucketStore*> bucket_classes;
  std::unique_ptr<crypto::KeyFile> keys;  ///< null = none
};

}  // namespace ironcore::ceph_providerd
