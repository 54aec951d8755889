// SPDX-License-Identifier: Apache-2.0
// Peers that ask for too much, requests that come too late, readers that stand still, and a ZeroMQ that is gone.
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "codec.hpp"
#include "remote_fixture.hpp"
#include "socket.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::test;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view machines = "machines.compute.ironcore.dev";

void fill(store::Store& store, int count) {
  for (int first = 0; first < count; first += 1000) {
    Transaction many;
    for (int i = first; i < std::min(count, first + 1000); ++i)
      many.operations.push_back(make(machine("m-" + std::to_string(i))));
    REQUIRE(store.commit(many));
  }
}

/// Each look at it takes a millisecond.
class HurryingClock final : public Clock {
 public:
  Instant now() const override { return real_.now() + std::chrono::milliseconds(++looks_); }
  WallTime wall() const override { return real_.wall(); }
  bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop,
            Instant deadline, const std::function<bool()>& ready) override {
    return real_.wait(lock, condition, std::move(stop), deadline, ready);
  }

 private:
  SystemClock real_;
  mutable std::atomic<int> looks_{0};
};

/// Keeps what is warned of.
class Warnings final : public Log {
 public:
  void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) override {
    if (level != LogLevel::warning) return;
    std::string line(message);
    for (const auto& field : fields) line += " " + std::string(field.key) + "=" + field.value;
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// A server with a clock and a log of its own, and a peer that speaks bytes.
struct Watched {
  explicit Watched(Clock& clock, Log& log) : running(*server_context, local.store(), options(), clock, log) {
    socket = zmq::Socket::open(*context, ZMQ_DEALER).value();
    REQUIRE(socket.connect("ipc://" + (directory.path() / "s").string()));
  }
  zmq::ServerOptions options() { return quick(directory.path() / "s"); }
  void send(std::string bytes) {
    zmq::Message message(std::move(bytes));
    REQUIRE(socket.send(message));
  }
  std::string answer() {
    std::optional<zmq::Message> message;
    wait_for("an answer", [&] { return (message = socket.receive()).has_value(); });
    return std::string(message->bytes());
  }
  static zmq::Header header_of(const std::string& bytes) {
    zmq::Header header;
    REQUIRE(zmq::decode_header(bytes, header));
    return header;
  }

  TemporaryDirectory directory;
  LocalUnderTest local;
  std::unique_ptr<zmq::Context> server_context = test::context();
  std::unique_ptr<zmq::Context> context = test::context();
  RunningServer running;
  zmq::Socket socket;
};

}  // namespace

TEST_CASE("one peer that asks for thousands of lists does not keep the others from theirs") {
  Remote remote;
  fill(remote.local(), 5000);
  auto& store = remote.store();
  auto flood = zmq::Socket::open(remote.context(), ZMQ_DEALER).value();
  REQUIRE(flood.connect(remote.endpoint()));
  for (std::uint64_t sent = 0; sent < 10'000;) {
    zmq::Message message(zmq::encode(sent + 1, 60'000, zmq::ListRequest{{machines, "", "app=none", ""}, 0, ""}));
    if (flood.send(message))
      ++sent;
    else
      std::this_thread::yield();
  }
  const auto page = store.list(query<api::Machine>("app!=none"));
  REQUIRE_MESSAGE(page.has_value(), page.error().message());
  CHECK(page->objects.size() == 5000);
  auto watch = store.watch(query<api::Machine>("app=web"), store.revision().value());
  REQUIRE_MESSAGE(watch.has_value(), watch.error().message());
  must(remote.local(), Patch{key<api::Machine>("default", "m-1"), R"({"metadata":{"labels":{"app":"web"}}})"});
  CHECK(read_texts(**watch, 1) == Texts{"added m-1"});
}

TEST_CASE("a list that is asked for again while it waits is worked on once") {
  Remote remote;
  fill(remote.local(), 2000);
  auto peer = zmq::Socket::open(remote.context(), ZMQ_DEALER).value();
  REQUIRE(peer.connect(remote.endpoint()));
  // More than a connection may have waiting, if each of them counted.
  for (int i = 0; i < 100; ++i) {
    zmq::Message message(zmq::encode(1, 60'000, zmq::ListRequest{{machines, "", "app=none", ""}, 0, ""}));
    REQUIRE(peer.send(message));
  }
  std::optional<zmq::Message> answer;
  wait_for("an answer", [&] { return (answer = peer.receive()).has_value(); });
  CHECK(Watched::header_of(std::string(answer->bytes())).type == zmq::ListReply::type);
}

TEST_CASE("what nobody waits for any more is not begun") {
  HurryingClock clock;
  NullLog log;
  Watched watched(clock, log);
  watched.send(zmq::encode(1, 1000, zmq::HelloRequest{"test"}));
  const auto hello = watched.answer();
  zmq::CommitRequest request;
  const zmq::KindTable kinds;
  const Transaction transaction{.operations = {make(machine("a"))}, .preconditions = {}};
  zmq::EncodedTransaction encoded(transaction, kinds);
  encoded.request.id_high = 7;
  encoded.request.id_low = 1;
  encoded.request.instance = zmq::decode<zmq::HelloReply>(hello).value().instance;
  SUBCASE("a commit is answered: nothing was written") {
    watched.send(zmq::encode(2, 1, encoded.request));
    const auto bytes = watched.answer();
    REQUIRE(Watched::header_of(bytes).type == zmq::MessageType::error);
    CHECK(zmq::error_of(zmq::decode<zmq::ErrorReply>(bytes).value()).code() == ErrorCode::timeout);
    CHECK_FALSE(exists<api::Machine>(watched.local.store(), "a"));
    watched.send(zmq::encode(3, 600'000, encoded.request));
    CHECK(Watched::header_of(watched.answer()).type == zmq::CommitReply::type);
    CHECK(exists<api::Machine>(watched.local.store(), "a"));
  }
  SUBCASE("a list and a replay are not answered") {
    const auto now = watched.local.store().revision().value().value;
    watched.send(zmq::encode(2, 1, zmq::ListRequest{{machines, "", "", ""}, 0, ""}));
    watched.send(zmq::encode(3, 1, zmq::ChangesRequest{{machines, "", "", ""}, "", now, 0}));
    watched.send(zmq::encode(4, 600'000, zmq::ListRequest{{machines, "", "", ""}, 0, ""}));
    CHECK(Watched::header_of(watched.answer()).request_id == 4);
  }
}

TEST_CASE("a field that the server does not know is kept, and warned of once") {
  SystemClock clock;
  Warnings log;
  Watched watched(clock, log);
  zmq::ClientOptions options;
  options.endpoint = "ipc://" + (watched.directory.path() / "s").string();
  const auto store = zmq::connect(*watched.context, options, clock, log).value();
  for (const std::string name : {"a", "b"}) {
    auto newer = machine(name);
    newer.spec.unknown.set("future", "1");
    must(*store, make(newer));
    must(*store, Patch{key<api::Machine>("default", name), R"({"metadata":{"later":true},"spec":{"future":2}})"});
  }
  const auto kept = store->get(key<api::Machine>("default", "b")).value();
  CHECK(kept.as<api::Machine>().spec.unknown.members().at("future") == "2");
  const std::string text = "a field that this version does not know was written; it is kept as it is resource=";
  CHECK(log.lines() == Texts{text + std::string(machines) + " field=spec.future",
                             text + std::string(machines) + " field=metadata.later"});
}

TEST_CASE("a local subscriber that answers nothing is cut off") {
  Remote remote;
  // The handshake of a SUB socket (ZeroMQ RFC 23), and then not a word.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = remote.path().string() + ".changes";
  REQUIRE(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  const std::string zero(1, '\0');
  const timeval patience{60, 0};
  REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  const auto say = [&](const std::string& words) {
    REQUIRE(::write(fd.get(), words.data(), words.size()) == static_cast<ssize_t>(words.size()));
  };
  std::array<char, 4096> bytes{};
  const auto greeting = "\xff" + std::string(8, '\0') + "\x7f\x03" + zero + "NULL" + std::string(48, '\0');
  say(greeting);
  REQUIRE(::recv(fd.get(), bytes.data(), greeting.size(), MSG_WAITALL) == static_cast<ssize_t>(greeting.size()));
  const std::string ready = "\x05READY\x0bSocket-Type" + std::string(3, '\0') + "\x03SUB";
  say("\x04" + std::string(1, static_cast<char>(ready.size())) + ready + zero + "\x02\x01~");
  ssize_t count = 1;
  std::size_t heard = 0;
  const auto before = remote.clock().now();
  while (count > 0 && remote.clock().now() - before < long_bound) {
    count = ::read(fd.get(), bytes.data(), bytes.size());
    if (count > 0) heard += static_cast<std::size_t>(count);
  }
  CHECK(heard > 500);  // heartbeats
  CHECK_MESSAGE(count <= 0, "the server still sends");
}

TEST_CASE("subscriptions to what does not exist disturb nobody, nor does their end") {
  Remote remote;
  auto peer = zmq::Socket::open(remote.context(), ZMQ_XSUB).value();
  REQUIRE(peer.set(ZMQ_SNDHWM, 0));
  REQUIRE(peer.connect(remote.endpoint() + ".changes"));
  wait_for("a connection", [&] {
    zmq::Message message(std::string_view("\x01nowhere/"));
    peer.send(message);
    return remote.counters().refused > 0;
  });
  for (int i = 0; i < 20'000; ++i) {
    zmq::Message message("\x01nowhere/" + std::to_string(i));
    REQUIRE(peer.send(message));
  }
  wait_for("refusals", [&] { return remote.counters().refused > 20'000; });
  auto watch = remote.store().watch(query<api::Machine>(), remote.store().revision().value()).value();
  must(remote.local(), make(machine("a")));
  CHECK(read_texts(*watch, 1) == Texts{"added a"});
  peer.close();
  must(remote.local(), make(machine("b")));
  CHECK(read_texts(*watch, 1) == Texts{"added b"});
}

TEST_CASE("a server whose ZeroMQ is shut down says so and ends") {
  TemporaryDirectory directory;
  LocalUnderTest local;
  SystemClock clock;
  NullLog log;
  const auto with = context();
  const auto server = zmq::Server::create(*with, local.store(), quick(directory.path() / "s"), clock, log).value();
  Result<void> ran{};
  std::jthread runner([&](std::stop_token stop) { ran = server->run(stop); });
  REQUIRE(zmq_ctx_shutdown(with->native()->handle) == 0);
  runner.join();
  CHECK(code_of(ran) == ErrorCode::internal);
}
