// SPDX-License-Identifier: Apache-2.0
// What a provider of buckets is made of, and who wakes whom.
#include "ironcore/control/bucket_provider.hpp"

#include <algorithm>
#include <set>

#include "bucket_pool_status.hpp"
#include "bucket_reconciler.hpp"
#include "provider_counting.hpp"
#include "store_turns.hpp"

namespace ironcore::control {

namespace {

constexpr const char* by_class = "class";
constexpr const char* by_uid = "uid";

std::vector<FieldError> problems(const BucketProviderOptions& options) {
  auto wrong = problems_of_storage(options);
  if (options.rotate_keys_every < Duration::zero())
    wrong.push_back({"rotate_keys_every", FieldError::Reason::invalid, "must not be negative; 0 = only on request"});
  if (options.key_grace < Duration::zero())
    wrong.push_back({"key_grace", FieldError::Reason::invalid, "must not be negative"});
  if (options.rotate_keys_every > Duration::zero() && options.rotate_keys_every <= options.key_grace)
    wrong.push_back({"rotate_keys_every", FieldError::Reason::invalid, "must be longer than key_grace"});
  return wrong;
}

/// How much it holds, which asks for nothing.
bool is_usage_alone(const api::Bucket& before, const api::Bucket& after) {
  if (!is_status_alone(before, after)) return false;
  auto status = before.status;
  status.usage = after.status.usage;
  return status == after.status;
}

}  // namespace

class BucketProvider::Body {
 public:
  Body(store::Store& store, BucketProviderOptions options, PoolQueries queries, Clock& clock, Log& log)
      : options_(std::move(options)),
        stores_(stores_of(options_)),
        clock_(clock),
        log_(log),
        buckets_(store, clock, log, std::move(queries.on_pool)),
        classes_(store, clock, log),
        pools_(store, clock, log, std::move(queries.the_pool)),
        events_(store, {.component = "bucket-provider", .host = options_.pool}, clock, log),
        announcer_(
            store, pools_, classes_, announcing(options_),
            [this](const api::BucketPool& pool) { return reach_.pool_status(pool, classes_, options_, clock_.wall()); },
            clock, log),
        reconciler_({store, buckets_, classes_, events_, reach_, options_, clock}),
        turns_(options_.workers, stores_.size(), [this](const std::string& key) { controller_.queue().add(key); }),
        controller_(
            {.name = "bucket-provider",
             .workers = options_.workers,
             .queue = {.longest_delay = std::chrono::minutes(1)}},
            [this](const std::string& key, std::stop_token stop) -> Result<Requeue> { return take_turn(key, stop); },
            clock, log) {
    connect();
  }

  void run(std::stop_token stop) {
    std::vector<std::function<void(std::stop_token)>> parts{
        [this](std::stop_token s) { buckets_.run(s); },
        [this](std::stop_token s) { classes_.run(s); },
        [this](std::stop_token s) { pools_.run(s); },
        [this](std::stop_token s) { events_.run(s); },
        [this](std::stop_token s) { announcer_.run(s); },
        [this](std::stop_token s) { keep_maintaining(s); },
        [this](std::stop_token s) {
          if (wait_until_synced(s)) controller_.run(s);
        },
    };
    for (auto* store : stores_) parts.emplace_back([this, store](std::stop_token s) { keep_asking(*store, s); });
    run_together(std::move(stop), std::move(parts));
  }

  bool step() {
    bool did = false;
    did = buckets_.step() || did;
    did = classes_.step() || did;
    did = pools_.step() || did;
    did = ask_all() || did;
    did = announcer_.step() || did;
    if (are_synced()) {
      did = maintain({}) || did;
      did = controller_.step() || did;
    }
    did = events_.step() || did;
    return did;
  }

  std::vector<ProviderCount> counts() {
    std::vector<ProviderCount> all;
    all.push_back({"bucket_pool_is_ours",
                   "Whether this process holds the pool's lease.",
                   ProviderCount::Kind::gauge,
                   announcer_.is_ours() ? 1.0 : 0.0,
                   {{"pool", options_.pool}}});
    count_objects<api::BucketState>(all, buckets_, "buckets", options_.pool);
    count_queue(all, controller_.queue(), "buckets", options_.pool);
    counting_.add_to(all, "bucket", options_.pool);
    return all;
  }

 private:
  void connect() {
    buckets_.add_index(by_class, [](const api::Bucket& bucket) -> std::vector<std::string> {
      if (!bucket.spec.bucket_class_ref) return {};
      return {bucket.spec.bucket_class_ref->name};
    });
    buckets_.add_index(by_uid,
                       [](const api::Bucket& bucket) -> std::vector<std::string> { return {bucket.metadata.uid}; });
    buckets_.on_change([this](const auto& before, const auto& after) {
      if (!after) reconciler_.forget(before->metadata.uid);
      if (!before || !after || !is_usage_alone(*before, *after)) wake(controller_, before, after);
    });
    classes_.on_change([this](const auto& before, const auto& after) {
      announcer_.hurry();
      for (const auto& bucket : buckets_.by_index(by_class, (after ? *after : *before).metadata.name))
        controller_.queue().add(key_of(*bucket));
    });
    pools_.on_change([this](const auto&, const auto&) { announcer_.hurry(); });
    announcer_.on_ours([this] { wake_all(); });
  }

  void wake_all() {
    for (const auto& bucket : buckets_.list()) controller_.queue().add(key_of(*bucket));
  }
  bool are_synced() { return buckets_.has_synced() && classes_.has_synced(); }
  bool wait_until_synced(std::stop_token stop) {
    return buckets_.wait_until_synced(stop) && classes_.wait_until_synced(stop);
  }

  Result<Requeue> take_turn(const std::string& key, const std::stop_token& stop) {
    const auto* store = store_of(key);
    // `on_ours`, or the first answer of the store, brings all of them back.
    if (!announcer_.is_ours() || (store != nullptr && !reach_.knows(store))) {
      turns_.drop(key);
      return Requeue{};
    }
    if (!turns_.begin(store, key)) return Requeue{};
    auto done = reconciler_.reconcile(key, stop);
    turns_.end(store);
    if (!done && !stop.stop_requested()) counting_.failed(done.error().code());
    return done;
  }
  /// Null if its class is not offered.
  const storage::BucketStore* store_of(const std::string& key) {
    const auto bucket = buckets_.get(key);
    if (!bucket || !bucket->spec.bucket_class_ref) return nullptr;
    const auto offered = options_.classes.find(bucket->spec.bucket_class_ref->name);
    return offered == options_.classes.end() ? nullptr : offered->second;
  }

  // ---- whether the stores answer ----------------------------------------------------------------------------------

  void ask(storage::BucketStore& store, const std::stop_token& stop) {
    const auto news = reach_.ask(store, stop);
    if (news != BucketStoreReach::News::none) announcer_.hurry();
    if (news == BucketStoreReach::News::work) wake_all();
  }
  bool ask_all() {
    if (clock_.now() < next_question_) return false;
    next_question_ = clock_.now() + options_.heartbeat_every;
    for (auto* store : stores_) ask(*store, {});
    return true;
  }
  void keep_asking(storage::BucketStore& store, std::stop_token stop) {
    while (!stop.stop_requested()) {
      ask(store, stop);
      sleep_until(clock_, clock_.now() + options_.heartbeat_every, stop);
    }
  }

  // ---- what hurries nobody ----------------------------------------------------------------------------------------

  bool maintain(const std::stop_token& stop) {
    if (clock_.now() < next_maintenance_ || !announcer_.is_ours()) return false;
    next_maintenance_ = clock_.now() + options_.maintain_every;
    std::map<std::string, std::string> found;  // uid → name
    for (auto* store : stores_) {
      const auto before = buckets_.list();
      const auto silence = reach_.silence(store);
      const auto seen = silence ? Error(ErrorCode::unavailable, silence->message) : store->buckets(stop);
      if (stop.stop_requested()) return true;
      counting_.maintained(seen.has_value());
      if (!seen) {
        log_.warning("buckets of a store are not looked through", {{"error", seen.error().message()}});
        continue;
      }
      std::set<std::string> there;  // their names
      for (const auto& bucket : *seen) {
        there.insert(bucket.name);
        compare(bucket, found);
      }
      for (const auto& bucket : before)
        if (is_missing(*bucket, store, there)) controller_.queue().add(key_of(*bucket));
    }
    report_orphans(found);
    return true;
  }

  static std::string name_of(const api::Bucket& bucket) {
    const auto id = Uid::parse(bucket.metadata.uid);
    return id ? storage::bucket_name(bucket.metadata.name, *id) : std::string();
  }

  bool is_missing(const api::Bucket& bucket, const storage::BucketStore* store, const std::set<std::string>& there) {
    if (bucket.status.bucket_id.empty() || !bucket.spec.bucket_class_ref) return false;
    const auto offered = options_.classes.find(bucket.spec.bucket_class_ref->name);
    return offered != options_.classes.end() && offered->second == store && !there.contains(name_of(bucket));
  }

  void compare(const storage::Bucket& seen, std::map<std::string, std::string>& found) {
    const auto objects = buckets_.by_index(by_uid, seen.id.to_text());
    if (objects.empty()) found.emplace(seen.id.to_text(), seen.name);
    for (const auto& bucket : objects) {
      if (name_of(*bucket) != seen.name) continue;
      // For people only: what cannot be written now is soon overtaken.
      (void)reconciler_.tell_usage(*bucket, seen);
      const auto of_class = bucket->spec.bucket_class_ref ? classes_.get(bucket->spec.bucket_class_ref->name) : nullptr;
      if (of_class && quota_of(*of_class) != seen.quota) controller_.queue().add(key_of(*bucket));
    }
  }

  /// Told once each, never touched, because the store of objects may have been restored.
  void report_orphans(const std::map<std::string, std::string>& found) {
    const auto pool = pools_.get(options_.pool);
    if (!pool) return;
    std::set<std::string> orphans;
    for (const auto& [uid, name] : found)
      if (buckets_.by_index(by_uid, uid).empty()) orphans.insert(name + " (" + uid + ")");
    counting_.found_orphans(orphans.size());
    const auto fresh = orphans_.news(std::move(orphans));
    if (!fresh.empty())
      events_.record(reference_to(*pool), api::EventType::warning, "OrphanedBucket",
                     "buckets in the store, as NAME (UID), that belong to no object of this pool; remove them by hand "
                     "if they are not wanted: " +
                         fresh);
  }

  void keep_maintaining(std::stop_token stop) {
    if (!wait_until_synced(stop)) return;
    while (!stop.stop_requested()) {
      maintain(stop);
      sleep_until(clock_, std::max(next_maintenance_, clock_.now() + std::chrono::seconds(1)), stop);
    }
  }

  const BucketProviderOptions options_;
  const std::vector<storage::BucketStore*> stores_;
  Clock& clock_;
  Log& log_;
  Informer<api::Bucket> buckets_;
  Informer<api::BucketClass> classes_;
  Informer<api::BucketPool> pools_;
  EventRecorder events_;
  BucketStoreReach reach_;
  PoolAnnouncer<api::Bucket> announcer_;
  BucketReconciler reconciler_;
  StoreTurns turns_;
  Controller controller_;
  Orphans orphans_;
  ProviderCounting counting_;
  Instant next_maintenance_{};
  Instant next_question_{};
};

Result<std::unique_ptr<BucketProvider>> BucketProvider::create(store::Store& store, BucketProviderOptions options,
                                                               Clock& clock, Log& log) {
  if (auto wrong = problems(options); !wrong.empty()) return Error(std::move(wrong)).within("bucket provider");
  IRONCORE_TRY(auto queries, pool_queries<api::Bucket>(options.pool));
  return std::unique_ptr<BucketProvider>(
      new BucketProvider(std::make_unique<Body>(store, std::move(options), std::move(queries), clock, log)));
}

BucketProvider::BucketProvider(std::unique_ptr<Body> body) : body_(std::move(body)) {}
BucketProvider::~BucketProvider() = default;

void BucketProvider::run(std::stop_token stop) {
  body_->run(std::move(stop));
}
bool BucketProvider::step() {
  return body_->step();
}
std::vector<ProviderCount> BucketProvider::counts() const {
  return body_->counts();
}

}  // namespace ironcore::control
