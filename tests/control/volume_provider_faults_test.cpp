// SPDX-License-Identifier: Apache-2.0
// A fault at every call and every write of volumes that are encrypted, handed over, fenced, wrapped again and given new credentials.
#include <doctest/doctest.h>

#include "fault_loops.hpp"
#include "host_world.hpp"
#include "ironcore/control/volume_provider.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeSnapshotState;
using api::VolumeState;

namespace {

/// An encrypted volume goes from a machine on a host that dies to another one, while keys and credentials change. What must always be so is checked on the way.
struct Life : HostWorld {
  std::unique_ptr<storage::BlockData> old;

  /// As long as it takes, and nobody is ever let in before the way is clear.
  template <class Condition>
  void run_until(const char* what, Condition is_so) {
    for (int i = 0; i < 600; ++i) {
      run_for(1s, 1s);
      check_holder();
      if (is_so()) return;
    }
    FAIL("never: " << what);
  }
  void check_holder() {
    const auto data = get_volume("data");
    if (!data || !data->status.use || !data->status.use->machine) return;
    // Whoever holds it can open it, unless somebody else has claimed it.
    if (data->spec.claim_ref && data->spec.claim_ref->uid == data->status.use->machine->uid) {
      CHECK(secret_entry("data", "encryptionKey").size() == 44);
      CHECK_FALSE(secret_entry("data", "userKey").empty());
    }
    if (data->status.use->machine->name == "db") CHECK(is_old_cut_off());
  }
  bool is_old_cut_off() {
    if (!old) return true;
    std::promise<bool> refused;
    old->flush([&](Result<void> result) { refused.set_value(result.has_error()); });
    return refused.get_future().get();
  }
  bool is_available(const std::string& name) {
    const auto found = get_volume(name);
    return found && found->status.state == VolumeState::available && found->status.access;
  }

  void begin() {
    start();
    create(VolumeWorld::generated(VolumeWorld::here("data")));
    create(VolumeWorld::snapshot_of("monday", "data"));
    create_machine("web", "host-1");
    create_machine("db", "host-2");
  }
  void attach_first() {
    run_until("available", [&] {
      return is_available("data") && get_snapshot("monday")->status.state == VolumeSnapshotState::ready;
    });
    claim("data", "web");
    run_until("held by web", [&] { return holder_of("data") == "web"; });
    put("data", "good");
    old = attach("data", "host-1").value();
    wait_for([&](auto done) { old->write(0, as_bytes("late"), done); });
  }
  void change_everything() {
    keys.add_version();
    change<api::VolumePool>("ceph", [&](api::VolumePool& p) {
      p.metadata.annotations[std::string(api::rotate_credentials_annotation)] = to_rfc3339(clock.wall());
    });
    alive.erase("host-1");
    claim("data", "db");
    run_until("held by db", [&] { return holder_of("data") == "db"; });
  }
  void end() {
    CHECK(contents("data", 4) == "good");
    old.reset();
    release("data");
    run_until("all as it shall be", [&] {
      const auto known = blocks.credentials("default").value();
      const auto* current = api::find_condition(pool()->status.conditions, "KeysCurrent");
      return holder_of("data").empty() && secret_entry("data", "encryptionKey").empty() && known.size() == 1 &&
             known[0].name == "default-2" && secret_entry("data", "userID") == "default-2" && current != nullptr &&
             current->status == ConditionStatus::true_ && current->message.find("rack-1/2") != std::string::npos;
    });
    keys.lose(1);
    create(VolumeWorld::from_snapshot("copy", "monday"));
    run_until("copied", [&] { return is_available("copy"); });
    CHECK(blocks.volumes().value().size() == 2);
    CHECK(blocks.volume(id_of(get_volume("copy"))).value().is_encrypted);
    for (const auto* name : {"data", "copy"}) remove<api::Volume>(name);
    remove<api::VolumeSnapshot>("monday");
    run_until("gone", [&] { return !get_volume("data") && !get_volume("copy") && !get_snapshot("monday"); });
    CHECK(count_secrets() == 0);
    CHECK(blocks.volumes().value().empty());
    CHECK(blocks.snapshots().value().empty());
    CHECK(blocks.maintain({}).value().unfinished.empty());
    CHECK(events("ceph", "OrphanedVolume").empty());
  }
  void live() {
    begin();
    attach_first();
    change_everything();
    end();
  }
};

}  // namespace

TEST_CASE("whatever call of the store of blocks fails while volumes are handed over, everything ends right") {
  const auto moments = at_each_moment([](int n) {
    CAPTURE(n);
    Life world;
    bool was_reached = false;
    std::string name;
    world.blocks.set_faults([&, seen = 0](const sim::BlockStore::Call& call) mutable -> std::optional<Error> {
      // What keeps on being asked is asked at every turn of the whole story.
      if (!world.is_stepping || call.name == "capacity" || call.name == "maintain" || call.name == "volumes" ||
          call.name == "snapshots" || call.name == "bases" || seen++ != n)
        return std::nullopt;
      was_reached = true;
      name = std::string(call.name) + " step " + std::to_string(call.step);
      return Error(ErrorCode::unavailable, "the answer was lost");
    });
    CAPTURE(name);
    world.live();
    return was_reached;
  });
  CHECK(moments > 50);
}

TEST_CASE("whatever call of the key server fails, everything ends right") {
  for (const auto code : {ErrorCode::unavailable, ErrorCode::forbidden}) {
    const auto moments = at_each_moment([code](int n) {
      CAPTURE(n);
      Life world;
      bool was_reached = false;
      world.keys.set_faults([&, seen = 0](std::string_view call) mutable -> std::optional<Error> {
        if (call == "versions" || seen++ != n) return std::nullopt;
        was_reached = true;
        return Error(code, "no");
      });
      world.live();
      return was_reached;
    });
    CHECK(moments > 8);
  }
}

TEST_CASE("whatever write fails or is not answered while volumes are handed over, everything ends right") {
  for (const auto when : {FaultyStore::Fault::When::before, FaultyStore::Fault::When::after})
    CHECK(at_each_failing_write<Life>(when, [](Life& world) { world.live(); }) > 30);
}

TEST_CASE("a provider that is killed at any write, and another one that takes over, end right") {
  const auto writes = at_each_deadly_write<Life>([](Life& world, bool& is_dead) {
    world.on_step = [&] {
      if (!is_dead) return;
      is_dead = false;
      world.blocks.crash();
      world.options.holder = "the-other";
      world.start();
    };
    world.live();
  });
  CHECK(writes > 30);
}

TEST_CASE(
    "two providers for one pool, both with the lease in their turn, leave one key, one holder and one credential") {
  Life world;
  world.begin();
  auto others = world.options;
  others.holder = "the-other";
  auto other = VolumeProvider::create(world.store, world.images.get(), others, world.clock, world.log).value();
  world.on_step = [&] {
    world.is_stepping = true;
    (void)other->step();
    world.is_stepping = false;
  };
  world.attach_first();
  // The first one is stopped, loses its lease, and comes back in the middle.
  const auto first = std::move(world.provider);
  world.provider = VolumeProvider::create(world.store, world.images.get(), others, world.clock, world.log).value();
  other.reset();
  world.on_step = {};
  world.run_for(2min, 1s);
  CHECK(world.real->leases("volumepool/").value().at(0).holder == "the-other");
  world.on_step = [&] { (void)first->step(); };
  world.change_everything();
  world.end();
  CHECK(world.real->leases("volumepool/").value().at(0).holder == "the-other");
}
