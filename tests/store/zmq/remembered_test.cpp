// SPDX-License-Identifier: Apache-2.0
// Commits that are sent twice happen once, whatever others do meanwhile; what is not known any more is not guessed.
#include "remembered.hpp"

#include "codec.hpp"
#include "fair_queue.hpp"
#include "remote_fixture.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::test;
using namespace std::chrono_literals;

namespace {

/// A peer that sends commits with ids of its own.
class Committer {
 public:
  explicit Committer(Remote& remote) : socket_(zmq::Socket::open(remote.context(), ZMQ_DEALER).value()) {
    REQUIRE(socket_.connect(remote.endpoint()));
    const auto answer = ask(zmq::encode(++requests_, 1000, zmq::HelloRequest{"test"}));
    instance_ = zmq::decode<zmq::HelloReply>(answer).value().instance;
  }
  /// The answer's bytes.
  std::string commit(std::uint64_t client, std::uint64_t number, const Transaction& transaction) {
    zmq::EncodedTransaction encoded(transaction, kinds_);
    encoded.request.id_high = client;
    encoded.request.id_low = number;
    encoded.request.instance = instance_;
    return ask(zmq::encode(++requests_, 10'000, encoded.request));
  }
  std::string create(std::uint64_t client, std::uint64_t number) {
    auto unnamed = machine("");
    unnamed.metadata.generate_name = "m-";
    return commit(client, number, {.operations = {make(unnamed)}, .preconditions = {}});
  }

 private:
  std::string ask(std::string request) {
    zmq::Message message(std::move(request));
    REQUIRE(socket_.send(message));
    std::optional<zmq::Message> answer;
    wait_for("an answer", [&] { return (answer = socket_.receive()).has_value(); });
    return std::string(answer->bytes());
  }
  const zmq::KindTable kinds_;
  zmq::Socket socket_;
  std::uint64_t requests_ = 0;
  std::uint64_t instance_ = 0;
};

std::string created_name(const std::string& answer) {
  const auto reply = zmq::decode<zmq::CommitReply>(answer);
  if (!reply) FAIL(reply.error().message());
  return Object::decode(reply->objects.at(0).json).value().name();
}

ErrorCode error_code(const std::string& answer) {
  zmq::Header header;
  REQUIRE(zmq::decode_header(answer, header));
  REQUIRE(header.type == zmq::MessageType::error);
  return zmq::error_of(zmq::decode<zmq::ErrorReply>(answer).value()).code();
}

std::size_t machines(Remote& remote) {
  return remote.local().list(query<api::Machine>()).value().objects.size();
}

}  // namespace

TEST_CASE("a commit that is sent again happens once however much others commit meanwhile") {
  zmq::ServerOptions options;
  options.remembered_commits = 50;
  Remote remote(options);
  Committer peer(remote);
  const auto name = created_name(peer.create(7, 1));
  SUBCASE("others that write") {
    for (std::uint64_t i = 0; i < 60; ++i) peer.create(8, i);
    CHECK(created_name(peer.create(7, 1)) == name);
    CHECK(machines(remote) == 61);
  }
  SUBCASE("others that write nothing") {
    for (std::uint64_t i = 0; i < 60; ++i) peer.commit(8, i, {});
    CHECK(created_name(peer.create(7, 1)) == name);
    CHECK(machines(remote) == 1);
  }
  SUBCASE("but when its own client went on too far, nobody knows, and that is the answer") {
    for (std::uint64_t i = 2; i < 62; ++i) peer.create(7, i);
    CHECK(error_code(peer.create(7, 1)) == ErrorCode::timeout);
    CHECK_MESSAGE(created_name(peer.create(7, 61)) != name, "the last ones are still known");
    CHECK(machines(remote) == 61);
  }
}

TEST_CASE("a large answer is made again from the store as long as it holds what was written") {
  Remote remote;
  Committer peer(remote);
  auto large = machine("large");
  large.unknown.set("future", '"' + std::string(100'000, 'x') + '"');
  const Transaction transaction{.operations = {make(large)}, .preconditions = {}};
  const auto first = peer.commit(7, 1, transaction);
  CHECK(created_name(first) == "large");
  CHECK(peer.commit(7, 1, transaction).substr(zmq::header_bytes) == first.substr(zmq::header_bytes));
  must(remote.local(), Patch{key<api::Machine>("default", "large"), R"({"metadata":{"labels":{"x":"1"}}})"});
  CHECK(error_code(peer.commit(7, 1, transaction)) == ErrorCode::timeout);
  must(remote.local(), Delete{key<api::Machine>("default", "large")});
  CHECK_MESSAGE(error_code(peer.commit(7, 1, transaction)) == ErrorCode::timeout, "it is not created anew");
}

TEST_CASE("answers are kept for a minute, their numbers for longer, and each peer's apart") {
  LocalUnderTest local;
  auto& store = local.store();
  zmq::RememberedCommits remembered(100, 1'000'000);
  const Instant start{};
  const Result<Committed> result = store.commit({.operations = {make(machine("a"))}, .preconditions = {}});
  // The numbers run over.
  for (const std::uint64_t number : {UINT64_MAX - 1, UINT64_MAX, std::uint64_t{0}, std::uint64_t{1}})
    remembered.add("key", {7, number}, result, 500, start);
  CHECK(remembered.find("key", {7, 0}, store).value().value().revision == result->revision);
  CHECK_FALSE(remembered.find("key", {7, 2}, store));
  CHECK_FALSE(remembered.find("other key", {7, 0}, store));
  CHECK_FALSE(remembered.find("key", {8, 0}, store));
  remembered.forget_old(start + 59s);
  CHECK(remembered.find("key", {7, 0}, store).value().has_value());
  remembered.forget_old(start + 61s);
  for (const std::uint64_t number : {UINT64_MAX - 5, UINT64_MAX, std::uint64_t{0}, std::uint64_t{1}})
    CHECK(code_of(remembered.find("key", {7, number}, store).value()) == ErrorCode::timeout);
  CHECK_FALSE(remembered.find("key", {7, 2}, store));
  // One that fills the memory with bytes forgets its own.
  remembered.add("key", {9, 1}, result, 500, start + 61s);
  for (std::uint64_t number = 0; number < 20; ++number)
    remembered.add("key", {10, number}, Result<Committed>(Error(ErrorCode::conflict, "no")), 200'000, start + 61s);
  CHECK(remembered.find("key", {9, 1}, store).value().has_value());
  CHECK(code_of(remembered.find("key", {10, 0}, store).value()) == ErrorCode::timeout);
  CHECK(code_of(remembered.find("key", {10, 19}, store).value()) == ErrorCode::conflict);
}

TEST_CASE("senders are served in turn, each with a short queue") {
  struct Job {
    std::string name;
    int steps;
  };
  zmq::FairQueue<Job> queue(3, 5);
  for (int i = 0; i < 3; ++i) CHECK(queue.push("a", {"a" + std::to_string(i), 2}));
  CHECK_FALSE(queue.push("a", {"a3", 2}));
  CHECK(queue.push("b", {"b0", 1}));
  CHECK(queue.push("c", {"c0", 1}));
  CHECK_FALSE(queue.push("d", {"d0", 1}));
  CHECK(queue.find("a", [](const Job& job) { return job.name == "a1"; }) != nullptr);
  CHECK(queue.find("b", [](const Job& job) { return job.name == "a1"; }) == nullptr);
  std::string order;
  while (!queue.is_empty())
    queue.step([&](Job& job) {
      order += job.name + " ";
      return --job.steps > 0;
    });
  CHECK(order == "a0 b0 c0 a0 a1 a1 a2 a2 ");
  CHECK(queue.push("d", {"d0", 1}));
}
