// SPDX-License-Identifier: Apache-2.0
// The simulated store keeps the contract of the seam, and does what its script says.
#include "ironcore/sim/block_store.hpp"

#include <map>

#include "../compute/temporary_directory.hpp"
#include "block_store_suite.hpp"
#include "ironcore/sim/virtual_clock.hpp"

namespace ironcore::storage::testing {

struct SimStores : BlockStoreFixture {
  tests::TemporaryDirectory files;
  sim::VirtualClock clock;
  sim::BlockStore sim{clock};

  BlockStore& store() override { return sim; }
  std::unique_ptr<BlockStore> another() override { return sim.another(); }
  std::filesystem::path directory() override { return files.path(); }
  BlockStoreQuirks quirks() const override { return {.max_depth = sim::BlockStore::Options{}.max_depth}; }
  std::optional<Bytes> raw(const BlockId& id) override { return sim.raw(id).value(); }
  bool exchange_headers(const BlockId& one, const BlockId& other) override {
    return sim.exchange_headers(one, other).has_value();
  }
  std::optional<std::uint64_t> occupied() override { return sim.occupied(); }
  std::optional<bool> reaches(const Access& access) override { return sim.attach(access, {}, "host-1").has_value(); }
};

}  // namespace ironcore::storage::testing

TYPE_TO_STRING(ironcore::storage::testing::SimStores);

namespace ironcore::storage::testing {
IRONCORE_BLOCK_STORE_CONFORMANCE(SimStores);

namespace {

/// Everything that a test may want to repeat: it ends with a call that must succeed in the end.
struct Scenario {
  std::string name;
  std::function<void(SimStores&)> before;
  std::function<Result<void>(SimStores&)> call;
  std::function<void(SimStores&)> after;         // it is done
  std::function<Result<void>(SimStores&)> undo;  // nobody wants it any more
};

struct Things {
  BlockId volume = new_id();
  BlockId restored = new_id();
  Uid snapshot = Uid::random();
  EncryptionKey key = EncryptionKey::random();
  RawImage image;
  Bytes bytes = noise(10'000);
};

std::vector<Scenario> scenarios(const std::shared_ptr<Things>& things) {
  const auto snapshot = [things] { return snapshot_id(things->volume, things->snapshot); };
  const auto with_base = [things](SimStores& world) { things->image = imported(world); };
  const auto with_volume = [things](SimStores& world) {
    created(world.sim, things->volume, empty_spec(4 * mib));
    put(world.sim, things->volume, 5000, things->bytes);
  };
  const auto with_snapshot = [=](SimStores& world) {
    with_volume(world);
    IRONCORE_BLOCKS_OK(world.sim.take_snapshot(things->volume, things->snapshot, {}));
  };
  const auto drop = [things](SimStores& world) { return world.sim.remove(things->volume); };
  const auto drop_restored = [things](SimStores& world) { return world.sim.remove(things->restored); };
  const auto check_bytes = [things](SimStores& world, const BlockId& id, const Key& key) {
    CHECK(get(world.sim, id, 5000, things->bytes.size(), key) == things->bytes);
  };
  return {
      {"create an empty one", [](SimStores&) {},
       [=](SimStores& world) { return without_value(create(world.sim, things->volume, empty_spec(mib))); },
       [=](SimStores& world) { CHECK(content(world.sim, things->volume) == zeros(mib)); }, drop},
      {"create one of a base image", with_base,
       [=](SimStores& world) {
         return without_value(create(world.sim, things->volume, base_spec(4 * mib, things->image.source.digest)));
       },
       [=](SimStores& world) { CHECK(content(world.sim, things->volume) == longer(things->image.bytes, 4 * mib)); },
       drop},
      {"create an encrypted one of a base image", with_base,
       [=](SimStores& world) {
         return without_value(
             create(world.sim, things->volume, base_spec(4 * mib, things->image.source.digest, things->key)));
       },
       [=](SimStores& world) {
         CHECK(content(world.sim, things->volume, things->key) == longer(things->image.bytes, 4 * mib));
       },
       drop},
      {"import", [=](SimStores& world) { things->image = small_image(world); },
       [=](SimStores& world) { return without_value(world.sim.import_base(things->image.source, {}, {})); },
       [=](SimStores& world) { CHECK(listed_base(world.sim, things->image.source.digest).has_value()); },
       [=](SimStores& world) { return world.sim.remove_base(things->image.source.digest); }},
      {"take a snapshot", with_volume,
       [=](SimStores& world) { return without_value(world.sim.take_snapshot(things->volume, things->snapshot, {})); },
       [=](SimStores& world) { check_bytes(world, snapshot(), {}); },
       [=](SimStores& world) { return world.sim.remove_snapshot(snapshot()); }},
      {"restore", with_snapshot,
       [=](SimStores& world) {
         return without_value(create(world.sim, things->restored, restore_spec(5 * mib, things->snapshot)));
       },
       [=](SimStores& world) { check_bytes(world, things->restored, {}); }, drop_restored},
      {"restore with a key", with_snapshot,
       [=](SimStores& world) {
         return without_value(
             create(world.sim, things->restored, restore_spec(5 * mib, things->snapshot, {}, things->key)));
       },
       [=](SimStores& world) { check_bytes(world, things->restored, things->key); }, drop_restored},
      {"expand",
       with_volume,
       [=](SimStores& world) { return without_value(world.sim.expand(things->volume, 8 * mib)); },
       [=](SimStores& world) {
         CHECK(world.sim.volume(things->volume)->size_bytes == 8 * mib);
         check_bytes(world, things->volume, {});
       },
       {}},
      {"remove a volume",
       with_snapshot,
       drop,
       [=](SimStores& world) {
         IRONCORE_BLOCKS_FAIL(not_found, world.sim.volume(things->volume));
         check_bytes(world, snapshot(), {});
       },
       {}},
      {"remove a snapshot",
       with_snapshot,
       [=](SimStores& world) { return world.sim.remove_snapshot(snapshot()); },
       [=](SimStores& world) {
         IRONCORE_BLOCKS_FAIL(not_found, world.sim.snapshot(snapshot()));
         check_bytes(world, things->volume, {});
       },
       {}},
      {"remove a base image",
       with_base,
       [=](SimStores& world) { return world.sim.remove_base(things->image.source.digest); },
       [=](SimStores& world) { CHECK_FALSE(listed_base(world.sim, things->image.source.digest).has_value()); },
       {}},
      {"maintain",
       [=](SimStores& world) {
         with_snapshot(world);
         IRONCORE_BLOCKS_OK(world.sim.remove(things->volume));
       },
       [=](SimStores& world) { return without_value(world.sim.maintain({})); },
       [=](SimStores& world) {
         CHECK(world.sim.maintain({})->waiting == 0);
         check_bytes(world, snapshot(), {});
       },
       {}},
  };
}

/// The next call dies when so many of its steps were done.
void cut_off(sim::BlockStore& store, std::uint32_t step) {
  store.set_faults([step, index = store.calls()](const sim::BlockStore::Call& call) -> std::optional<Error> {
    if (call.index != index || call.step != step) return {};
    return Error(ErrorCode::unavailable, "cut off, as it was told to be");
  });
}

}  // namespace

TEST_CASE("whatever is cut off between any two steps is completed by repeating it") {
  const auto count = scenarios(std::make_shared<Things>()).size();
  for (std::size_t number = 0; number < count; ++number) {
    std::uint32_t step = 0;
    for (bool is_cut = true; is_cut; ++step) {
      const auto things = std::make_shared<Things>();
      const auto scenario = scenarios(things)[number];
      CAPTURE(scenario.name);
      CAPTURE(step);
      SimStores world;
      scenario.before(world);
      cut_off(world.sim, step);
      const auto first = scenario.call(world);
      is_cut = first.has_error();
      if (is_cut) CHECK(first.error().code() == ErrorCode::unavailable);
      world.sim.set_faults({});
      world.sim.crash();
      // What is half made is in no list, but for that of unfinished things.
      const auto left = world.sim.maintain({});
      IRONCORE_BLOCKS_OK(left);
      for (const auto& half : left->unfinished) {
        CHECK(count_of(world.sim.volumes(), half) == 0);
        CHECK(count_of(world.sim.snapshots(), half) == 0);
        IRONCORE_BLOCKS_FAIL(not_found, world.sim.open(half, {}));
      }
      IRONCORE_BLOCKS_OK(scenario.call(world));
      scenario.after(world);
      IRONCORE_BLOCKS_OK(scenario.call(world));
      scenario.after(world);
      CHECK(world.sim.maintain({})->unfinished.empty());
    }
    CHECK(step >= 3);  // cut off before and after, and once not
  }
}

TEST_CASE("whatever is cut off between any two steps can be given up, and nothing stays") {
  const auto count = scenarios(std::make_shared<Things>()).size();
  for (std::size_t number = 0; number < count; ++number) {
    bool is_cut = true;
    for (std::uint32_t step = 0; is_cut; ++step) {
      for (const bool is_orphan : {false, true}) {
        const auto things = std::make_shared<Things>();
        const auto scenario = scenarios(things)[number];
        if (!scenario.undo) {
          is_cut = false;
          continue;
        }
        CAPTURE(scenario.name);
        CAPTURE(step);
        CAPTURE(is_orphan);
        SimStores world;
        scenario.before(world);
        const auto before = world.sim.occupied();
        cut_off(world.sim, step);
        is_cut = scenario.call(world).has_error();
        world.sim.set_faults({});
        if (is_orphan) {
          const auto unfinished = world.sim.maintain({})->unfinished;
          for (const auto& half : unfinished) {
            IRONCORE_BLOCKS_OK(world.sim.remove_unfinished(half));
          }
        }
        IRONCORE_BLOCKS_OK(scenario.undo(world));
        maintain(world.sim);
        CHECK(world.sim.maintain({})->unfinished.empty());
        CHECK(world.sim.occupied() == before);
      }
    }
  }
}

TEST_CASE("a half made base image is named by its digest") {
  SimStores world;
  const auto image = small_image(world);
  cut_off(world.sim, 2);
  IRONCORE_BLOCKS_FAIL(unavailable, world.sim.import_base(image.source, {}, {}));
  CHECK(world.sim.occupied() > 0);
  const auto left = world.sim.maintain({});
  IRONCORE_BLOCKS_OK(left);
  REQUIRE(left->unfinished.size() == 1);
  CHECK(left->unfinished[0].tenant.empty());
  CHECK(std::ranges::equal(std::as_bytes(std::span(left->unfinished[0].uid.bytes())),
                           image.source.digest.bytes().first(16)));
  IRONCORE_BLOCKS_OK(world.sim.remove_unfinished(left->unfinished[0]));
  CHECK(world.sim.occupied() == 0);
}

TEST_CASE("faults see each call, its name and what it is about") {
  SimStores world;
  std::map<std::string, int> seen;
  const auto id = new_id();
  world.sim.set_faults([&](const sim::BlockStore::Call& call) -> std::optional<Error> {
    if (call.id == id || call.id.uid.is_nil()) ++seen[std::string(call.name) + (call.is_done ? " done" : "")];
    if (call.name == "write" && call.step == 0) return Error(ErrorCode::timeout, "slow, as it was told to be");
    return {};
  });
  created(world.sim, id, empty_spec(mib));
  {
    const auto data = opened(world.sim, id);
    IRONCORE_BLOCKS_FAIL(timeout, write(*data, 0, as_bytes("x")));
    IRONCORE_BLOCKS_OK(flush(*data));
    CHECK(read(*data, 0, 1) == zeros(1));
  }
  IRONCORE_BLOCKS_OK(world.sim.capacity());
  CHECK(seen == std::map<std::string, int>{{"create", 4},
                                           {"create done", 1},
                                           {"open", 1},
                                           {"open done", 1},
                                           {"write", 1},
                                           {"flush", 1},
                                           {"flush done", 1},
                                           {"read", 1},
                                           {"read done", 1},
                                           {"capacity", 1},
                                           {"capacity done", 1}});
}

TEST_CASE("a full pool takes nothing more, and heals when it is given room") {
  SimStores world;
  world.sim.set_total(100 * mib);
  const auto image = imported(world);
  const auto id = new_id();
  created(world.sim, id, empty_spec(8 * mib));
  const auto bytes = noise(4 * mib);
  put(world.sim, id, 0, bytes);
  auto capacity = world.sim.capacity();
  IRONCORE_BLOCKS_OK(capacity);
  CHECK(capacity->total_bytes == 100 * mib);
  CHECK(capacity->used_bytes == world.sim.occupied());
  CHECK(capacity->available_bytes == 95 * mib - world.sim.occupied());
  CHECK_FALSE(capacity->is_near_full);

  world.sim.fill(85 * mib);
  capacity = world.sim.capacity();
  CHECK(capacity->is_near_full);
  CHECK_FALSE(capacity->is_full);
  put(world.sim, id, 4 * mib, part(bytes, 0, mib));

  world.sim.fill(95 * mib);
  capacity = world.sim.capacity();
  CHECK(capacity->is_full);
  CHECK(capacity->available_bytes == 0);
  {
    const auto data = opened(world.sim, id);
    IRONCORE_BLOCKS_OK(write(*data, 6 * mib, part(bytes, 0, 8192)));  // into its cache
    IRONCORE_BLOCKS_FAIL(exhausted, flush(*data));
    IRONCORE_BLOCKS_OK(write(*data, 0, part(bytes, 4096, 4096)));
    CHECK(read(*data, 6 * mib, 8192) == part(bytes, 0, 8192));
    // What needs no room goes on.
    created(world.sim, new_id(), empty_spec(mib));
    created(world.sim, new_id(), base_spec(4 * mib, image.source.digest));
    const auto copy = new_id();
    const Key key = EncryptionKey::random();
    IRONCORE_BLOCKS_FAIL(exhausted, create(world.sim, copy, base_spec(4 * mib, image.source.digest, key)));
    IRONCORE_BLOCKS_FAIL(not_found, world.sim.volume(copy));
    const auto other = small_image(world);
    IRONCORE_BLOCKS_FAIL(exhausted, world.sim.import_base(other.source, {}, {}));
    CHECK_FALSE(listed_base(world.sim, other.source.digest).has_value());

    world.sim.fill(0);
    IRONCORE_BLOCKS_OK(flush(*data));
    created(world.sim, copy, base_spec(4 * mib, image.source.digest, key));
    IRONCORE_BLOCKS_OK(world.sim.import_base(other.source, {}, {}));
    CHECK(world.sim.maintain({})->unfinished.empty());
  }
  CHECK(get(world.sim, id, 6 * mib, 8192) == part(bytes, 0, 8192));

  // What is to become independent of others waits for room.
  const auto saved = snapshot_id(id, taken(world.sim, id));
  IRONCORE_BLOCKS_OK(world.sim.remove(id));
  world.sim.fill(95 * mib);
  CHECK(world.sim.maintain({})->waiting == 1);
  world.sim.fill(0);
  const auto done = world.sim.maintain({});
  CHECK(done->separated == 1);
  CHECK(done->removed == 1);
  CHECK(done->waiting == 0);
  CHECK(get(world.sim, saved, 6 * mib, 8192) == part(bytes, 0, 8192));
}

TEST_CASE("a store that is gone answers `unavailable`, and is as before when it is back") {
  SimStores world;
  const auto id = new_id();
  created(world.sim, id, empty_spec(mib));
  const auto data = opened(world.sim, id);
  const auto bytes = noise(4096);
  IRONCORE_BLOCKS_OK(write(*data, 0, bytes));
  world.sim.disconnect();
  IRONCORE_BLOCKS_FAIL(unavailable, world.sim.capacity());
  IRONCORE_BLOCKS_FAIL(unavailable, world.sim.volume(id));
  IRONCORE_BLOCKS_FAIL(unavailable, world.another()->remove(id));
  IRONCORE_BLOCKS_FAIL(unavailable, create(world.sim, new_id(), empty_spec(mib)));
  IRONCORE_BLOCKS_FAIL(unavailable, flush(*data));
  Bytes buffer(1);
  IRONCORE_BLOCKS_FAIL(unavailable, read_into(*data, 0, buffer));
  world.sim.reconnect();
  IRONCORE_BLOCKS_OK(flush(*data));
  CHECK(get(*world.another(), id, 0, 4096) == bytes);
}

TEST_CASE("operations that are held are under way until they are released, in their order") {
  SimStores world;
  const auto id = new_id();
  created(world.sim, id, empty_spec(mib));
  auto data = opened(world.sim, id);
  const auto bytes = noise(100);
  Bytes before(100, std::byte{1}), after(100, std::byte{1});
  std::vector<std::string> ends;
  const auto note = [&](const char* name) {
    return [&ends, name](Result<void> result) { ends.push_back(name + std::string(result.has_value() ? "" : "!")); };
  };
  world.sim.hold_data();
  data->read(0, before, note("read before"));
  data->write(0, bytes, note("write"));
  data->write(mib, bytes, note("beyond"));
  data->read(0, after, note("read after"));
  CHECK(ends.empty());
  CHECK(before == Bytes(100, std::byte{1}));
  world.sim.release_data();
  CHECK(ends == std::vector<std::string>{"read before", "write", "beyond!", "read after"});
  CHECK(before == zeros(100));
  CHECK(after == bytes);

  world.sim.hold_data();
  ends.clear();
  data->write(5, bytes, note("late"));
  data.reset();
  CHECK(ends == std::vector<std::string>{"late"});
  world.sim.release_data();
  CHECK(get(world.sim, id, 5, 100) == bytes);
}

TEST_CASE("who dies loses what was not flushed, and nothing else") {
  SimStores world;
  const auto id = new_id();
  created(world.sim, id, empty_spec(mib));
  const auto first = noise(4096), second = noise(4096);
  const auto access = world.sim.access(id).value();
  const auto guest = world.sim.attach(access, {}, "host-7").value();
  IRONCORE_BLOCKS_OK(write(*guest, 0, first));
  IRONCORE_BLOCKS_OK(flush(*guest));
  IRONCORE_BLOCKS_OK(write(*guest, 0, second));
  CHECK(read(*guest, 0, 4096) == second);
  CHECK(get(world.sim, id, 0, 4096) == first);
  const auto clients = world.sim.clients(id);
  IRONCORE_BLOCKS_OK(clients);
  REQUIRE(clients->size() == 1);
  CHECK(clients->front().name.find("host-7") != std::string::npos);
  const auto mine = opened(world.sim, id);
  world.sim.crash();
  IRONCORE_BLOCKS_FAIL(unavailable, flush(*mine));
  CHECK(world.sim.clients(id)->size() == 1);
  world.sim.crash_all();
  CHECK(world.sim.clients(id)->empty());
  IRONCORE_BLOCKS_FAIL(unavailable, flush(*guest));
  CHECK(get(world.sim, id, 0, 4096) == first);
  IRONCORE_BLOCKS_OK(world.sim.remove(id));
}

TEST_CASE("a hypervisor reaches the volumes of the credential's tenant only") {
  SimStores world;
  const auto mine = new_id(team_a), other = new_id(team_b);
  created(world.sim, mine, empty_spec(mib));
  created(world.sim, other, empty_spec(mib));
  auto access = world.sim.access(mine).value();
  IRONCORE_BLOCKS_OK(world.sim.attach(access, {}, "host-1"));
  IRONCORE_BLOCKS_FAIL(invalid, world.sim.attach(access, EncryptionKey::random(), "host-1"));
  auto stranger = access;
  stranger.attributes = world.sim.access(other).value().attributes;
  IRONCORE_BLOCKS_FAIL(forbidden, world.sim.attach(stranger, {}, "host-1"));
  access.attributes["image"] = "volumes/absent";
  IRONCORE_BLOCKS_FAIL(not_found, world.sim.attach(access, {}, "host-1"));
  IRONCORE_BLOCKS_FAIL(not_found, world.sim.attach({}, {}, "host-1"));
}

TEST_CASE("a copy takes its time on the clock, others are told to wait, and a stop ends it") {
  sim::VirtualClock clock;
  sim::BlockStore store(clock, {.copy_per_mib = std::chrono::seconds(1)});
  SimStores world;  // for its files
  const auto image = raw_image(world, 8 * mib, {{0, mib}});
  const auto start = clock.now();
  std::stop_source stop;
  Result<BaseImage> result = Error(ErrorCode::internal, "did not run");
  {
    std::jthread importing([&] { result = store.import_base(image.source, {}, stop.get_token()); });
    REQUIRE(world.wait_until([&] { return clock.waiting() == 1; }));
    const auto other = store.another();
    IRONCORE_BLOCKS_FAIL(conflict, other->import_base(image.source, {}, {}));
    IRONCORE_BLOCKS_FAIL(conflict, other->remove_base(image.source.digest));
    const auto half = store.maintain({})->unfinished;
    REQUIRE(half.size() == 1);
    IRONCORE_BLOCKS_FAIL(wrong_state, other->remove_unfinished(half[0]));
    IRONCORE_BLOCKS_OK(create(*other, new_id(), empty_spec(mib)));
    stop.request_stop();
  }
  IRONCORE_BLOCKS_FAIL(cancelled, result);
  {
    std::atomic<bool> is_done{false};
    std::jthread importing([&] {
      result = store.import_base(image.source, {}, {});
      is_done = true;
    });
    REQUIRE(world.wait_until([&] {
      if (clock.waiting() == 1) clock.advance(std::chrono::seconds(1));
      return is_done.load();
    }));
  }
  IRONCORE_BLOCKS_OK(result);
  CHECK(clock.now() - start >= std::chrono::seconds(8));
}

TEST_CASE("maintenance does a bounded piece of work in a turn") {
  SimStores world;
  sim::BlockStore store(world.clock, {.separations_per_turn = 2});
  const auto id = new_id();
  created(store, id, empty_spec(mib));
  const auto bytes = noise(4096);
  put(store, id, 0, bytes);
  std::vector<BlockId> saved;
  for (int i = 0; i < 5; ++i) saved.push_back(snapshot_id(id, taken(store, id)));
  IRONCORE_BLOCKS_OK(store.remove(id));
  CHECK(store.occupied() == 4096);
  for (const auto separated : {2u, 2u, 1u}) {
    const auto done = store.maintain({});
    IRONCORE_BLOCKS_OK(done);
    CHECK(done->separated == separated);
    CHECK(done->waiting == (separated == 1 ? 0 : 1));
  }
  CHECK(store.occupied() == 5 * 4096);
  for (const auto& one : saved) CHECK(get(store, one, 0, 4096) == bytes);
}

}  // namespace ironcore::storage::testing
