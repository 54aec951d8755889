// SPDX-License-Identifier: Apache-2.0
// Connecting, again and again.
#include "ceph-providerd/cluster_stores.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "ironcore/crypto/secret.hpp"

namespace ironcore::ceph_providerd {

namespace {

constexpr auto pause = std::chrono::seconds(1);  ///< after what failed
constexpr auto long_time = std::chrono::hours(1);

}  // namespace

ClusterStores::ClusterStores(Named cluster, std::vector<Store> stores, program::Daemon& daemon)
    : settings_(std::move(cluster)), stores_(std::move(stores)), clock_(daemon.clock), log_(daemon.log) {
  for (const auto& store : stores_)
    store.late->set_reason({ErrorCode::unavailable, "cluster " + settings_.name + " has not answered yet"});
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
}

void ClusterStores::reload() {
  const std::lock_guard lock(mutex_);
  is_asked_ = true;
  asked_.notify_all();
}

void ClusterStores::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const bool is_whole = open_all().has_value();
    std::unique_lock lock(mutex_);
    const auto again = clock_.now() + (is_whole ? Duration(long_time) : Duration(pause));
    clock_.wait(lock, asked_, stop, again, [this] { return is_asked_; });
    is_asked_ = false;
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

/// Nothing to do while the file has the key that it had.
Result<void> ClusterStores::connect() {
  storage::ceph::ClusterOptions options{.monitors = {}, .user = settings_["user"], .key = {}};
  const auto monitors = settings_["monitors"];
  for (std::size_t at = 0; at <= monitors.size();) {
    const auto end = std::min(monitors.find('+', at), monitors.size());
    options.monitors.push_back(monitors.substr(at, end - at));
    at = end + 1;
  }
  IRONCORE_TRY(options.key, read_key(settings_["key-file"]));
  const auto key = crypto::sha256(options.key);
  if (cluster_ && key == key_) {
    crypto::wipe(options.key);
    return {};
  }
  auto connected = storage::ceph::Cluster::connect(options);
  crypto::wipe(options.key);
  IRONCORE_TRY(cluster_, std::move(connected));
  key_ = key;
  open_.clear();
  log_.info("cluster connected", {{"cluster", settings_.name}});
  return {};
}

Result<void> ClusterStores::open(const Store& store) {
  storage::ceph::StoreOptions options{.pool = store.settings["pool"], .data_pool = store.settings["data-pool"]};
  if (const auto depth = store.settings["max-depth"]; !depth.empty())
    std::from_chars(depth.data(), depth.data() + depth.size(), options.max_depth);
  IRONCORE_TRY(auto opened, storage::ceph::open(*cluster_, options, clock_, log_));
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
