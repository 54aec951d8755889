// SPDX-License-Identifier: Apache-2.0
// What a provider is made of, and who wakes whom.
#include "ironcore/control/machine_provider.hpp"

#include <algorithm>
#include <mutex>
#include <set>

#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "machine_pool_status.hpp"
#include "machine_reconciler.hpp"
#include "pool_provider.hpp"

namespace ironcore::control {

namespace {

constexpr const char* by_uid = "uid";
constexpr const char* by_interface = "interface";
constexpr const char* by_volume = "volume";

std::vector<FieldError> problems(const MachineProviderOptions& options) {
  auto wrong = problems(announcing(options));
  if (options.workers == 0) wrong.push_back({"workers", FieldError::Reason::invalid, "must be at least 1"});
  if (options.look_again <= Duration::zero())
    wrong.push_back({"look_again", FieldError::Reason::invalid, "must be longer than nothing"});
  return wrong;
}

}  // namespace

class MachineProvider::Body {
 public:
  Body(store::Store& store, compute::Host& host, MachineProviderOptions options, PoolQueries queries, Clock& clock,
       Log& log)
      : options_(std::move(options)),
        host_(host),
        clock_(clock),
        log_(log),
        machines_(store, clock, log, std::move(queries.on_pool)),
        classes_(store, clock, log),
        pools_(store, clock, log, std::move(queries.the_pool)),
        claims_(store, clock, log),
        events_(store, {.component = "machine-provider", .host = options_.pool}, clock, log),
        announcer_(
            store, pools_, classes_, announcing(options_),
            [this](const api::MachinePool& pool) {
              return machine_pool_status(pool, host_, classes_, options_, clock_.wall());
            },
            clock, log),
        reconciler_({store, host, machines_, classes_, claims_, events_, options_, clock, log}),
        controller_(
            {.name = "machine-provider",
             .workers = options_.workers,
             .queue = {.longest_delay = std::chrono::minutes(1)}},  // somebody may have made room
            [this](const std::string& key, std::stop_token stop) -> Result<Requeue> {
              if (!announcer_.is_ours()) return Requeue{};  // on_ours brings all of them back
              return reconciler_.reconcile(key, std::move(stop));
            },
            clock, log),
        wakeups_(std::make_shared<Wakeups>()) {
    connect();
  }

  ~Body() {
    const std::lock_guard lock(wakeups_->mutex);
    wakeups_->body = nullptr;
  }

  void run(std::stop_token stop) {
    run_together(std::move(stop), {
                                      [this](std::stop_token s) { machines_.run(s); },
                                      [this](std::stop_token s) { classes_.run(s); },
                                      [this](std::stop_token s) { pools_.run(s); },
                                      [this](std::stop_token s) { claims_.interfaces().run(s); },
                                      [this](std::stop_token s) { claims_.volumes().run(s); },
                                      [this](std::stop_token s) { events_.run(s); },
                                      [this](std::stop_token s) { announcer_.run(s); },
                                      [this](std::stop_token s) { watch_orphans(s); },
                                      [this](std::stop_token s) {
                                        if (wait_until_synced(s)) controller_.run(s);
                                      },
                                  });
  }

  bool step() {
    bool did = false;
    did = machines_.step() || did;
    did = classes_.step() || did;
    did = pools_.step() || did;
    did = claims_.interfaces().step() || did;
    did = claims_.volumes().step() || did;
    did = announcer_.step() || did;
    if (are_synced()) {
      did = look_for_orphans() || did;
      did = controller_.step() || did;
    }
    did = events_.step() || did;
    return did;
  }

  Result<Uid> find(const std::string& namespace_, const std::string& name) const {
    const auto machine = machines_.get(cache_key(namespace_, name));
    if (!machine) return Error(ErrorCode::not_found, "machine " + namespace_ + "/" + name + " is not on this host");
    return Uid::parse(machine->metadata.uid);
  }
  compute::Host& host() noexcept { return host_; }

 private:
  /// Outlives the body: the host may still be calling while the provider goes away.
  struct Wakeups {
    std::mutex mutex;
    Body* body = nullptr;
  };

  void connect() {
    machines_.add_index(by_uid,
                        [](const api::Machine& machine) -> std::vector<std::string> { return {machine.metadata.uid}; });
    machines_.add_index(by_interface, [](const api::Machine& machine) {
      std::vector<std::string> keys;
      for (const auto& entry : machine.spec.network_interfaces)
        keys.push_back(cache_key(machine.metadata.namespace_, interface_name(machine, entry)));
      return keys;
    });
    machines_.add_index(by_volume, [](const api::Machine& machine) {
      std::vector<std::string> keys;
      for (const auto& entry : machine.spec.volumes)
        if (const auto name = volume_name(machine, entry); !name.empty())
          keys.push_back(cache_key(machine.metadata.namespace_, name));
      return keys;
    });
    machines_.on_change([this](const auto& before, const auto& after) {
      if (!after) reconciler_.forget(before->metadata.uid);
      wake(controller_, before, after);
    });
    classes_.on_change([this](const auto&, const auto&) { announcer_.hurry(); });
    pools_.on_change([this](const auto&, const auto&) { announcer_.hurry(); });
    // Those that name it, and the one that has claimed it but may not name it any more.
    claims_.interfaces().on_change([this](const auto& before, const auto& after) {
      wake_users(by_interface, key_of(after ? *after : *before));
      if (after && after->spec.machine_ref) wake_users(by_uid, after->spec.machine_ref->uid);
    });
    claims_.volumes().on_change([this](const auto& before, const auto& after) {
      wake_users(by_volume, key_of(after ? *after : *before));
      if (after && after->spec.claim_ref) wake_users(by_uid, after->spec.claim_ref->uid);
    });
    announcer_.on_ours([this] { wake_all(); });
    wakeups_->body = this;
    host_.on_change([wakeups = wakeups_](const Uid& uid) {
      const std::lock_guard lock(wakeups->mutex);
      if (wakeups->body != nullptr) wakeups->body->host_changed(uid);
    });
  }

  void wake_users(const char* index, const std::string& key) {
    for (const auto& machine : machines_.by_index(index, key)) controller_.queue().add(key_of(*machine));
  }
  void wake_all() {
    for (const auto& machine : machines_.list()) controller_.queue().add(key_of(*machine));
  }
  void host_changed(const Uid& uid) {
    if (uid.is_nil()) {
      announcer_.hurry();
      return wake_all();
    }
    for (const auto& machine : machines_.by_index(by_uid, uid.to_text())) controller_.queue().add(key_of(*machine));
  }

  bool are_synced() {
    return machines_.has_synced() && classes_.has_synced() && claims_.interfaces().has_synced() &&
           claims_.volumes().has_synced();
  }
  bool wait_until_synced(std::stop_token stop) {
    return machines_.wait_until_synced(stop) && classes_.wait_until_synced(stop) &&
           claims_.interfaces().wait_until_synced(stop) && claims_.volumes().wait_until_synced(stop);
  }

  /// Domains of ours that no Machine of this pool explains: told once each, never touched, because the store may have been restored.
  bool look_for_orphans() {
    if (clock_.now() < next_orphans_ || !announcer_.is_ours()) return false;
    next_orphans_ = clock_.now() + options_.look_for_orphans;
    const auto pool = pools_.get(options_.pool);
    if (!pool) return false;
    std::vector<Uid> known;
    for (const auto& machine : machines_.list())
      if (const auto uid = Uid::parse(machine->metadata.uid)) known.push_back(*uid);
    const auto orphans = host_.orphans(known);
    if (!orphans) return false;  // the heartbeat says that the host cannot be reached
    std::set<std::string> current;
    std::string fresh;
    for (const auto& orphan : *orphans) {
      const auto uid = orphan.uid.to_text();
      current.insert(uid);
      if (orphans_.contains(uid)) continue;
      log_.warning("a domain, or files of one, belong to no machine of this pool",
                   {{"domain", orphan.name}, {"uid", uid}, {"pool", options_.pool}});
      fresh += (fresh.empty() ? "" : ", ") + orphan.name + " (" + uid + ")";
    }
    if (!fresh.empty())
      events_.record(reference_to(*pool), api::EventType::warning, "OrphanedDomain",
                     "domains, or files of machines, that belong to no machine of this pool; remove them by hand if "
                     "they are not wanted: " +
                         fresh);
    orphans_ = std::move(current);
    if (const auto removed = host_.remove_unused_secrets(); !removed) {
      log_.warning("secrets of disks that are gone are not removed", {{"error", removed.error().message()}});
    } else if (*removed > 0) {
      log_.info("secrets of disks that are gone were removed", {{"machines", std::to_string(*removed)}});
    }
    if (const auto freed = host_.remove_unused_images(); !freed) {
      log_.warning("unused images are not removed", {{"error", freed.error().message()}});
    } else if (*freed > 0) {
      log_.info("images that no machine needs were removed", {{"bytes", std::to_string(*freed)}});
    }
    return true;
  }

  void watch_orphans(std::stop_token stop) {
    if (!wait_until_synced(stop)) return;
    while (!stop.stop_requested()) {
      look_for_orphans();
      sleep_until(clock_, std::max(next_orphans_, clock_.now() + std::chrono::seconds(1)), stop);
    }
  }

  const MachineProviderOptions options_;
  compute::Host& host_;
  Clock& clock_;
  Log& log_;
  Informer<api::Machine> machines_;
  Informer<api::MachineClass> classes_;
  Informer<api::MachinePool> pools_;
  MachineClaims claims_;
  EventRecorder events_;
  PoolAnnouncer<api::Machine> announcer_;
  MachineReconciler reconciler_;
  Controller controller_;
  std::shared_ptr<Wakeups> wakeups_;
  std::set<std::string> orphans_;
  Instant next_orphans_{};
};

Result<std::unique_ptr<MachineProvider>> MachineProvider::create(store::Store& store, compute::Host& host,
                                                                 MachineProviderOptions options, Clock& clock,
                                                                 Log& log) {
  if (auto wrong = problems(options); !wrong.empty()) return Error(std::move(wrong)).within("machine provider");
  IRONCORE_TRY(auto queries, pool_queries<api::Machine>(options.pool));
  return std::unique_ptr<MachineProvider>(
      new MachineProvider(std::make_unique<Body>(store, host, std::move(options), std::move(queries), clock, log)));
}

MachineProvider::MachineProvider(std::unique_ptr<Body> body) : body_(std::move(body)) {}
MachineProvider::~MachineProvider() = default;

void MachineProvider::run(std::stop_token stop) {
  body_->run(std::move(stop));
}
bool MachineProvider::step() {
  return body_->step();
}

Result<std::unique_ptr<compute::Console>> MachineProvider::console(const std::string& namespace_,
                                                                   const std::string& name) {
  IRONCORE_TRY(const auto uid, body_->find(namespace_, name));
  return body_->host().console(uid);
}

Result<std::string> MachineProvider::console_log(const std::string& namespace_, const std::string& name,
                                                 std::size_t limit) {
  IRONCORE_TRY(const auto uid, body_->find(namespace_, name));
  return body_->host().console_log(uid, limit);
}

}  // namespace ironcore::control
