// SPDX-License-Identifier: Apache-2.0
// Opening stores. A program without Ceph's libraries, or without those for gateways, says so when it is asked for them.
#include "ceph-providerd/places.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <chrono>
#include <utility>

#include "ceph-providerd/late.hpp"
#include "ironcore/storage/local.hpp"
#ifdef IRONCORE_HAS_CEPH
#include "ceph-providerd/cluster_stores.hpp"
#endif
#ifdef IRONCORE_HAS_RGW
#include "ironcore/storage/rgw.hpp"
#endif

namespace ironcore::ceph_providerd {
namespace {

class OpenPlaces final : public Places {
 public:
  OpenPlaces(const Options& options, program::Daemon& daemon) : options_(options), daemon_(daemon) {}
  ~OpenPlaces() override {
#ifdef IRONCORE_HAS_CEPH
    clusters_.clear();
#endif
    stores_.clear();
    threads_.join();
  }

  Result<void> open_all() {
    if (!options_.encryption_key_file.empty()) {
      IRONCORE_TRY(keys, within(crypto::KeyFile::open(options_.encryption_key_file), "encryption-key-file"));
    }
    for (const auto& store : options_.store_list) {
      auto& late = stores_[store.name];
      if (!store["local"].empty()) IRONCORE_CHECK(within(open_directory(store, late), "store: " + store.name));
    }
    for (const auto& gateway : options_.gateway_list)
      IRONCORE_CHECK(within(open_gateway(gateway), "gateway: " + gateway.name));
    for (const auto& [name, at] : options_.volume_classes) volume_classes[name] = &stores_.at(at);
    for (const auto& [name, at] : options_.bucket_classes) bucket_classes[name] = &gateways_.at(at);
    for (const auto& cluster : options_.cluster_list)
      IRONCORE_CHECK(within(begin_connecting(cluster), "cluster: " + cluster.name));
    return {};
  }

  void reload() override {
    auto& log = daemon_.log;
    if (keys) {
      if (const auto reloaded = keys->reload(); !reloaded)
        log.error("encryption keys not reloaded", {{"error", reloaded.error().message()}});
      else
        log.info("encryption keys reloaded");
    }
    for (const auto& gateway : options_.gateway_list) {
      if (const auto opened = within(open_gateway(gateway), "gateway: " + gateway.name); !opened)
        log.error("keys of a gateway not reloaded", {{"error", opened.error().message()}});
      else
        log.info("keys of a gateway reloaded", {{"gateway", gateway.name}});
    }
#ifdef IRONCORE_HAS_CEPH
    for (const auto& cluster : clusters_) cluster->reload();
#endif
  }

  void wait_for_clusters(std::stop_token stop) override {
#ifdef IRONCORE_HAS_CEPH
    const auto deadline = daemon_.clock.now() + std::chrono::seconds(5);
    for (const auto& cluster : clusters_) cluster->wait_until_tried(deadline, stop);
#else
    (void)stop;
#endif
  }

  std::vector<control::ProviderCount> counts() const override {
    std::vector<std::pair<std::string, std::optional<ErrorCode>>> places;
    for (const auto& [name, store] : stores_) places.emplace_back("store " + name, store.silence());
    for (const auto& [name, gateway] : gateways_) places.emplace_back("gateway " + name, gateway.silence());
    std::vector<control::ProviderCount> all;
    for (const auto& [place, silence] : places)
      all.push_back({.name = "place_answers",
                     .help = "Whether a store or gateway answers.",
                     .value = silence ? 0.0 : 1.0,
                     .labels = {{"place", place}}});
    for (const auto& [place, silence] : places)
      if (silence)
        all.push_back({.name = "places_silent",
                       .help = "Stores and gateways that do not answer, by kind of error.",
                       .value = 1,
                       .labels = {{"place", place}, {"kind", std::string(name(*silence))}}});
    return all;
  }

 private:
  Result<void> open_directory(const Named& store, LateBlockStore& late) {
    const auto executor = [this](std::function<void()> job) { boost::asio::post(threads_, std::move(job)); };
    IRONCORE_TRY(auto opened,
                 storage::LocalStore::open({.directory = store["local"], .executor = executor}, daemon_.clock));
    late.set_store(std::move(opened));
    return {};
  }

#ifdef IRONCORE_HAS_CEPH
  Result<void> begin_connecting(const Named& cluster) {
    std::vector<ClusterStores::Store> there;
    for (const auto& store : options_.store_list)
      if (store["cluster"] == cluster.name) there.push_back({store, &stores_.at(store.name)});
    clusters_.push_back(std::make_unique<ClusterStores>(cluster, std::move(there), owners_, daemon_));
    return {};
  }
#else
  Result<void> begin_connecting(const Named&) {
    return Error(
        ErrorCode::unsupported,
        "this program was built without Ceph: install librados-dev, librbd-dev and libcryptsetup-dev, and build "
        "again");
  }
#endif

#ifdef IRONCORE_HAS_RGW
  /// Connects with the first call.
  Result<void> open_gateway(const Named& gateway) {
    IRONCORE_TRY(auto user, read_gateway_keys(gateway["key-file"]));
    storage::rgw::Options options{.endpoint = gateway["endpoint"],
                                  .key_id = std::move(user.id),
                                  .secret = std::move(user.secret),
                                  .ca_file = gateway["ca-file"]};
    if (const auto region = gateway["region"]; !region.empty()) options.region = region;
    IRONCORE_TRY(auto opened, storage::rgw::open(std::move(options), daemon_.clock));
    gateways_[gateway.name].set_store(std::move(opened));
    return {};
  }
#else
  Result<void> open_gateway(const Named&) {
    return Error(ErrorCode::unsupported,
                 "this program was built without gateways: install libssl-dev and libexpat1-dev, and build again");
  }
#endif

  const Options& options_;
  program::Daemon& daemon_;
  boost::asio::thread_pool threads_{2};  ///< for the data of local stores
  std::map<std::string, LateBlockStore> stores_;
  std::map<std::string, LateBucketStore> gateways_;
#ifdef IRONCORE_HAS_CEPH
  PoolOwners owners_;
  std::vector<std::unique_ptr<ClusterStores>> clusters_;
#endif
};

}  // namespace

Result<std::unique_ptr<Places>> Places::open(const Options& options, program::Daemon& daemon) {
  auto places = std::make_unique<OpenPlaces>(options, daemon);
  IRONCORE_CHECK(places->open_all());
  return std::unique_ptr<Places>(std::move(places));
}

}  // namespace ironcore::ceph_providerd
