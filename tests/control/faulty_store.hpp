// SPDX-License-Identifier: Apache-2.0
// A Store in front of another one, whose calls fail when a test says so.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "ironcore/store/store.hpp"

namespace ironcore::control::test {

/// Faults are asked before every call; `after` lets the call take effect and loses the answer. Thread: any.
class FaultyStore final : public store::Store {
 public:
  enum class Call { get, list, commit, watch, next, revision, acquire_lease, release_lease, leases };
  struct Fault {
    Error error;
    enum class When { before, after } when = When::before;
  };
  using Faults = std::function<std::optional<Fault>(Call, const store::Transaction*)>;

  explicit FaultyStore(store::Store& inner) : inner_(inner) {}

  void set_faults(Faults faults) {
    const std::lock_guard lock(*mutex_);
    *faults_ = std::move(faults);
  }

  Result<store::Object> get(const store::Key& key) override {
    return guarded(Call::get, nullptr, [&] { return inner_.get(key); });
  }
  Result<store::Page> list(const store::Query& query, const store::ListOptions& options) override {
    return guarded(Call::list, nullptr, [&] { return inner_.list(query, options); });
  }
  Result<store::Committed> commit(const store::Transaction& transaction) override {
    return guarded(Call::commit, &transaction, [&] { return inner_.commit(transaction); });
  }
  Result<std::unique_ptr<store::Watch>> watch(const store::Query& query, store::Revision from) override {
    return guarded(Call::watch, nullptr, [&]() -> Result<std::unique_ptr<store::Watch>> {
      IRONCORE_TRY(auto watch, inner_.watch(query, from));
      return std::unique_ptr<store::Watch>(std::make_unique<FaultyWatch>(*this, std::move(watch)));
    });
  }
  Result<store::Revision> revision() override {
    return guarded(Call::revision, nullptr, [&] { return inner_.revision(); });
  }
  Result<store::Lease> acquire_lease(const std::string& name, const std::string& holder,
                                     Duration time_to_live) override {
    return guarded(Call::acquire_lease, nullptr, [&] { return inner_.acquire_lease(name, holder, time_to_live); });
  }
  Result<void> release_lease(const std::string& name, std::uint64_t token) override {
    return guarded(Call::release_lease, nullptr, [&] { return inner_.release_lease(name, token); });
  }
  Result<std::vector<store::Lease>> leases(const std::string& prefix) override {
    return guarded(Call::leases, nullptr, [&] { return inner_.leases(prefix); });
  }

 private:
  class FaultyWatch final : public store::Watch {
   public:
    FaultyWatch(FaultyStore& store, std::unique_ptr<store::Watch> inner) : store_(store), inner_(std::move(inner)) {}
    Result<std::vector<store::Change>> next(Instant deadline, std::stop_token stop, std::size_t limit) override {
      return store_.guarded(Call::next, nullptr, [&] { return inner_->next(deadline, stop, limit); });
    }

   private:
    FaultyStore& store_;
    std::unique_ptr<store::Watch> inner_;
  };

  template <class Function>
  auto guarded(Call call, const store::Transaction* transaction, Function function) -> decltype(function()) {
    std::optional<Fault> fault;
    {
      const std::lock_guard lock(*mutex_);
      if (*faults_) fault = (*faults_)(call, transaction);
    }
    if (!fault) return function();
    if (fault->when == Fault::When::after) (void)function();
    return fault->error;
  }

  store::Store& inner_;
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
  std::unique_ptr<Faults> faults_ = std::make_unique<Faults>();
};

}  // namespace ironcore::control::test
