// SPDX-License-Identifier: Apache-2.0
// Images and users of a Ceph cluster, made with its own tools, for tests of disks.
#pragma once

#include <cstdint>
#include <string>

#include "../support/ceph_cluster.hpp"
#include "ironcore/compute/machine.hpp"

namespace ironcore::tests {

/// All in one RADOS namespace. Failing commands throw. Thread: one.
class CephImages {
 public:
  explicit CephImages(const CephCluster& cluster);

  /// What a shell command prints, with the cluster's administrator as Ceph's user.
  std::string run(const std::string& command) const;

  /// A user of the namespace; its key as bytes.
  std::string make_user(const std::string& user) const;
  /// From now on nobody connects as it any more.
  void revoke(const std::string& user) const { run("ceph auth rm client." + user); }

  /// Empty, or with what a file holds. With a passphrase it is encrypted, and has room for `size_bytes` beside its header.
  compute::RbdImage create(const std::string& name, std::uint64_t size_bytes, const std::string& passphrase = {}) const;
  compute::RbdImage import(const std::string& name, const std::string& file) const;
  void enlarge(const compute::RbdImage& image, std::uint64_t size_bytes) const;
  void remove(const compute::RbdImage& image) const;
  /// Bytes from the start, as the cluster stores them.
  std::string stored(const compute::RbdImage& image, std::size_t bytes) const;

 private:
  compute::RbdImage describe(const std::string& name) const;
  std::string place(const std::string& name) const;

  const CephCluster& cluster_;
  std::string pool_;
};

}  // namespace ironcore::tests
