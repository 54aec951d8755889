// SPDX-License-Identifier: Apache-2.0
// Opening stores. A program without Ceph's libraries, or without those for gateways, says so when it is asked for them.
#include "ceph-providerd/places.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <charconv>
#include <utility>

#include "ironcore/crypto/secret.hpp"
#include "ironcore/storage/local.hpp"
#ifdef IRONCORE_HAS_CEPH
#include "ironcore/storage/ceph.hpp"
#endif
#ifdef IRONCORE_HAS_RGW
#include "ironcore/storage/rgw.hpp"
#endif
#include "program/store_client.hpp"

namespace ironcore::ceph_providerd {
namespace {

class OpenPlaces final : public Places {
 public:
  ~OpenPlaces() override {
    stores_.clear();
    threads_.join();
  }

  Result<void> open_all(const Options& options, program::Daemon& daemon) {
    if (!options.encryption_key_file.empty()) {
      IRONCORE_TRY(keys, within(crypto::KeyFile::open(options.encryption_key_file), "encryption-key-file"));
    }
    for (const auto& cluster : options.cluster_list) IRONCORE_CHECK(connect(cluster, daemon));
    for (const auto& store : options.store_list) {
      IRONCORE_TRY(stores_[store.name],
                   store["local"].empty() ? open_pool(store, daemon) : open_directory(store, daemon));
    }
    for (const auto& gateway : options.gateway_list) IRONCORE_CHECK(open_gateway(gateway, daemon));
    for (const auto& [name, at] : options.volume_classes) volume_classes[name] = stores_.at(at).get();
    for (const auto& [name, at] : options.bucket_classes) bucket_classes[name] = gateways_.at(at).get();
    return {};
  }

 private:
  using Store = std::unique_ptr<storage::BlockStore>;

  Result<Store> open_directory(const Named& store, program::Daemon& daemon) {
    const auto executor = [this](std::function<void()> job) { boost::asio::post(threads_, std::move(job)); };
    return within(storage::LocalStore::open({.directory = store["local"], .executor = executor}, daemon.clock),
                  "store: " + store.name);
  }

#ifdef IRONCORE_HAS_CEPH
  Result<void> connect(const Named& cluster, program::Daemon& daemon) {
    storage::ceph::ClusterOptions options{.monitors = {}, .user = cluster["user"], .key = {}};
    const auto monitors = cluster["monitors"];
    for (std::size_t at = 0; at <= monitors.size();) {
      const auto end = std::min(monitors.find('+', at), monitors.size());
      options.monitors.push_back(monitors.substr(at, end - at));
      at = end + 1;
    }
    IRONCORE_TRY(options.key, within(read_key(cluster["key-file"]), "cluster: " + cluster.name));
    auto connected = program::when_available(daemon, "cluster " + cluster.name,
                                             [&] { return storage::ceph::Cluster::connect(options); });
    crypto::wipe(options.key);
    IRONCORE_TRY(clusters_[cluster.name], std::move(connected));
    return {};
  }
  Result<Store> open_pool(const Named& store, program::Daemon& daemon) {
    storage::ceph::StoreOptions options{.pool = store["pool"], .data_pool = store["data-pool"]};
    if (const auto depth = store["max-depth"]; !depth.empty())
      std::from_chars(depth.data(), depth.data() + depth.size(), options.max_depth);
    return program::when_available(daemon, "store " + store.name, [&] {
      return storage::ceph::open(*clusters_.at(store["cluster"]), options, daemon.clock, daemon.log);
    });
  }
#else
  Result<void> connect(const Named& cluster, program::Daemon&) {
    return without_ceph("cluster: " + cluster.name);
  }
  Result<Store> open_pool(const Named& store, program::Daemon&) {
    return without_ceph("store: " + store.name);
  }
  static Error without_ceph(const std::string& what) {
    return {ErrorCode::unsupported, what +
                                        ": this program was built without Ceph: install librados-dev, librbd-dev and "
                                        "libcryptsetup-dev, and build again"};
  }
#endif

#ifdef IRONCORE_HAS_RGW
  Result<void> open_gateway(const Named& gateway, program::Daemon& daemon) {
    IRONCORE_TRY(auto user, within(read_gateway_keys(gateway["key-file"]), "gateway: " + gateway.name));
    storage::rgw::Options options{.endpoint = gateway["endpoint"],
                                  .key_id = std::move(user.id),
                                  .secret = std::move(user.secret),
                                  .ca_file = gateway["ca-file"]};
    if (const auto region = gateway["region"]; !region.empty()) options.region = region;
    IRONCORE_TRY(gateways_[gateway.name],
                 within(storage::rgw::open(std::move(options), daemon.clock), "gateway: " + gateway.name));
    return {};
  }
#else
  Result<void> open_gateway(const Named& gateway, program::Daemon&) {
    return Error(
        ErrorCode::unsupported,
        "gateway: " + gateway.name +
            ": this program was built without gateways: install libssl-dev and libexpat1-dev, and build again");
  }
#endif

  boost::asio::thread_pool threads_{2};  ///< for the data of local stores
#ifdef IRONCORE_HAS_CEPH
  std::map<std::string, std::unique_ptr<storage::ceph::Cluster>> clusters_;
#endif
  std::map<std::string, Store> stores_;
  std::map<std::string, std::unique_ptr<storage::BucketStore>> gateways_;
};

}  // namespace

Result<std::unique_ptr<Places>> Places::open(const Options& options, program::Daemon& daemon) {
  auto places = std::make_unique<OpenPlaces>();
  IRONCORE_CHECK(places->open_all(options, daemon));
  return std::unique_ptr<Places>(std::move(places));
}

}  // namespace ironcore::ceph_providerd
