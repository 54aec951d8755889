// SPDX-License-Identifier: Apache-2.0
// A Ceph cluster for one test program, made by tests/support/ceph-cluster.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ironcore::tests {

/// Started by `main`, from its first thread, and gone with it: every process and file of the cluster ends when the program does,
/// however it ends.
class CephCluster {
 public:
  /// `script` is the path of tests/support/ceph-cluster, `options` are those of its verb `run`. Null if Ceph is not installed
  /// (the script has said so): the program then ends with code 77. Throws std::runtime_error if the cluster does not start.
  static std::unique_ptr<CephCluster> start(const std::string& script, const std::vector<std::string>& options = {});
  CephCluster(const CephCluster&) = delete;
  CephCluster& operator=(const CephCluster&) = delete;
  ~CephCluster();

  const std::filesystem::path& directory() const { return directory_; }
  /// A line of the script's `env`: CEPH_CONF, CEPH_MONITOR, CEPH_POOL, S3_ENDPOINT ... Throws if there is none of this name.
  const std::string& env(const std::string& name) const { return env_.at(name); }
  /// A fault or its end, and back when it is so: `run({"stop", "osd.0"})`, `run({"fill", "full"})`. Throws if it fails.
  void run(std::vector<std::string> verb_and_arguments) const;

 private:
  explicit CephCluster(std::string script);

  std::string script_;
  std::filesystem::path directory_;
  std::map<std::string, std::string> env_;
  pid_t holder_ = -1;
};

}  // namespace ironcore::tests
