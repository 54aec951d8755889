// SPDX-License-Identifier: Apache-2.0
// A process with an SQLite store is killed in a write storm, again and again; the next one finds all that was
// acknowledged.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ironcore/base/unique_fd.hpp"
#include "ironcore/store/sqlite.hpp"
#include "ledger.hpp"
#include "temporary_directory.hpp"

using namespace ironcore;
using namespace ironcore::test;
namespace sqlite = ironcore::store::sqlite;

namespace {

constexpr int threads = 4;
constexpr int pairs_per_thread = 8;
constexpr store::LocalStoreOptions options{.history_changes = 20'000};

/// What the writer tells before and after each commit: an atomic record on a pipe. Nothing of it is lost by
/// the kill.
struct Message {
  enum class Kind : int { intended, acknowledged } kind;
  int pair;
  int value;  ///< -1 = absent
};

PairValue value_of(const Message& message) {
  return message.value < 0 ? PairValue() : PairValue(message.value);
}

void tell(int fd, const Message& message) {
  if (write(fd, &message, sizeof(message)) != static_cast<ssize_t>(sizeof(message))) _exit(3);
}

/// Never returns. The ledger is that of the parent, so that it knows which pairs exist.
[[noreturn]] void write_storm(const std::filesystem::path& file, const Ledger& ledger, std::uint64_t seed, int fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  SystemClock clock;
  NullLog log;
  auto opened = sqlite::open_journal(file, {.checkpoint_pages = 100});
  if (!opened) _exit(1);
  auto store = store::LocalStore::open(*std::move(opened), options, clock, log);
  if (!store) _exit(2);
  std::vector<std::jthread> writers;
  for (int thread = 0; thread < threads; ++thread)
    writers.emplace_back([&, thread] {
      std::mt19937_64 random(seed * 100 + static_cast<std::uint64_t>(thread));
      std::vector<PairValue> values;
      for (int i = 0; i < pairs_per_thread; ++i) values.push_back(ledger.value(thread * pairs_per_thread + i));
      for (int round = 0;; ++round) {
        const auto index = random() % pairs_per_thread;
        const int pair = thread * pairs_per_thread + static_cast<int>(index);
        const auto from = values[index];
        const auto to = from && random() % 4 == 0 ? PairValue() : PairValue(static_cast<int>(random() % 1'000'000));
        tell(fd, {Message::Kind::intended, pair, to.value_or(-1)});
        if (!(*store)->commit(pair_transaction(pair, from, to, random() % 3000))) _exit(4);
        tell(fd, {Message::Kind::acknowledged, pair, to.value_or(-1)});
        values[index] = to;
        if (thread == 0 && round % 50 == 49 && !(*store)->collect()) _exit(5);
      }
    });
  writers.clear();
  _exit(6);
}

}  // namespace

TEST_CASE("whoever is killed while writing has everything that was acknowledged when it starts again") {
  constexpr int rounds = 100;
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  std::mt19937_64 random(17);
  Ledger ledger;
  Mirror mirror;
  std::size_t acknowledged = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    std::array<int, 2> ends{};
    REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
    UniqueFd in(ends[0]);
    UniqueFd out(ends[1]);
    const auto child = fork();
    REQUIRE(child >= 0);
    if (child == 0) write_storm(file, ledger, static_cast<std::uint64_t>(round) + 1, out.get());
    out.reset();
    // Killed after some acknowledgement, or soon after the start, even before the store is open.
    std::size_t left = round % 10 == 0 ? 0 : 1 + random() % 120;
    bool is_killed = false;
    const auto kill_child = [&] {
      if (!is_killed) CHECK(kill(child, SIGKILL) == 0);
      is_killed = true;
    };
    if (left == 0) {
      pollfd waiting{in.get(), POLLIN, 0};
      (void)poll(&waiting, 1, static_cast<int>(random() % 20));
      kill_child();
    }
    Message message{};
    while (true) {
      const auto count = ::read(in.get(), &message, sizeof(message));
      if (count == 0) break;
      REQUIRE(count == static_cast<ssize_t>(sizeof(message)));
      if (message.kind == Message::Kind::intended) {
        ledger.intend(message.pair, value_of(message));
      } else {
        ledger.acknowledge(message.pair);
        ++acknowledged;
        if (left > 0 && --left == 0) kill_child();
      }
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE_MESSAGE(WIFSIGNALED(status), "the writer ended by itself with code " << WEXITSTATUS(status));

    SystemClock clock;
    NullLog log;
    const auto store = sqlite::open(file, clock, log, options);
    if (!store) FAIL(store.error().message());
    try {
      ledger.check(**store);
      mirror.follow(**store);
    } catch (const Violation& violation) {
      FAIL(violation.what());
    }
  }
  CHECK(acknowledged > 1000);
  CHECK(sqlite::check(file).has_value());
}
