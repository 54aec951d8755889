// SPDX-License-Identifier: Apache-2.0
// Watches over the network: nothing lost, nothing twice, whatever the network and the server do.
#include <zmq.h>

#include <atomic>
#include <map>

#include "codec.hpp"
#include "remote_fixture.hpp"
#include "socket.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::test;

namespace {

std::string numbered(int number) {
  return "m-" + std::to_string(number);
}

/// Stands between server and client and loses some of what is published. Requests pass untouched.
class LossyProxy {
 public:
  /// Loses every message for which `is_lost(count of changes so far)` says so.
  LossyProxy(Remote& remote, std::function<bool(int)> is_lost) : is_lost_(std::move(is_lost)) {
    requests_client_ = zmq::Socket::open(remote.context(), ZMQ_ROUTER).value();
    changes_server_ = zmq::Socket::open(remote.context(), ZMQ_XSUB).value();
    changes_client_ = zmq::Socket::open(remote.context(), ZMQ_XPUB).value();
    const auto path = (directory_.path() / "p").string();
    server_endpoint_ = remote.endpoint();
    context_ = &remote.context();
    REQUIRE(changes_server_.connect(remote.endpoint() + ".changes"));
    REQUIRE(requests_client_.bind("ipc://" + path));
    REQUIRE(changes_client_.bind("ipc://" + path + ".changes"));
    endpoint = "ipc://" + path;
    wake_ = zmq::Wake::create().value();
    thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
  }
  ~LossyProxy() {
    thread_.request_stop();
    thread_.join();
  }
  std::string endpoint;
  std::atomic<int> lost{0};
  std::atomic<int> refusals{0};  ///< so many questions for changes are answered with `exhausted`

 private:
  /// Each client gets a connection of its own to the server, because requests are one frame.
  void pass_requests() {
    while (auto id = requests_client_.receive()) {
      auto request = requests_client_.receive();
      if (!request) return;
      zmq::Header header;
      if (refusals > 0 && zmq::decode_header(request->bytes(), header) && header.type == zmq::MessageType::changes) {
        --refusals;
        zmq::Message to{id->bytes()};
        zmq::Message refusal(zmq::encode(header.request_id, 0, zmq::to_record(Error(ErrorCode::exhausted, "not now"))));
        requests_client_.send(to, ZMQ_SNDMORE);
        requests_client_.send(refusal);
        continue;
      }
      auto& socket = requests_server_[std::string(id->bytes())];
      if (!socket) {
        socket = zmq::Socket::open(*context_, ZMQ_DEALER).value();
        REQUIRE(socket.connect(server_endpoint_));
      }
      socket.send(*request);
    }
    for (auto& [id, socket] : requests_server_) {
      while (auto answer = socket.receive()) {
        zmq::Message to{std::string_view(id)};
        requests_client_.send(to, ZMQ_SNDMORE);
        requests_client_.send(*answer);
      }
    }
  }
  void pass(zmq::Socket& from, zmq::Socket& to, bool may_lose) {
    while (auto message = from.receive()) {
      if (may_lose && message->bytes()[0] != '~' && is_lost_(count_++)) {
        ++lost;
        continue;
      }
      to.send(*message, message->has_more() ? ZMQ_SNDMORE : 0);
    }
  }
  void run(std::stop_token stop) {
    const zmq::StopWake stop_wake(stop, wake_);
    SystemClock clock;
    while (!stop.stop_requested()) {
      std::vector<zmq_pollitem_t> items{
          zmq::poll_item(wake_->fd(), ZMQ_POLLIN), zmq::poll_item(requests_client_, ZMQ_POLLIN),
          zmq::poll_item(changes_server_, ZMQ_POLLIN), zmq::poll_item(changes_client_, ZMQ_POLLIN)};
      for (const auto& [id, socket] : requests_server_) items.push_back(zmq::poll_item(socket, ZMQ_POLLIN));
      zmq::poll(items, clock.now() + std::chrono::seconds(1), clock);
      pass_requests();
      pass(changes_client_, changes_server_, false);
      pass(changes_server_, changes_client_, true);
    }
  }
  std::function<bool(int)> is_lost_;
  int count_ = 0;
  TemporaryDirectory directory_;
  std::string server_endpoint_;
  zmq::Context* context_ = nullptr;
  std::map<std::string, zmq::Socket> requests_server_;
  zmq::Socket requests_client_, changes_server_, changes_client_;
  std::shared_ptr<zmq::Wake> wake_;
  std::jthread thread_;
};

/// Reads until the change of object `last` is there, and checks that each number came once and in order.
void read_numbers(store::Watch& watch, int first, int last) {
  int expected = first;
  while (expected <= last) {
    auto changes = watch.next(bound());
    if (!changes) FAIL(changes.error().message());
    REQUIRE_MESSAGE(!changes->empty(), "nothing came, waiting for number " << expected);
    for (const auto& change : *changes) {
      if (change.type == Change::Type::bookmark) continue;
      REQUIRE(change.object->name() == numbered(expected));
      CHECK(change.type == Change::Type::added);
      ++expected;
    }
  }
}

}  // namespace

TEST_CASE("a watch gets every change once and in order through many restarts of the server") {
  Remote remote;
  auto watch = remote.store().watch(query<api::Machine>(), remote.store().revision().value()).value();
  constexpr int rounds = 8;
  constexpr int each = 60;
  std::jthread reader([&] { read_numbers(*watch, 0, rounds * each - 1); });
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < each; ++i) must(remote.local(), make(machine(numbered(round * each + i))));
    remote.stop();
    must(remote.local(), make(secret("while-down-" + std::to_string(round))));
    remote.start();
  }
}

TEST_CASE("what is written while the server is down is seen afterwards") {
  Remote remote;
  auto watch = remote.store().watch(query<api::Machine>(), remote.store().revision().value()).value();
  must(remote.store(), make(machine(numbered(0))));
  read_numbers(*watch, 0, 0);
  remote.stop();
  for (int i = 1; i < 20; ++i) must(remote.local(), make(machine(numbered(i))));
  CHECK(watch->next(std::chrono::steady_clock::now() + std::chrono::milliseconds(1)).value().empty());
  remote.start();
  read_numbers(*watch, 1, 19);
}

TEST_CASE("lost publications are noticed and replayed") {
  std::function<bool(int)> is_lost;
  SUBCASE("every third") {
    is_lost = [](int count) { return count % 3 == 0; };
  }
  SUBCASE("long runs") {
    is_lost = [](int count) { return count % 100 > 20; };
  }
  SUBCASE("everything") {
    is_lost = [](int) { return true; };
  }
  Remote remote;
  LossyProxy proxy(remote, is_lost);
  auto options = remote.client_options();
  options.endpoint = proxy.endpoint;
  options.safety_replay = std::chrono::milliseconds(200);
  auto store = remote.connect(options);
  auto all = store->watch(query<api::Machine>(), remote.local().revision().value()).value();
  auto placed =
      store->watch(query<api::Machine>({}, "spec.machinePoolRef.name=pool-1"), remote.local().revision().value())
          .value();
  // In bursts that are read one by one, so that most of them meet a subscription that stands.
  for (int first = 0; first < 300 || (proxy.lost == 0 && first < 30'000); first += 30) {
    for (int i = first; i < first + 30; ++i) must(remote.local(), make(machine_on(numbered(i), "pool-1")));
    read_numbers(*all, first, first + 29);
    read_numbers(*placed, first, first + 29);
  }
  CHECK(proxy.lost > 0);
}

TEST_CASE("a message that was lost last is noticed without another change") {
  std::atomic<bool> lose{false};
  Remote remote;
  LossyProxy proxy(remote, [&](int) { return lose.exchange(false); });
  auto options = remote.client_options();
  options.endpoint = proxy.endpoint;
  options.safety_replay = std::chrono::hours(1);
  auto store = remote.connect(options);
  auto watch = store->watch(query<api::Machine>(), remote.local().revision().value()).value();
  must(remote.local(), make(machine(numbered(0))));
  read_numbers(*watch, 0, 0);
  // The subscription stands now; the bookmarks tell what is missing.
  lose = true;
  must(remote.local(), make(machine(numbered(1))));
  read_numbers(*watch, 1, 1);
}

TEST_CASE("a watch whose question is refused for now asks again") {
  std::atomic<bool> lose{false};
  Remote remote;
  LossyProxy proxy(remote, [&](int) { return lose.exchange(false); });
  auto options = remote.client_options();
  options.endpoint = proxy.endpoint;
  auto store = remote.connect(options);
  auto watch = store->watch(query<api::Machine>(), remote.local().revision().value()).value();
  must(remote.local(), make(machine(numbered(0))));
  read_numbers(*watch, 0, 0);
  proxy.refusals = 3;
  lose = true;
  must(remote.local(), make(machine(numbered(1))));
  read_numbers(*watch, 1, 1);
  CHECK(proxy.refusals == 0);
}

TEST_CASE("large objects and secrets reach those who may see them, though not by publication") {
  Remote remote;
  auto& store = remote.store();
  auto machines = store.watch(query<api::Machine>(), store.revision().value()).value();
  auto secrets = store.watch(query<api::Secret>(), store.revision().value()).value();
  auto large = machine("large");
  large.metadata.annotations["test.dev/text"] = std::string(100'000, 'x');
  for (int round = 0; round < 3; ++round) {
    large.metadata.name = "large-" + std::to_string(round);
    const auto created = must(store, make(large));
    CHECK(read(*machines, 1).at(0).object == created);
    const auto hidden = must(store, make(secret("s-" + std::to_string(round), "very hidden")));
    CHECK(read(*secrets, 1).at(0).object == hidden);
  }
}

TEST_CASE("what is published never contains a secret") {
  Remote remote;
  auto listener = zmq::Socket::open(remote.context(), ZMQ_SUB).value();
  REQUIRE(listener.connect(remote.endpoint() + ".changes"));
  REQUIRE(listener.set(ZMQ_SUBSCRIBE, std::string_view("secrets/")));
  REQUIRE(listener.set(ZMQ_SUBSCRIBE, std::string_view("~")));
  const auto next = [&] {
    std::optional<zmq::Message> message;
    wait_for("a publication", [&] { return (message = listener.receive()).has_value(); });
    return std::string(message->bytes());
  };
  while (next()[0] != '~') {
  }
  must(remote.local(), make(secret("s", "very hidden")));
  std::string published;
  while ((published = next())[0] == '~') {
  }
  std::string_view topic, message;
  REQUIRE(zmq::split_topic(published, topic, message));
  const auto change = zmq::decode<zmq::ChangeMessage>(message).value();
  CHECK(change.name == "s");
  CHECK(change.json.empty());
}

TEST_CASE("a watch says gone when the history does not reach back, and a new list helps") {
  store::LocalStoreOptions options;
  options.history_changes = 20;
  Remote remote(options);
  auto& store = remote.store();
  auto watch = store.watch(query<api::Machine>(), store.revision().value()).value();
  remote.stop();
  for (int i = 0; i < 200; ++i) must(remote.local(), make(machine(numbered(i))));
  REQUIRE(remote.local().collect());
  remote.start();
  Result<std::vector<Change>> changes = std::vector<Change>();
  while (changes && changes->empty()) changes = watch->next(bound());
  CHECK(code_of(changes) == ErrorCode::gone);
  CHECK(code_of(watch->next(bound())) == ErrorCode::gone);
  CHECK(store.list(query<api::Machine>()).value().objects.size() == 200);
  auto again = store.watch(query<api::Machine>(), store.revision().value()).value();
  must(store, make(machine(numbered(200))));
  read_numbers(*again, 200, 200);
}

TEST_CASE("a watch outlives its store and then says cancelled") {
  Remote remote;
  auto store = remote.connect();
  auto watch = store->watch(query<api::Machine>(), store->revision().value()).value();
  std::jthread closer([&] { store.reset(); });
  CHECK(code_of(watch->next(bound())) == ErrorCode::cancelled);
  closer.join();
  CHECK(code_of(watch->next(bound())) == ErrorCode::cancelled);
}

TEST_CASE("a data set put in place of another one ends the watches") {
  Remote remote;
  auto watch = remote.store().watch(query<api::Machine>(), remote.store().revision().value()).value();
  must(remote.store(), make(machine(numbered(0))));
  read_numbers(*watch, 0, 0);
  remote.stop();
  // Another store, with an epoch of its own, on the same path; as after the restore of a backup.
  LocalUnderTest other;
  for (int i = 0; i < 10; ++i) must(other.store(), make(machine(numbered(i))));
  auto server_context = context();
  RunningServer running(*server_context, other.store(), quick(remote.path()), remote.clock(), remote.log());
  Result<std::vector<Change>> changes = std::vector<Change>();
  while (changes && changes->empty()) changes = watch->next(bound());
  CHECK(code_of(changes) == ErrorCode::gone);
}

TEST_CASE("label selectors follow labels that change and labels that do not") {
  Remote remote;
  auto& store = remote.store();
  auto watch = store.watch(query<api::Machine>("app=web"), store.revision().value()).value();
  // Until the subscription stands, everything comes by replay: let one change through first.
  auto web = machine("first");
  web.metadata.labels["app"] = "web";
  must(store, make(web));
  CHECK(read_texts(*watch, 1) == Texts{"added first"});
  must(store, make(machine("a")));
  must(store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"app":"web"}}})"});
  must(store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"annotations":{"x":"1"}}})"});
  must(store, Patch{key<api::Machine>("default", "a"), R"({"status":{"state":"Running"}})", Part::status});
  must(store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"app":"db"}}})"});
  must(store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"annotations":{"x":"2"}}})"});
  must(store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"app":"web"}}})"});
  must(store, Delete{key<api::Machine>("default", "a")});
  CHECK(read_texts(*watch, 6) == Texts{"added a", "modified a", "modified a", "deleted a", "added a", "deleted a"});
}

TEST_CASE("field selectors that no topic answers are exact too") {
  Remote remote;
  auto& store = remote.store();
  auto watch =
      store.watch(query<api::Machine>({}, "status.state=Running,metadata.namespace=default"), store.revision().value())
          .value();
  auto named = store.watch(query<api::Machine>({}, "metadata.name=a"), store.revision().value()).value();
  must(store, make(machine("a")));
  must(store, make(machine("b")));
  const auto patch = [&](const char* name, const char* state) {
    must(store, Patch{key<api::Machine>("default", name), std::string(R"({"status":{"state":")") + state + R"("}})",
                      Part::status});
  };
  patch("a", "Running");
  patch("b", "Running");
  patch("a", "Shutdown");
  must(store, Delete{key<api::Machine>("default", "b")});
  CHECK(read_texts(*watch, 4) == Texts{"added a", "added b", "deleted a", "deleted b"});
  CHECK(read_texts(*named, 3) == Texts{"added a", "modified a", "modified a"});
}
