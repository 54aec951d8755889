// SPDX-License-Identifier: Apache-2.0
// Lists in many messages, and commits that are sent more than once.
#include <atomic>
#include <map>
#include <set>

#include "codec.hpp"
#include "remote_fixture.hpp"
#include "socket.hpp"

using namespace ironcore;
using namespace ironcore::test;

namespace {

std::string numbered(int number) {
  auto text = std::to_string(number);
  return "m-" + std::string(5 - text.size(), '0') + text;
}

void fill(store::Store& store, int count) {
  for (int first = 0; first < count; first += 1000) {
    Transaction many;
    for (int i = first; i < std::min(count, first + 1000); ++i) {
      auto one = machine(numbered(i));
      if (i % 100 == 0) one.metadata.labels["hundred"] = "yes";
      many.operations.push_back(make(std::move(one)));
    }
    REQUIRE(store.commit(many));
  }
}

}  // namespace

TEST_CASE("a list of many pages is the same as the local one") {
  Remote remote;
  fill(remote.local(), 3000);
  auto& store = remote.store();
  const auto check = [&](const Query& what) {
    const auto here = remote.local().list(what).value();
    const auto there = store.list(what).value();
    CHECK(there.revision == here.revision);
    CHECK(there.continue_at.empty());
    REQUIRE(there.objects.size() == here.objects.size());
    CHECK(there.objects == here.objects);
  };
  check(query<api::Machine>());
  check(query<api::Machine>("hundred=yes"));
  check(query<api::Machine>({}, "spec.power=On"));
  check(query<api::Machine>({}, "spec.power=Off"));
  check(query<api::Machine>({}, "spec.machinePoolRef.name="));
  check(query<api::Machine>({}, {}, "elsewhere"));

  // In pages of the caller's size.
  for (const std::size_t limit : {7u, 100u, 1000u, 2999u, 5000u}) {
    std::vector<Object> all;
    store::ListOptions options{.limit = limit, .continue_at = {}};
    do {
      const auto page = store.list(query<api::Machine>("hundred=yes"), options).value();
      CHECK(page.objects.size() <= limit);
      all.insert(all.end(), page.objects.begin(), page.objects.end());
      options.continue_at = page.continue_at;
    } while (!options.continue_at.empty());
    CHECK(all.size() == 30);
  }
}

TEST_CASE("a list is exact at its revision although the store is written meanwhile") {
  Remote remote;
  fill(remote.local(), 4000);
  auto& store = remote.store();
  // Each transaction moves one unit between two counters; the sum of all is the same at every revision.
  {
    Transaction start;
    start.operations.push_back(
        Patch{key<api::Machine>("default", numbered(0)), R"({"metadata":{"annotations":{"n":"100000"}}})"});
    start.operations.push_back(
        Patch{key<api::Machine>("default", numbered(3999)), R"({"metadata":{"annotations":{"n":"0"}}})"});
    REQUIRE(remote.local().commit(start));
  }
  std::atomic<int> written{0};
  std::jthread writer([&](std::stop_token stop) {
    for (int i = 1; !stop.stop_requested(); ++i) {
      Transaction move;
      const auto patch = [&](int which, int value) {
        move.operations.push_back(Patch{key<api::Machine>("default", numbered(which)),
                                        R"({"metadata":{"annotations":{"n":")" + std::to_string(value) + R"("}}})"});
      };
      patch(0, 100'000 - i);
      patch(3999, i);
      move.operations.push_back(make(secret("other-" + std::to_string(i))));
      REQUIRE(remote.local().commit(move));
      ++written;
    }
  });
  wait_for("the writer", [&] { return written > 0; });
  for (int round = 0; round < 20; ++round) {
    const auto page = store.list(query<api::Machine>()).value();
    REQUIRE(page.objects.size() == 4000);
    const auto value = [&](std::size_t index) { return std::stoi(page.objects[index].metadata().annotations.at("n")); };
    CHECK(value(0) + value(3999) == 100'000);
    // Three revisions for each transaction, so the newest state at this revision is known.
    CHECK(page.objects[3999].metadata().resource_version <= page.revision);
  }
  writer.request_stop();
  writer.join();
}

TEST_CASE("a list that selects few of many misses nothing that begins to match meanwhile") {
  constexpr int count = 30'000;
  constexpr int each = 200;
  Remote remote;
  fill(remote.local(), count);
  const auto label = [&](int which, const char* value) {
    return Patch{key<api::Machine>("default", numbered(which)),
                 std::string(R"({"metadata":{"labels":{"app":)") + value + "}}}"};
  };
  // The last one matches from the beginning, so that the list looks at all of them.
  must(remote.local(), label(count - 1, R"("web")"));
  auto& store = remote.store();
  const auto what = query<api::Machine>("app=web");
  std::set<std::string> expected{numbered(count - 1)};
  for (int round = 0; round < 10; ++round) {
    std::atomic<bool> is_listing{false};
    std::jthread writer([&] {
      while (!is_listing) std::this_thread::yield();
      for (int i = 0; i < each; ++i) must(remote.local(), label(round * each + i, R"("web")"));
    });
    std::set<std::string> seen;
    store::Revision from;
    is_listing = true;
    if (round % 2 == 0) {
      const auto page = store.list(what).value();
      for (const auto& object : page.objects) seen.insert(object.name());
      from = page.revision;
    } else {
      // Page by page, then what happened since the first one.
      store::ListOptions options{.limit = 50, .continue_at = {}};
      do {
        const auto page = store.list(what, options).value();
        if (options.continue_at.empty()) from = page.revision;
        for (const auto& object : page.objects) seen.insert(object.name());
        options.continue_at = page.continue_at;
      } while (!options.continue_at.empty());
    }
    writer.join();
    for (int i = 0; i < each; ++i) expected.insert(numbered(round * each + i));
    auto watch = store.watch(what, from).value();
    must(remote.local(), make([&] {
           auto last = machine("end-" + std::to_string(round));
           last.metadata.labels["app"] = "web";
           return last;
         }()));
    expected.insert("end-" + std::to_string(round));
    while (!seen.contains("end-" + std::to_string(round)))
      for (const auto& change : watch->next(bound()).value())
        if (change.object) seen.insert(change.object->name());
    for (const auto& name : expected) REQUIRE_MESSAGE(seen.contains(name), name << " was missed in round " << round);
  }
}

TEST_CASE("objects that are large make small pages") {
  Remote remote;
  auto large = machine("x");
  large.metadata.annotations["text"] = std::string(200'000, 'x');
  for (int i = 0; i < 20; ++i) {
    large.metadata.name = numbered(i);
    must(remote.local(), make(large));
  }
  CHECK(remote.store().list(query<api::Machine>()).value().objects.size() == 20);
}

TEST_CASE("a commit that is sent twice takes effect once, and both are answered the same") {
  Remote remote;
  auto& store = remote.store();
  const zmq::KindTable kinds;
  auto socket = zmq::Socket::open(remote.context(), ZMQ_DEALER).value();
  REQUIRE(socket.connect(remote.endpoint()));
  const auto ask = [&](std::string request) {
    zmq::Message message(std::move(request));
    REQUIRE(socket.send(message));
  };
  const auto answer = [&] {
    std::optional<zmq::Message> message;
    wait_for("an answer", [&] { return (message = socket.receive()).has_value(); });
    return std::string(message->bytes());
  };
  ask(zmq::encode(1, 1000, zmq::HelloRequest{"test"}));
  const auto hello = answer();
  const auto instance = zmq::decode<zmq::HelloReply>(hello).value().instance;

  auto unnamed = machine("");
  unnamed.metadata.generate_name = "once-";
  Transaction transaction;
  transaction.operations.push_back(make(unnamed));
  zmq::EncodedTransaction encoded(transaction, kinds);
  encoded.request.id_high = 7;
  encoded.request.id_low = 8;
  encoded.request.instance = instance;
  // Both before the first answer, and once more after it.
  ask(zmq::encode(2, 1000, encoded.request));
  ask(zmq::encode(3, 1000, encoded.request));
  const auto first = answer();
  const auto second = answer();
  ask(zmq::encode(4, 1000, encoded.request));
  const auto third = answer();
  const auto object = [](const std::string& bytes) {
    zmq::Header header;
    REQUIRE(zmq::decode_header(bytes, header));
    REQUIRE(header.type == zmq::CommitReply::type);
    return std::string(zmq::decode<zmq::CommitReply>(bytes).value().objects.at(0).json);
  };
  CHECK(object(first) == object(second));
  CHECK(object(first) == object(third));
  CHECK(store.list(query<api::Machine>()).value().objects.size() == 1);

  SUBCASE("one that names another start of the server is not carried out") {
    encoded.request.id_low = 9;
    encoded.request.instance = instance + 1;
    ask(zmq::encode(5, 1000, encoded.request));
    const auto bytes = answer();
    zmq::Header header;
    REQUIRE(zmq::decode_header(bytes, header));
    CHECK(header.type == zmq::MessageType::restarted);
    CHECK(zmq::decode<zmq::RestartedReply>(bytes).value().instance == instance);
    CHECK(store.list(query<api::Machine>()).value().objects.size() == 1);
  }
}

TEST_CASE("writers go on through restarts of the server, each acknowledged write once") {
  Remote remote;
  auto& store = remote.store();
  std::atomic<bool> stop{false};
  std::atomic<int> acknowledged{0};
  std::vector<std::set<std::string>> certain(4), uncertain(4);
  std::vector<std::jthread> writers;
  for (std::size_t w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; !stop; ++i) {
        const auto name = "w" + std::to_string(w) + "-" + std::to_string(i);
        const auto created = store::commit_one(store, make(machine(name)));
        if (created) {
          certain[w].insert(name);
          ++acknowledged;
        } else {
          // The only other outcome that a restart allows.
          REQUIRE_MESSAGE(created.error().code() == ErrorCode::timeout, created.error().message());
          uncertain[w].insert(name);
        }
      }
    });
  }
  for (int round = 0; round < 6; ++round) {
    const int before = acknowledged;
    wait_for("writes", [&] { return acknowledged > before + 40; });
    remote.stop();
    remote.start();
  }
  stop = true;
  writers.clear();
  std::set<std::string> present;
  for (const auto& object : remote.local().list(query<api::Machine>()).value().objects) present.insert(object.name());
  std::size_t expected = 0;
  for (std::size_t w = 0; w < 4; ++w) {
    for (const auto& name : certain[w]) REQUIRE(present.contains(name));
    expected += certain[w].size();
    for (const auto& name : uncertain[w]) expected += present.contains(name) ? 1u : 0u;
  }
  CHECK(present.size() == expected);
}
