// SPDX-License-Identifier: Apache-2.0
// Connecting, again and again.
#include "ceph-providerd/cluster_stores.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "ironcore/crypto/secret.hpp"

namespace ironcore::ceph_providerd {

namespace {

constexpr auto pause = std::chrono::seconds(1);       ///< after what failed
constexpr auto look_every = std::chrono::seconds(5);  ///< at connections that were well
constexpr auto patience = std::chrono::seconds(5);    ///< with a cluster, when a new connection is tried

storage::ceph::StoreOptions options_of(const Named& store) {
  storage::ceph::StoreOptions options{.pool = store["pool"], .data_pool = store["data-pool"]};
  if (const auto depth = store["max-depth"]; !depth.empty())
    std::from_chars(depth.data(), depth.data() + depth.size(), options.max_depth);
  return options;
}

}  // namespace

Result<void> PoolOwners::take(const std::string& cluster_id, const Named& store) {
  const auto pool = store["pool"];
  const auto data_pool = store["data-pool"].empty() ? pool : store["data-pool"];
  const std::lock_guard lock(mutex_);
  for (auto* owners : {&pools_, &data_pools_})
    std::erase_if(*owners, [&](const auto& entry) { return entry.second.store == store.name; });
  const auto refused = [&](const Owner& other, const std::string& of, const std::string& advice) {
    return Error(ErrorCode::conflict, "store " + store.name + " of cluster " + store["cluster"] + ": pool " + of +
                                          " is taken by store " + other.store + " of cluster " + other.cluster +
                                          (other.cluster == store["cluster"] ? "" : ", which is the same cluster") +
                                          " (fsid " + cluster_id + "): " + advice);
  };
  const auto key = [&](const std::string& name) { return cluster_id + "/" + name; };
  if (const auto other = pools_.find(key(pool)); other != pools_.end())
    return refused(other->second, pool, "name it once");
  if (const auto other = data_pools_.find(key(data_pool)); other != data_pools_.end())
    return refused(other->second, data_pool, "its room would count twice; give one of them another pool for its data");
  const Owner owner{.store = store.name, .cluster = store["cluster"]};
  pools_.emplace(key(pool), owner);
  data_pools_.emplace(key(data_pool), owner);
  return {};
}

ClusterStores::ClusterStores(Named cluster, std::vector<Store> stores, PoolOwners& owners, program::Daemon& daemon)
    : settings_(std::move(cluster)),
      stores_(std::move(stores)),
      owners_(owners),
      clock_(daemon.clock),
      log_(daemon.log) {
  for (const auto& store : stores_)
    store.late->set_reason({ErrorCode::unavailable, "cluster " + settings_.name + " has not answered yet"});
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
}

void ClusterStores::reload() {
  const std::lock_guard lock(mutex_);
  is_asked_ = true;
  asked_.notify_all();
}

void ClusterStores::wait_until_tried(Instant deadline, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  clock_.wait(lock, asked_, std::move(stop), deadline, [this] { return is_tried_; });
}

void ClusterStores::run(const std::stop_token& stop) {
  bool is_whole = false;
  bool is_due = true;
  while (!stop.stop_requested()) {
    if (is_due || !is_whole || may_be_cut_off()) is_whole = open_all().has_value();
    std::unique_lock lock(mutex_);
    is_tried_ = true;
    asked_.notify_all();
    const auto again = clock_.now() + (is_whole ? Duration(look_every) : Duration(pause));
    clock_.wait(lock, asked_, stop, again, [this] { return is_asked_; });
    is_due = std::exchange(is_asked_, false);
  }
}

Result<void> ClusterStores::open_all() {
  const auto name = "cluster " + settings_.name;
  auto done = within(connect(), name);
  if (!done) {
    tell(name, done.error());
    for (const auto& store : stores_) store.late->set_reason(done.error());
    if (!cluster_) return done;
  } else {
    told_.erase(name);
  }
  for (const auto& store : stores_) {
    if (open_.contains(store.settings.name)) continue;
    const auto what = "store " + store.settings.name;
    if (const auto opened = within(open(store), what); !opened) {
      tell(what, opened.error());
      store.late->set_reason(opened.error());
      done = opened;
      continue;
    }
    told_.erase(what);
    open_.insert(store.settings.name);
    log_.info("store opened", {{"store", store.settings.name}, {"cluster", settings_.name}});
  }
  return done;
}

bool ClusterStores::may_be_cut_off() const {
  return std::ranges::any_of(stores_, [](const Store& store) { return store.late->may_be_cut_off(); });
}

Result<bool> ClusterStores::is_better_connected(storage::ceph::ClusterOptions options) const {
  options.connect_patience = options.monitor_patience = options.osd_patience = patience;
  const auto cluster = storage::ceph::Cluster::connect(options);
  crypto::wipe(options.key);
  if (!cluster) return cluster.error();
  return std::ranges::any_of(stores_, [&](const Store& store) {
    if (!store.late->may_be_cut_off()) return false;
    const auto opened = storage::ceph::open(**cluster, options_of(store.settings), clock_, log_);
    return opened && (*opened)->mark() && (*opened)->capacity();
  });
}

void ClusterStores::close_all(const Error& why) {
  for (const auto& store : stores_) {
    store.late->set_store(nullptr);
    store.late->set_reason(why);
  }
  open_.clear();
  cluster_.reset();
}

Result<void> ClusterStores::connect() {
  storage::ceph::ClusterOptions options{.monitors = {}, .user = settings_["user"], .key = {}};
  const auto monitors = settings_["monitors"];
  for (std::size_t at = 0; at <= monitors.size();) {
    const auto end = std::min(monitors.find('+', at), monitors.size());
    options.monitors.push_back(monitors.substr(at, end - at));
    at = end + 1;
  }
  IRONCORE_TRY(options.key, read_key(settings_["key-file"]));
  auto connected = connect(options);
  crypto::wipe(options.key);
  return connected;
}

/// Nothing to do while the key is the one that it was, and the connection does its work.
Result<void> ClusterStores::connect(const storage::ceph::ClusterOptions& options) {
  const auto key = crypto::sha256(options.key);
  if (cluster_ && key == key_) {
    if (!may_be_cut_off()) return {};
    const auto is_better = is_better_connected(options);
    if (is_better.has_error() && is_better.error().code() == ErrorCode::forbidden) {
      close_all(is_better.error());
      return is_better.error();
    }
    if (!is_better || !*is_better) return {};
  }
  IRONCORE_TRY(cluster_, storage::ceph::Cluster::connect(options));
  key_ = key;
  open_.clear();
  log_.info("cluster connected", {{"cluster", settings_.name}, {"fsid", cluster_->id()}});
  return {};
}

Result<void> ClusterStores::open(const Store& store) {
  IRONCORE_CHECK(owners_.take(cluster_->id(), store.settings));
  IRONCORE_TRY(auto opened, storage::ceph::open(*cluster_, options_of(store.settings), clock_, log_));
  // A store goes before its connection, which goes with the last store that has it.
  store.late->set_store({opened.release(), [cluster = cluster_](storage::BlockStore* gone) { delete gone; }});
  return {};
}

/// Once, until it is something else.
void ClusterStores::tell(const std::string& what, const Error& error) {
  auto& told = told_[what];
  if (told == error.message()) return;
  told = error.message();
  if (error.code() == ErrorCode::unavailable)
    log_.warning("waiting", {{"for", what}, {"because", told}});
  else
    log_.error("not open", {{"what", what}, {"error", told}});
}

}  // namespace ironcore::ceph_providerd
