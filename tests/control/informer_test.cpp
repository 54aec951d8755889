// SPDX-License-Identifier: Apache-2.0
// The cache follows the store through lists, watches, gaps and outages, and the handlers hear of every difference once.
#include "ironcore/control/informer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <thread>

#include "world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

namespace {

/// Writes down what a handler hears, and checks that it makes sense: no update of what is not there, no second addition.
struct Listener {
  std::vector<std::string> heard;
  std::map<std::string, Shared<api::Machine>> known;
  explicit Listener(Informer<api::Machine>& informer) {
    informer.on_change([this, &informer](const auto& before, const auto& after) {
      const auto& name = (after ? after : before)->metadata.name;
      CHECK(known.contains(name) == (before != nullptr));
      if (before && after) CHECK(before->metadata.uid == after->metadata.uid);
      if (after) {
        known[name] = after;
        // The cache has changed before the handlers are called.
        const auto cached = informer.get("default/" + name);
        REQUIRE(cached);
        CHECK(cached->metadata.resource_version >= after->metadata.resource_version);
      } else {
        known.erase(name);
      }
      heard.push_back(std::string(before ? after ? "~" : "-" : "+") + name);
    });
  }
  std::vector<std::string> take() { return std::exchange(heard, {}); }
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("what exists is told as added, then every change follows") {
  World world;
  world.create(machine("a"));
  world.create(machine("b"));
  Informer<api::Machine> informer(world.store, world.clock, world.log);
  Listener listener(informer);
  CHECK_FALSE(informer.has_synced());
  world.settle({[&] { return informer.step(); }});
  CHECK(informer.has_synced());
  CHECK(listener.take() == Names{"+a", "+b"});
  CHECK(informer.size() == 2);
  CHECK(informer.get("default/a")->metadata.name == "a");
  CHECK(informer.get("default/x") == nullptr);

  world.create(machine("c"));
  world.change<api::Machine>("a", [](api::Machine& m) { m.metadata.labels["x"] = "y"; });
  world.remove<api::Machine>("b");
  world.settle({[&] { return informer.step(); }});
  CHECK(listener.take() == Names{"+c", "~a", "-b"});
  CHECK(informer.list().size() == 2);
}

TEST_CASE("a query limits what is seen; what stops matching is told as deleted") {
  World world;
  world.create(machine("a"));
  store::Query query;
  query.fields = store::FieldSelector::parse("spec.machinePoolRef.name=p").value();
  Informer<api::Machine> informer(world.store, world.clock, world.log, query);
  Listener listener(informer);
  world.settle({[&] { return informer.step(); }});
  CHECK(listener.take().empty());
  world.change<api::Machine>("a", [](api::Machine& m) { m.spec.machine_pool_ref = api::LocalReference{.name = "p"}; });
  world.settle({[&] { return informer.step(); }});
  CHECK(listener.take() == Names{"+a"});
}

TEST_CASE("what is transformed is kept, indexed and told so, and every change is still noticed") {
  World world;
  const auto label = [](const std::string& value) {
    return [value](api::Machine& m) { m.metadata.labels["secret"] = value; };
  };
  world.create(machine("a"));
  world.change<api::Machine>("a", label("one"));
  Informer<api::Machine> informer(world.store, world.clock, world.log);
  informer.set_transform([](const api::Machine& machine) {
    auto kept = machine;
    kept.metadata.labels = {{"size", std::to_string(machine.metadata.labels.at("secret").size())}};
    return kept;
  });
  informer.add_index("size", [](const api::Machine& m) { return std::vector{m.metadata.labels.at("size")}; });
  Listener listener(informer);
  const auto settle = [&] { world.settle({[&] { return informer.step(); }}); };
  settle();
  CHECK(listener.take() == Names{"+a"});
  world.change<api::Machine>("a", label("two"));  // as long as before
  settle();
  CHECK(listener.take() == Names{"~a"});
  world.change<api::Machine>("a", label("three"));
  settle();
  CHECK(listener.take() == Names{"~a"});
  CHECK(informer.count("size", "3") == 0);
  CHECK(informer.count("size", "5") == 1);
  const std::map<std::string, std::string> only_size{{"size", "5"}};
  CHECK(informer.get("default/a")->metadata.labels == only_size);
  CHECK(listener.known.at("a")->metadata.labels == only_size);
  informer.request_refresh();
  settle();
  CHECK(listener.take().empty());
  world.remove<api::Machine>("a");
  settle();
  CHECK(listener.take() == Names{"-a"});
  CHECK(informer.count("size", "5") == 0);
}

TEST_CASE("an index follows its objects") {
  World world;
  Informer<api::Machine> informer(world.store, world.clock, world.log);
  informer.add_index("label", [](const api::Machine& m) {
    std::vector<std::string> words;
    for (const auto& [key, value] : m.metadata.labels) words.push_back(key);
    return words;
  });
  world.create(machine("a"));
  world.change<api::Machine>("a", [](api::Machine& m) { m.metadata.labels = {{"x", ""}, {"y", ""}}; });
  const auto catch_up = [&] { world.settle({[&] { return informer.step(); }}); };
  catch_up();
  CHECK(informer.count("label", "x") == 1);
  CHECK(informer.by_index("label", "y").front()->metadata.name == "a");
  world.change<api::Machine>("a", [](api::Machine& m) { m.metadata.labels = {{"y", ""}, {"z", ""}}; });
  catch_up();
  CHECK(informer.count("label", "x") == 0);
  CHECK(informer.count("label", "y") == 1);
  CHECK(informer.count("label", "z") == 1);
  world.remove<api::Machine>("a");
  catch_up();
  CHECK(informer.by_index("label", "y").empty());
}

TEST_CASE("when the history is gone it lists again, and the handlers hear only what is different") {
  World world;
  for (const auto* name : {"same", "changed", "deleted", "replaced"}) world.create(machine(name));
  Informer<api::Machine> informer(world.store, world.clock, world.log);
  Listener listener(informer);
  world.settle({[&] { return informer.step(); }});
  listener.take();

  world.change<api::Machine>("changed", [](api::Machine& m) { m.metadata.labels["x"] = "y"; });
  world.remove<api::Machine>("deleted");
  world.remove<api::Machine>("replaced");
  world.create(machine("replaced"));
  world.create(machine("new"));
  int gone = 1;
  world.store.set_faults([&](FaultyStore::Call call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    if (call == FaultyStore::Call::next && gone-- > 0)
      return FaultyStore::Fault{Error(ErrorCode::gone, "too long ago")};
    return std::nullopt;
  });
  world.settle({[&] { return informer.step(); }});
  auto heard = listener.take();
  std::sort(heard.begin(), heard.end());
  CHECK(heard == Names{"+new", "+replaced", "-deleted", "-replaced", "~changed"});
}

TEST_CASE("while the store cannot be reached the cache stays, and afterwards nothing is missing") {
  World world;
  world.create(machine("a"));
  Informer<api::Machine> informer(world.store, world.clock, world.log);
  Listener listener(informer);
  bool is_away = true;
  int calls = 0;
  world.store.set_faults([&](FaultyStore::Call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    ++calls;
    if (is_away) return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
    return std::nullopt;
  });
  world.pass(1min, {[&] { return informer.step(); }});
  CHECK_FALSE(informer.has_synced());
  CHECK(calls < 30);  // it waits longer and longer
  is_away = false;
  world.pass(10s, {[&] { return informer.step(); }});
  CHECK(listener.take() == Names{"+a"});

  is_away = true;
  world.create(machine("b"));
  world.pass(10s, {[&] { return informer.step(); }});
  CHECK(informer.has_synced());
  CHECK(informer.size() == 1);
  is_away = false;
  world.pass(10s, {[&] { return informer.step(); }});
  CHECK(listener.take() == Names{"+b"});
}

TEST_CASE("a refresh tells nothing new when nothing is new, and says when it is done") {
  World world;
  world.create(machine("a"));
  Informer<api::Machine> informer(world.store, world.clock, world.log);
  Listener listener(informer);
  world.settle({[&] { return informer.step(); }});
  listener.take();
  const auto token = informer.request_refresh();
  CHECK_FALSE(informer.is_refreshed(token));
  world.settle({[&] { return informer.step(); }});
  CHECK(informer.is_refreshed(token));
  CHECK(listener.take().empty());
}

TEST_CASE("running, it follows on its own thread, wakes who waits for it, and ends when told to") {
  SystemClock clock;
  NullLog log;
  const auto store = store::memory_store(clock, log);
  Informer<api::Machine> informer(*store, clock, log);
  std::atomic<int> heard{0};
  informer.on_change([&](const auto&, const auto&) { ++heard; });
  std::jthread runner([&](std::stop_token stop) { informer.run(stop); });
  CHECK(informer.wait_until_synced({}));
  REQUIRE(store::create(*store, machine("a")));
  while (heard < 1) std::this_thread::yield();
  const auto token = informer.request_refresh();
  CHECK(informer.wait_until_refreshed(token, {}));
  REQUIRE(store::create(*store, machine("b")));
  while (heard < 2) std::this_thread::yield();
  CHECK(informer.size() == 2);
}

TEST_CASE("after any history with faults the cache equals the store") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    World world;
    Informer<api::Machine> informer(world.store, world.clock, world.log);
    Listener listener(informer);
    std::mt19937 random(seed);
    const auto pick = [&](unsigned bound) { return random() % bound; };
    bool has_faults = true;
    world.store.set_faults([&](FaultyStore::Call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
      if (!has_faults) return std::nullopt;
      switch (pick(10)) {
        case 0:
          return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
        case 1:
          return FaultyStore::Fault{Error(ErrorCode::gone, "too long ago")};
        default:
          return std::nullopt;
      }
    });
    for (int i = 0; i < 400; ++i) {
      const auto name = "m" + std::to_string(pick(8));
      if (!world.get_machine(name)) {
        world.create(machine(name));
      } else if (pick(2) == 0) {
        world.remove<api::Machine>(name);
      } else {
        world.change<api::Machine>(name, [&](api::Machine& m) { m.metadata.labels["n"] = std::to_string(i); });
      }
      if (pick(3) == 0) informer.step();
      if (pick(20) == 0) informer.request_refresh();
      if (pick(5) == 0) world.clock.advance(100ms);
    }
    has_faults = false;
    world.pass(1min, {[&] { return informer.step(); }});
    const auto stored = store::list<api::Machine>(*world.real).value();
    CHECK(informer.size() == stored.size());
    CHECK(listener.known.size() == stored.size());
    for (const auto& object : stored) {
      CHECK(*informer.get("default/" + object->metadata.name) == *object);
      CHECK(*listener.known.at(object->metadata.name) == *object);
    }
  }
}
