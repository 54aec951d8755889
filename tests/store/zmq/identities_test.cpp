// SPDX-License-Identifier: Apache-2.0
// Identities: the file, what each verb allows, wrong keys, and subscriptions.
#include <zmq.h>

#include "remote_fixture.hpp"
#include "socket.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::test;

namespace {

/// A server on tcp; clients with keys and rules of their own.
class Guarded {
 public:
  /// `rules`: JSON list of rules, for each client in turn.
  explicit Guarded(const std::vector<std::string>& rules) : server_keys_(zmq::make_key_pair().value()) {
    std::string list;
    for (const auto& rule : rules) {
      keys_.push_back(zmq::make_key_pair().value());
      list += (list.empty() ? "" : ",") + std::string(R"({"name":"peer-)") + std::to_string(keys_.size() - 1) +
              R"(","publicKey":")" + keys_.back().public_key + R"(","rules":)" + rule + "}";
    }
    zmq::ServerOptions options;
    options.heartbeat = std::chrono::milliseconds(50);
    options.tcp = zmq::TcpOptions{.keys = server_keys_,
                                  .identities = zmq::parse_identities(R"({"identities":[)" + list + "]}").value()};
    running_.emplace(*server_context_, local_.store(), options, clock_, log_);
  }
  store::LocalStore& local() { return local_.store(); }
  zmq::Server& server() { return running_->server(); }
  zmq::Context& context() { return *context_; }
  zmq::ClientOptions options(std::size_t which) const {
    zmq::ClientOptions options;
    options.endpoint = const_cast<Guarded*>(this)->server().tcp_endpoint();
    options.keys = zmq::ClientKeys{keys_.at(which), server_keys_.public_key};
    options.timeout = std::chrono::seconds(30);
    return options;
  }
  std::unique_ptr<store::Store> connect(std::size_t which = 0) {
    auto client = zmq::connect(*context_, options(which), clock_, log_);
    if (!client) FAIL(client.error().message());
    return std::move(*client);
  }
  const zmq::KeyPair& keys(std::size_t which) const { return keys_.at(which); }
  const zmq::KeyPair& server_keys() const { return server_keys_; }
  SystemClock& clock() { return clock_; }
  NullLog& log() { return log_; }

 private:
  SystemClock clock_;
  NullLog log_;
  LocalUnderTest local_;
  const zmq::KeyPair server_keys_;
  std::vector<zmq::KeyPair> keys_;
  std::unique_ptr<zmq::Context> server_context_ = test::context();
  std::unique_ptr<zmq::Context> context_ = test::context();
  std::optional<RunningServer> running_;
};

std::vector<std::string> fields_of(const Error& error) {
  std::vector<std::string> fields;
  for (const auto& field : error.fields()) fields.push_back(field.field);
  return fields;
}

}  // namespace

TEST_CASE("an identities file gives each key its roles and rules") {
  const std::string key_a(40, 'a'), key_b(40, 'b');
  const auto identities = zmq::parse_identities(
      R"({
    "roles": {"viewer": [{"verbs": ["read"]}], "leader": [{"verbs": ["lease"], "names": ["scheduler"]}]},
    "identities": [
      {"name": "a", "publicKey": ")" +
      key_a + R"(", "roles": ["viewer", "leader"]},
      {"name": "b", "publicKey": ")" +
      key_b + R"(", "rules": [{"verbs": ["*"], "resources": ["secrets"], "namespaces": ["x"]}]}]})");
  REQUIRE(identities);
  CHECK(identities->size() == 2);
  CHECK(identities->find(key_a)->rules.size() == 2);
  CHECK(identities->find(key_b)->rules.at(0).verbs.size() == 8);
  CHECK(identities->find(std::string(40, 'c')) == nullptr);
}

TEST_CASE("everything that is wrong in an identities file is named") {
  const auto wrong = [](const std::string& text) {
    const auto identities = zmq::parse_identities(text);
    REQUIRE_FALSE(identities);
    CHECK(identities.error().code() == ErrorCode::invalid);
    return fields_of(identities.error());
  };
  using Fields = std::vector<std::string>;
  CHECK(wrong("{").empty());
  CHECK(wrong("[]") == Fields{"identities"});
  CHECK(wrong("{}") == Fields{"identities"});
  CHECK(wrong(R"({"identities": [], "rolls": {}})") == Fields{"rolls"});
  CHECK(wrong(R"({"identities": [{"name": "a", "publicKey": "short", "roles": ["none"]}]})") ==
        Fields{"identities[0].publicKey", "identities[0].roles"});
  const std::string key(40, 'a');
  CHECK(wrong(R"({"identities": [{"name": "a", "publicKey": ")" + key + R"("}, {"name": "b", "publicKey": ")" + key +
              R"("}]})") == Fields{"identities[1].publicKey"});
  CHECK(
      wrong(
          R"({"roles": {"r": [{"verbs": ["write"], "resources": ["machine"], "pools": [], "name": "x"}, {}]}, "identities": []})") ==
      Fields{"roles.r[0].name", "roles.r[0].verbs", "roles.r[0].resources", "roles.r[0].pools", "roles.r[1].verbs"});
}

TEST_CASE("a reader reads and does nothing else") {
  Guarded guarded({R"([{"verbs":["read"]}])"});
  auto store = guarded.connect();
  must(guarded.local(), make(machine("a")));
  CHECK(store->get(key<api::Machine>("default", "a")));
  CHECK(store->list(query<api::Machine>()).value().objects.size() == 1);
  auto watch = store->watch(query<api::Machine>(), store->revision().value()).value();
  must(guarded.local(), make(machine("b")));
  CHECK(read_texts(*watch, 1) == Texts{"added b"});

  const auto before = guarded.local().revision().value();
  CHECK(code_of(*store, make(machine("c"))) == ErrorCode::forbidden);
  CHECK(code_of(*store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"x":"y"}}})"}) ==
        ErrorCode::forbidden);
  CHECK(code_of(*store, Patch{key<api::Machine>("default", "a"), R"({"status":{}})", Part::status}) ==
        ErrorCode::forbidden);
  CHECK(code_of(*store, Update{guarded.local().get(key<api::Machine>("default", "a")).value()}) ==
        ErrorCode::forbidden);
  CHECK(code_of(*store, Delete{key<api::Machine>("default", "a")}) == ErrorCode::forbidden);
  CHECK(code_of(store->acquire_lease("scheduler", "me", std::chrono::seconds(1))) == ErrorCode::forbidden);
  CHECK(guarded.local().revision().value() == before);
  CHECK(guarded.server().counters().refused == 6);
  REQUIRE(guarded.local().acquire_lease("scheduler", "else", std::chrono::minutes(1)));
  CHECK(store->leases("").value().size() == 1);
}

TEST_CASE("a provider sees and changes what is placed in its pool") {
  Guarded guarded(
      {R"([{"verbs":["read","update","update_status"],"resources":["machines.compute.ironcore.dev"],"pools":["pool-1"]}])"});
  auto store = guarded.connect();
  const auto own = key<api::Machine>("default", "own");
  const auto foreign = key<api::Machine>("default", "foreign");
  const auto unplaced = key<api::Machine>("default", "unplaced");
  must(guarded.local(), make(machine_on("own", "pool-1")));
  must(guarded.local(), make(machine_on("foreign", "pool-2")));
  must(guarded.local(), make(machine("unplaced")));

  CHECK(store->get(own));
  CHECK(code_of(store->get(foreign)) == ErrorCode::forbidden);
  CHECK(code_of(store->get(unplaced)) == ErrorCode::forbidden);
  CHECK_MESSAGE(code_of(store->get(key<api::Machine>("default", "none"))) == ErrorCode::forbidden,
                "nor does it learn what does not exist");
  const std::string running = R"({"status":{"state":"Running"}})";
  must(*store, Patch{own, running, Part::status});
  CHECK(code_of(*store, Patch{foreign, running, Part::status}) == ErrorCode::forbidden);
  CHECK(code_of(*store, Patch{unplaced, R"({"spec":{"machinePoolRef":{"name":"pool-1"}}})"}) == ErrorCode::forbidden);
  CHECK(code_of(*store, Delete{own}) == ErrorCode::forbidden);

  const auto mine = query<api::Machine>({}, "spec.machinePoolRef.name=pool-1");
  CHECK(names_of(store->list(mine).value().objects) == Texts{"own"});
  CHECK(code_of(store->list(query<api::Machine>())) == ErrorCode::forbidden);
  CHECK(code_of(store->list(query<api::Machine>({}, "spec.machinePoolRef.name=pool-2"))) == ErrorCode::forbidden);
  CHECK(code_of(store->list(query<api::Secret>())) == ErrorCode::forbidden);

  auto watch = store->watch(mine, store->revision().value()).value();
  CHECK(code_of(store->watch(query<api::Machine>(), store->revision().value())) == ErrorCode::forbidden);
  must(guarded.local(), make(machine_on("foreign-2", "pool-2")));
  must(guarded.local(), Patch{unplaced, R"({"spec":{"machinePoolRef":{"name":"pool-1"}}})"});
  must(guarded.local(), make(machine_on("own-2", "pool-1")));
  CHECK(read_texts(*watch, 2) == Texts{"added unplaced", "added own-2"});
}

TEST_CASE("an identity of one namespace watches it without being able to subscribe to all") {
  Guarded guarded({R"([{"verbs":["read","create"],"namespaces":["tenant"]}])"});
  must(guarded.local(), make(namespace_object("tenant")));
  auto store = guarded.connect();
  const auto mine = query<api::Machine>({}, {}, "tenant");
  auto watch = store->watch(mine, store->revision().value()).value();
  for (int i = 0; i < 5; ++i) {
    const auto number = std::to_string(i);
    must(*store, make(machine("mine-" + number, "tenant")));
    must(guarded.local(), make(machine("theirs-" + number)));
    CHECK(read_texts(*watch, 1) == Texts{"added mine-" + number});
  }
  CHECK(code_of(*store, make(machine("x"))) == ErrorCode::forbidden);
  CHECK(code_of(store->watch(query<api::Machine>(), Revision{})) == ErrorCode::forbidden);
}

TEST_CASE("subscriptions without the right stay silent") {
  Guarded guarded({R"([{"verbs":["read"],"resources":["machines.compute.ironcore.dev"],"pools":["pool-1"]}])"});
  auto options = guarded.options(0);
  auto subscriber = zmq::Socket::open(guarded.context(), ZMQ_SUB).value();
  const auto set_key = [&](int option, const std::string& text) {
    REQUIRE(zmq_setsockopt(subscriber.native(), option, text.c_str(), 41) == 0);
  };
  set_key(ZMQ_CURVE_SERVERKEY, guarded.server_keys().public_key);
  set_key(ZMQ_CURVE_PUBLICKEY, guarded.keys(0).public_key);
  set_key(ZMQ_CURVE_SECRETKEY, guarded.keys(0).secret_key);
  for (const auto* topic : {"", "machines.compute.ironcore.dev/", "machines.compute.ironcore.dev/pool-2/", "secrets/",
                            "machines.compute.ironcore.dev/pool-1/", "~"})
    REQUIRE(subscriber.set(ZMQ_SUBSCRIBE, std::string_view(topic)));
  const auto port = std::stoul(options.endpoint.substr(options.endpoint.rfind(':') + 1));
  // Ask for the port of the changes as a client does.
  auto store = guarded.connect();
  static_cast<void>(port);
  auto requests = zmq::Socket::open(guarded.context(), ZMQ_DEALER).value();
  for (auto [option, text] : {std::pair{ZMQ_CURVE_SERVERKEY, guarded.server_keys().public_key},
                              {ZMQ_CURVE_PUBLICKEY, guarded.keys(0).public_key},
                              {ZMQ_CURVE_SECRETKEY, guarded.keys(0).secret_key}})
    REQUIRE(zmq_setsockopt(requests.native(), option, text.c_str(), 41) == 0);
  REQUIRE(requests.connect(options.endpoint));
  zmq::Message hello(zmq::encode(1, 1000, zmq::HelloRequest{"test"}));
  REQUIRE(requests.send(hello));
  std::optional<zmq::Message> answer;
  wait_for("hello", [&] { return (answer = requests.receive()).has_value(); });
  const auto changes_port = zmq::decode<zmq::HelloReply>(answer->bytes()).value().changes_port;
  REQUIRE(subscriber.connect("tcp://127.0.0.1:" + std::to_string(changes_port)));

  std::vector<std::string> topics;
  const auto read_until_heartbeat = [&] {
    for (;;) {
      std::optional<zmq::Message> message;
      wait_for("a publication", [&] { return (message = subscriber.receive()).has_value(); });
      std::string_view topic, rest;
      REQUIRE(zmq::split_topic(message->bytes(), topic, rest));
      if (topic == "~") return;
      topics.emplace_back(topic);
    }
  };
  read_until_heartbeat();
  must(guarded.local(), make(secret("s")));
  must(guarded.local(), make(machine_on("foreign", "pool-2")));
  must(guarded.local(), make(machine_on("own", "pool-1")));
  while (topics.empty()) read_until_heartbeat();
  read_until_heartbeat();
  for (const auto& topic : topics) CHECK(topic == "machines.compute.ironcore.dev/pool-1/");
  CHECK(guarded.server().counters().refused == 4);
}

TEST_CASE("a key that nobody has is turned away with a reason, and so is a wrong server") {
  Guarded guarded({R"([{"verbs":["*"]}])"});
  auto options = guarded.options(0);
  options.connect_timeout = std::chrono::milliseconds(300);
  SUBCASE("unknown client key") {
    options.keys->own = zmq::make_key_pair().value();
  }
  SUBCASE("wrong server key") {
    options.keys->server_public_key = zmq::make_key_pair().value().public_key;
  }
  const auto client = zmq::connect(guarded.context(), options, guarded.clock(), guarded.log());
  REQUIRE_FALSE(client);
  CHECK(client.error().code() == ErrorCode::forbidden);
  CHECK(client.error().message().find("key") != std::string::npos);
  must(*guarded.connect(), make(machine("a")));
}

TEST_CASE("without keys nobody gets through to tcp") {
  Guarded guarded({R"([{"verbs":["*"]}])"});
  auto peer = zmq::Socket::open(guarded.context(), ZMQ_DEALER).value();
  REQUIRE(peer.connect(guarded.server().tcp_endpoint()));
  zmq::Message hello(zmq::encode(1, 1000, zmq::HelloRequest{"plain"}));
  peer.send(hello);
  must(*guarded.connect(), make(machine("a")));
  must(*guarded.connect(), make(machine("b")));
  CHECK_FALSE(peer.receive());
}

TEST_CASE("rights that are taken away or given count from the next request on") {
  Guarded guarded({R"([{"verbs":["*"]}])"});
  auto store = guarded.connect();
  must(*store, make(machine("a")));
  guarded.server().replace_identities(zmq::parse_identities(R"({"identities":[{"name":"less","publicKey":")" +
                                                            guarded.keys(0).public_key +
                                                            R"(","rules":[{"verbs":["read"]}]}]})")
                                          .value());
  CHECK(code_of(*store, make(machine("b"))) == ErrorCode::forbidden);
  CHECK(store->get(key<api::Machine>("default", "a")));
  guarded.server().replace_identities(zmq::parse_identities(R"({"identities":[]})").value());
  CHECK(code_of(store->get(key<api::Machine>("default", "a"))) == ErrorCode::forbidden);
  guarded.server().replace_identities(everything_for(guarded.keys(0).public_key));
  must(*store, make(machine("b")));
}

TEST_CASE("rights that are taken away end subscriptions at once, and nobody else's watch") {
  Guarded guarded({R"([{"verbs":["*"]}])", R"([{"verbs":["*"]}])"});
  auto revoked = guarded.connect(0);
  auto kept = guarded.connect(1);
  auto revoked_watch = revoked->watch(query<api::Machine>(), guarded.local().revision().value()).value();
  auto kept_watch = kept->watch(query<api::Machine>(), guarded.local().revision().value()).value();
  for (const std::string name : {"a", "b", "c"}) {
    must(guarded.local(), make(machine(name)));
    CHECK(read_texts(*revoked_watch, 1) == Texts{"added " + name});
    CHECK(read_texts(*kept_watch, 1) == Texts{"added " + name});
  }
  CHECK(revoked->revision().has_value());  // on a connection that stands
  guarded.server().replace_identities(everything_for(guarded.keys(1).public_key));
  // Its answer comes after the end of the subscriptions.
  CHECK(code_of(revoked->get(key<api::Machine>("default", "a"))) == ErrorCode::forbidden);
  std::size_t seen = 0;
  Result<std::vector<Change>> changes = std::vector<Change>();
  for (int i = 0; changes; ++i) {
    must(guarded.local(), make(machine("after-" + std::to_string(i))));
    CHECK(read_texts(*kept_watch, 1) == Texts{"added after-" + std::to_string(i)});
    changes = revoked_watch->next(guarded.clock().now() + std::chrono::milliseconds(100));
    if (changes)
      for (const auto& change : *changes) seen += change.object ? 1u : 0u;
  }
  CHECK(code_of(changes) == ErrorCode::forbidden);
  CHECK(seen == 0);
}

TEST_CASE("a watch goes on through many replacements of the identities") {
  Guarded guarded({R"([{"verbs":["*"]}])"});
  auto store = guarded.connect();
  auto watch = store->watch(query<api::Machine>(), guarded.local().revision().value()).value();
  for (int i = 0; i < 20; ++i) {
    guarded.server().replace_identities(everything_for(guarded.keys(0).public_key));
    const auto name = "m-" + std::to_string(i);
    must(*store, make(machine(name)));
    CHECK(read_texts(*watch, 1) == Texts{"added " + name});
  }
}

TEST_CASE("a key that is taken away loses its streams") {
  Guarded guarded({R"([{"verbs":["*"]}])", R"([{"verbs":["*"]}])"});
  must(guarded.local(), make(machine_on("a", "pool-1")));
  std::mutex mutex;
  std::unique_ptr<zmq::Stream> there;
  const auto worker = zmq::StreamWorker::create(
                          guarded.context(), guarded.options(0), api::kind_of<api::Machine>(), "pool-1",
                          [&](const zmq::StreamRequest&, std::unique_ptr<zmq::Stream> stream) -> Result<void> {
                            const std::lock_guard lock(mutex);
                            there = std::move(stream);
                            return {};
                          },
                          guarded.clock(), guarded.log())
                          .value();
  std::jthread runner([&](std::stop_token stop) { (void)worker->run(stop); });
  wait_for("registration", [&] { return worker->is_registered(); });
  auto client =
      zmq::StreamClient::connect(guarded.context(), guarded.options(1), guarded.clock(), guarded.log()).value();
  auto here = client->open(key<api::Machine>("default", "a"), "console").value();
  guarded.server().replace_identities(everything_for(guarded.keys(0).public_key));
  CHECK(code_of(here->read(bound())) == ErrorCode::forbidden);
  wait_for("the worker's side", [&] {
    const std::lock_guard lock(mutex);
    return there != nullptr;
  });
  CHECK(code_of(there->read(bound())) == ErrorCode::forbidden);
}

TEST_CASE("a rule for exact names does not cover names that are generated") {
  Guarded guarded({R"([{"verbs":["create","read"],"names":["web","own-*"]}])"});
  auto store = guarded.connect();
  const auto generated = [](std::string prefix) {
    auto result = machine("");
    result.metadata.generate_name = std::move(prefix);
    return make(std::move(result));
  };
  CHECK(code_of(*store, generated("web")) == ErrorCode::forbidden);
  CHECK(code_of(*store, generated("own")) == ErrorCode::forbidden);
  CHECK(must(*store, generated("own-")).name().starts_with("own-"));
  must(*store, make(machine("web")));
}
