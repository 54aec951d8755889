// SPDX-License-Identifier: Apache-2.0
// How fast the embedded store is: commits, lists, opening, memory; beside what the disk alone needs. Prints
// one JSON line per figure.
#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "figures.hpp"
#include "ironcore/api/compute.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/store/sqlite.hpp"
#include "ironcore/store/typed.hpp"

using namespace ironcore;
using namespace ironcore::bench;
namespace fs = std::filesystem;
using store::Create;
using store::Delete;
using store::Object;
using store::Patch;
using store::Transaction;

namespace {

using Seconds = std::chrono::duration<double>;

/// Where the files go; the directory of the build unless told otherwise, because /tmp may be memory.
fs::path make_directory(const char* where) {
  std::string pattern = (fs::path(where) / "bench-store-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    std::perror(pattern.c_str());
    std::exit(1);
  }
  return pattern;
}

class Stopwatch {
 public:
  Stopwatch() : start_(std::chrono::steady_clock::now()), cpu_start_(cpu()) {}
  double seconds() const { return Seconds(std::chrono::steady_clock::now() - start_).count(); }
  double cpu_seconds() const { return cpu() - cpu_start_; }

 private:
  static double cpu() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
  }
  std::chrono::steady_clock::time_point start_;
  double cpu_start_;
};

double rss_in_mib() {
  malloc_trim(0);
  std::ifstream status("/proc/self/statm");
  double total = 0, resident = 0;
  status >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024 * 1024);
}

/// About a kibibyte of JSON in the store: what a machine with a disk, a NIC and some labels has.
api::Machine machine(std::size_t number) {
  api::Machine result;
  result.metadata.name = "machine-" + std::to_string(100'000'000 + number);
  result.metadata.namespace_ = "default";
  result.metadata.labels = {{"app", "web"}, {"team", "team-" + std::to_string(number % 20)}};
  result.metadata.annotations["note"] = std::string(230, 'x');
  result.metadata.finalizers = {std::string(api::machine_finalizer)};
  result.spec.machine_class_ref.name = "small";
  result.spec.machine_pool_ref = api::LocalReference{.name = "pool-" + std::to_string(number % 10'000), .unknown = {}};
  api::MachineVolume volume;
  volume.name = "root";
  volume.device = "oda";
  volume.local_disk =
      api::LocalDisk{.size_limit = Quantity::bytes(10LL << 30), .image = "registry.example/os:1", .unknown = {}};
  result.spec.volumes.push_back(volume);
  api::MachineNetworkInterface nic;
  nic.name = "primary";
  nic.network_interface_ref = api::LocalReference{.name = "nic-" + std::to_string(number), .unknown = {}};
  result.spec.network_interfaces.push_back(nic);
  result.spec.ignition_ref = api::SecretKeySelector{.name = "ignition", .key = "ignition.yaml", .unknown = {}};
  return result;
}

Transaction create(std::size_t number) {
  Transaction transaction;
  transaction.operations.emplace_back(Create{Object::of(machine(number))});
  return transaction;
}

void fill(store::LocalStore& store, std::size_t count) {
  for (std::size_t begin = 0; begin < count; begin += 1000) {
    Transaction many;
    for (std::size_t i = begin; i < std::min(begin + 1000, count); ++i)
      many.operations.emplace_back(Create{Object::of(machine(i))});
    must(store.commit(many));
  }
}

struct Quantiles {
  double p50, p99, worst;
};
Quantiles quantiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values[values.size() * 99 / 100], values.back()};
}

/// Appending a kibibyte and making it durable: nothing that is durable can be faster.
Quantiles bare_append(const fs::path& directory, int count) {
  const UniqueFd fd(::open((directory / "floor").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const std::string block(1024, 'x');
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const Stopwatch watch;
    if (write(fd.get(), block.data(), block.size()) != static_cast<ssize_t>(block.size()) || fdatasync(fd.get()) != 0)
      fail("append");
    times.push_back(watch.seconds());
  }
  return quantiles(std::move(times));
}

/// One server thread that finds 64 requests waiting, again and again.
void bench_batches(store::LocalStore& store, const char* body, std::size_t batches) {
  constexpr std::size_t size = 64;
  std::vector<std::vector<Transaction>> work(batches);
  for (std::size_t i = 0; i < batches * size; ++i) work[i / size].push_back(create(1'000'000 + i));
  const Stopwatch watch;
  for (const auto& batch : work)
    for (auto& result : store.commit_all(batch)) must(std::move(result));
  const auto count = static_cast<double>(batches * size);
  const auto params = std::string(R"("body":")") + body + R"(","batch":64)";
  print("store.commit.local", count / watch.seconds(), "objects/s", params);
  print("store.commit.local.cpu", watch.cpu_seconds() / count * 1e6, "us/object", params);
}

void bench_threads(store::LocalStore& store, std::size_t per_thread) {
  constexpr std::size_t threads = 64;
  const Stopwatch watch;
  {
    std::vector<std::jthread> running;
    for (std::size_t thread = 0; thread < threads; ++thread)
      running.emplace_back([&store, thread, per_thread] {
        for (std::size_t i = 0; i < per_thread; ++i) must(store.commit(create(10'000'000 + thread * 100'000 + i)));
      });
  }
  const auto count = static_cast<double>(threads * per_thread);
  print("store.commit.threads", count / watch.seconds(), "objects/s", R"("body":"sqlite","threads":64)");
  print("store.commit.threads.cpu", watch.cpu_seconds() / count * 1e6, "us/object", R"("body":"sqlite","threads":64)");
}

void bench_single_writes(store::LocalStore& store, const fs::path& directory) {
  // Interleaved with the floor, because the disk is not equally fast all the time.
  std::vector<double> times;
  std::vector<Quantiles> floors;
  for (int round = 0; round < 8; ++round) {
    floors.push_back(bare_append(directory, 500));
    for (int i = 0; i < 500; ++i) {
      const auto transaction = create(20'000'000 + static_cast<std::size_t>(round * 500 + i));
      const Stopwatch watch;
      must(store.commit(transaction));
      times.push_back(watch.seconds());
    }
  }
  const auto writes = quantiles(times);
  std::vector<double> p50s, p99s;
  for (const auto& floor : floors) p50s.push_back(floor.p50), p99s.push_back(floor.p99);
  const auto floor_p50 = quantiles(p50s).p50;
  const auto floor_p99 = quantiles(p99s).p50;
  print("store.write.local.p50", writes.p50 * 1e6, "us");
  print("store.write.local.p99", writes.p99 * 1e6, "us");
  print("store.write.local.worst", writes.worst * 1e6, "us");
  print("disk.append.p50", floor_p50 * 1e6, "us");
  print("disk.append.p99", floor_p99 * 1e6, "us");
  print("store.write.local.p50.ratio", writes.p50 / floor_p50, "x");
  print("store.write.local.p99.ratio", writes.p99 / floor_p99, "x");
}

void bench_patches(store::LocalStore& store) {
  constexpr std::size_t count = 20'000;
  std::vector<Transaction> batch;
  const Stopwatch watch;
  for (std::size_t i = 0; i < count; ++i) {
    batch.emplace_back().operations.emplace_back(
        Patch{store::key<api::Machine>("default", machine(i % 10'000).metadata.name),
              R"({"status":{"machineID":"test://)" + std::to_string(i) + R"("}})", store::Part::status});
    if (batch.size() < 64) continue;
    for (auto& result : store.commit_all(batch)) must(std::move(result));
    batch.clear();
  }
  print("store.patch.local", static_cast<double>(count) / watch.seconds(), "patches/s",
        R"("body":"sqlite","batch":64)");
  print("store.patch.local.cpu", watch.cpu_seconds() / static_cast<double>(count) * 1e6, "us/patch",
        R"("body":"sqlite","batch":64)");
}

void bench_reading(const fs::path& directory, Clock& clock, Log& log) {
  constexpr std::size_t count = 100'000;
  const auto file = directory / "list.db";
  const auto rss_before = rss_in_mib();
  auto store = must(store::sqlite::open(file, clock, log));
  {
    const Stopwatch watch;
    fill(*store, count);
    print("store.fill.local", static_cast<double>(count) / watch.seconds(), "objects/s",
          R"("body":"sqlite","batch":1000)");
  }
  print("store.memory.machine", (rss_in_mib() - rss_before) * 1024 / static_cast<double>(count), "KiB/object",
        R"("objects":100000)");
  store::Query query;
  query.kind = &api::kind_of<api::Machine>();
  std::vector<double> times;
  for (int round = 0; round < 9; ++round) {
    const Stopwatch watch;
    const auto page = must(store->list(query));
    times.push_back(watch.seconds());
    if (page.objects.size() != count) fail("the list is not complete");
  }
  print("store.list.local.s", quantiles(times).p50, "s", R"("objects":100000)");
  times.clear();
  query.labels = must(store::LabelSelector::parse("team=team-7"));
  for (int round = 0; round < 9; ++round) {
    const Stopwatch watch;
    if (must(store->list(query)).objects.size() != count / 20) fail("the list by label is not complete");
    times.push_back(watch.seconds());
  }
  print("store.list.label.s", quantiles(times).p50, "s", R"("objects":100000)");
  times.clear();
  query.labels = {};
  for (std::size_t i = 0; i < 1000; ++i) {
    query.fields = must(store::FieldSelector::parse("spec.machinePoolRef.name=pool-" + std::to_string(i)));
    const Stopwatch watch;
    if (must(store->list(query)).objects.size() != 10) fail("the list by pool is not complete");
    times.push_back(watch.seconds());
  }
  print("store.list.pool.us", quantiles(times).p50 * 1e6, "us", R"("objects":100000,"found":10)");
  times.clear();
  for (std::size_t i = 0; i < 100'000; ++i) {
    const auto key = store::key<api::Machine>("default", "machine-" + std::to_string(100'000'000 + i * 7919 % count));
    const Stopwatch watch;
    must(store->get(key));
    times.push_back(watch.seconds());
  }
  print("store.get.local.us", quantiles(times).p50 * 1e6, "us", R"("objects":100000)");
  print("store.rss", rss_in_mib(), "MiB", R"("objects":100000)");
  store.reset();
  const Stopwatch watch;
  store = must(store::sqlite::open(file, clock, log));
  print("store.open.s", watch.seconds(), "s", R"("objects":100000)");
}

void bench_opening(const fs::path& directory, Clock& clock, Log& log) {
  const auto file = directory / "open.db";
  must(store::sqlite::open(file, clock, log)).reset();
  print("store.rss", rss_in_mib(), "MiB", R"("objects":1)");
  fill(*must(store::sqlite::open(file, clock, log)), 10'000);
  std::vector<double> times;
  for (int round = 0; round < 5; ++round) {
    const Stopwatch watch;
    const auto store = must(store::sqlite::open(file, clock, log));
    times.push_back(watch.seconds());
  }
  print("store.open.s", quantiles(times).p50, "s", R"("objects":10000)");
}

bool is_wanted(int argc, char** argv, std::string_view name) {
  if (argc < 3) return true;
  for (int i = 2; i < argc; ++i)
    if (argv[i] == name) return true;
  return false;
}

}  // namespace

/// bench_store_local [DIRECTORY [opening|batches|threads|writes|patches|reading...]]
int main(int argc, char** argv) {
  const auto directory = make_directory(argc > 1 ? argv[1] : ".");
  SystemClock clock;
  NullLog log;
  if (is_wanted(argc, argv, "opening")) bench_opening(directory, clock, log);
  if (is_wanted(argc, argv, "batches")) {
    bench_batches(*store::memory_store(clock, log), "memory", 1000);
    bench_batches(*must(store::sqlite::open(directory / "batches.db", clock, log)), "sqlite", 1000);
  }
  if (is_wanted(argc, argv, "threads"))
    bench_threads(*must(store::sqlite::open(directory / "threads.db", clock, log)), 500);
  if (is_wanted(argc, argv, "writes"))
    bench_single_writes(*must(store::sqlite::open(directory / "writes.db", clock, log)), directory);
  if (is_wanted(argc, argv, "patches")) {
    const auto store = must(store::sqlite::open(directory / "patches.db", clock, log));
    fill(*store, 10'000);
    bench_patches(*store);
  }
  if (is_wanted(argc, argv, "reading")) bench_reading(directory, clock, log);
  std::error_code ignored;
  fs::remove_all(directory, ignored);
  return 0;
}
