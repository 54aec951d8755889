// SPDX-License-Identifier: Apache-2.0
// A World with a simulated store of buckets and the provider that serves it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ironcore/control/bucket_provider.hpp"
#include "ironcore/sim/bucket_store.hpp"
#include "world.hpp"

namespace ironcore::control::test {

struct BucketWorld : World {
  sim::BucketStore gateway;
  std::unique_ptr<BucketProvider> provider;
  bool is_stepping = false;  ///< a call of the gateway is the provider's, not the test's
  BucketProviderOptions options{.pool = "rgw", .provider_id = "ceph://one", .classes = {{"standard", &gateway}}};

  BucketWorld() { create_class("standard"); }

  /// As after a start of the program; again as after it was killed.
  void start() {
    provider.reset();
    provider = BucketProvider::create(store, options, clock, log).value();
  }
  std::vector<std::function<bool()>> parts() {
    return {[this] {
      is_stepping = true;
      const bool did = provider->step();
      is_stepping = false;
      return did;
    }};
  }
  void run_for(Duration span, Duration step = std::chrono::milliseconds(250)) { pass(span, parts(), step); }

  void create_class(const std::string& name, api::ResourceList more = {}) {
    api::BucketClass made;
    made.metadata.name = name;
    made.capabilities = {{"tps", Quantity(1000)}, {"iops", Quantity(10)}};
    made.capabilities.merge(more);
    create(std::move(made));
  }
  /// A bucket of this pool.
  static api::Bucket here(const std::string& name, const std::string& class_name = "standard") {
    auto made = bucket(name, class_name);
    made.spec.bucket_pool_ref = api::LocalReference{.name = "rgw"};
    return made;
  }
  void annotate(const std::string& name, std::string_view annotation, const std::string& value) {
    change<api::Bucket>(name, [&](api::Bucket& b) { b.metadata.annotations[std::string(annotation)] = value; });
  }

  Shared<api::Bucket> get_bucket(const std::string& name) { return get<api::Bucket>(name, "default"); }
  Uid id_of(const std::string& name) {
    const auto found = get_bucket(name);
    REQUIRE(found);
    return Uid::parse(found->metadata.uid).value();
  }
  storage::Bucket seen(const std::string& name) { return gateway.bucket(id_of(name)).value(); }
  api::BucketState state_of(const std::string& name) {
    const auto found = get_bucket(name);
    REQUIRE(found);
    return found->status.state;
  }
  api::Condition condition(const std::string& name, const std::string& type) {
    return condition_of<api::Bucket>(name, type);
  }
  /// What a user reads from status and Secret.
  storage::BucketAccess access_to(const std::string& name) {
    const auto found = get_bucket(name);
    REQUIRE(found);
    REQUIRE(found->status.access);
    REQUIRE(found->status.access->secret_ref);
    const auto secret = get<api::Secret>(found->status.access->secret_ref->name, "default");
    REQUIRE(secret);
    const auto entry = [&](const char* of) { return secret->data.at(of).value; };
    return {.endpoint = entry("AWS_ENDPOINT_URL"),
            .bucket = entry("BUCKET_NAME"),
            .key_id = entry("AWS_ACCESS_KEY_ID"),
            .secret = entry("AWS_SECRET_ACCESS_KEY")};
  }
  Shared<api::BucketPool> pool() { return get<api::BucketPool>("rgw"); }
  std::size_t count_secrets() { return store::list<api::Secret>(*real).value().size(); }
};

}  // namespace ironcore::control::test
