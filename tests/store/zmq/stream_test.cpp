// SPDX-License-Identifier: Apache-2.0
// Streams: both ways, in order, with credit; grants; what is left when somebody goes.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <atomic>
#include <mutex>
#include <queue>

#include "remote_fixture.hpp"
#include "socket.hpp"
#include "stream_link.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::test;

namespace {

/// A worker on a thread that hands its streams to the test.
class RunningWorker {
 public:
  RunningWorker(Remote& remote, std::string pool)
      : worker_(zmq::StreamWorker::create(
                    remote.context(), remote.client_options(), api::kind_of<api::Machine>(), std::move(pool),
                    [this](const zmq::StreamRequest& request, std::unique_ptr<zmq::Stream> stream) -> Result<void> {
                      if (request.what == "refused")
                        return Error(ErrorCode::wrong_state, "another one holds the console");
                      std::lock_guard lock(mutex_);
                      requests_.push(request);
                      streams_.push(std::move(stream));
                      return {};
                    },
                    remote.clock(), remote.log())
                    .value()),
        thread_([this](std::stop_token stop) {
          if (auto ran = worker_->run(stop); !ran) failure = ran.error().message();
        }) {}
  ~RunningWorker() { stop(); }
  void stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }
  void wait_until_registered() {
    wait_for("registration", [&] { return worker_->is_registered(); });
  }
  bool is_registered() { return worker_->is_registered(); }
  std::unique_ptr<zmq::Stream> next() {
    std::unique_ptr<zmq::Stream> stream;
    wait_for("a stream", [&] {
      std::lock_guard lock(mutex_);
      if (streams_.empty()) return false;
      stream = std::move(streams_.front());
      streams_.pop();
      last = requests_.front();
      requests_.pop();
      return true;
    });
    return stream;
  }
  zmq::StreamRequest last;
  std::string failure;

 private:
  std::mutex mutex_;
  std::queue<zmq::StreamRequest> requests_;
  std::queue<std::unique_ptr<zmq::Stream>> streams_;
  std::unique_ptr<zmq::StreamWorker> worker_;
  std::jthread thread_;
};

std::unique_ptr<zmq::StreamClient> stream_client(Remote& remote) {
  auto client = zmq::StreamClient::connect(remote.context(), remote.client_options(), remote.clock(), remote.log());
  if (!client) FAIL(client.error().message());
  return std::move(*client);
}

std::unique_ptr<zmq::Stream> open(zmq::StreamClient& client, const std::string& name,
                                  std::string_view what = "console") {
  auto stream = client.open(key<api::Machine>("default", name), what);
  if (!stream) FAIL(stream.error().message());
  return std::move(*stream);
}

std::string read_exactly(zmq::Stream& stream, std::size_t count) {
  std::string bytes;
  while (bytes.size() < count) {
    auto more = stream.read(bound());
    if (!more) FAIL(more.error().message());
    REQUIRE_MESSAGE(!more->empty(), "only " << bytes.size() << " of " << count << " bytes came");
    bytes += *more;
  }
  return bytes;
}

/// Everything until the end, and how it ended.
std::pair<std::string, Error> read_to_end(zmq::Stream& stream) {
  std::string bytes;
  for (;;) {
    auto more = stream.read(bound());
    if (!more) return {bytes, more.error()};
    REQUIRE_FALSE(more->empty());
    bytes += *more;
  }
}

std::string pattern(std::size_t size, std::size_t seed) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 31 + i / 251 + seed) & 0xff);
  return bytes;
}

}  // namespace

TEST_CASE("a stream carries bytes both ways and ends with a reason") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  auto client = stream_client(remote);
  auto here = open(*client, "a");
  auto there = worker.next();
  CHECK(worker.last.object == key<api::Machine>("default", "a"));
  CHECK(worker.last.uid == remote.local().get(key<api::Machine>("default", "a")).value().metadata().uid);
  CHECK(worker.last.what == "console");
  CHECK(worker.last.identity == "local");

  CHECK(here->write("hello", bound()).value() == 5);
  CHECK(read_exactly(*there, 5) == "hello");
  CHECK(there->write("and you", bound()).value() == 7);
  CHECK(read_exactly(*here, 7) == "and you");
  CHECK(here->read(Instant{}).value().empty());
  SUBCASE("closed by the worker, after its last words") {
    there->write("bye", bound()).value();
    there->close("the machine stopped", bound());
    const auto [bytes, end] = read_to_end(*here);
    CHECK(bytes == "bye");
    CHECK(end.code() == ErrorCode::gone);
    CHECK(end.message() == "the machine stopped");
    CHECK(code_of(here->write("x", bound())) == ErrorCode::gone);
  }
  SUBCASE("closed by the client") {
    here->write("bye", bound()).value();
    here->close("enough", bound());
    const auto [bytes, end] = read_to_end(*there);
    CHECK(bytes == "bye");
    CHECK(end.code() == ErrorCode::gone);
    CHECK(end.message() == "enough");
  }
  SUBCASE("dropped by the client") {
    here.reset();
    CHECK(read_to_end(*there).second.code() == ErrorCode::gone);
  }
  SUBCASE("dropped by the worker") {
    there.reset();
    CHECK(read_to_end(*here).second.code() == ErrorCode::gone);
  }
  SUBCASE("the worker is stopped") {
    worker.stop();
    CHECK(read_to_end(*there).second.code() == ErrorCode::cancelled);
    CHECK(read_to_end(*here).second.code() == ErrorCode::unavailable);
  }
  SUBCASE("the server is stopped") {
    remote.stop();
    CHECK(read_to_end(*here).second.code() == ErrorCode::unavailable);
    CHECK(read_to_end(*there).second.code() == ErrorCode::unavailable);
  }
}

TEST_CASE("much more than fits passes whole and in order, both ways at once") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  auto client = stream_client(remote);
  auto here = open(*client, "a");
  auto there = worker.next();
  constexpr std::size_t size = 8 * 1024 * 1024;
  const auto up = pattern(size, 1), down = pattern(size, 2);
  std::jthread writer_up([&] { CHECK(here->write(up, bound()).value() == size); });
  std::jthread writer_down([&] { CHECK(there->write(down, bound()).value() == size); });
  std::string arrived_up;
  std::jthread reader_up([&] { arrived_up = read_exactly(*there, size); });
  CHECK(read_exactly(*here, size) == down);
  reader_up.join();
  CHECK(arrived_up == up);
}

TEST_CASE("a reader that does not read makes the writer wait, in little memory") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  auto client = stream_client(remote);
  auto here = open(*client, "a");
  auto there = worker.next();
  const std::string bytes(16 * 1024 * 1024, 'x');
  std::size_t taken = 0;
  for (;;) {
    const auto count =
        there->write(std::string_view(bytes).substr(taken), remote.clock().now() + std::chrono::milliseconds(300))
            .value();
    taken += count;
    if (count == 0) break;
  }
  // A window that waits here, and one that is on the way or there.
  CHECK(taken <= 2 * zmq::stream_window);
  CHECK(taken >= zmq::stream_window);
  CHECK(read_exactly(*here, taken) == bytes.substr(0, taken));
  CHECK(there->write("more", bound()).value() == 4);
  CHECK(read_exactly(*here, 4) == "more");
}

TEST_CASE("a reader that stays away for long finds what was written meanwhile") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  ShiftedClock clock;
  auto client = zmq::StreamClient::connect(remote.context(), remote.client_options(), clock, remote.log()).value();
  auto here = open(*client, "a");
  auto there = worker.next();
  clock.advance(std::chrono::minutes(1));
  CHECK(there->write("hello", bound()).value() == 5);
  std::string bytes;
  while (bytes.size() < 5) {
    auto more = here->read(clock.now() + long_bound);
    if (!more) FAIL(more.error().message());
    REQUIRE_FALSE(more->empty());
    bytes += *more;
  }
  CHECK(bytes == "hello");
}

TEST_CASE("many streams of one worker do not disturb each other") {
  Remote remote;
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  auto client = stream_client(remote);
  std::vector<std::unique_ptr<zmq::Stream>> here, there;
  for (int i = 0; i < 20; ++i) {
    const auto name = "m-" + std::to_string(i);
    must(remote.local(), make(machine_on(name, "host-1")));
    here.push_back(open(*client, name));
    there.push_back(worker.next());
    CHECK(worker.last.object.name == name);
  }
  // The first one is never read.
  CHECK(there[0]->write(std::string(zmq::stream_window, 'x'), bound()).value() == zmq::stream_window);
  for (std::size_t i = 1; i < here.size(); ++i) {
    const auto text = "number " + std::to_string(i);
    here[i]->write(text, bound()).value();
    CHECK(read_exactly(*there[i], text.size()) == text);
    there[i]->write(text, bound()).value();
    CHECK(read_exactly(*here[i], text.size()) == text);
  }
}

TEST_CASE("a stream that cannot be is refused with its reason") {
  Remote remote;
  auto client = stream_client(remote);
  const auto code = [&](const std::string& name, std::string_view what = "console") {
    return code_of(client->open(key<api::Machine>("default", name), what));
  };
  CHECK(code("none") == ErrorCode::not_found);
  must(remote.local(), make(machine("unplaced")));
  CHECK(code("unplaced") == ErrorCode::wrong_state);
  must(remote.local(), make(machine_on("a", "host-1")));
  CHECK(code("a") == ErrorCode::unavailable);
  CHECK(code_of(client->open(key<api::Secret>("default", "none"), "console")) == ErrorCode::not_found);
  must(remote.local(), make(secret("s")));
  CHECK(code_of(client->open(key<api::Secret>("default", "s"), "console")) == ErrorCode::unsupported);
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  CHECK(code("a", "") == ErrorCode::invalid);
  const auto refused = client->open(key<api::Machine>("default", "a"), "refused");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::wrong_state);
  CHECK(refused.error().message() == "another one holds the console");
  auto stream = open(*client, "a");
  CHECK(worker.next() != nullptr);
}

TEST_CASE("a grant is good once, and not for something made up") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  const auto peer = [&](const std::string& suffix) {
    auto socket = zmq::Socket::open(remote.context(), ZMQ_DEALER).value();
    REQUIRE(socket.connect(remote.endpoint() + suffix));
    return socket;
  };
  const auto ask = [](zmq::Socket& socket, std::string bytes) {
    zmq::Message message(std::move(bytes));
    REQUIRE(socket.send(message));
    std::optional<zmq::Message> answer;
    wait_for("an answer", [&] {
      answer = socket.receive();
      zmq::Header header;
      return answer && zmq::decode_header(answer->bytes(), header) && header.type != zmq::MessageType::ping;
    });
    return std::string(answer->bytes());
  };
  const auto type_of = [](const std::string& bytes) {
    zmq::Header header;
    REQUIRE(zmq::decode_header(bytes, header));
    return header.type;
  };
  auto requests = peer("");
  const auto granted =
      ask(requests,
          zmq::encode(1, 1000, zmq::GrantStreamRequest{{"machines.compute.ironcore.dev", "default", "a"}, "console"}));
  const auto grant = zmq::decode<zmq::GrantStreamReply>(granted).value();
  CHECK((grant.grant_high != 0 || grant.grant_low != 0));
  auto streams = peer(".streams");
  const zmq::OpenStream open_it{grant.grant_high, grant.grant_low, 65536};
  CHECK(type_of(ask(streams, zmq::encode(1, 1000, open_it))) == zmq::MessageType::accept_stream);
  const auto again = ask(streams, zmq::encode(2, 1000, open_it));
  REQUIRE(type_of(again) == zmq::MessageType::close_stream);
  CHECK(zmq::error_of(zmq::decode<zmq::CloseStream>(again).value().error).code() == ErrorCode::forbidden);
  CHECK(type_of(ask(streams, zmq::encode(3, 1000, zmq::OpenStream{1, 2, 65536}))) == zmq::MessageType::close_stream);
  auto there = worker.next();

  SUBCASE("who sends more than was granted loses the stream") {
    const std::string chunk(zmq::stream_chunk, 'x');
    for (int i = 0; i < 8; ++i) {
      zmq::Message message(zmq::encode(1, 0, zmq::StreamData{chunk}));
      REQUIRE(streams.send(message));
    }
    wait_for("the end", [&] { return remote.counters().malformed == 1; });  // reading before would grant more
    const auto [bytes, end] = read_to_end(*there);
    CHECK(bytes.size() < zmq::stream_window);
    CHECK(end.code() == ErrorCode::invalid);
  }
  SUBCASE("messages of streams that do not exist are answered with their end") {
    CHECK(type_of(ask(streams, zmq::encode(99, 0, zmq::StreamData{"x"}))) == zmq::MessageType::close_stream);
    // Another peer cannot speak in this stream by using its number.
    auto other = peer(".streams");
    CHECK(type_of(ask(other, zmq::encode(1, 0, zmq::StreamData{"intruder"}))) == zmq::MessageType::close_stream);
    zmq::Message message(zmq::encode(1, 0, zmq::StreamData{"right"}));
    REQUIRE(streams.send(message));
    CHECK(read_exactly(*there, 5) == "right");
  }
  SUBCASE("garbage is counted and dropped") {
    zmq::Message garbage(std::string_view("garbage"));
    REQUIRE(streams.send(garbage));
    wait_for("the count", [&] { return remote.counters().malformed == 1; });
    zmq::Message message(zmq::encode(1, 0, zmq::StreamData{"right"}));
    REQUIRE(streams.send(message));
    CHECK(read_exactly(*there, 5) == "right");
  }
}

TEST_CASE("a worker registers again after a restart of the server") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  remote.stop();
  remote.start();
  auto client = stream_client(remote);
  std::unique_ptr<zmq::Stream> here;
  wait_for("a stream after the restart", [&] {
    auto stream = client->open(key<api::Machine>("default", "a"), "console");
    if (stream) here = std::move(*stream);
    return here != nullptr;
  });
  auto there = worker.next();
  here->write("x", bound()).value();
  CHECK(read_exactly(*there, 1) == "x");
}

TEST_CASE("a second worker of a pool waits for the first one to go") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  auto first = std::make_unique<RunningWorker>(remote, "host-1");
  first->wait_until_registered();
  RunningWorker second(remote, "host-1");
  auto client = stream_client(remote);
  auto stream = open(*client, "a");
  CHECK(first->next() != nullptr);
  CHECK_FALSE(second.is_registered());
  first.reset();
  second.wait_until_registered();
  auto another = open(*client, "a");
  CHECK(second.next() != nullptr);
}

TEST_CASE("a client that is killed is noticed and the worker told") {
  Remote remote;
  must(remote.local(), make(machine_on("a", "host-1")));
  RunningWorker worker(remote, "host-1");
  worker.wait_until_registered();
  int told[2];
  REQUIRE(::pipe(told) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // Nothing of the parent's ZeroMQ is touched here.
    SystemClock clock;
    NullLog log;
    auto with = context();
    auto client = zmq::StreamClient::connect(*with, remote.client_options(), clock, log);
    auto stream = client ? (*client)->open(key<api::Machine>("default", "a"), "console")
                         : Result<std::unique_ptr<zmq::Stream>>(client.error());
    const char done = stream ? 'y' : 'n';
    if (::write(told[1], &done, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char done = 0;
  REQUIRE(::read(told[0], &done, 1) == 1);
  CHECK(done == 'y');
  auto there = worker.next();
  int signal = SIGKILL;
  SUBCASE("killed") {}
  SUBCASE("stopped for ever") {
    signal = SIGSTOP;
  }
  const auto before = remote.clock().now();
  REQUIRE(::kill(child, signal) == 0);
  const auto [bytes, end] = read_to_end(*there);
  CHECK(end.code() == ErrorCode::unavailable);
  CHECK_MESSAGE(remote.clock().now() - before < std::chrono::seconds(20),
                "much longer than the ten seconds that are promised");
  ::kill(child, SIGKILL);
  int status;
  REQUIRE(::waitpid(child, &status, 0) == child);
  ::close(told[0]);
  ::close(told[1]);
}
