// SPDX-License-Identifier: Apache-2.0
// The suite of BucketStore against the simulation, and its faults.
#include "bucket_store_suite.hpp"
#include "ironcore/sim/bucket_store.hpp"

using namespace ironcore;
using namespace ironcore::storage;

namespace {

class SimFixture final : public storage::testing::BucketStoreFixture {
 public:
  explicit SimFixture(const std::string& no_limits) { store_.set_no_limits(no_limits); }
  BucketStore& store() override { return store_; }
  Result<void> put(const BucketAccess& access, const std::string& object, std::string_view content) override {
    return store_.put(access, object, content);
  }
  Result<std::string> get(const BucketAccess& access, const std::string& object) override {
    return store_.get(access, object);
  }

 private:
  sim::BucketStore store_;
};

}  // namespace

TEST_CASE("a simulated bucket store is one") {
  storage::testing::check_bucket_store([] { return std::make_unique<SimFixture>(""); });
}

TEST_CASE("a simulated bucket store that cannot limit rates is one") {
  storage::testing::check_bucket_store([] { return std::make_unique<SimFixture>("version 99 can limit rates"); });
}

TEST_CASE("a simulated removal of content can take until it is stopped") {
  sim::BucketStore store;
  const Uid id = Uid::random();
  REQUIRE(store.create(id, {.name = "abc"}).has_value());
  store.hold_removals();
  std::stop_source stop;
  std::thread remover([&] {
    const auto stopped = store.remove(id, Content::remove, stop.get_token());
    CHECK((stopped.has_error() && stopped.error().code() == ErrorCode::cancelled));
  });
  while (store.held() == 0) std::this_thread::yield();
  stop.request_stop();
  remover.join();
  CHECK(store.held() == 0);
  CHECK(store.bucket(id).has_value());
  CHECK(store.remove(id, Content::refuse, {}).has_value());
}

TEST_CASE("a call of a simulated bucket store fails when it is told to") {
  sim::BucketStore store;
  const Uid id = Uid::random();
  const BucketSpec spec{.name = "abc"};
  store.fail(1);
  CHECK(store.create(id, spec).error().code() == ErrorCode::unavailable);
  CHECK(store.bucket(id).error().code() == ErrorCode::not_found);
  store.fail(1, ErrorCode::timeout);
  CHECK(store.create(id, spec).error().code() == ErrorCode::timeout);
  CHECK(store.bucket(id).value().name == "abc");
  CHECK(store.operations() == 4);
  CHECK(store.set_limits(id, {.reads = 7}).has_value());
  CHECK(store.limits(id) == BucketLimits{.reads = 7});
}
