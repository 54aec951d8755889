// SPDX-License-Identifier: Apache-2.0
// Simulation: power cuts, failing syncs and a full disk under the SQLite store; nothing acknowledged is lost,
// nothing is half there.
#include <algorithm>
#include <random>

#include "ironcore/sim/virtual_clock.hpp"
#include "ironcore/store/sqlite.hpp"
#include "ledger.hpp"
#include "simulated_disk.hpp"
#include "simulation.hpp"

using namespace ironcore;
using namespace ironcore::test;

namespace {

/// Counts over all seeds, so that a simulation which never gets to the interesting places shows.
struct Tally {
  std::uint64_t cuts = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t full = 0;
  std::uint64_t opened_full = 0;
  std::uint64_t failed_syncs = 0;
};

class PowerCut {
 public:
  PowerCut(std::uint64_t seed, Tally& tally) : random_(seed), disk_(seed * 31 + 7), tally_(tally) {}

  void run() {
    for (int cycle = 0; cycle < 6; ++cycle) {
      live();
      store_.reset();
      disk_.power_on();
      ++tally_.cuts;
    }
    if (!open()) throw Violation("the store cannot be opened after the last cut");
    check();
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  bool open() {
    // Few pages before each checkpoint, so that cuts hit those as well.
    auto journal = store::sqlite::open_journal(
        "store.db", {.vfs = disk_.name(), .checkpoint_pages = static_cast<int>(8 + below(60))});
    if (!journal) return lose(journal.error());
    auto opened = store::LocalStore::open(
        *std::move(journal), {.history_changes = 5000, .history_age = std::chrono::seconds(20)}, clock_, log_);
    if (!opened) return lose(opened.error());
    store_ = *std::move(opened);
    return true;
  }

  /// Without power anything may fail; with power only what was asked for.
  bool lose(const Error& error) {
    if (disk_.has_power()) throw Violation("with power on: " + error.message());
    return false;
  }

  void check() {
    ledger_.check(*store_);
    mirror_.follow(*store_);
  }

  void live() {
    // Some cuts come while the store is being opened.
    disk_.cut_power_after(1 + (below(3) == 0 ? below(30) : below(1200)));
    if (!open()) return;
    try {
      check();
    } catch (const Violation&) {
      if (disk_.has_power()) throw;
    }
    if (is_full_) {
      ++tally_.opened_full;
      live_on_a_full_disk();
    }
    while (disk_.has_power()) {
      const auto what = below(40);
      if (what == 0) {
        clock_.advance(std::chrono::seconds(below(15)));
        mirror_.follow(*store_);
        (void)store_->collect();
      } else if (what == 1) {
        fail_a_sync();
      } else if (what == 2) {
        fill_the_disk();
      } else {
        write();
      }
    }
  }

  std::vector<Result<store::Committed>> commit(std::vector<int>& pairs) {
    std::vector<store::Transaction> transactions;
    const auto count = 1 + below(6);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto pair = static_cast<int>(below(20));
      if (std::find(pairs.begin(), pairs.end(), pair) != pairs.end()) continue;
      const auto from = ledger_.value(pair);
      const auto to = from && below(4) == 0 ? PairValue() : PairValue(++counter_);
      pairs.push_back(pair);
      ledger_.intend(pair, to);
      transactions.push_back(pair_transaction(pair, from, to, below(8) == 0 ? 20'000 : below(500)));
    }
    return store_->commit_all(transactions);
  }

  void write() {
    std::vector<int> pairs;
    const auto results = commit(pairs);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (results[i]) {
        ledger_.acknowledge(pairs[i]);
        ++tally_.acknowledged;
      } else if (disk_.has_power()) {
        throw Violation("with power on: " + results[i].error().message());
      }
    }
    // Without power: nobody knows, until the store is opened again.
    if (disk_.has_power() && below(20) == 0) mirror_.follow(*store_);
  }

  /// A refused write must not come back after a cut.
  void expect_refusal(const std::vector<int>& pairs, const std::vector<Result<store::Committed>>& results) {
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (results[i]) {
        ledger_.acknowledge(pairs[i]);
      } else if (results[i].error().code() != ErrorCode::timeout && disk_.has_power()) {
        ledger_.refuse(pairs[i]);
      }
    }
  }

  void fail_a_sync() {
    disk_.fail_next_sync("-wal");
    std::vector<int> pairs;
    const auto results = commit(pairs);
    expect_refusal(pairs, results);
    if (!disk_.has_power()) return;
    ++tally_.failed_syncs;
    check_after_fault();
  }

  void fill_the_disk() {
    disk_.set_capacity(disk_.bytes() + below(20'000));
    is_full_ = true;
    live_on_a_full_disk();
  }

  /// Until there is room again, or until the power goes: then the next one finds the disk full.
  void live_on_a_full_disk() {
    write_on_a_full_disk();
    if (disk_.has_power() && below(2) == 0) {
      store_.reset();
      if (!open()) return;
      check_after_fault();
      write_on_a_full_disk();
    }
    if (!disk_.has_power()) return;
    disk_.set_capacity({});
    is_full_ = false;
    write();
  }

  void write_on_a_full_disk() {
    for (int i = 0; i < 20 && disk_.has_power(); ++i) {
      std::vector<int> pairs;
      const auto results = commit(pairs);
      expect_refusal(pairs, results);
      for (const auto& result : results) {
        if (result || !disk_.has_power()) continue;
        if (result.error().code() != ErrorCode::exhausted)
          throw Violation("a full disk is called " + result.error().message());
        ++tally_.full;
      }
      // Reads go on.
      if (disk_.has_power()) check_after_fault();
    }
  }

  void check_after_fault() {
    ledger_.check(*store_);
    mirror_.follow(*store_);
  }

  std::mt19937_64 random_;
  SimulatedDisk disk_;
  Tally& tally_;
  sim::VirtualClock clock_;
  NullLog log_;
  std::unique_ptr<store::LocalStore> store_;
  Ledger ledger_;
  Mirror mirror_;
  int counter_ = 0;
  bool is_full_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  Tally tally;
  const int code = simulate(argc, argv, 40, [&](std::uint64_t seed) { PowerCut(seed, tally).run(); });
  std::printf(
      "%llu cuts, %llu acknowledged transactions, %llu failed syncs, %llu refused for want of room, %llu opened "
      "without\n",
      static_cast<unsigned long long>(tally.cuts), static_cast<unsigned long long>(tally.acknowledged),
      static_cast<unsigned long long>(tally.failed_syncs), static_cast<unsigned long long>(tally.full),
      static_cast<unsigned long long>(tally.opened_full));
  return code;
}
