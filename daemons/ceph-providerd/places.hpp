// SPDX-License-Identifier: Apache-2.0
// Places: the stores of blocks and of buckets that the settings name, opened.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ceph-providerd/options.hpp"
#include "ironcore/crypto/key_file.hpp"
#include "ironcore/storage/block_store.hpp"
#include "ironcore/storage/bucket_store.hpp"
#include "program/daemon.hpp"

namespace ironcore::ceph_providerd {

/// Owns what the providers work on; outlives them.
class Places {
 public:
  /// Waits for clusters that do not answer yet. `unsupported` for Ceph in a build without it.
  static Result<std::unique_ptr<Places>> open(const Options& options, program::Daemon& daemon);
  virtual ~Places() = default;

  /// Class → store.
  std::map<std::string, storage::BlockStore*> volume_classes;
  std::map<std::string, storage::BucketStore*> bucket_classes;
  std::unique_ptr<crypto::KeyFile> keys;  ///< null = none
};

}  // namespace ironcore::ceph_providerd
