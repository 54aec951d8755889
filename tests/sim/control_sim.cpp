// SPDX-License-Identifier: Apache-2.0
// Whole clouds on one thread: schedulers, controllers and providers that crash, stall and lose their store, checked against invariants.
//
// control_sim [SEEDS [FIRST]]   runs SEEDS seeds from FIRST on (200 from 1; IRONCORE_SIM_SEEDS gives another number)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "../control/faulty_store.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/control/control_plane.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "ironcore/store/local_store.hpp"
#include "model_host.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace std::chrono_literals;
using ironcore::control::test::FaultyStore;

namespace {

constexpr std::int64_t gibibyte = std::int64_t{1} << 30;

struct Broken {
  std::string what;
};
void require(bool holds, const std::string& what) {
  if (!holds) throw Broken{what};
}

/// A process that may be down, stalled, or cut off from the store.
struct Actor {
  std::string name;
  std::unique_ptr<FaultyStore> store;
  bool is_stalled = false;
  bool is_cut_off = false;
};
struct PlaneActor : Actor {
  std::unique_ptr<ControlPlane> plane;
  int starts = 0;
};
struct HostActor : Actor {
  std::unique_ptr<sim_test::ModelHost> host;
  std::unique_ptr<MachineProvider> provider;
  std::string pool;
};

class Cloud {
 public:
  Cloud(std::uint64_t seed, std::string& dump)
      : dump_(dump), random_(seed), bytes_(seed), real_(store::memory_store(clock_, log_, store_options())) {
    trouble_ = pick(100) < 80 ? pick(12) : 0;  // percent of calls that fail
    planes_.resize(2);
    for (std::size_t i = 0; i < planes_.size(); ++i) {
      auto& plane = planes_[i];
      plane.name = "plane-" + std::to_string(i);
      give_store(plane);
    }
    hosts_.resize(1 + pick(5));
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      auto& host = hosts_[i];
      host.name = host.pool = "host-" + std::to_string(i);
      give_store(host);
      host.host = std::make_unique<sim_test::ModelHost>(
          clock_, compute::HostCapacity{.cpus = 2 + pick(12),
                                        .memory_bytes = static_cast<std::uint64_t>(gibibyte) * (4 + pick(40))});
      host.host->fails = [this] { return trouble_ > 0 && pick(100) < trouble_; };
      host.host->on_start = [this](const compute::MachineSpec& spec) { check_start(spec); };
    }
    if (pick(3) == 0) {  // a second host that was given the pool of the first by mistake
      auto& twin = hosts_.emplace_back();
      twin.name = "twin";
      twin.pool = "host-0";
      give_store(twin);
      twin.host = std::make_unique<sim_test::ModelHost>(
          clock_, compute::HostCapacity{.cpus = 64, .memory_bytes = std::uint64_t{64} << 30});
    }
    for (const auto& [name, size] :
         std::map<std::string, std::pair<int, int>>{{"small", {1, 1}}, {"big", {4, 8}}, {"wide", {3, 1}}})
      create_class(name, size.first, size.second);
    create_volume_classes();
    for (const auto& name : volume_pools_) {
      api::VolumePool pool;
      pool.metadata.name = name;
      pool.metadata.labels = {{"zone", name.back() % 2 == 0 ? "even" : "odd"}};
      (void)store::create(*real_, pool);
    }
  }

  ~Cloud() {
    for (const auto* kind : api::kinds())
      if (const auto page = real_->list({.kind = kind}))
        for (const auto& object : page->objects) dump_ += object.json() + "\n";
  }
  Cloud(const Cloud&) = delete;
  Cloud& operator=(const Cloud&) = delete;

  void run() {
    const auto rounds = 150 + pick(250);
    for (unsigned i = 0; i < rounds; ++i) {
      for (auto events = pick(4); events > 0; --events) disturb();
      clock_.advance(std::chrono::milliseconds(10 + pick(2000)));
      if (pick(8) == 0) beat_volume_pools();
      step_some();
      check_always();
    }
    calm();
    check_placed();
    empty();
    check_nothing_left();
  }

 private:
  store::LocalStoreOptions store_options() {
    store::LocalStoreOptions options;
    options.random = &bytes_;
    if (pick(2) == 0) options.history_changes = 50 + pick(200);  // watchers that stay away find their history gone
    return options;
  }
  unsigned pick(unsigned bound) { return static_cast<unsigned>(random_() % bound); }
  template <class T>
  const T& any_of(const std::vector<T>& all) {
    return all[pick(static_cast<unsigned>(all.size()))];
  }

  void give_store(Actor& actor) {
    actor.store = std::make_unique<FaultyStore>(*real_);
    actor.store->set_faults(
        [this, name = actor.name](FaultyStore::Call call,
                                  const store::Transaction* transaction) -> std::optional<FaultyStore::Fault> {
          using When = FaultyStore::Fault::When;
          if (cut_off_.contains(name)) return FaultyStore::Fault{Error(ErrorCode::unavailable, "cut off")};
          if (call == FaultyStore::Call::commit && has_too_large(*transaction))
            return FaultyStore::Fault{Error(ErrorCode::exhausted, "is too large")};
          if (trouble_ == 0 || pick(100) >= trouble_) return std::nullopt;
          if (call == FaultyStore::Call::next && pick(4) == 0)
            return FaultyStore::Fault{Error(ErrorCode::gone, "history is gone")};
          // Only an answer that is known to be lost may hide a write that happened.
          if (call == FaultyStore::Call::commit && pick(2) == 0)
            return FaultyStore::Fault{Error(ErrorCode::timeout, "answer lost"), When::after};
          if (call == FaultyStore::Call::commit && pick(4) == 0)
            return FaultyStore::Fault{Error(ErrorCode::exhausted, "the disk is full")};
          return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
        });
  }

  void start(PlaneActor& plane) {
    ControlPlaneOptions options;
    options.holder = plane.name + "-" + std::to_string(++plane.starts);
    options.scheduler.batch = 1 + pick(20);
    plane.plane = std::make_unique<ControlPlane>(*plane.store, options, clock_, log_);
  }
  void start(HostActor& host) {
    MachineProviderOptions options;
    options.pool = host.pool;
    options.provider_id = "sim://" + host.name;
    options.labels = {{"zone", host.name.back() % 2 == 0 ? "even" : "odd"}};
    options.open_volume = [](const api::VolumeAccess& access, const VolumeSecrets&) -> Result<compute::Disk> {
      compute::Disk disk;
      disk.source = compute::ExistingDisk{.path = access.handle};
      return disk;
    };
    host.provider = MachineProvider::create(*host.store, *host.host, options, clock_, log_).value();
  }

  // ---- what happens ----

  void create_class(const std::string& name, std::int64_t processors, std::int64_t memory) {
    api::MachineClass made;
    made.metadata.name = name;
    made.capabilities = {{"cpu", Quantity(processors)}, {"memory", Quantity::bytes(memory * gibibyte)}};
    (void)store::create(*real_, made);
  }

  void create_machine() {
    api::Machine made;
    made.metadata.namespace_ = "default";
    // A few are so large that the reference to their pool does not fit into them any more.
    made.metadata.name = (pick(40) == 0 ? "large" : "m") + std::to_string(next_machine_++);
    made.spec.machine_class_ref.name = any_of<std::string>({"small", "small", "big", "wide"});
    made.spec.power = pick(5) == 0 ? api::Power::off : api::Power::on;
    if (pick(4) == 0) made.spec.machine_pool_selector = {{"zone", pick(2) == 0 ? "even" : "odd"}};
    if (pick(3) == 0) made.spec.tolerations = {{.key = "t", .operator_ = api::TolerationOperator::exists}};
    if (pick(4) == 0) {
      api::NetworkInterface interface;
      interface.metadata.namespace_ = "default";
      interface.metadata.name = pick(3) == 0 ? std::string("shared") : made.metadata.name + "-net";
      (void)store::create(*real_, interface);
      api::MachineNetworkInterface entry;
      entry.name = "net";
      entry.network_interface_ref = api::LocalReference{.name = interface.metadata.name};
      made.spec.network_interfaces = {entry};
    }
    if (pick(5) == 0) {
      const auto name = "volume-" + std::to_string(pick(8));
      create_volume(name);
      made.spec.volumes = {{.name = "data", .device = "oda", .volume_ref = api::LocalReference{.name = name}}};
    }
    if (pick(6) == 0) made.spec.ignition_ref = api::SecretKeySelector{.name = any_of(secret_names_)};
    if (pick(25) == 0) made.spec.machine_pool_ref = api::LocalReference{.name = any_of(hosts_of_pools())};
    const auto created = store::create(*real_, made);
    if (created && made.spec.machine_pool_ref) bound_by_hand_.insert((*created)->metadata.uid);
  }

  void create_volume(const std::string& name) {
    api::Volume volume;
    volume.metadata.namespace_ = "default";
    volume.metadata.name = name;
    if (store::create(*real_, volume)) set_volume(name, api::VolumeState::available);
  }
  void set_volume(const std::string& name, api::VolumeState state) {
    const auto before = store::get<api::Volume>(*real_, "default", name);
    if (!before) return;
    auto after = **before;
    after.status.state = state;
    after.status.access = api::VolumeAccess{.driver = "sim", .handle = "/sim/" + name};
    (void)store::patch(*real_, **before, after, store::Part::status);
  }
  void create_secret(const std::string& name) {
    api::Secret secret;
    secret.metadata.namespace_ = "default";
    secret.metadata.name = name;
    secret.data["ignition.yaml"] = api::Bytes{"{}"};
    (void)store::create(*real_, secret);
  }
  void create_volume_classes() {
    for (const auto* name : {"fast", "slow"}) {
      api::VolumeClass made;
      made.metadata.name = name;
      made.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
      (void)store::create(*real_, made);
    }
  }
  /// A volume that has to be placed.
  void create_classful_volume() {
    api::Volume volume;
    volume.metadata.namespace_ = "default";
    volume.metadata.name = "data-" + std::to_string(next_volume_++);
    volume.spec.volume_class_ref = {.name = any_of<std::string>({"fast", "fast", "slow"})};
    volume.spec.resources = {{"storage", Quantity::bytes((1 + pick(5)) * gibibyte)}};
    if (pick(4) == 0) volume.spec.volume_pool_selector = {{"zone", pick(2) == 0 ? "even" : "odd"}};
    (void)store::create(*real_, volume);
  }
  /// What the providers of the volume pools would do.
  void beat_volume_pools() {
    for (const auto& name : volume_pools_) {
      (void)real_->acquire_lease(pool_lease<api::Volume>(name), "storage", 40s);
      const auto before = store::get<api::VolumePool>(*real_, "", name).value();
      auto after = *before;
      after.status.state = api::StoragePoolState::available;
      after.status.available_volume_classes = {{.name = "fast"}, {.name = "slow"}};
      after.status.allocatable = {{"class/volume.fast", Quantity::bytes(storage_of_class)},
                                  {"class/volume.slow", Quantity::bytes(storage_of_class)},
                                  {"storage", Quantity::bytes(storage_altogether)}};
      api::set_condition(after.status.conditions,
                         {.type = "Ready", .status = api::ConditionStatus::true_, .reason = "HeartbeatReceived"},
                         clock_.wall());
      (void)store::patch(*real_, *before, after, store::Part::status);
    }
  }
  std::vector<store::Shared<api::Volume>> volumes() { return store::list<api::Volume>(*real_).value(); }

  static bool has_too_large(const store::Transaction& transaction) {
    return std::any_of(transaction.operations.begin(), transaction.operations.end(), [](const auto& operation) {
      const auto* patch = std::get_if<store::Patch>(&operation);
      return patch != nullptr && patch->key.name.starts_with("large") && patch->part == store::Part::object &&
             patch->merge_patch.find("machinePoolRef") != std::string::npos;
    });
  }

  std::vector<std::string> hosts_of_pools() const {
    std::vector<std::string> names;
    for (const auto& host : hosts_) names.push_back(host.pool);
    return names;
  }
  std::vector<store::Shared<api::Machine>> machines() { return store::list<api::Machine>(*real_).value(); }

  void change_machine(const std::function<void(api::Machine&)>& edit) {
    const auto all = machines();
    if (all.empty()) return;
    const auto before = any_of(all);
    auto after = *before;
    edit(after);
    (void)store::patch(*real_, *before, after);
  }
  void change_pool(const std::function<void(api::MachinePool&)>& edit) {
    const auto before = store::get<api::MachinePool>(*real_, "", any_of(hosts_of_pools()));
    if (!before) return;
    auto after = **before;
    edit(after);
    (void)store::patch(*real_, **before, after);
  }

  void disturb() {
    switch (pick(28)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
      case 6:
        create_machine();
        break;
      case 7:
      case 8:
      case 9: {
        const auto all = machines();
        if (!all.empty()) (void)store::remove<api::Machine>(*real_, "default", any_of(all)->metadata.name);
        break;
      }
      case 10:
        change_machine([&](api::Machine& m) { m.spec.power = pick(2) == 0 ? api::Power::off : api::Power::on; });
        break;
      case 11:
        change_machine([&](api::Machine& m) { m.metadata.labels["n"] = std::to_string(pick(1000)); });
        break;
      case 12:
        change_machine([&](api::Machine& m) {
          m.metadata.annotations[std::string(api::reboot_annotation)] = std::to_string(pick(1000));
        });
        break;
      case 13:
        change_pool([&](api::MachinePool& p) {
          p.spec.taints.clear();
          if (pick(3) == 0)
            p.spec.taints = {
                {.key = "t", .effect = pick(2) == 0 ? api::TaintEffect::no_schedule : api::TaintEffect::no_execute}};
        });
        break;
      case 14:
      case 15: {
        auto& plane = planes_[pick(2)];
        if (plane.plane)
          plane.plane.reset();
        else
          start(plane);
        break;
      }
      case 16:
      case 17: {
        auto& host = hosts_[pick(static_cast<unsigned>(hosts_.size()))];
        if (host.provider)
          host.provider.reset();
        else
          start(host);
        break;
      }
      case 18: {
        Actor& actor = any_actor();
        actor.is_stalled = !actor.is_stalled;
        break;
      }
      case 19:
      case 20: {
        const auto& name = any_actor().name;
        if (cut_off_.contains(name))
          cut_off_.erase(name);
        else if (pick(2) == 0)
          cut_off_.insert(name);
        break;
      }
      case 21: {
        remove_class<api::MachineClass>(any_of<std::string>({"small", "big", "wide"}));
        if (pick(3) == 0) remove_class<api::VolumeClass>(any_of<std::string>({"fast", "slow"}));
        break;
      }
      case 22:
        set_volume("volume-" + std::to_string(pick(8)),
                   pick(2) == 0 ? api::VolumeState::pending : api::VolumeState::available);
        break;
      case 23: {
        const auto& name = any_of(secret_names_);
        if (!store::remove<api::Secret>(*real_, "default", name)) create_secret(name);
        break;
      }
      case 24:
      case 25:
        create_classful_volume();
        break;
      case 26: {
        const auto all = volumes();
        if (!all.empty()) (void)store::remove<api::Volume>(*real_, "default", any_of(all)->metadata.name);
        break;
      }
      default:
        break;
    }
  }
  /// Such a class takes nothing more.
  template <class Class>
  bool is_being_deleted(const std::string& name) {
    const auto found = store::get<Class>(*real_, "", name);
    return found && (*found)->metadata.deletion_timestamp;
  }
  template <class Class>
  void remove_class(const std::string& name) {
    const auto known = store::get<Class>(*real_, "", name);
    // Before a control plane has seen it, nothing protects a class, and what is of it has no size any more.
    if (known && !(*known)->metadata.finalizers.empty()) (void)store::remove<Class>(*real_, "", name);
  }
  Actor& any_actor() {
    const auto i = pick(static_cast<unsigned>(planes_.size() + hosts_.size()));
    if (i < planes_.size()) return planes_[i];
    return hosts_[i - planes_.size()];
  }

  /// Every process gets a few turns, in random order.
  void step_some() {
    for (auto turns = pick(40); turns > 0; --turns) {
      const auto i = pick(static_cast<unsigned>(planes_.size() + hosts_.size()));
      if (i < planes_.size()) {
        if (planes_[i].plane && !planes_[i].is_stalled) planes_[i].plane->step();
      } else {
        auto& host = hosts_[i - planes_.size()];
        if (host.provider && !host.is_stalled) host.provider->step();
      }
    }
    (void)real_->collect();
  }

  void step_all() {
    for (int round = 0; round < 20'000; ++round) {
      bool did = false;
      for (auto& plane : planes_) did = plane.plane->step() || did;
      for (auto& host : hosts_) did = host.provider->step() || did;
      if (!did) return;
    }
    throw Broken{"the processes never come to rest"};
  }

  /// Everything works again, and there is time.
  void calm() {
    trouble_ = 0;
    cut_off_.clear();
    for (auto& plane : planes_) {
      plane.is_stalled = false;
      if (!plane.plane) start(plane);
    }
    for (auto& host : hosts_) {
      host.is_stalled = false;
      if (!host.provider) start(host);
    }
    for (const auto& name : secret_names_) create_secret(name);
    for (unsigned i = 0; i < 8; ++i) set_volume("volume-" + std::to_string(i), api::VolumeState::available);
    create_volume_classes();
    for (const auto* name : {"small", "big", "wide"})
      create_class(name, std::map<std::string, int>{{"small", 1}, {"big", 4}, {"wide", 3}}[name],
                   name == std::string("big") ? 8 : 1);
    pass(10min);
  }
  void pass(Duration span) {
    for (Duration passed{}; passed < span; passed += 1s) {
      clock_.advance(1s);
      beat_volume_pools();
      // One that was deleted while it was claimed may only now be gone.
      if (passed % 10s == 0s)
        for (unsigned i = 0; i < 8; ++i) create_volume("volume-" + std::to_string(i));
      step_all();
      check_always();
    }
  }

  void empty() {
    for (const auto& machine : machines()) (void)store::remove<api::Machine>(*real_, "default", machine->metadata.name);
    for (const auto* name : {"small", "big", "wide"}) (void)store::remove<api::MachineClass>(*real_, "", name);
    for (const auto& volume : volumes())
      if (volume->spec.volume_class_ref) (void)store::remove<api::Volume>(*real_, "default", volume->metadata.name);
    for (const auto* name : {"fast", "slow"}) (void)store::remove<api::VolumeClass>(*real_, "", name);
    pass(6min);
  }

  // ---- what must hold ----

  /// What is free on a pool by simple arithmetic over the store, machines given by hand counted or not.
  struct Room {
    std::int64_t cpu = 0, memory = 0;
    std::map<std::string, std::int64_t> counts;
  };
  static std::pair<std::int64_t, std::int64_t> size(const std::string& machine_class) {
    if (machine_class == "big") return {4000, 8 * gibibyte};
    if (machine_class == "wide") return {3000, gibibyte};
    return {1000, gibibyte};
  }

  /// Nobody is bound twice. Returns the pool.
  template <class T>
  std::string check_binding(const T& object) {
    const auto* name = PlacedKind<T>::pool_of(object);
    auto pool = name == nullptr ? std::string() : *name;
    const auto [entry, is_new] = bound_.try_emplace(object.metadata.uid, pool);
    require(is_new || entry->second.empty() || entry->second == pool,
            object.metadata.name + " moved from " + entry->second + " to " + pool);
    return entry->second = pool;
  }

  /// Bytes of volumes on a pool, by class.
  using Stored = std::map<std::string, std::int64_t>;
  static std::int64_t sum_of(const Stored& stored) {
    std::int64_t sum = 0;
    for (const auto& [name, bytes] : stored) sum += bytes;
    return sum;
  }
  static std::int64_t size_of_volume(const api::Volume& volume) { return volume.spec.resources.at("storage").value(); }
  std::map<std::string, Stored> stored() {
    std::map<std::string, Stored> all;
    for (const auto& volume : volumes())
      if (volume->spec.volume_pool_ref)
        all[volume->spec.volume_pool_ref->name][volume->spec.volume_class_ref->name] += size_of_volume(*volume);
    return all;
  }
  void check_volumes_always() {
    for (const auto& volume : volumes()) check_binding(*volume);
    for (const auto& [pool, bytes] : stored()) {
      require(sum_of(bytes) <= storage_altogether, "volume pool " + pool + " is given more than it has");
      for (const auto& [name, of_class] : bytes)
        require(of_class <= storage_of_class, "volume pool " + pool + " is given too much of class " + name);
    }
  }
  void check_volumes_placed() {
    auto used = stored();
    for (const auto& volume : volumes()) {
      if (!volume->spec.volume_class_ref || volume->spec.volume_pool_ref) continue;
      if (is_being_deleted<api::VolumeClass>(volume->spec.volume_class_ref->name)) continue;
      const auto size = size_of_volume(*volume);
      for (const auto& name : volume_pools_) {
        const auto pool = store::get<api::VolumePool>(*real_, "", name).value();
        bool has_labels = true;
        for (const auto& [key, value] : volume->spec.volume_pool_selector)
          has_labels = has_labels && pool->metadata.labels.at(key) == value;
        require(!has_labels || sum_of(used[name]) + size > storage_altogether ||
                    used[name][volume->spec.volume_class_ref->name] + size > storage_of_class,
                "volume " + volume->metadata.name + " fits on " + name + " and waits");
      }
    }
    for (const auto& machine : machines())
      for (const auto& entry : machine->status.volumes) {
        if (entry.state != api::AttachmentState::attached) continue;
        const auto volume = store::get<api::Volume>(*real_, "default", entry.volume_ref->name);
        require(volume && (*volume)->spec.claim_ref && (*volume)->spec.claim_ref->uid == machine->metadata.uid,
                "volume " + entry.volume_ref->name + " is attached, but gone or not claimed");
      }
  }

  void check_always() {
    check_volumes_always();
    std::map<std::string, Room> used;
    for (const auto& machine : machines()) {
      const auto pool = check_binding(*machine);
      if (pool.empty() || bound_by_hand_.contains(machine->metadata.uid)) continue;
      auto& sum = used[pool];
      sum.cpu += size(machine->spec.machine_class_ref.name).first;
      sum.memory += size(machine->spec.machine_class_ref.name).second;
      ++sum.counts[machine->spec.machine_class_ref.name];
    }
    // No pool has more than it can carry.
    for (const auto& [name, sum] : used) {
      const auto pool = store::get<api::MachinePool>(*real_, "", name);
      require(pool.has_value(), "machines are bound to pool " + name + ", which does not exist");
      const auto& has = (*pool)->status.allocatable;
      require(sum.cpu <= has.at("cpu").milli_value().value(), "pool " + name + " carries more processors than it has");
      require(sum.memory <= has.at("memory").value(), "pool " + name + " carries more memory than it has");
      for (const auto& [machine_class, count] : sum.counts) {
        const auto limit = has.find("class/machine." + machine_class);
        if (limit != has.end())
          require(count <= limit->second.value(), "pool " + name + " carries too many of " + machine_class);
      }
    }
    // No machine exists on two hosts.
    std::map<Uid, std::string> where;
    for (const auto& host : hosts_)
      for (const auto& uid : host.host->machines())
        require(where.emplace(uid, host.name).second, "machine " + uid.to_text() + " is on two hosts");
  }

  /// Nothing is started without what it is made of.
  void check_start(const compute::MachineSpec& spec) {
    for (const auto& machine : machines()) {
      if (machine->metadata.uid != spec.uid.to_text()) continue;
      require(spec.disks.size() == machine->spec.volumes.size(),
              "machine " + spec.name + " is started without a volume");
      require(spec.nics.size() == machine->spec.network_interfaces.size(),
              "machine " + spec.name + " is started without an interface");
      require(!machine->spec.ignition_ref || !spec.ignition.empty(),
              "machine " + spec.name + " is started without its ignition");
    }
  }

  void check_placed() {
    check_volumes_placed();
    std::map<std::string, Room> used;
    const auto all = machines();
    for (const auto& machine : all) {
      if (!machine->spec.machine_pool_ref) continue;
      auto& sum = used[machine->spec.machine_pool_ref->name];
      sum.cpu += size(machine->spec.machine_class_ref.name).first;
      sum.memory += size(machine->spec.machine_class_ref.name).second;
      ++sum.counts[machine->spec.machine_class_ref.name];
    }
    const auto pools = store::list<api::MachinePool>(*real_).value();
    for (const auto& pool : pools) {
      const auto* ready = api::find_condition(pool->status.conditions, "Ready");
      require(ready != nullptr && ready->status == api::ConditionStatus::true_,
              "pool " + pool->metadata.name + " is not ready although its provider runs");
    }
    std::map<std::string, std::string> holders;  // of interfaces
    for (const auto& machine : all)
      for (const auto& entry : machine->status.network_interfaces)
        if (entry.state == api::AttachmentState::attached)
          require(holders.emplace(entry.network_interface_ref->name, machine->metadata.name).second,
                  "interface " + entry.network_interface_ref->name + " is attached to two machines");
    for (const auto& machine : all)
      for (const auto& entry : machine->status.volumes)
        if (entry.state == api::AttachmentState::attached)
          require(holders.emplace("volume " + entry.volume_ref->name, machine->metadata.name).second,
                  "volume " + entry.volume_ref->name + " is attached to two machines");
    for (const auto& machine : all) {
      const auto& name = machine->metadata.name;
      require(!machine->metadata.deletion_timestamp, "machine " + name + " was deleted and is still there");
      if (!machine->spec.machine_pool_ref) {
        if (name.starts_with("large") || is_being_deleted<api::MachineClass>(machine->spec.machine_class_ref.name))
          continue;
        for (const auto& pool : pools)
          require(!fits(*machine, *pool, used[pool->metadata.name]),
                  "machine " + name + " fits on " + pool->metadata.name + " and waits");
        continue;
      }
      require(machine->status.observed_generation == machine->metadata.generation,
              "the status of machine " + name + " is old");
      const auto& reason = api::find_condition(machine->status.conditions, "Ready")->reason;
      if (reason == "MachineClassNotReady") {
        require(bound_by_hand_.contains(machine->metadata.uid),
                "machine " + name + " was bound to a pool that does not offer its class");
        continue;
      }
      if (reason == "VolumeNotReady") {
        const auto volume = store::get<api::Volume>(*real_, "default", machine->spec.volumes.front().volume_ref->name);
        require(volume && (*volume)->spec.claim_ref && (*volume)->spec.claim_ref->uid != machine->metadata.uid,
                "machine " + name + " waits for a volume that nobody else has");
        continue;
      }
      const bool waits_for_interface = reason == "NetworkInterfaceNotReady";
      if (waits_for_interface) {
        const auto& wanted = machine->spec.network_interfaces.front().network_interface_ref->name;
        const auto interface = store::get<api::NetworkInterface>(*real_, "default", wanted);
        require(
            interface && (*interface)->spec.machine_ref && (*interface)->spec.machine_ref->uid != machine->metadata.uid,
            "machine " + name + " waits for an interface that nobody else has");
        continue;
      }
      const auto expected =
          machine->spec.power == api::Power::on ? api::MachineState::running : api::MachineState::shutdown;
      require(machine->status.state == expected, "machine " + name + " is not in the state that is wanted");
    }
    require(planes_[0].plane->is_active() != planes_[1].plane->is_active(), "not exactly one control plane is active");
    const auto& active = planes_[planes_[0].plane->is_active() ? 0 : 1].plane;
    for (const auto& pool : pools) {
      std::size_t count = 0;
      for (const auto& machine : all)
        count += machine->spec.machine_pool_ref && machine->spec.machine_pool_ref->name == pool->metadata.name ? 1 : 0;
      require(active->scheduler().usage(pool->metadata.name).objects == count,
              "the scheduler's account of pool " + pool->metadata.name + " is wrong");
    }
  }

  static bool fits(const api::Machine& machine, const api::MachinePool& pool, const Room& used) {
    if (!api::are_tolerated(pool.spec.taints, machine.spec.tolerations)) return false;
    for (const auto& [key, value] : machine.spec.machine_pool_selector)
      if (!pool.metadata.labels.contains(key) || pool.metadata.labels.at(key) != value) return false;
    const auto& machine_class = machine.spec.machine_class_ref.name;
    const auto& offered = pool.status.available_machine_classes;
    if (std::none_of(offered.begin(), offered.end(), [&](const auto& each) { return each.name == machine_class; }))
      return false;
    const auto [cpu, memory] = size(machine_class);
    const auto& has = pool.status.allocatable;
    const auto count = used.counts.contains(machine_class) ? used.counts.at(machine_class) : 0;
    return used.cpu + cpu <= has.at("cpu").milli_value().value() && used.memory + memory <= has.at("memory").value() &&
           count < has.at("class/machine." + machine_class).value();
  }

  void check_nothing_left() {
    require(machines().empty(), "machines are left after everything was deleted");
    for (const auto& host : hosts_) require(host.host->machines().empty(), "domains are left on " + host.name);
    require(store::list<api::MachineClass>(*real_).value().empty(), "classes are left although nobody uses them");
    require(store::list<api::VolumeClass>(*real_).value().empty(), "classes of volumes are left");
    for (const auto& interface : store::list<api::NetworkInterface>(*real_).value())
      require(!interface->spec.machine_ref && interface->spec.provider_id.empty(),
              "interface " + interface->metadata.name + " is still claimed");
    for (const auto& volume : store::list<api::Volume>(*real_).value())
      require(!volume->spec.claim_ref, "volume " + volume->metadata.name + " is still claimed");
    for (auto& plane : planes_) {
      require(plane.plane->scheduler().waiting() == 0, "a scheduler still waits for something");
      for (const auto& host : hosts_)
        require(plane.plane->scheduler().usage(host.pool) == Placement::Usage{},
                "a scheduler still counts something on " + host.pool);
    }
  }

  static constexpr std::int64_t storage_of_class = 12 * gibibyte, storage_altogether = 16 * gibibyte;  // of each pool
  const std::vector<std::string> volume_pools_{"store-0", "store-1"};
  const std::vector<std::string> secret_names_{"ignition-a", "ignition-b", "ignition-c"};
  std::string& dump_;
  std::mt19937_64 random_;
  SeededRandom bytes_;
  sim::VirtualClock clock_;
  NullLog log_;
  std::unique_ptr<store::LocalStore> real_;
  unsigned trouble_ = 0;
  std::set<std::string> cut_off_;
  std::vector<PlaneActor> planes_;
  std::vector<HostActor> hosts_;
  int next_machine_ = 0;
  int next_volume_ = 0;
  std::set<std::string> bound_by_hand_;
  std::map<std::string, std::string> bound_;  // uid → pool
};

}  // namespace

int main(int argc, char** argv) {
  const char* wanted = std::getenv("IRONCORE_SIM_SEEDS");
  const auto count = std::strtoull(argc > 1 ? argv[1] : wanted != nullptr ? wanted : "200", nullptr, 10);
  const auto first = std::strtoull(argc > 2 ? argv[2] : "1", nullptr, 10);
  for (auto seed = first; seed < first + count; ++seed) {
    std::string dump;  // everything in the store at the end, for IRONCORE_SIM_DUMP
    try {
      Cloud(seed, dump).run();
    } catch (const Broken& broken) {
      if (std::getenv("IRONCORE_SIM_DUMP") != nullptr) std::printf("%s", dump.c_str());
      std::printf("seed %llu: %s\nalone: %s 1 %llu\n", seed, broken.what.c_str(), argv[0], seed);
      return 1;
    }
  }
  std::printf("%llu seeds from %llu: all invariants hold\n", count, first);
  return 0;
}
