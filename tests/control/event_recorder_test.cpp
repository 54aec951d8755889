// SPDX-License-Identifier: Apache-2.0
// Events are counted, bounded, and never stand in anybody's way.
#include "ironcore/control/event_recorder.hpp"

#include <doctest/doctest.h>

#include "world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

TEST_CASE("an event says what happened to which object, who says so and when") {
  World world;
  const auto about = world.create(machine("web"));
  EventRecorder recorder(world.store, {.component = "tester", .host = "here"}, world.clock, world.log);
  recorder.record(reference_to(*about), api::EventType::warning, "Crashed", "the guest crashed", "Run");
  CHECK(world.events("web", "Crashed").empty());  // nobody has waited for the store
  world.settle({[&] { return recorder.step(); }});
  const auto events = world.events("web", "Crashed");
  REQUIRE(events.size() == 1);
  const auto& event = *events.front();
  CHECK(event.metadata.namespace_ == "default");
  CHECK(event.involved_object.kind == "Machine");
  CHECK(event.involved_object.api_version == "compute.ironcore.dev/v1alpha1");
  CHECK(event.involved_object.uid == about->metadata.uid);
  CHECK(event.message == "the guest crashed");
  CHECK(event.action == "Run");
  CHECK(event.type == api::EventType::warning);
  CHECK(event.source.component == "tester");
  CHECK(event.source.host == "here");
  CHECK(event.count == 1);
  CHECK(event.first_timestamp == world.clock.wall());
  CHECK(event.last_timestamp == world.clock.wall());
}

TEST_CASE(
    "the same event again raises the count and says the latest, before and after it was written, and by another "
    "recorder too") {
  World world;
  const auto about = reference_to(*world.create(machine("web")));
  EventRecorder recorder(world.store, {.component = "tester"}, world.clock, world.log);
  const auto tell = [&](EventRecorder& by, const std::string& message) {
    by.record(about, api::EventType::normal, "Said", message);
  };
  tell(recorder, "x");
  tell(recorder, "x");
  const auto first = world.clock.wall();
  world.settle({[&] { return recorder.step(); }});
  world.clock.advance(1min);
  tell(recorder, "x");
  tell(recorder, "y");
  world.settle({[&] { return recorder.step(); }});
  EventRecorder restarted(world.store, {.component = "tester"}, world.clock, world.log);
  tell(restarted, "z");
  world.settle({[&] { return restarted.step(); }});
  const auto events = world.events("web", "Said");
  REQUIRE(events.size() == 1);
  CHECK(events.front()->count == 5);
  CHECK(events.front()->message == "z");
  CHECK(events.front()->first_timestamp == first);
  CHECK(events.front()->last_timestamp == world.clock.wall());
}

TEST_CASE("events about objects without a namespace live in default") {
  World world;
  const auto pool = world.create([] {
    api::MachinePool made;
    made.metadata.name = "host-1.rack-2.example.org";
    return made;
  }());
  EventRecorder recorder(world.store, {.component = "tester"}, world.clock, world.log);
  recorder.record(reference_to(*pool), api::EventType::normal, "Said", "x");
  recorder.record(reference_to(store::Object::of(*pool)), api::EventType::normal, "Said", "x");
  world.settle({[&] { return recorder.step(); }});
  const auto events = world.events(pool->metadata.name, "Said");
  REQUIRE(events.size() == 1);
  CHECK(events.front()->count == 2);
}

TEST_CASE("when too many wait, further ones are dropped and counted") {
  World world;
  const auto about = reference_to(*world.create(machine("web")));
  EventRecorder recorder(world.store, {.component = "tester", .waiting_limit = 10}, world.clock, world.log);
  for (int i = 0; i < 25; ++i)
    CHECK(recorder.record(about, api::EventType::normal, "Said" + std::to_string(i), "x") == (i < 10));
  CHECK(recorder.record(about, api::EventType::normal, "Said3", "y"));  // that one waits already
  CHECK(recorder.dropped() == 15);
  world.settle({[&] { return recorder.step(); }});
  CHECK(store::list<api::Event>(*world.real).value().size() == 10);
  CHECK(world.events("web", "Said3").front()->message == "y");
}

TEST_CASE("events wait while the store cannot be reached, and are written once it can") {
  World world;
  const auto about = reference_to(*world.create(machine("web")));
  EventRecorder recorder(world.store, {.component = "tester"}, world.clock, world.log);
  world.store.set_faults([](FaultyStore::Call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
  });
  recorder.record(about, api::EventType::normal, "Said", "x");
  world.pass(5s, {[&] { return recorder.step(); }});
  recorder.record(about, api::EventType::normal, "Said", "x");
  world.store.set_faults({});
  world.pass(15s, {[&] { return recorder.step(); }});
  const auto events = world.events("web", "Said");
  REQUIRE(events.size() == 1);
  CHECK(events.front()->count == 2);
}

TEST_CASE("an event that cannot be written does not hold up the others") {
  World world;
  const auto about = reference_to(*world.create(machine("web")));
  auto nowhere = about;
  nowhere.namespace_ = "no-such-namespace";
  EventRecorder recorder(world.store, {.component = "tester"}, world.clock, world.log);
  recorder.record(about, api::EventType::normal, "Said", "1");
  recorder.record(nowhere, api::EventType::normal, "Said", "2");
  recorder.record(about, api::EventType::normal, "SaidToo", "3");
  world.settle({[&] { return recorder.step(); }});
  CHECK(world.events("web", "Said").size() == 1);
  CHECK(world.events("web", "SaidToo").size() == 1);
}
