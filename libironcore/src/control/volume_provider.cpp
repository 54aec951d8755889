// SPDX-License-Identifier: Apache-2.0
// What a provider of volumes is made of, and who wakes whom.
#include "ironcore/control/volume_provider.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base_images.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "owned_stores.hpp"
#include "pool_provider.hpp"
#include "provider_counting.hpp"
#include "volume_credentials.hpp"
#include "volume_keys.hpp"
#include "volume_pool_status.hpp"
#include "volume_reconciler.hpp"
#include "volume_secrets.hpp"
#include "volume_snapshot_reconciler.hpp"

namespace ironcore::control {

namespace {

constexpr const char* by_class = "class";
constexpr const char* by_snapshot = "snapshot";  // volumes that are made from it
constexpr const char* by_volume = "volume";      // snapshots of it
constexpr const char* by_secret = "secret";      // volumes that it opens

std::vector<FieldError> problems(const VolumeProviderOptions& options) {
  auto wrong = problems_of_storage(options);
  if (!(options.thin_provision_ratio > 0 && options.thin_provision_ratio <= 1000))
    wrong.push_back({"thin_provision_ratio", FieldError::Reason::invalid, "must be above 0, and 1000 at most"});
  if (options.look_at_keys_every <= Duration::zero())
    wrong.push_back({"look_at_keys_every", FieldError::Reason::invalid, "must be longer than nothing"});
  if (options.rotate_credentials_every < Duration::zero())
    wrong.push_back({"rotate_credentials_every", FieldError::Reason::invalid, "must not be negative; 0 = never"});
  if (options.patience_with_workers <= Duration::zero())
    wrong.push_back({"patience_with_workers", FieldError::Reason::invalid, "must be longer than nothing"});
  return wrong;
}

/// The Secrets that open volumes, of all pools.
Result<store::Query> access_secrets() {
  store::Query query;
  IRONCORE_TRY(query.fields, store::FieldSelector::parse("type=" + std::string(api::volume_auth_secret_type)));
  return query;
}

constexpr const char* content_entry = "content";

/// What is in one stays here as a digest only: enough to notice that it is something else.
api::Secret without_content(const api::Secret& secret) {
  api::Secret kept;
  kept.metadata.namespace_ = secret.metadata.namespace_;
  kept.metadata.name = secret.metadata.name;
  kept.metadata.uid = secret.metadata.uid;
  kept.metadata.resource_version = secret.metadata.resource_version;
  kept.data[content_entry].value = content_of(secret);
  return kept;
}

/// `namespace/uid`: the same for objects and for what is in a store.
std::string text_of(const storage::BlockId& id) {
  return id.tenant + "/" + id.uid.to_text();
}
std::string text_of(const api::Metadata& metadata) {
  return metadata.namespace_ + "/" + metadata.uid;
}

}  // namespace

class VolumeProvider::Body {
 public:
  Body(store::Store& store, image::Cache* images, VolumeProviderOptions options, PoolQueries queries,
       store::Query secrets, Clock& clock, Log& log)
      : owned_stores_(log),
        options_(owned_stores_.in_place_of(std::move(options))),
        stores_(stores_of(options_)),
        clock_(clock),
        log_(log),
        volumes_(store, clock, log, std::move(queries.on_pool)),
        snapshots_(store, clock, log),
        classes_(store, clock, log),
        pools_(store, clock, log, std::move(queries.the_pool)),
        secrets_(store, clock, log, std::move(secrets)),
        events_(store, {.component = "volume-provider", .host = options_.pool}, clock, log),
        keys_(store, events_, options_, clock, log),
        images_(
            images, options_.base_image_grace, [this](const std::string& key) { volume_controller_.queue().add(key); },
            clock, log),
        announcer_(
            store, pools_, classes_, announcing(options_),
            [this](const api::VolumePool& pool) {
              if (owned_stores_.admit(pool)) wake_all();  // what was waited for is there, or is not any more
              auto status = volume_pool_status(pool, volumes_, classes_, options_, clock_.wall());
              keys_.tell(pool, status);
              credentials_.tell(status);
              tell_room(pool, status);
              tell_standstill(status);
              return status;
            },
            clock, log),
        volume_reconciler_({store, volumes_, classes_, snapshots_, images_, keys_, events_, options_,
                            [this](const auto& before, const auto& after) { wake(volume_controller_, before, after); },
                            [this] { volume_controller_.note_progress(); }, clock}),
        snapshot_reconciler_({store, volumes_, snapshots_, keys_, events_, options_, clock}),
        credentials_({store, volumes_, pools_, events_, options_, volume_reconciler_.handover().handing_out(),
                      [this](const std::string& key) { volume_controller_.queue().add(key); }, clock, log}),
        volume_controller_(controlling("volume-provider"), reconciling(volume_reconciler_), clock, log),
        snapshot_controller_(controlling("volume-snapshot-provider"), reconciling(snapshot_reconciler_), clock, log) {
    connect();
  }

  void run(std::stop_token stop) {
    run_together(std::move(stop), {
                                      [this](std::stop_token s) { volumes_.run(s); },
                                      [this](std::stop_token s) { snapshots_.run(s); },
                                      [this](std::stop_token s) { classes_.run(s); },
                                      [this](std::stop_token s) { pools_.run(s); },
                                      [this](std::stop_token s) { secrets_.run(s); },
                                      [this](std::stop_token s) { events_.run(s); },
                                      [this](std::stop_token s) {
                                        if (volumes_.wait_until_synced(s) && snapshots_.wait_until_synced(s))
                                          announcer_.run(s);
                                      },
                                      [this](std::stop_token s) { keep_maintaining(s); },
                                      [this](std::stop_token s) {
                                        if (wait_until_synced(s)) volume_controller_.run(s);
                                      },
                                      [this](std::stop_token s) {
                                        if (wait_until_synced(s)) snapshot_controller_.run(s);
                                      },
                                  });
  }

  bool step() {
    bool did = false;
    did = volumes_.step() || did;
    did = snapshots_.step() || did;
    did = classes_.step() || did;
    did = pools_.step() || did;
    did = secrets_.step() || did;
    if (are_synced()) {
      did = announcer_.step() || did;
      did = maintain({}) || did;
      did = volume_controller_.step() || did;
      did = snapshot_controller_.step() || did;
    }
    did = events_.step() || did;
    return did;
  }

  std::vector<ProviderCount> counts() {
    std::vector<ProviderCount> all;
    all.push_back({"volume_pool_is_ours",
                   "Whether this process holds the pool's lease.",
                   ProviderCount::Kind::gauge,
                   announcer_.is_ours() ? 1.0 : 0.0,
                   {{"pool", options_.pool}}});
    count_objects<api::VolumeState>(all, volumes_, "volumes", options_.pool);
    count_queue(all, volume_controller_.queue(), "volumes", options_.pool);
    count_objects<api::VolumeSnapshotState>(all, snapshots_, "volume_snapshots", options_.pool);
    count_queue(all, snapshot_controller_.queue(), "volume_snapshots", options_.pool);
    counting_.add_to(all, "volume", options_.pool);
    all.push_back({"volume_workers_standstill_seconds",
                   "For how long all workers have been at one volume each and nothing moves.",
                   ProviderCount::Kind::gauge,
                   std::chrono::duration<double>(standstill()).count(),
                   {{"pool", options_.pool}}});
    if (const auto pool = pools_.get(options_.pool))
      for (const auto& [name, bytes] : pool->status.allocatable)
        all.push_back({"volume_pool_allocatable_bytes",
                       "What the pool says it can take, with what it was promised: of each class, and storage for all.",
                       ProviderCount::Kind::gauge,
                       static_cast<double>(bytes.value()),
                       {{"pool", options_.pool}, {"resource", name}}});
    return all;
  }

  Duration standstill() const { return volume_controller_.standstill().value_or(Duration::zero()); }

 private:
  ControllerOptions controlling(const char* name) const {
    return {.name = name,
            .workers = options_.workers,
            .queue = {.longest_delay = std::chrono::minutes(1)}};  // somebody may have made room
  }
  template <class Reconciler>
  Reconcile reconciling(Reconciler& reconciler) {
    return [this, &reconciler](const std::string& key, std::stop_token stop) -> Result<Requeue> {
      if (!announcer_.is_ours()) return Requeue{};  // on_ours brings all of them back
      auto done = reconciler.reconcile(key, stop);
      if (!done && !stop.stop_requested()) counting_.failed(done.error().code());
      return done;
    };
  }

  void connect() {
    volumes_.add_index(by_secret, [](const api::Volume& volume) -> std::vector<std::string> {
      return {cache_key(volume.metadata.namespace_, owned_secret_of(volume).name)};
    });
    volumes_.add_index(by_class, [](const api::Volume& volume) -> std::vector<std::string> {
      if (!volume.spec.volume_class_ref) return {};
      return {volume.spec.volume_class_ref->name};
    });
    volumes_.add_index(by_snapshot, [](const api::Volume& volume) -> std::vector<std::string> {
      if (!volume.spec.data_source || !volume.spec.data_source->volume_snapshot_ref) return {};
      return {cache_key(volume.metadata.namespace_, volume.spec.data_source->volume_snapshot_ref->name)};
    });
    volumes_.add_index(by_credential, [](const api::Volume& volume) -> std::vector<std::string> {
      if (!volume.status.use || volume.status.use->credential.empty()) return {};
      return {volume.metadata.namespace_ + "/" + volume.status.use->credential};
    });
    snapshots_.add_index(by_volume, [](const api::VolumeSnapshot& snapshot) -> std::vector<std::string> {
      if (!snapshot.spec.volume_ref) return {};
      return {cache_key(snapshot.metadata.namespace_, snapshot.spec.volume_ref->name)};
    });
    volumes_.on_change([this](const auto& before, const auto& after) {
      if (!after) volume_reconciler_.forget(before->metadata.uid);
      if (!volume_reconciler_.is_expected(before, after)) wake(volume_controller_, before, after);
      for (const auto& snapshot : snapshots_.by_index(by_volume, key_of(after ? *after : *before)))
        if (snapshot->status.state == api::VolumeSnapshotState::pending)
          snapshot_controller_.queue().add(key_of(*snapshot));
    });
    snapshots_.on_change([this](const auto& before, const auto& after) {
      if (!after) snapshot_reconciler_.forget(before->metadata.uid);
      wake(snapshot_controller_, before, after);
      for (const auto& volume : volumes_.by_index(by_snapshot, key_of(after ? *after : *before)))
        if (volume->status.volume_id.empty()) volume_controller_.queue().add(key_of(*volume));
    });
    classes_.on_change([this](const auto& before, const auto& after) {
      announcer_.hurry();
      for (const auto& volume : volumes_.by_index(by_class, (after ? *after : *before).metadata.name))
        volume_controller_.queue().add(key_of(*volume));
    });
    pools_.on_change([this](const auto&, const auto&) { announcer_.hurry(); });
    secrets_.set_transform(without_content);
    secrets_.on_change([this](const auto& before, const auto& after) {
      // What others make of it is put right at once.
      for (const auto& volume : volumes_.by_index(by_secret, key_of(after ? *after : *before)))
        if (!after ||
            !volume_reconciler_.handover().is_as_left(volume->metadata.uid, after->data.at(content_entry).value))
          volume_controller_.queue().add(key_of(*volume));
    });
    announcer_.on_announcing([this](api::VolumePool& pool) {
      owned_stores_.look(pool, [this](storage::BlockStore& store) { return holds_ours(store); });
    });
    announcer_.on_ours([this] { wake_all(); });
  }

  void wake_all() {
    for (const auto& volume : volumes_.list()) volume_controller_.queue().add(key_of(*volume));
    for (const auto& snapshot : snapshots_.list()) snapshot_controller_.queue().add(key_of(*snapshot));
  }

  bool are_synced() { return volumes_.has_synced() && snapshots_.has_synced() && classes_.has_synced(); }
  bool wait_until_synced(std::stop_token stop) {
    return volumes_.wait_until_synced(stop) && snapshots_.wait_until_synced(stop) && classes_.wait_until_synced(stop);
  }

  // ---- what hurries nobody ----------------------------------------------------------------------------------------

  using Removal = Result<void> (storage::BlockStore::*)(const storage::BlockId&);
  /// What lies in a store without an object, as `namespace/uid`, and what removes it.
  using Strays = std::map<std::string, std::function<Result<void>()>>;

  bool maintain(std::stop_token stop) {
    if (clock_.now() < next_maintenance_ || !announcer_.is_ours()) return false;
    next_maintenance_ = clock_.now() + options_.maintain_every;
    Strays found;
    for (auto* store : stores_) {
      const auto before = known();
      const auto kept = kept_in(*store);
      const auto add = [&](const storage::BlockId& id, Removal removal) {
        if (!before.contains(text_of(id)))
          found.emplace(text_of(id), [store, id, removal] { return (store->*removal)(id); });
      };
      if (const auto volumes = store->volumes()) {
        for (const auto& volume : *volumes) add(volume.id, &storage::BlockStore::remove);
        wake_missing(kept.volumes, *volumes, volume_controller_);
      }
      if (const auto snapshots = store->snapshots()) {
        for (const auto& snapshot : *snapshots) add(snapshot.id, &storage::BlockStore::remove_snapshot);
        wake_missing(kept.snapshots, *snapshots, snapshot_controller_);
      }
      const auto maintained = store->maintain(stop);
      counting_.maintained(maintained.has_value());
      if (!maintained) {
        if (!stop.stop_requested())
          log_.warning("a store of volumes is not maintained", {{"error", maintained.error().message()}});
        continue;
      }
      for (const auto& id : maintained->unfinished) {
        if (!id.tenant.empty())
          add(id, &storage::BlockStore::remove_unfinished);
        else if (!images_.is_busy(*store))
          remove_half_image(*store, id);
      }
    }
    images_.collect(stores_);
    keys_.look(stop);
    credentials_.look(stop);
    report_orphans(std::move(found));
    return true;
  }

  /// Who says that its data is in a store, by `namespace/uid`.
  struct Kept {
    std::map<std::string, std::string> volumes;
    std::map<std::string, std::string> snapshots;
  };
  Kept kept_in(const storage::BlockStore& store) const {
    Kept kept;
    const auto is_there = [&](const std::string& class_name) {
      const auto place = options_.classes.find(class_name);
      return place != options_.classes.end() && place->second == &store;
    };
    for (const auto& volume : volumes_.list())
      if (volume->spec.volume_class_ref && is_there(volume->spec.volume_class_ref->name) &&
          volume->status.state == api::VolumeState::available && !volume->metadata.deletion_timestamp)
        kept.volumes.emplace(text_of(volume->metadata), key_of(*volume));
    for (const auto& snapshot : snapshots_.list())
      if (annotation_of(snapshot->metadata, snapshot_pool_annotation) == options_.pool &&
          is_there(annotation_of(snapshot->metadata, snapshot_class_annotation)) &&
          snapshot->status.state == api::VolumeSnapshotState::ready && !snapshot->metadata.deletion_timestamp)
        kept.snapshots.emplace(text_of(snapshot->metadata), key_of(*snapshot));
    return kept;
  }
  /// `kept` was seen before `listed`, so what is not listed has gone: its turn asks for it once more, and tells.
  template <class T>
  static void wake_missing(std::map<std::string, std::string> kept, const std::vector<T>& listed, Controller& who) {
    for (const auto& one : listed) kept.erase(text_of(one.id));
    for (const auto& [name, key] : kept) who.queue().add(key);
  }

  void remove_half_image(storage::BlockStore& store, const storage::BlockId& id) {
    if (const auto removed = store.remove_unfinished(id); !removed && removed.error().code() != ErrorCode::wrong_state)
      log_.warning("half a base image is not removed", {{"error", removed.error().message()}});
  }

  std::set<std::string> known() const {
    std::set<std::string> all;
    for (const auto& volume : volumes_.list()) all.insert(text_of(volume->metadata));
    for (const auto& snapshot : snapshots_.list()) all.insert(text_of(snapshot->metadata));
    return all;
  }

  Result<bool> holds_ours(storage::BlockStore& store) const {
    IRONCORE_TRY(const auto volumes, store.volumes());
    IRONCORE_TRY(const auto snapshots, store.snapshots());
    const auto ours = known();
    const auto is_ours = [&](const auto& one) { return ours.contains(text_of(one.id)); };
    return (volumes.empty() && snapshots.empty()) || std::ranges::any_of(volumes, is_ours) ||
           std::ranges::any_of(snapshots, is_ours);
  }

  /// Told once each, and touched only on request, because the store of objects may have been restored.
  void report_orphans(Strays found) {
    const auto pool = pools_.get(options_.pool);
    if (!pool) return;
    for (const auto& object : known()) found.erase(object);  // come in the meantime
    remove_on_request(*pool, found);
    std::set<std::string> left;
    for (const auto& [name, remove] : found) left.insert(name);
    counting_.found_orphans(left.size());
    const auto fresh = orphans_.news(std::move(left));
    if (!fresh.empty())
      events_.record(
          reference_to(*pool), api::EventType::warning, "OrphanedVolume",
          "volumes or snapshots in the store, as NAMESPACE/UID, that belong to no object of this pool; name those "
          "that are not wanted in the annotation " +
              std::string(remove_orphans_annotation) + " of the pool, and they are removed: " + fresh);
  }

  /// A store without room is told on the pool, in whose volumes it may be no trouble yet.
  void tell_room(const api::VolumePool& pool, const api::VolumePoolStatus& status) {
    const auto* before = api::find_condition(pool.status.conditions, "HasRoom");
    const auto* room = api::find_condition(status.conditions, "HasRoom");
    if (room->status == api::ConditionStatus::false_ && (before == nullptr || before->reason != room->reason))
      events_.record(reference_to(pool), api::EventType::warning, room->reason, room->message);
  }

  void tell_standstill(api::VolumePoolStatus& status) {
    const bool is_standing = standstill() >= options_.patience_with_workers;
    if (!is_standing && api::find_condition(status.conditions, "Working") == nullptr) return;
    std::optional<Trouble> trouble;
    if (is_standing)
      trouble = {"WorkersHang",
                 "no worker of the provider has got an answer from a store for " +
                     to_text(options_.patience_with_workers) + "; start the provider again if it does not end itself",
                 Trouble::Kind::fault};
    (void)set_condition(status.conditions, "Working", trouble, "Working", "volumes are worked on", clock_.wall());
  }

  void remove_on_request(const api::VolumePool& pool, Strays& found) {
    const auto wanted = annotation_of(pool.metadata, remove_orphans_annotation);
    std::string removed;
    for (std::size_t at = 0; at < wanted.size();) {
      const auto end = std::min(wanted.find(',', at), wanted.size());
      const auto first = std::min(wanted.find_first_not_of(' ', at), end);  // people copy lists with spaces
      const auto name = wanted.substr(first, end - first);
      at = end + 1;
      const auto stray = found.find(name);
      if (stray == found.end()) continue;
      if (const auto done = stray->second(); !done) {
        events_.record(reference_to(pool), api::EventType::warning, "OrphanNotRemoved",
                       name + " is tried again: " + done.error().message());
        continue;
      }
      log_.info("orphan removed on request", {{"volume", name}, {"pool", options_.pool}});
      removed += (removed.empty() ? "" : ", ") + name;
      found.erase(stray);
    }
    if (!removed.empty())
      events_.record(reference_to(pool), api::EventType::normal, "OrphanRemoved", "removed on request: " + removed);
  }

  void keep_maintaining(std::stop_token stop) {
    if (!wait_until_synced(stop)) return;
    while (!stop.stop_requested()) {
      maintain(stop);
      sleep_until(clock_, std::max(next_maintenance_, clock_.now() + std::chrono::seconds(1)), stop);
    }
  }

  OwnedStores owned_stores_;
  const VolumeProviderOptions options_;
  const std::vector<storage::BlockStore*> stores_;
  Clock& clock_;
  Log& log_;
  Informer<api::Volume> volumes_;
  Informer<api::VolumeSnapshot> snapshots_;
  Informer<api::VolumeClass> classes_;
  Informer<api::VolumePool> pools_;
  Informer<api::Secret> secrets_;
  EventRecorder events_;
  VolumeKeys keys_;
  BaseImages images_;
  PoolAnnouncer<api::Volume> announcer_;
  VolumeReconciler volume_reconciler_;
  VolumeSnapshotReconciler snapshot_reconciler_;
  VolumeCredentials credentials_;
  Controller volume_controller_;
  Controller snapshot_controller_;
  Orphans orphans_;
  ProviderCounting counting_;
  Instant next_maintenance_{};
};

Result<std::unique_ptr<VolumeProvider>> VolumeProvider::create(store::Store& store, image::Cache* images,
                                                               VolumeProviderOptions options, Clock& clock, Log& log) {
  if (auto wrong = problems(options); !wrong.empty()) return Error(std::move(wrong)).within("volume provider");
  IRONCORE_TRY(auto queries, pool_queries<api::Volume>(options.pool));
  IRONCORE_TRY(auto secrets, access_secrets());
  return std::unique_ptr<VolumeProvider>(new VolumeProvider(
      std::make_unique<Body>(store, images, std::move(options), std::move(queries), std::move(secrets), clock, log)));
}

VolumeProvider::VolumeProvider(std::unique_ptr<Body> body) : body_(std::move(body)) {}
VolumeProvider::~VolumeProvider() = default;

void VolumeProvider::run(std::stop_token stop) {
  body_->run(std::move(stop));
}
bool VolumeProvider::step() {
  return body_->step();
}
std::vector<ProviderCount> VolumeProvider::counts() const {
  return body_->counts();
}
Duration VolumeProvider::standstill() const {
  return body_->standstill();
}

}  // namespace ironcore::control
