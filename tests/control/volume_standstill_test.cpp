// SPDX-License-Identifier: Apache-2.0
// A store whose library hangs for ever: the provider notices, and copies that move are no standstill.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "ironcore/storage/passing_block_store.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using namespace std::chrono_literals;

namespace {

/// Passes all on, but for `create`, which takes until a stop is requested.
class SlowStore final : public storage::PassingBlockStore {
 public:
  explicit SlowStore(storage::BlockStore& inner) : inner_(inner) {}

  std::atomic<int> creating{0};
  std::atomic<bool> is_moving{false};  ///< and says so

  Result<storage::Volume> create(const storage::BlockId&, const storage::VolumeSpec&, const Progress& progress,
                                 std::stop_token stop) override {
    ++creating;
    while (!stop.stop_requested()) {
      if (is_moving) progress({});
      std::this_thread::yield();
    }
    return Error(ErrorCode::cancelled, "a stop was requested");
  }

 private:
  Result<std::shared_ptr<storage::BlockStore>> target() override {
    return std::shared_ptr<storage::BlockStore>(std::shared_ptr<void>(), &inner_);
  }
  storage::BlockStore& inner_;
};

template <class Done>
bool eventually(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!done() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  return done();
}

}  // namespace

TEST_CASE("when all workers hang the pool and the counters say so, and a copy that moves ends that") {
  sim::VirtualClock clock;
  NullLog log;
  sim::BlockStore blocks{clock};
  SlowStore slow{blocks};
  const auto store = store::memory_store(clock, log);
  const auto provider =
      VolumeProvider::create(*store, nullptr,
                             {.pool = "ceph", .provider_id = "ceph://one", .classes = {{"fast", &slow}}, .workers = 2},
                             clock, log)
          .value();
  api::VolumeClass fast;
  fast.metadata.name = "fast";
  fast.capabilities = {{"tps", Quantity(1000)}, {"iops", Quantity(10)}};
  REQUIRE(store::create(*store, fast));
  std::jthread runner([&](std::stop_token stop) { provider->run(stop); });
  const auto working = [&]() -> std::optional<api::Condition> {
    const auto pool = store::get<api::VolumePool>(*store, "", "ceph");
    if (!pool) return std::nullopt;
    const auto* condition = api::find_condition((*pool)->status.conditions, "Working");
    return condition == nullptr ? std::nullopt : std::optional(*condition);
  };
  const auto beat = [&] { clock.advance(10s); };
  REQUIRE(store::create(*store, VolumeWorld::here("one")));
  REQUIRE(eventually([&] { return slow.creating == 1; }));
  for (int i = 0; i < 120; ++i) beat();
  CHECK(provider->standstill() == Duration::zero());  // the other worker is free
  CHECK_FALSE(working());

  REQUIRE(store::create(*store, VolumeWorld::here("two")));
  REQUIRE(eventually([&] { return slow.creating == 2; }));
  clock.advance(9min);
  CHECK(provider->standstill() == 9min);
  CHECK(World::count(*provider, "volume_workers_standstill_seconds") == 540);
  clock.advance(1min);
  CHECK(eventually([&] {
    beat();
    const auto told = working();
    return told && told->status == api::ConditionStatus::false_ && told->reason == "WorkersHang";
  }));
  slow.is_moving = true;
  CHECK(eventually([&] { return provider->standstill() == Duration::zero(); }));
  CHECK(eventually([&] {
    beat();
    return working()->status == api::ConditionStatus::true_;
  }));
}
