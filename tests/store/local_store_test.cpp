// SPDX-License-Identifier: Apache-2.0
// The engine of the local bodies: group commit, failing journals, publication, retention, loading.
#include "ironcore/store/local_store.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "ironcore/sim/virtual_clock.hpp"
#include "local_fixture.hpp"
#include "objects.hpp"
#include "recording_journal.hpp"

using namespace ironcore;
using namespace ironcore::test;
using namespace std::chrono_literals;
using store::LocalStore;
using store::LocalStoreOptions;

namespace {

struct Fixture {
  explicit Fixture(LocalStoreOptions wanted = {}) : options(wanted) { open(); }
  void open() {
    store.reset();
    auto opened = LocalStore::open(std::make_unique<RecordingJournal>(recording), options, clock, log);
    if (!opened) FAIL(opened.error().message());
    store = *std::move(opened);
  }

  std::shared_ptr<Recording> recording = std::make_shared<Recording>();
  LocalStoreOptions options;
  sim::VirtualClock clock;
  NullLog log;
  std::unique_ptr<LocalStore> store;
};

api::Event event(std::string name) {
  api::Event result;
  result.metadata.name = std::move(name);
  result.metadata.namespace_ = "default";
  result.involved_object.kind = "Machine";
  result.involved_object.name = "a";
  result.reason = "Tested";
  return result;
}

Transaction creation(std::string name) {
  return {.operations = {make(machine(std::move(name)))}, .preconditions = {}};
}

void relabel(store::Store& store, const std::string& name, int value) {
  must(store, Patch{key<api::Machine>("default", name),
                    R"({"metadata":{"labels":{"n":")" + std::to_string(value) + R"("}}})"});
}

}  // namespace

TEST_CASE("commits that wait for the journal share the next append") {
  Fixture fixture;
  const auto before = fixture.recording->append_count();
  fixture.recording->hold();
  std::vector<std::jthread> writers;
  std::atomic<int> acknowledged{0};
  const auto start = [&](int number) {
    writers.emplace_back([&, number] {
      if (fixture.store->commit(creation("m-" + std::to_string(number)))) ++acknowledged;
    });
  };
  start(0);
  fixture.recording->wait_until_held();
  for (int i = 1; i < 20; ++i) start(i);
  // The first append is still under way, so the others queue up behind it, however long they take to get
  // there.
  CHECK(fixture.store->list(query<api::Machine>()).value().objects.empty());
  CHECK(acknowledged == 0);
  fixture.recording->release();
  writers.clear();
  CHECK(acknowledged == 20);
  CHECK(fixture.store->list(query<api::Machine>()).value().objects.size() == 20);
  CHECK(fixture.recording->append_count() - before <= 20);
}

TEST_CASE("independent transactions share one append, and fail one by one") {
  Fixture fixture;
  must(*fixture.store, make(machine("taken")));
  const auto before = fixture.recording->append_count();
  const std::vector<Transaction> transactions{creation("a"), creation("taken"), creation("a"), creation("b"), {}};
  const auto results = fixture.store->commit_all(transactions);
  REQUIRE(results.size() == 5);
  CHECK(results[0].has_value());
  CHECK(code_of(results[1]) == ErrorCode::already_exists);
  CHECK_MESSAGE(code_of(results[2]) == ErrorCode::already_exists, "it sees the one before");
  CHECK(results[3].has_value());
  CHECK(results[4].has_value());
  CHECK(results[3]->revision.value == results[0]->revision.value + 1);
  CHECK(fixture.recording->append_count() == before + 1);
  CHECK(fixture.recording->appends.back() == 2);
  CHECK(fixture.store->commit_all({}).empty());
}

TEST_CASE("nobody sees what is not durable yet") {
  Fixture fixture;
  must(*fixture.store, make(machine("old")));
  auto watch = fixture.store->watch(query<api::Machine>(), fixture.store->revision().value()).value();
  const auto revision = fixture.store->revision().value();
  fixture.recording->hold();
  std::jthread writer([&] {
    (void)fixture.store->commit(
        {.operations = {make(machine("new")), Delete{key<api::Machine>("default", "old")}}, .preconditions = {}});
  });
  fixture.recording->wait_until_held();
  CHECK(fixture.store->revision().value() == revision);
  CHECK_FALSE(exists<api::Machine>(*fixture.store, "new"));
  CHECK(exists<api::Machine>(*fixture.store, "old"));
  CHECK(names_of(fixture.store->list(query<api::Machine>()).value().objects) == Texts{"old"});
  CHECK(watch->next(fixture.clock.now()).value().empty());
  fixture.recording->release();
  writer.join();
  CHECK(texts_of(watch->next(fixture.clock.now()).value()) == Texts{"added new", "deleted old"});
}

TEST_CASE("a journal that fails makes the whole batch fail and changes nothing") {
  Fixture fixture;
  const auto owner = must(*fixture.store, make(machine("owner")));
  auto owned = machine("owned");
  owned.metadata.owner_references = {owned_by(owner)};
  must(*fixture.store, make(owned));
  const auto revision = fixture.store->revision().value();
  auto watch = fixture.store->watch(query<api::Machine>(), revision).value();

  fixture.recording->failure = Error(ErrorCode::exhausted, "the disk is full");
  const std::vector<Transaction> transactions{
      creation("a"),
      creation("a"),
      {.operations = {Delete{key<api::Machine>("default", "owner")}}, .preconditions = {}},
      {.operations = {make(namespace_object("space")), make(machine("b", "space"))}, .preconditions = {}}};
  for (const auto& result : fixture.store->commit_all(transactions)) {
    CHECK(code_of(result) == ErrorCode::exhausted);
    CHECK(result.error().message() == "the disk is full");
  }
  CHECK(fixture.store->revision().value() == revision);
  CHECK(names_of(fixture.store->list(query<api::Machine>()).value().objects) == Texts{"owned", "owner"});
  CHECK(watch->next(fixture.clock.now()).value().empty());

  // It goes on as if nothing had happened, with the next revision.
  CHECK(code_of(*fixture.store, make(machine("b", "space"))) == ErrorCode::not_found);
  const auto created = must(*fixture.store, make(machine("a")));
  CHECK(created.metadata().resource_version.value == revision.value + 1);
  must(*fixture.store, Delete{key<api::Machine>("default", "owner")});
  CHECK_FALSE(exists<api::Machine>(*fixture.store, "owned"));
  CHECK(texts_of(watch->next(fixture.clock.now()).value()) == Texts{"added a", "deleted owner", "deleted owned"});
}

TEST_CASE("a lease that could not be written is not held") {
  Fixture fixture;
  fixture.recording->failure = Error(ErrorCode::exhausted, "the disk is full");
  CHECK(code_of(fixture.store->acquire_lease("scheduler", "one", 10s)) == ErrorCode::exhausted);
  CHECK(fixture.store->leases("").value().empty());
  const auto lease = fixture.store->acquire_lease("scheduler", "two", 10s).value();
  fixture.recording->failure = Error(ErrorCode::exhausted, "the disk is full");
  CHECK(code_of(fixture.store->release_lease("scheduler", lease.token)) == ErrorCode::exhausted);
  CHECK(fixture.store->leases("").value().at(0).is_held);
  CHECK(fixture.store->commit({.operations = {}, .preconditions = {store::HoldsLease{"scheduler", lease.token}}})
            .has_value());
}

TEST_CASE("what changes nothing is not written") {
  Fixture fixture;
  const auto created = must(*fixture.store, make(machine("a")));
  const auto lease = fixture.store->acquire_lease("scheduler", "one", 10s).value();
  const auto before = fixture.recording->append_count();
  must(*fixture.store, Patch{key<api::Machine>("default", "a"), "{}"});
  must(*fixture.store, Update{created});
  CHECK(fixture.store->acquire_lease("scheduler", "one", 10s).value().token == lease.token);
  CHECK(code_of(*fixture.store, make(machine("a"))) == ErrorCode::already_exists);
  CHECK(fixture.recording->append_count() == before);
}

TEST_CASE("a watch outlives its store and says so") {
  Fixture fixture;
  must(*fixture.store, make(machine("a")));
  auto idle = fixture.store->watch(query<api::Machine>(), store::Revision{}).value();
  auto waiting = fixture.store->watch(query<api::Machine>(), fixture.store->revision().value()).value();
  Result<std::vector<Change>> result = std::vector<Change>{};
  std::jthread reader([&] { result = waiting->next(Instant::max()); });
  while (fixture.clock.waiting() == 0) std::this_thread::yield();
  fixture.store.reset();
  reader.join();
  CHECK(code_of(result) == ErrorCode::cancelled);
  CHECK(code_of(idle->next(Instant::max())) == ErrorCode::cancelled);
  CHECK(code_of(waiting->next(Instant::max())) == ErrorCode::cancelled);
}

TEST_CASE("history is kept up to a number of changes") {
  Fixture fixture({.history_changes = 10});
  must(*fixture.store, make(machine("a")));
  auto slow = fixture.store->watch(query<api::Machine>(), fixture.store->revision().value()).value();
  for (int i = 0; i < 30; ++i) relabel(*fixture.store, "a", i);
  const auto now = fixture.store->revision().value();
  CHECK(code_of(slow->next(fixture.clock.now())) == ErrorCode::gone);
  CHECK(code_of(fixture.store->watch(query<api::Machine>(), {now.value - 11})) == ErrorCode::gone);
  CHECK(code_of(fixture.store->changes({now.value - 11}, 100)) == ErrorCode::gone);
  auto fast = fixture.store->watch(query<api::Machine>(), {now.value - 10}).value();
  CHECK(fast->next(fixture.clock.now()).value().size() == 10);
  CHECK(fixture.store->changes({now.value - 10}, 100).value().size() == 10);
}

/// Counts how often somebody who waits looks whether there is something.
class LookingClock final : public Clock {
 public:
  Instant now() const override { return real_.now(); }
  WallTime wall() const override { return real_.wall(); }
  bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop,
            Instant deadline, const std::function<bool()>& ready) override {
    // Whoever sees this waits for the lock, and gets it when this one is asleep.
    const auto look = [&] {
      ++looks;
      return ready();
    };
    return real_.wait(lock, condition, std::move(stop), deadline, look);
  }
  std::atomic<int> looks{0};

 private:
  SystemClock real_;
};

TEST_CASE("changes of other kinds pass by a watch that sleeps, and it is not gone when they are") {
  LookingClock clock;
  NullLog log;
  const auto store = LocalStore::open(store::memory_journal(), {.history_changes = 5}, clock, log).value();
  const auto watch = store->watch({.kind = &api::kind_of<api::Machine>()}, store->revision().value()).value();
  std::vector<Change> seen;
  const auto next = [&] {
    auto changes = watch->next(clock.now() + 60s, {}, 10);
    if (changes) seen.insert(seen.end(), changes->begin(), changes->end());
    return changes.has_value();
  };
  const auto while_it_sleeps = [&](const std::function<void()>& act) {
    clock.looks = 0;
    std::atomic<bool> is_good = false;
    std::jthread sleeper([&] { is_good = next(); });
    while (clock.looks == 0) std::this_thread::yield();
    act();
    sleeper.join();
    CHECK(is_good);
  };
  // It looks once or twice before it sleeps, and once when it is due.
  while_it_sleeps([&] {
    for (int i = 0; i < 100; ++i) must(*store, make(event("e" + std::to_string(i))));
    must(*store, make(machine("a")));
  });
  CHECK(clock.looks <= 4);
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].object->metadata().name == "a");
  // Far behind what it was told, it is told again.
  while_it_sleeps([&] {
    for (int i = 100; i < 1'100; ++i) must(*store, make(event("e" + std::to_string(i))));
  });
  CHECK(clock.looks <= 4);
  REQUIRE(seen.size() == 2);
  CHECK(seen[1].type == Change::Type::bookmark);
  CHECK(seen[1].revision.value == seen[0].revision.value + 1'000);
}

TEST_CASE("history is kept up to a number of bytes") {
  Fixture fixture({.history_bytes = 1'000'000});
  const auto large = [](std::string name) {
    auto result = machine(std::move(name));
    result.unknown.set("future", '"' + std::string(100'000, 'x') + '"');
    return result;
  };
  const auto check_kept = [&](std::uint64_t changes, std::uint64_t gone) {
    const auto now = fixture.store->revision().value();
    CHECK(fixture.store->changes({now.value - changes}, 1000).has_value());
    CHECK(code_of(fixture.store->changes({now.value - gone}, 1000)) == ErrorCode::gone);
  };
  SUBCASE("of what changes again and again") {
    must(*fixture.store, make(large("a")));
    for (int i = 0; i < 50; ++i) relabel(*fixture.store, "a", i);
    check_kept(8, 11);
    fixture.open();
    check_kept(8, 11);
  }
  SUBCASE("of what was large before") {
    for (int i = 0; i < 50; ++i) must(*fixture.store, make(large("m-" + std::to_string(i))));
    CHECK_MESSAGE(fixture.store->changes({fixture.store->revision()->value - 50}, 1000).has_value(),
                  "what exists is no history");
    for (int i = 0; i < 50; ++i)
      must(*fixture.store, Patch{key<api::Machine>("default", "m-" + std::to_string(i)), R"({"future":null})"});
    check_kept(8, 11);
    fixture.open();
    check_kept(8, 11);
  }
  SUBCASE("of what is gone") {
    for (int i = 0; i < 50; ++i) must(*fixture.store, make(large("m-" + std::to_string(i))));
    for (int i = 0; i < 50; ++i) must(*fixture.store, Delete{key<api::Machine>("default", "m-" + std::to_string(i))});
    check_kept(8, 11);
  }
  SUBCASE("but the newest change in any case") {
    auto largest = machine("a");
    largest.unknown.set("future", '"' + std::string(1'400'000, 'x') + '"');
    must(*fixture.store, make(largest));
    relabel(*fixture.store, "a", 1);
    relabel(*fixture.store, "a", 2);
    check_kept(1, 2);
  }
  REQUIRE(fixture.store->collect().has_value());
}

TEST_CASE("however much a namespace holds, it can be deleted") {
  ShiftedClock clock;
  NullLog log;
  const auto store = store::memory_store(clock, log);
  must(*store, make(namespace_object("large")));
  for (int i = 0; i < 70; ++i) {
    auto held = machine("m-" + std::to_string(i), "large");
    held.metadata.finalizers = {"test.dev/one"};
    held.unknown.set("future", '"' + std::string(1'000'000, 'x') + '"');
    must(*store, make(held));
  }
  // What the delete takes along leaves the rest of its transaction all the room there is.
  REQUIRE(
      store->commit({.operations = {Delete{key<api::Namespace>("", "large")}, make(machine("a"))}, .preconditions = {}})
          .has_value());
  for (const auto& object : store->list(query<api::Machine>({}, {}, "large")).value().objects)
    REQUIRE(object.metadata().deletion_timestamp.has_value());
  for (int i = 0; i < 70; ++i)
    must(*store, Patch{key<api::Machine>("large", "m-" + std::to_string(i)), R"({"metadata":{"finalizers":null}})"});
  CHECK_FALSE(exists<api::Namespace>(*store, "large"));
}

TEST_CASE("the largest object can be marked as being deleted, and loaded again") {
  Fixture fixture;
  auto held = machine("a");
  held.metadata.finalizers = {"test.dev/one"};
  held.unknown.set("future", "\"\"");
  const auto frame = must(*fixture.store, make(held)).json().size();
  held.metadata.name = "b";
  held.unknown.set("future", '"' + std::string(store::max_object_bytes - 256 - frame, 'x') + '"');
  CHECK(must(*fixture.store, make(held)).json().size() == store::max_object_bytes - 256);
  auto larger = held;
  larger.metadata.name = "c";
  larger.unknown.set("future", '"' + std::string(store::max_object_bytes - 255 - frame, 'x') + '"');
  CHECK(code_of(*fixture.store, make(larger)) == ErrorCode::exhausted);
  must(*fixture.store, Delete{key<api::Machine>("default", "b")});
  fixture.open();
  CHECK(fixture.store->get(key<api::Machine>("default", "b")).value().metadata().deletion_timestamp.has_value());
  CHECK_MESSAGE(code_of(*fixture.store, Patch{key<api::Machine>("default", "b"),
                                              R"({"metadata":{"finalizers":null},"more":")" + std::string(1000, 'x') +
                                                  "\"}"}) == ErrorCode::exhausted,
                "nor can its last state grow beyond what can be loaded");
  must(*fixture.store, Patch{key<api::Machine>("default", "b"), R"({"metadata":{"finalizers":null}})"});
  fixture.open();
  CHECK_FALSE(exists<api::Machine>(*fixture.store, "b"));
}

TEST_CASE("history is kept for a time, and what nobody needs is forgotten by the journal") {
  Fixture fixture({.history_age = 1h});
  must(*fixture.store, make(machine("a")));
  must(*fixture.store, make(machine("gone")));
  must(*fixture.store, Delete{key<api::Machine>("default", "gone")});
  for (int i = 0; i < 5; ++i) relabel(*fixture.store, "a", i);
  const auto lease = fixture.store->acquire_lease("scheduler", "one", 10s).value();
  REQUIRE(fixture.store->release_lease("scheduler", lease.token).has_value());
  fixture.clock.advance(30min);
  const auto middle = fixture.store->revision().value();
  for (int i = 5; i < 8; ++i) relabel(*fixture.store, "a", i);
  const auto end = fixture.store->revision().value();
  const auto records = fixture.recording->records.size();

  REQUIRE(fixture.store->collect().has_value());
  CHECK(fixture.recording->records.size() == records);
  fixture.clock.advance(31min);
  REQUIRE(fixture.store->collect().has_value());
  CHECK(code_of(fixture.store->watch(query<api::Machine>(), {middle.value - 1})) == ErrorCode::gone);
  auto watch = fixture.store->watch(query<api::Machine>(), middle).value();
  CHECK(texts_of(watch->next(fixture.clock.now()).value()) == Texts{"modified a", "modified a", "modified a"});
  // The namespace, the last three states of `a`, the one before them, and the lease.
  CHECK(fixture.recording->records.size() == 6);

  const auto before = fixture.store->list(query<api::Machine>()).value().objects;
  fixture.open();
  CHECK(fixture.store->list(query<api::Machine>()).value().objects == before);
  CHECK(fixture.store->revision().value() == end);
  // The lease's last change is there in any case, so that history now begins with it.
  CHECK(code_of(fixture.store->watch(query<api::Machine>(), {middle.value - 2})) == ErrorCode::gone);
  watch = fixture.store->watch(query<api::Machine>(), middle).value();
  CHECK(texts_of(watch->next(fixture.clock.now()).value()) == Texts{"modified a", "modified a", "modified a"});

  fixture.clock.advance(2h);
  REQUIRE(fixture.store->collect().has_value());
  CHECK(fixture.recording->records.size() == 3);
  fixture.open();
  CHECK(fixture.store->list(query<api::Machine>()).value().objects == before);
  CHECK_FALSE(exists<api::Machine>(*fixture.store, "gone"));
  CHECK(fixture.store->revision().value() == end);
  CHECK(fixture.store->watch(query<api::Machine>(), end).has_value());
  CHECK(must(*fixture.store, make(machine("b"))).metadata().resource_version > end);
}

TEST_CASE("a journal that cannot forget is asked again later") {
  Fixture fixture({.history_age = 1h});
  must(*fixture.store, make(machine("a")));
  for (int i = 0; i < 5; ++i) relabel(*fixture.store, "a", i);
  fixture.clock.advance(2h);
  fixture.recording->forget_failure = Error(ErrorCode::unavailable, "not now");
  CHECK(code_of(fixture.store->collect()) == ErrorCode::unavailable);
  CHECK(fixture.recording->forgotten == 0);
  REQUIRE(fixture.store->collect().has_value());
  CHECK(fixture.recording->forgotten == 5);
}

TEST_CASE("what a crash kept from being forgotten is forgotten after the next start") {
  Fixture fixture({.history_age = 1h});
  must(*fixture.store, make(machine("a")));
  for (int i = 0; i < 5; ++i) relabel(*fixture.store, "a", i);
  must(*fixture.store, make(machine("b")));
  must(*fixture.store, Delete{key<api::Machine>("default", "b")});
  fixture.clock.advance(2h);
  const auto end = fixture.store->revision().value();
  fixture.open();
  REQUIRE(fixture.store->collect().has_value());
  CHECK_MESSAGE(fixture.recording->records.size() == 3,
                "the namespace, `a`, and the newest record, which tells the revision");
  fixture.open();
  CHECK(fixture.store->revision().value() == end);
  relabel(*fixture.store, "a", 5);
  fixture.clock.advance(2h);
  REQUIRE(fixture.store->collect().has_value());
  CHECK(fixture.recording->records.size() == 2);
}

TEST_CASE("events are kept up to a number, the oldest go first") {
  Fixture fixture({.events_limit = 3});
  for (const auto* name : {"e", "d", "c", "b", "a"}) {
    must(*fixture.store, make(event(name)));
    fixture.clock.advance(1s);
  }
  auto again = fixture.store->get(key<api::Event>("default", "e")).value().as<api::Event>();
  again.last_timestamp = fixture.clock.wall();
  must(*fixture.store, Update{Object::of(again)});
  REQUIRE(fixture.store->collect().has_value());
  CHECK(names_of(fixture.store->list(query<api::Event>()).value().objects) == Texts{"a", "b", "e"});
}

TEST_CASE("events are kept for a time") {
  Fixture fixture({.events_age = 24h});
  must(*fixture.store, make(machine("a")));
  must(*fixture.store, make(event("old")));
  fixture.clock.advance(23h);
  must(*fixture.store, make(event("new")));
  fixture.clock.advance(2h);
  REQUIRE(fixture.store->collect().has_value());
  CHECK(names_of(fixture.store->list(query<api::Event>()).value().objects) == Texts{"new"});
  CHECK(exists<api::Machine>(*fixture.store, "a"));
}

TEST_CASE("raw changes carry the object before and after") {
  Fixture fixture;
  const auto start = fixture.store->revision().value();
  const auto created = must(*fixture.store, make(machine("a")));
  REQUIRE(fixture.store->acquire_lease("scheduler", "one", 10s).has_value());
  relabel(*fixture.store, "a", 1);
  must(*fixture.store, Delete{key<api::Machine>("default", "a")});
  const auto changes = fixture.store->changes(start, 100).value();
  REQUIRE(changes.size() == 3);
  CHECK(changes[0].type == Change::Type::added);
  CHECK_FALSE(changes[0].previous.has_value());
  CHECK(changes[0].object == created);
  CHECK(changes[1].type == Change::Type::modified);
  CHECK(changes[1].previous == created);
  CHECK(changes[2].type == Change::Type::deleted);
  CHECK(changes[2].previous == changes[1].object);
  CHECK(changes[2].revision == fixture.store->revision().value());
  CHECK(fixture.store->changes(start, 2).value().size() == 2);
  CHECK(fixture.store->changes(changes[1].revision, 100).value().size() == 1);
  CHECK(fixture.store->changes(fixture.store->revision().value(), 100).value().empty());
  CHECK(code_of(fixture.store->changes({fixture.store->revision().value().value + 1}, 100)) == ErrorCode::gone);
}

TEST_CASE("whoever asked is told after each publication") {
  Fixture fixture;
  int first = 0;
  int second = 0;
  fixture.store->on_change([&] { ++first; });
  must(*fixture.store, make(machine("a")));
  must(*fixture.store, Patch{key<api::Machine>("default", "a"), "{}"});
  CHECK(first == 1);
  fixture.store->on_change([&] { second += exists<api::Machine>(*fixture.store, "b") ? 1 : 0; });
  must(*fixture.store, make(machine("b")));
  fixture.store->on_change({});
  must(*fixture.store, make(machine("c")));
  CHECK(first == 1);
  CHECK(second == 1);
}

TEST_CASE("the same seed gives the same uids and names") {
  const auto run = [] {
    SeededRandom random(7);
    Fixture fixture({.random = &random});
    auto wanted = machine("");
    wanted.metadata.generate_name = "web-";
    const auto created = must(*fixture.store, make(wanted));
    return created.name() + " " + created.metadata().uid;
  };
  CHECK(run() == run());
}

TEST_CASE("a generated name that is taken is tried again, but not for ever") {
  /// Always the same.
  class Stuck final : public Random {
   public:
    void fill(std::span<std::byte> bytes) override { std::fill(bytes.begin(), bytes.end(), std::byte{0}); }
  };
  /// Each value twice.
  class Repeating final : public Random {
   public:
    void fill(std::span<std::byte> bytes) override {
      std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(count_++ / 12));
    }

   private:
    unsigned count_ = 0;
  };
  auto wanted = machine("");
  wanted.metadata.generate_name = "web-";
  Stuck stuck;
  Fixture hopeless({.random = &stuck});
  must(*hopeless.store, make(wanted));
  CHECK(code_of(*hopeless.store, make(wanted)) == ErrorCode::already_exists);
  Repeating repeating;
  Fixture lucky({.random = &repeating});
  for (int i = 0; i < 5; ++i) must(*lucky.store, make(wanted));
}

TEST_CASE("a journal that makes no sense is refused") {
  Fixture fixture;
  must(*fixture.store, make(machine("a")));
  must(*fixture.store, make(machine("b")));
  relabel(*fixture.store, "a", 1);
  auto& records = fixture.recording->records;
  ErrorCode expected = ErrorCode::corrupt;
  SUBCASE("garbage instead of an object") {
    records.at(2).body = "{";
  }
  SUBCASE("nothing instead of an object") {
    records.at(2).body.clear();
  }
  SUBCASE("another object") {
    records.at(2).name = "c";
  }
  SUBCASE("another revision") {
    std::swap(records.at(2).body, records.at(4).body);
  }
  SUBCASE("a record that supersedes something else") {
    records.at(4).previous = {3};
  }
  SUBCASE("a record that supersedes itself") {
    records.at(4).previous = {4};
  }
  SUBCASE("a lease without a holder") {
    records.at(2).type = store::JournalRecord::Type::lease;
    records.at(2).body = "{}";
  }
  SUBCASE("an unknown kind") {
    records.at(2).resource = "spaceships.example.dev";
    expected = ErrorCode::unsupported;
  }
  const auto opened =
      LocalStore::open(std::make_unique<RecordingJournal>(fixture.recording), {}, fixture.clock, fixture.log);
  REQUIRE(code_of(opened) == expected);
}

TEST_CASE("readers, writers and watchers at the same time agree in the end") {
  Fixture fixture({.history_changes = 100'000});
  constexpr int writers = 4;
  constexpr int rounds = 200;
  std::atomic<bool> is_done{false};
  auto watch = fixture.store->watch(query<api::Machine>(), fixture.store->revision().value()).value();
  std::map<std::string, Object> replica;
  {
    std::vector<std::jthread> threads;
    threads.emplace_back([&] {
      while (true) {
        const bool was_done = is_done;
        const auto changes = watch->next(fixture.clock.now()).value();
        for (const auto& change : changes) {
          if (change.type == Change::Type::deleted) {
            CHECK(replica.erase(change.object->name()) == 1);
          } else if (change.type != Change::Type::bookmark) {
            CHECK(replica.contains(change.object->name()) == (change.type == Change::Type::modified));
            replica.insert_or_assign(change.object->name(), *change.object);
          }
        }
        if (was_done && changes.empty()) return;
      }
    });
    for (int reader = 0; reader < 2; ++reader)
      threads.emplace_back([&] {
        while (!is_done) {
          const auto page = fixture.store->list(query<api::Machine>()).value();
          for (std::size_t i = 1; i < page.objects.size(); ++i)
            CHECK(page.objects[i - 1].name() < page.objects[i].name());
          for (const auto& object : page.objects) CHECK(object.metadata().resource_version <= page.revision);
        }
      });
    threads.emplace_back([&] {
      while (!is_done) (void)fixture.store->acquire_lease("scheduler", "one", 10s).value();
    });
    {
      std::vector<std::jthread> writing;
      for (int writer = 0; writer < writers; ++writer)
        writing.emplace_back([&, writer] {
          for (int i = 0; i < rounds; ++i) {
            const auto name = "m-" + std::to_string(writer) + "-" + std::to_string(i);
            must(*fixture.store, make(machine(name)));
            relabel(*fixture.store, name, i);
            if (i % 3 == 0) must(*fixture.store, Delete{key<api::Machine>("default", name)});
          }
        });
    }
    is_done = true;
  }
  std::map<std::string, Object> listed;
  for (const auto& object : fixture.store->list(query<api::Machine>()).value().objects)
    listed.emplace(object.name(), object);
  CHECK(replica == listed);
  CHECK(listed.size() == static_cast<std::size_t>(writers * (rounds - (rounds + 2) / 3)));
}
