// SPDX-License-Identifier: Apache-2.0
// What a peer may send without the server being harmed: garbage, damage, other versions, too much, and never reading.
#include <zmq.h>

#include <random>

#include "codec.hpp"
#include "remote_fixture.hpp"
#include "socket.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::test;

namespace {

/// A peer that speaks bytes.
class RawPeer {
 public:
  explicit RawPeer(Remote& remote, const std::string& suffix = {})
      : socket_(zmq::Socket::open(remote.context(), ZMQ_DEALER).value()) {
    REQUIRE(socket_.connect(remote.endpoint() + suffix));
  }
  void send(std::string bytes, int flags = 0) {
    zmq::Message message(std::move(bytes));
    REQUIRE(socket_.send(message, flags));
  }
  std::string answer() {
    std::optional<zmq::Message> message;
    wait_for("an answer", [&] { return (message = socket_.receive()).has_value(); });
    return std::string(message->bytes());
  }
  Error error() {
    const auto bytes = answer();
    zmq::Header header;
    REQUIRE(zmq::decode_header(bytes, header));
    REQUIRE(header.type == zmq::MessageType::error);
    return zmq::error_of(zmq::decode<zmq::ErrorReply>(bytes).value());
  }

 private:
  zmq::Socket socket_;
};

std::string with_byte(std::string bytes, std::size_t at, char value) {
  bytes.at(at) = value;
  return bytes;
}

void check_alive(Remote& remote) {
  static int count = 0;
  must(remote.store(), make(machine("alive-" + std::to_string(++count))));
}

}  // namespace

TEST_CASE("garbage is counted and dropped") {
  Remote remote;
  RawPeer peer(remote);
  peer.send("");
  peer.send("hello?");
  peer.send(std::string(100'000, '\xff'));
  peer.send("ICZM");
  peer.send("several", ZMQ_SNDMORE);
  peer.send("frames", ZMQ_SNDMORE);
  peer.send("here");
  wait_for("the count", [&] { return remote.counters().malformed == 5; });
  check_alive(remote);
}

TEST_CASE("random bytes behind a good header are answered and change nothing") {
  Remote remote;
  check_alive(remote);
  const auto before = remote.store().revision().value();
  RawPeer peer(remote);
  std::mt19937 random(1);
  std::size_t answered = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string body(random() % 200, '\0');
    for (auto& byte : body) byte = static_cast<char>(random());
    auto bytes = zmq::encode(static_cast<std::uint64_t>(i) + 1, 1000, zmq::Ping{});
    const auto type = static_cast<std::uint16_t>(2 + random() % 12);
    bytes[6] = static_cast<char>(type);
    bytes[7] = 0;
    for (std::size_t at = 0; at < 4; ++at) bytes[20 + at] = static_cast<char>(body.size() >> (8 * at));
    peer.send(bytes + body);
    if (i % 16 == 15) {
      // Not faster than it is answered: the server keeps few answers for a peer that does not read.
      for (; answered < static_cast<std::size_t>(i) + 1; ++answered) peer.answer();
    }
  }
  CHECK(remote.store().revision().value() == before);
  check_alive(remote);
}

TEST_CASE("a message of another protocol version is answered with both versions") {
  Remote remote;
  for (const auto* suffix : {"", ".streams"}) {
    RawPeer peer(remote, suffix);
    peer.send(with_byte(zmq::encode(77, 1000, zmq::HelloRequest{"later"}), 4, 9));
    const auto bytes = peer.answer();
    zmq::Header header;
    REQUIRE(zmq::decode_header(bytes, header));
    CHECK(header.request_id == 77);
    const auto error = zmq::error_of(zmq::decode<zmq::ErrorReply>(bytes).value());
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(error.message().find("version 9") != std::string::npos);
    CHECK(error.message().find("version 1") != std::string::npos);
  }
  CHECK(remote.counters().foreign_version == 2);
  check_alive(remote);
}

TEST_CASE("a client says so when the server is of another version") {
  SystemClock clock;
  NullLog log;
  TemporaryDirectory directory;
  auto with = context();
  auto server = zmq::Socket::open(*with, ZMQ_ROUTER).value();
  const auto endpoint = "ipc://" + (directory.path() / "s").string();
  REQUIRE(server.bind(endpoint));
  std::jthread answerer([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      auto id = server.receive();
      if (!id) {
        std::this_thread::yield();
        continue;
      }
      auto request = server.receive();
      server.send(*id, ZMQ_SNDMORE);
      zmq::Message answer(with_byte(std::string(request->bytes()), 4, 3));
      server.send(answer);
    }
  });
  zmq::ClientOptions options;
  options.endpoint = endpoint;
  const auto store = zmq::connect(*with, options, clock, log);
  REQUIRE_FALSE(store);
  CHECK(store.error().code() == ErrorCode::unsupported);
  CHECK(store.error().message().find("version 3") != std::string::npos);
}

TEST_CASE("counts and sizes that cannot be are refused before anything is allocated") {
  Remote remote;
  RawPeer peer(remote);
  // A list of four thousand million operations in a message of some bytes.
  auto bytes = zmq::encode(1, 1000, zmq::CommitRequest{});
  for (std::size_t at = 0; at < 4; ++at) bytes[zmq::header_bytes + 24 + at] = '\xff';
  peer.send(bytes);
  CHECK(peer.error().code() == ErrorCode::invalid);
  // A text longer than its message.
  bytes = zmq::encode(2, 1000, zmq::HelloRequest{"x"});
  bytes[zmq::header_bytes + 3] = '\x7f';
  peer.send(bytes);
  CHECK(peer.error().code() == ErrorCode::invalid);
  // Bytes left over.
  bytes = zmq::encode(3, 1000, zmq::RevisionRequest{}) + "x";
  bytes[20] = 1;
  peer.send(bytes);
  CHECK(peer.error().code() == ErrorCode::invalid);
  // A length that is not the message's.
  peer.send(with_byte(zmq::encode(4, 1000, zmq::RevisionRequest{}), 20, 1));
  wait_for("the count", [&] { return remote.counters().malformed == 4; });
  check_alive(remote);
}

TEST_CASE("a request that does not make sense is refused with its reason") {
  Remote remote;
  RawPeer peer(remote);
  peer.send(zmq::encode(1, 1000, zmq::GetRequest{{"gadgets.example.org", "default", "x"}}));
  auto error = peer.error();
  CHECK(error.code() == ErrorCode::invalid);
  CHECK(error.message().find("gadgets.example.org") != std::string::npos);

  peer.send(zmq::encode(2, 1000, zmq::ListRequest{{"machines.compute.ironcore.dev", "", "a in (", ""}, 0, ""}));
  CHECK(peer.error().code() == ErrorCode::invalid);
  peer.send(zmq::encode(3, 1000, zmq::ListRequest{{"machines.compute.ironcore.dev", "", "", "=="}, 0, ""}));
  CHECK(peer.error().code() == ErrorCode::invalid);
  peer.send(
      zmq::encode(4, 1000, zmq::ListRequest{{"machines.compute.ironcore.dev", "", "", ""}, 0, "\xff not a place"}));
  CHECK(peer.answer().size() >= zmq::header_bytes);
  peer.send(
      zmq::encode(5, 1000, zmq::ChangesRequest{{"machines.compute.ironcore.dev", "", "", ""}, "another epoch", 0, 0}));
  CHECK(peer.error().code() == ErrorCode::gone);
  peer.send(
      zmq::encode(6, 1000, zmq::ChangesRequest{{"machines.compute.ironcore.dev", "", "", ""}, "", UINT64_MAX, 0}));
  CHECK(peer.error().code() == ErrorCode::gone);
  peer.send(zmq::encode(7, 1000, zmq::AcquireLeaseRequest{std::string(5000, 'x'), "me", 1'000'000'000}));
  CHECK(peer.error().code() == ErrorCode::invalid);
  peer.send(
      zmq::encode(8, 1000, zmq::GrantStreamRequest{{"machines.compute.ironcore.dev", "default", "none"}, "console"}));
  CHECK(peer.error().code() == ErrorCode::not_found);
  // An answer is no request.
  peer.send(zmq::encode(9, 1000, zmq::RevisionReply{1}));
  CHECK(peer.error().code() == ErrorCode::invalid);
  check_alive(remote);
}

TEST_CASE("a message that is too large ends its connection and nothing else") {
  Remote remote;
  RawPeer large(remote);
  large.send(std::string(zmq::max_request_bytes + 1, 'x'));
  RawPeer peer(remote);
  peer.send(zmq::encode(1, 1000, zmq::RevisionRequest{}));
  CHECK(peer.answer().size() > zmq::header_bytes);
  CHECK(remote.counters().malformed == 0);
  check_alive(remote);
}

TEST_CASE("a transaction that does not fit into a request is refused by the client") {
  Remote remote;
  Transaction transaction;
  auto large = machine("x");
  large.metadata.annotations["text"] = std::string(1'000'000, 'x');
  for (int i = 0; i < 3; ++i) {
    large.metadata.name = "x-" + std::to_string(i);
    transaction.operations.push_back(make(large));
  }
  const auto committed = remote.store().commit(transaction);
  REQUIRE_FALSE(committed);
  CHECK(committed.error().code() == ErrorCode::exhausted);
  CHECK(committed.error().message().find("split it") != std::string::npos);
  check_alive(remote);
}

TEST_CASE("an object at the limit passes, one beyond it is refused by the store") {
  Remote remote;
  auto large = machine("fits");
  large.metadata.annotations["text"] = std::string(store::max_object_bytes - 2000, 'x');
  // Annotations have a limit of their own; the unknown members of a newer program do not.
  large.metadata.annotations.clear();
  large.unknown.set("future", '"' + std::string(store::max_object_bytes - 2000, 'x') + '"');
  must(remote.store(), make(large));
  CHECK(remote.store().get(key<api::Machine>("default", "fits")).value().json().size() >
        store::max_object_bytes - 2000);
  large.metadata.name = "too-large";
  large.unknown.set("future", '"' + std::string(store::max_object_bytes + 1, 'x') + '"');
  CHECK(code_of(remote.store(), make(large)) == ErrorCode::exhausted);
  check_alive(remote);
}

TEST_CASE("a peer that asks and never reads costs the others nothing") {
  Remote remote;
  auto large = machine("large");
  large.unknown.set("future", '"' + std::string(500'000, 'x') + '"');
  must(remote.store(), make(large));
  auto greedy = zmq::Socket::open(remote.context(), ZMQ_DEALER).value();
  REQUIRE(greedy.set(ZMQ_RCVHWM, 1));
  REQUIRE(greedy.connect(remote.endpoint()));
  const auto request = zmq::encode(1, 1000, zmq::GetRequest{{"machines.compute.ironcore.dev", "default", "large"}});
  std::size_t sent = 0;
  wait_for("answers that are dropped", [&] {
    zmq::Message message{std::string_view(request)};
    if (sent < 2000 && greedy.send(message)) ++sent;
    return remote.counters().dropped_answers > 10;
  });
  check_alive(remote);
}

TEST_CASE("publications that make no sense do not disturb a watch") {
  // A server that publishes nonsense beside what is right.
  Remote remote;
  RawPeer peer(remote, ".changes");  // not even a subscriber
  peer.send("nonsense");
  auto subscriber = zmq::Socket::open(remote.context(), ZMQ_XSUB).value();
  REQUIRE(subscriber.connect(remote.endpoint() + ".changes"));
  for (const auto* text : {"\x01", "\x01nowhere/", "\x01machines.compute.ironcore.dev",
                           "\x01machines.compute.ironcore.dev/a/b/", "\x02hello", "free text"}) {
    zmq::Message message{std::string_view(text)};
    wait_for("a connection", [&] { return subscriber.send(message); });
  }
  wait_for("refusals", [&] { return remote.counters().refused >= 4; });
  auto watch = remote.store().watch(query<api::Machine>(), remote.store().revision().value()).value();
  must(remote.store(), make(machine("a")));
  CHECK(read_texts(*watch, 1) == Texts{"added a"});
}
