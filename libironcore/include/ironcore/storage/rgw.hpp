// SPDX-License-Identifier: Apache-2.0
// The BucketStore seam on RADOS gateways (Ceph's S3), by their Admin Ops and S3.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/storage/bucket_store.hpp"

namespace ironcore::storage::rgw {

struct Options {
  /// `http://host:port` or `https://host:port`; it is handed to users as it is. With https the gateway's certificate must be of this host.
  std::string endpoint;
  /// Of the store's own user: `radosgw-admin user create --uid=ironcore --display-name=ironcore --caps='users=*;buckets=*'`, from Ceph 17 on also `ratelimit=*`. With
  /// `--admin` it also gets at the settings of buckets whose policy shuts out their own keys.
  std::string key_id;
  std::string secret;
  std::filesystem::path ca_file;     ///< PEM: who signs the gateway's certificate; empty = whom this machine trusts
  std::string region = "us-east-1";  ///< that requests are signed for
  std::string user_prefix = "ironcore-";  ///< users are named `<prefix><uid>`; another one is another store
  Duration connect_patience = std::chrono::seconds(5);
  Duration patience = std::chrono::seconds(30);           ///< for an answer
  Duration removal_patience = std::chrono::minutes(10);   ///< for the answer to removing a bucket with content
  unsigned retries = 3;                                   ///< of a call that met a gateway that is down, or overloaded
  Duration first_pause = std::chrono::milliseconds(100);  ///< before a retry; then always twice as long
};

/// Connects when it is first called, keeps a few connections, and starts no thread: each call works on the caller's. `invalid` for options that make no sense.
/// A host that is a name is asked of the system's resolver, whose own time-outs come first. `clock` must live longer, and be right: signatures
/// are good for minutes. To list the buckets takes a question for each. A quota of bytes is rounded up to KiB, and every object counts as whole blocks of 4 KiB. Limits need Ceph 17.2 or later, and count for each
/// gateway by itself, over a minute.
Result<std::unique_ptr<BucketStore>> open(Options options, Clock& clock);

}  // namespace ironcore::storage::rgw
