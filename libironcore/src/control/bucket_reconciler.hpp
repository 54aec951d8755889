// SPDX-License-Identifier: Apache-2.0
// One bucket of a pool: from what is wanted to what is in its store, one step at a time.
#pragma once

#include <optional>
#include <string>

#include "bucket_pool_status.hpp"
#include "ironcore/control/bucket_provider.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "pool_provider.hpp"

namespace ironcore::control {

/// Thread: any, one at a time for each key.
class BucketReconciler {
 public:
  struct Parts {
    store::Store& store;
    Informer<api::Bucket>& buckets;
    Informer<api::BucketClass>& classes;
    EventRecorder& events;
    const BucketStoreReach& reach;
    const BucketProviderOptions& options;
    Clock& clock;
  };
  explicit BucketReconciler(Parts parts) : parts_(parts), writes_(parts.store, parts.buckets) {}

  Result<Requeue> reconcile(const std::string& key, std::stop_token stop);
  /// Writes how much the bucket holds. Thread: any.
  Result<void> tell_usage(const api::Bucket& bucket, const storage::Bucket& seen);
  /// The bucket is gone from the store of objects.
  void forget(const std::string& uid) { writes_.forget(uid); }

 private:
  /// What one turn found out.
  struct Findings {
    std::optional<storage::Bucket> seen;
    std::optional<api::BucketAccess> access;
    std::optional<api::BucketKeyRotation> rotation;
    std::optional<Trouble> trouble;
    std::optional<Trouble> kept;       ///< why it is not removed although it was deleted
    std::optional<Trouble> unlimited;  ///< why its rates are not limited
    bool are_limits_known = false;
    bool is_lost = false;  ///< it was there, and is not any more
    std::optional<Duration> look_again;
  };
  using Offer = ClassOffer<api::Bucket, BucketProviderOptions>;

  Result<void> make(const api::Bucket& bucket, Findings& findings, const std::stop_token& stop);
  Result<void> look(const api::Bucket& bucket, const Uid& id, storage::BucketStore& store, Findings& findings,
                    const std::stop_token& stop);
  Result<void> adjust(const api::Bucket& bucket, const Offer& offer, Findings& findings, const std::stop_token& stop);
  Result<void> set_limits(const Offer& offer, Findings& findings, const std::stop_token& stop);
  Result<void> configure(const api::Bucket& bucket, storage::BucketStore& store, Findings& findings,
                         const std::stop_token& stop);
  Result<void> begin_rotation(const api::Bucket& bucket, storage::BucketStore& store, Findings& findings,
                              const std::stop_token& stop);
  Result<void> publish(const api::Bucket& bucket, storage::BucketStore& store, Findings& findings,
                       const std::stop_token& stop);
  Result<void> end_rotation(const api::Bucket& bucket, storage::BucketStore& store, Findings& findings,
                            const std::stop_token& stop);
  Result<Requeue> bring_up(const api::Bucket& bucket, std::stop_token stop);
  Result<Requeue> tear_down(const api::Bucket& bucket, std::stop_token stop);
  Result<void> remove_data(const api::Bucket& bucket, Findings& findings, const std::stop_token& stop);
  Result<void> write_status(const api::Bucket& bucket, const Findings& findings);
  void tell(const api::Bucket& bucket, api::EventType type, std::string reason, std::string message,
            std::string action);

  Parts parts_;
  OwnWrites<api::Bucket> writes_;
};

/// What a bucket of the class may hold, in whole KiB as gateways count.
storage::BucketQuota quota_of(const api::BucketClass& bucket_class);

}  // namespace ironcore::control
