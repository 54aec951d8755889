// SPDX-License-Identifier: Apache-2.0
// A local store on a clock that the test can move on.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "ironcore/base/log.hpp"
#include "ironcore/store/local_store.hpp"
#include "store_conformance.hpp"

namespace ironcore::test {

/// The machine's clocks, some time ahead. Who waits is not woken by `advance`. Thread: any.
class ShiftedClock final : public Clock {
 public:
  Instant now() const override { return real_.now() + Duration(ahead_.load()); }
  WallTime wall() const override { return real_.wall() + Duration(ahead_.load()); }
  bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop,
            Instant deadline, const std::function<bool()>& ready) override {
    const Duration ahead(ahead_.load());
    return real_.wait(lock, condition, std::move(stop), deadline < Instant::min() + ahead ? deadline : deadline - ahead,
                      ready);
  }
  void advance(Duration span) { ahead_ += span.count(); }

 private:
  SystemClock real_;
  std::atomic<Duration::rep> ahead_{0};
};

class LocalUnderTest : public StoreUnderTest {
 public:
  explicit LocalUnderTest(std::unique_ptr<store::Journal> journal = store::memory_journal(),
                          store::LocalStoreOptions options = {}) {
    store_ = store::LocalStore::open(std::move(journal), options, clock_, log_).value();
  }
  store::LocalStore& store() override { return *store_; }
  void advance(Duration span) override { clock_.advance(span); }

 private:
  ShiftedClock clock_;
  NullLog log_;
  std::unique_ptr<store::LocalStore> store_;
};

}  // namespace ironcore::test
