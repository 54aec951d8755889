// SPDX-License-Identifier: Apache-2.0
// A server on SQLite is killed in a write storm of remote clients, again and again. Clients and watches live through all of
// it: every acknowledged write is there, no half write, no watch has a hole or a duplicate.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "../ledger.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/store/sqlite.hpp"
#include "remote_fixture.hpp"

using namespace ironcore;
using namespace ironcore::test;
using namespace std::chrono_literals;

namespace {

constexpr int rounds = 100;
constexpr int writers = 4;
constexpr int pairs_per_writer = 6;
constexpr const char* end_name = "the-end";

/// What the killed process does: the store in `directory`, served, until the end.
int serve(const std::filesystem::path& directory) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  SystemClock clock;
  NullLog log;
  auto journal = store::sqlite::open_journal(directory / "store.db", {.checkpoint_pages = 100});
  if (!journal) return std::fprintf(stderr, "%s\n", journal.error().message().c_str()), 1;
  const auto store = store::LocalStore::open(*std::move(journal), {}, clock, log);
  if (!store) return std::fprintf(stderr, "%s\n", store.error().message().c_str()), 1;
  const auto context = zmq::Context::create().value();
  const auto server = zmq::Server::create(*context, **store, quick(directory / "s"), clock, log);
  if (!server) return std::fprintf(stderr, "%s\n", server.error().message().c_str()), 1;
  if (::write(STDOUT_FILENO, "r", 1) != 1) return 1;
  return (*server)->run({}) ? 0 : 1;
}

/// A process that serves; killed when this is destroyed.
class ServerProcess {
 public:
  explicit ServerProcess(const std::filesystem::path& directory) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const UniqueFd in(ends[0]);
    UniqueFd out(ends[1]);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::dup2(out.get(), STDOUT_FILENO);
      ::execl("/proc/self/exe", "test_server_crash", "serve", directory.c_str(), nullptr);
      ::_exit(127);
    }
    out.reset();
    char ready = 0;
    REQUIRE(::read(in.get(), &ready, 1) == 1);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() {
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    CHECK_MESSAGE(WIFSIGNALED(status), "the server ended by itself");
  }

 private:
  pid_t pid_ = -1;
};

/// Half of a pair is a Machine, whose changes are published whole; half is a Secret, whose changes are fetched.
struct Pair {
  std::string name;
  PairValue value;
  std::array<store::Revision, 2> revisions;
  std::array<store::Key, 2> keys() const {
    return {store::key<api::Machine>("default", name), store::key<api::Secret>("default", name)};
  }
};

store::Transaction bring(const Pair& pair, PairValue to) {
  store::Transaction transaction;
  for (std::size_t half = 0; half < 2; ++half) {
    const auto key = pair.keys()[half];
    if (pair.value)
      transaction.preconditions.emplace_back(store::Unchanged{key, pair.revisions[half]});
    else
      transaction.preconditions.emplace_back(store::Absent{key});
    const auto label = to ? std::to_string(*to) : std::string();
    if (!to) {
      transaction.operations.emplace_back(store::Delete{key});
    } else if (pair.value) {
      transaction.operations.emplace_back(store::Patch{key, R"({"metadata":{"labels":{"value":")" + label + R"("}}})"});
    } else if (half == 0) {
      auto made = machine(pair.name);
      made.metadata.labels["value"] = label;
      transaction.operations.emplace_back(store::Create{store::Object::of(std::move(made))});
    } else {
      api::Secret secret;
      secret.metadata.name = pair.name;
      secret.metadata.namespace_ = "default";
      secret.metadata.labels["value"] = label;
      transaction.operations.emplace_back(store::Create{store::Object::of(std::move(secret))});
    }
  }
  return transaction;
}

class Storm {
 public:
  explicit Storm(const std::filesystem::path& directory) : directory_(directory) {
    for (int writer = 0; writer < writers; ++writer)
      threads_.emplace_back([this, writer](std::stop_token stop) { guarded([&] { write(writer, stop); }); });
    threads_.emplace_back([this](std::stop_token stop) { guarded([&] { watch<api::Machine>(machines_, stop); }); });
    threads_.emplace_back([this](std::stop_token stop) { guarded([&] { watch<api::Secret>(secrets_, stop); }); });
  }

  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t uncertain() const { return uncertain_; }
  bool is_broken() const { return is_broken_; }

  /// Ends the writing, lets the watches see the end, and compares all with the store.
  void finish() {
    stop_writing_ = true;
    for (int writer = 0; writer < writers; ++writer) threads_[static_cast<std::size_t>(writer)].join();
    const auto store = connect();
    REQUIRE(store->commit(bring({.name = end_name}, 1)).has_value());
    wait_for("the watches see the last write", [&] { return is_broken_ || watches_at_end_ == 2; });
    for (auto& thread : threads_) thread.request_stop();
    threads_.clear();
    const std::lock_guard lock(mutex_);
    REQUIRE_MESSAGE(violation_.empty(), violation_);
    compare<api::Machine>(*store, machines_);
    compare<api::Secret>(*store, secrets_);
  }
  std::string violation() {
    const std::lock_guard lock(mutex_);
    return violation_;
  }

 private:
  template <class Body>
  void guarded(Body body) {
    try {
      body();
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      if (violation_.empty()) violation_ = error.what();
      is_broken_ = true;
    }
  }

  std::unique_ptr<store::Store> connect() {
    zmq::ClientOptions options{.endpoint = "ipc://" + (directory_ / "s").string(), .timeout = 30s};
    options.connect_timeout = 30s;
    return zmq::connect(*context_, options, clock_, log_).value();
  }

  void write(int writer, const std::stop_token& stop) {
    const auto store = connect();
    std::mt19937_64 random(static_cast<std::uint64_t>(writer) + 1);
    std::vector<Pair> pairs(pairs_per_writer);
    for (std::size_t i = 0; i < pairs.size(); ++i)
      pairs[i].name = "pair-" + std::to_string(writer) + "-" + std::to_string(i);
    while (!stop.stop_requested() && !stop_writing_ && !is_broken_) {
      Pair& pair = pairs[random() % pairs.size()];
      const auto to = pair.value && random() % 4 == 0 ? PairValue() : PairValue(static_cast<int>(random() % 1'000'000));
      const auto committed = store->commit(bring(pair, to));
      if (committed) {
        pair.value = to;
        for (std::size_t half = 0; half < 2; ++half)
          pair.revisions[half] = committed->objects[half].metadata().resource_version;
        ++acknowledged_;
      } else {
        // The server died before its answer came: either it happened or it did not.
        ++uncertain_;
        learn(*store, pair, to, committed.error().message());
      }
    }
  }

  /// Reads what a pair is; it must be what was acknowledged, or what was asked for since.
  static void learn(store::Store& store, Pair& pair, PairValue asked, const std::string& why) {
    std::array<PairValue, 2> found;
    const auto keys = pair.keys();
    for (std::size_t half = 0; half < 2; ++half) {
      const auto object = store.get(keys[half]);
      if (object) {
        found[half] = std::stoi(object->metadata().labels.at("value"));
        pair.revisions[half] = object->metadata().resource_version;
      } else if (object.error().code() != ErrorCode::not_found) {
        throw Violation("read " + pair.name + ": " + object.error().message());
      }
    }
    if (found[0] != found[1]) throw Violation(pair.name + " was written by half");
    if (found[0] != pair.value && found[0] != asked)
      throw Violation(pair.name + " has neither its acknowledged nor its asked value, after: " + why);
    pair.value = found[0];
  }

  /// One watch for the whole time, whatever happens to the server.
  template <class Kind>
  void watch(Mirror& mirror, const std::stop_token& stop) {
    const auto store = connect();
    store::Query query;
    query.kind = &api::kind_of<Kind>();
    const auto changes = store->watch(query, {}).value();
    while (!stop.stop_requested()) {
      const auto next = changes->next(clock_.now() + 1s, stop);
      if (!next) throw Violation("watch: " + next.error().message());
      for (const auto& change : *next) {
        mirror.apply(change);
        if (change.object && change.object->name() == end_name) ++watches_at_end_;
      }
    }
  }

  template <class Kind>
  static void compare(store::Store& store, const Mirror& mirror) {
    store::Query query;
    query.kind = &api::kind_of<Kind>();
    std::map<std::string, store::Object> listed;
    for (auto& object : store.list(query).value().objects) listed.emplace(object.name(), object);
    CHECK(listed == mirror.objects());
  }

  std::filesystem::path directory_;
  SystemClock clock_;
  NullLog log_;
  std::unique_ptr<zmq::Context> context_ = test::context();
  Mirror machines_, secrets_;
  std::atomic<std::uint64_t> acknowledged_{0}, uncertain_{0};
  std::atomic<int> watches_at_end_{0};
  std::atomic<bool> stop_writing_{false}, is_broken_{false};
  std::mutex mutex_;
  std::string violation_;
  std::vector<std::jthread> threads_;
};

}  // namespace

TEST_CASE("a server that is killed while it writes loses nothing that a client was told, and no watch notices") {
  const TemporaryDirectory directory;
  std::mt19937_64 random(23);
  std::optional<ServerProcess> server(std::in_place, directory.path());
  Storm storm(directory.path());
  for (int round = 0; round < rounds && !storm.is_broken(); ++round) {
    const auto enough = storm.acknowledged() + 1 + random() % 60;
    wait_for("writes are acknowledged", [&] { return storm.is_broken() || storm.acknowledged() >= enough; });
    server.reset();
    server.emplace(directory.path());
  }
  REQUIRE_MESSAGE(!storm.is_broken(), storm.violation());
  storm.finish();
  CHECK(storm.acknowledged() > rounds);
  CHECK(storm.uncertain() > 0);  // otherwise no kill ever came between a write and its answer
  server.reset();
  CHECK(store::sqlite::check(directory.path() / "store.db").has_value());
}

int main(int count, char** words) {
  if (count == 3 && std::strcmp(words[1], "serve") == 0) return serve(words[2]);
  return doctest::Context(count, words).run();
}
