// SPDX-License-Identifier: Apache-2.0
// BucketProvider: the buckets of one pool, from the store to BucketStores and back.
#pragma once

#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/api/storage.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/control/provider_counts.hpp"
#include "ironcore/storage/bucket_store.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

struct BucketProviderOptions {
  std::string pool;         ///< name of the BucketPool; made when absent
  std::string provider_id;  ///< `ceph://cluster-1`: identity of this place, the same after every restart
  /// Who holds the pool's lease: the same after a restart, so that buckets are taken over at once; another one for another copy of
  /// this provider, which then waits. Empty = `provider_id`.
  std::string holder;
  std::string type = "ceph";                  ///< the TYPE of `status.bucketID`
  std::map<std::string, std::string> labels;  ///< put on the pool and kept there: `topology.ironcore.dev/zone` …
  /// Bucket classes offered, and where their buckets are kept; several may name the same store. A store belongs to one pool.
  std::map<std::string, storage::BucketStore*> classes;
  std::size_t workers = 8;  ///< buckets that are worked on at the same time; removing much content keeps one busy
  Duration heartbeat_every = std::chrono::seconds(10);     ///< and how often stores are asked whether they answer
  Duration lease_time_to_live = std::chrono::seconds(40);  ///< more than twice `heartbeat_every`
  Duration look_again = std::chrono::seconds(30);          ///< at a deleted bucket that has content
  Duration maintain_every = std::chrono::minutes(1);       ///< how often usage is written, and orphans are looked for
  Duration rotate_keys_every{};                            ///< a bucket gets a new key so often; 0 = only on request
  Duration key_grace = std::chrono::hours(1);              ///< how long the old key opens the bucket beside the new one
};

/// Announces its BucketPool, renews lease `bucketpool/<pool>`, and makes the stores match the Buckets bound to the pool: adds the finalizer, makes user and bucket, sets
/// quota and limits of the class and the settings that the object states, writes endpoint and key into Secret `bucket-<uid>`, which the bucket owns, replaces keys, writes the
/// status with usage, and tells events. What is made is named by the object's uid, so every step can be repeated. A bucket that was there and is not any more is never made
/// anew. A deleted bucket that has content goes when it is empty, or when `remove_content_annotation` asks for it. What a server cannot do is told, and the rest works. Buckets of a store that does not answer wait until it does,
/// and of several stores none keeps all workers busy. While another
/// process holds the lease, nothing is touched. What lies in a store without an object is reported, never removed. Thread: any.
class BucketProvider {
 public:
  /// Everything given by reference or pointer must outlive it. `invalid` lists what is wrong with the options.
  static Result<std::unique_ptr<BucketProvider>> create(store::Store& store, BucketProviderOptions options,
                                                        Clock& clock, Log& log);
  ~BucketProvider();

  /// Works until a stop is requested, then returns. Makes threads (one for each watch, the heartbeat, the events, each store, maintenance and each worker) and
  /// joins them before it returns.
  void run(std::stop_token stop);
  /// Does what is due now; false if that was nothing. For those who own the loop: tests, simulations.
  bool step();
  /// What it counts: objects by state, failures by kind, what waits, capacity, orphans. Thread: any, also while it runs.
  std::vector<ProviderCount> counts() const;

 private:
  class Body;
  explicit BucketProvider(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace ironcore::control
