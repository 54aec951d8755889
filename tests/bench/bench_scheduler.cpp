// SPDX-License-Identifier: Apache-2.0
// How fast machines get their pools: decisions in memory, and bindings through a durable store. One JSON line per figure.
//
// bench_scheduler [MACHINES [POOLS]]   100,000 onto 10,000 unless told otherwise; the store's file lies in the working directory
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "ironcore/control/controller.hpp"
#include "ironcore/control/scheduler.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/sqlite.hpp"

using namespace ironcore;
using namespace ironcore::control;

namespace {

constexpr std::int64_t gibibyte = std::int64_t{1} << 30;

double seconds_since(Clock& clock, Instant start) {
  return std::chrono::duration<double>(clock.now() - start).count();
}

void print(const char* bench, double value, const char* unit, std::size_t machines, std::size_t pools,
           const std::string& more) {
  std::printf("{\"bench\":\"%s\",\"value\":%.0f,\"unit\":\"%s\",\"params\":{\"machines\":%zu,\"pools\":%zu%s}}\n",
              bench, value, unit, machines, pools, more.c_str());
  std::fflush(stdout);
}

const std::vector<std::string> class_names{"small", "medium", "large", "wide"};

api::MachineClass machine_class(std::size_t i) {
  api::MachineClass made;
  made.metadata.name = class_names[i];
  made.capabilities = {{"cpu", Quantity(std::int64_t{1} << i)}, {"memory", Quantity::bytes(gibibyte << i)}};
  return made;
}

/// A rack of hosts like any other: three zones, one in a hundred tainted.
api::MachinePool machine_pool(std::size_t i) {
  api::MachinePool made;
  made.metadata.name = "host-" + std::to_string(i);
  made.metadata.labels = {{"topology.ironcore.dev/region", "r1"},
                          {"topology.ironcore.dev/zone", "z" + std::to_string(i % 3)}};
  made.spec.provider_id = "libvirt://" + made.metadata.name;
  if (i % 100 == 99) made.spec.taints = {{.key = "maintenance"}};
  return made;
}

void fill_status(api::MachinePool& pool) {
  pool.status.state = api::MachinePoolState::ready;
  pool.status.conditions = {{.type = "Ready", .status = api::ConditionStatus::true_, .reason = "HeartbeatReceived"}};
  pool.status.capacity = {{"cpu", Quantity(128)}, {"memory", Quantity::bytes(256 * gibibyte)}};
  for (std::size_t i = 0; i < class_names.size(); ++i) {
    pool.status.available_machine_classes.push_back({.name = class_names[i]});
    pool.status.capacity["class/machine." + class_names[i]] = Quantity(std::int64_t{128} >> i);
  }
  pool.status.allocatable = pool.status.capacity;
}

/// Four classes; one machine in four asks for a zone.
api::Machine machine(std::size_t i) {
  api::Machine made;
  made.metadata.namespace_ = "default";
  made.metadata.name = "machine-" + std::to_string(i);
  made.spec.machine_class_ref.name = class_names[i % class_names.size()];
  if (i % 4 == 1) made.spec.machine_pool_selector = {{"topology.ironcore.dev/zone", "z" + std::to_string(i % 3)}};
  return made;
}

void bench_decisions(Clock& clock, std::size_t machines, std::size_t pools) {
  Placement placement;
  for (std::size_t i = 0; i < class_names.size(); ++i) placement.set_class(class_names[i], size_of(machine_class(i)));
  for (std::size_t i = 0; i < pools; ++i) {
    auto pool = machine_pool(i);
    fill_status(pool);
    placement.set_pool(view_of(pool));
  }
  std::vector<Demand> demands;
  std::vector<std::string> uids;
  for (std::size_t i = 0; i < machines; ++i) {
    demands.push_back(Demand::of(machine(i)));
    uids.push_back("00000000-0000-4000-8000-" + std::to_string(100'000'000'000 + i));
  }
  std::size_t placed = 0;
  const auto start = clock.now();
  for (std::size_t i = 0; i < machines; ++i) {
    const auto pool = placement.decide(demands[i]);
    if (pool && placement.assume(uids[i], demands[i].class_name, *pool)) ++placed;
  }
  const auto elapsed = seconds_since(clock, start);
  std::size_t fewest = machines, most = 0;
  for (std::size_t i = 0; i < pools; ++i) {
    if (i % 100 == 99) continue;
    const auto count = placement.usage("host-" + std::to_string(i)).objects;
    fewest = std::min(fewest, count);
    most = std::max(most, count);
  }
  print("scheduler.decisions", static_cast<double>(machines) / elapsed, "decisions/s", machines, pools,
        ",\"placed\":" + std::to_string(placed) + ",\"fewest_on_a_pool\":" + std::to_string(fewest) +
            ",\"most_on_a_pool\":" + std::to_string(most));
}

/// Commits operations a thousand at a time; ends the program when one is refused.
void write_all(store::Store& store, std::vector<store::Operation> operations) {
  constexpr std::size_t batch = 1000;
  for (std::size_t at = 0; at < operations.size(); at += batch) {
    store::Transaction transaction;
    const auto end = std::min(operations.size(), at + batch);
    for (auto i = at; i < end; ++i) transaction.operations.push_back(std::move(operations[i]));
    const auto committed = store.commit(transaction);
    if (!committed) {
      std::fprintf(stderr, "%s\n", committed.error().message().c_str());
      std::exit(1);
    }
  }
}

void bench_bound(Clock& clock, Log& log, store::Store& store, std::size_t machines, std::size_t pools,
                 const std::string& body) {
  std::vector<store::Operation> operations;
  for (std::size_t i = 0; i < class_names.size(); ++i)
    operations.emplace_back(store::Create{store::Object::of(machine_class(i))});
  for (std::size_t i = 0; i < pools; ++i) operations.emplace_back(store::Create{store::Object::of(machine_pool(i))});
  write_all(store, std::move(operations));
  operations.clear();
  for (std::size_t i = 0; i < pools; ++i) {
    const auto before = store::Object::of(machine_pool(i));
    auto after = machine_pool(i);
    fill_status(after);
    operations.emplace_back(store::Patch{
        store::key_of(before), api::merge_patch(before, store::Object::of(std::move(after))), store::Part::status});
  }
  write_all(store, std::move(operations));
  operations.clear();
  auto start = clock.now();
  for (std::size_t i = 0; i < machines; ++i) operations.emplace_back(store::Create{store::Object::of(machine(i))});
  write_all(store, std::move(operations));
  const auto creating = seconds_since(clock, start);

  Informer<api::Machine> machine_cache(store, clock, log);
  Informer<api::MachinePool> pool_cache(store, clock, log);
  Informer<api::MachineClass> class_cache(store, clock, log);
  EventRecorder events(store, {.component = "machine-scheduler"}, clock, log);
  MachineScheduler scheduler(store, machine_cache, pool_cache, class_cache, events, {}, clock, log);
  std::stop_source stop;
  std::jthread caches([&] {
    run_together(stop.get_token(),
                 {[&](std::stop_token s) { machine_cache.run(s); }, [&](std::stop_token s) { pool_cache.run(s); },
                  [&](std::stop_token s) { class_cache.run(s); }});
  });
  machine_cache.wait_until_synced({});
  pool_cache.wait_until_synced({});
  class_cache.wait_until_synced({});

  // From "this process is the active one" to the last machine durably bound; listing again included.
  start = clock.now();
  std::jthread scheduling([&] { scheduler.run(stop.get_token()); });
  while (scheduler.bound() < machines) sleep_for(clock, std::chrono::milliseconds(1), {});
  const auto elapsed = seconds_since(clock, start);
  stop.request_stop();
  scheduling.join();
  caches.join();
  print("scheduler.bound", static_cast<double>(machines) / elapsed, "machines/s", machines, pools,
        ",\"store\":\"" + body + "\",\"batch\":500,\"created_per_s\":" +
            std::to_string(static_cast<long>(static_cast<double>(machines) / creating)));
}

}  // namespace

int main(int argc, char** argv) {
  SystemClock clock;
  NullLog log;
  const std::size_t machines = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  const std::size_t pools = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000;
  bench_decisions(clock, machines, pools);
  {
    const auto memory = store::memory_store(clock, log);
    bench_bound(clock, log, *memory, machines, pools, "memory");
  }
  const auto directory = std::filesystem::current_path() / ("bench-scheduler-" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  int code = 0;
  {
    auto opened = store::sqlite::open(directory / "store.db", clock, log);
    if (opened) {
      bench_bound(clock, log, **opened, machines, pools, "sqlite");
    } else {
      std::fprintf(stderr, "%s\n", opened.error().message().c_str());
      code = 1;
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return code;
}
