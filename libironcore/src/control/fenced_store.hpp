// SPDX-License-Identifier: Apache-2.0
// FencedStore: a store in which only the holder of a lease can write.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "ironcore/store/store.hpp"

namespace ironcore::control {

/// Passes everything on and adds the lease to the preconditions of every commit, so that a process that was stopped for a while and does
/// not know yet that another one is active writes nothing. Without a lease commits are `forbidden`. Thread: any.
class FencedStore final : public store::Store {
 public:
  /// `inner` must outlive it.
  explicit FencedStore(store::Store& inner) : inner_(inner) {}

  void set_lease(std::optional<store::HoldsLease> lease) {
    const std::lock_guard lock(mutex_);
    lease_ = std::move(lease);
  }

  Result<store::Object> get(const store::Key& key) override { return inner_.get(key); }
  Result<store::Page> list(const store::Query& query, const store::ListOptions& options) override {
    return inner_.list(query, options);
  }
  Result<store::Committed> commit(const store::Transaction& transaction) override {
    auto fenced = transaction;
    {
      const std::lock_guard lock(mutex_);
      if (!lease_) return Error(ErrorCode::forbidden, "this process is not the active one");
      fenced.preconditions.emplace_back(*lease_);
    }
    return inner_.commit(fenced);
  }
  Result<std::unique_ptr<store::Watch>> watch(const store::Query& query, store::Revision from) override {
    return inner_.watch(query, from);
  }
  Result<store::Revision> revision() override { return inner_.revision(); }
  Result<store::Lease> acquire_lease(const std::string& name, const std::string& holder,
                                     Duration time_to_live) override {
    return inner_.acquire_lease(name, holder, time_to_live);
  }
  Result<void> release_lease(const std::string& name, std::uint64_t token) override {
    return inner_.release_lease(name, token);
  }
  Result<std::vector<store::Lease>> leases(const std::string& prefix) override { return inner_.leases(prefix); }

 private:
  store::Store& inner_;
  std::mutex mutex_;
  std::optional<store::HoldsLease> lease_;
};

}  // namespace ironcore::control
