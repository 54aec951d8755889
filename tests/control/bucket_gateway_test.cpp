// SPDX-License-Identifier: Apache-2.0
// From a manifest to a bucket of a real RADOS gateway, to what a stock S3 client does with it, and back.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "../support/ceph_cluster.hpp"
#include "fault_loops.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/api/yaml.hpp"
#include "ironcore/control/bucket_provider.hpp"
#include "ironcore/storage/rgw.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/typed.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace std::chrono_literals;
using control::test::eventually;
using ironcore::tests::CephCluster;
using store::Shared;

namespace {

std::unique_ptr<CephCluster> cluster;

constexpr const char* manifest = R"(
apiVersion: storage.ironcore.dev/v1alpha1
kind: BucketClass
metadata:
  name: standard
capabilities:
  tps: 50Mi
  iops: 1k
  storage: 1Mi
---
apiVersion: storage.ironcore.dev/v1alpha1
kind: Bucket
metadata:
  name: pictures
spec:
  bucketClassRef:
    name: standard
  bucketPoolRef:
    name: rgw
  settings:
    versioned: true
    lifecycle:
      - id: tidy
        prefix: tmp/
        expireDays: 7
    policy: |
      {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
       "Resource": "arn:aws:s3:::${bucket}/public/*"}]}
)";

/// What a user does who knows the Secret only.
class Client {
 public:
  explicit Client(const api::Secret& secret) : bucket_(secret.data.at("BUCKET_NAME").value) {
    const auto value = [&](const char* entry) { return secret.data.at(entry).value; };
    const auto host = value("AWS_ENDPOINT_URL").substr(std::string("http://").size());
    std::ofstream(config_) << "[default]\nuse_https = False\nhost_base = " << host << "\nhost_bucket = " << host
                           << "\naccess_key = " << value("AWS_ACCESS_KEY_ID")
                           << "\nsecret_key = " << value("AWS_SECRET_ACCESS_KEY") << "\n";
  }
  bool put(const std::string& object, const std::string& content) {
    std::ofstream(file_) << content;
    return run("put " + file_.string() + " s3://" + bucket_ + "/" + object);
  }
  std::string get(const std::string& object) {
    std::filesystem::remove(file_);
    if (!run("get s3://" + bucket_ + "/" + object + " " + file_.string())) return "refused";
    std::string content;
    std::ifstream(file_) >> content;
    return content;
  }

 private:
  bool run(const std::string& arguments) const {
    const auto command = "s3cmd -q -c " + config_.string() + " " + arguments + " 2>/dev/null";
    return std::system(command.c_str()) == 0;
  }
  const std::filesystem::path config_ = cluster->directory() / "client.cfg";
  const std::filesystem::path file_ = cluster->directory() / "client.data";
  std::string bucket_;
};

/// A store of objects, the provider on its threads, and the gateway.
struct Place {
  SystemClock clock;
  NullLog log;
  std::unique_ptr<store::LocalStore> store = store::memory_store(clock, log);
  std::unique_ptr<storage::BucketStore> gateway = storage::rgw::open({.endpoint = cluster->env("S3_ENDPOINT"),
                                                                      .key_id = cluster->env("S3_ACCESS_KEY"),
                                                                      .secret = cluster->env("S3_SECRET_KEY"),
                                                                      .patience = 5s},
                                                                     clock)
                                                      .value();
  std::unique_ptr<BucketProvider> provider = BucketProvider::create(*store,
                                                                    {.pool = "rgw",
                                                                     .provider_id = "ceph://test",
                                                                     .classes = {{"standard", gateway.get()}},
                                                                     .heartbeat_every = 500ms,
                                                                     .lease_time_to_live = 5s,
                                                                     .look_again = 1s,
                                                                     .maintain_every = 1s,
                                                                     .key_grace = 15s},
                                                                    clock, log)
                                                 .value();
  std::jthread runner{[this](std::stop_token stop) { provider->run(stop); }};

  Place() {
    const auto documents = api::parse_manifests(manifest).value();
    for (const auto& document : documents) {
      const auto object = api::Object::decode(document.json(), api::UnknownFields::refuse);
      REQUIRE(object.has_value());
      auto metadata = object->metadata();
      if (object->kind().info().scope == api::Scope::namespaced) metadata.namespace_ = "default";
      REQUIRE(store::commit_one(*store, store::Create{object->kind().with_metadata(*object, metadata)}).has_value());
    }
  }
  Shared<api::Bucket> bucket() {
    const auto found = store::get<api::Bucket>(*store, "default", "pictures");
    return found ? *found : nullptr;
  }
  /// What the last one said is in the message of a failure.
  void wait(const char* what, const std::function<bool(const api::Bucket&)>& is_so) {
    const bool came = eventually(clock, [&] {
      std::this_thread::sleep_for(10ms);
      const auto found = bucket();
      return found && is_so(*found);
    });
    const auto last = bucket();
    CAPTURE(what);
    CAPTURE((last ? store::Object::of(*last).json() : "gone"));
    REQUIRE(came);
  }
  std::string reason(const api::Bucket& of, const char* type) {
    const auto* condition = api::find_condition(of.status.conditions, type);
    return condition == nullptr ? "" : condition->reason;
  }
  Shared<api::Secret> secret() {
    const auto found = bucket();
    REQUIRE(found);
    return store::get<api::Secret>(*store, "default", "bucket-" + found->metadata.uid).value();
  }
  void annotate(std::string_view annotation, const std::string& value) {
    const auto before = bucket();
    REQUIRE(before);
    auto after = *before;
    after.metadata.annotations[std::string(annotation)] = value;
    REQUIRE(store::patch(*store, *before, std::move(after)).has_value());
  }
};

}  // namespace

TEST_CASE("a bucket goes from its manifest to a stock client, gets another key, survives the gateway, and goes") {
  Place place;
  place.wait("available", [](const api::Bucket& b) { return b.status.state == api::BucketState::available; });
  place.wait("up to date", [&](const api::Bucket& b) { return place.reason(b, "UpToDate") == "UpToDate"; });
  const auto made = place.bucket();
  const auto id = Uid::parse(made->metadata.uid).value();
  const auto seen = place.gateway->bucket(id).value();
  CHECK(seen.name == storage::bucket_name("pictures", id));
  CHECK(seen.quota.bytes == 1 << 20);
  CHECK(made->status.access->endpoint == cluster->env("S3_ENDPOINT") + "/" + seen.name);
  const auto settings = place.gateway->settings(id).value();
  CHECK(settings.is_versioned);
  CHECK(settings.lifecycle.at(0).expire_days == 7);
  CHECK(settings.policy.find("arn:aws:s3:::" + seen.name + "/public/*") != std::string::npos);
  // What this gateway cannot do is told, and what it can is so.
  const auto can_limit = place.gateway->capabilities().value().limits.empty();
  CHECK(place.reason(*made, "Limited") == (can_limit ? "Limited" : "Unsupported"));

  const auto first = place.secret();
  CHECK(Client(*first).put("o", "content"));
  CHECK(Client(*first).get("o") == "content");
  CHECK_FALSE(Client(*first).put("large", std::string(2 << 20, 'x')));
  place.wait("usage", [](const api::Bucket& b) { return b.status.usage.at("objects") == Quantity(1); });

  place.annotate(api::rotate_key_annotation, "now");
  place.wait("a new key", [](const api::Bucket& b) {
    return b.status.key_rotation && b.status.key_rotation->request == "now" && b.status.key_rotation->time;
  });
  const auto second = place.secret();
  CHECK(second->data.at("AWS_ACCESS_KEY_ID") != first->data.at("AWS_ACCESS_KEY_ID"));
  CHECK(Client(*first).get("o") == "content");
  CHECK(Client(*second).get("o") == "content");
  place.wait("the old key gone", [](const api::Bucket& b) { return b.status.key_rotation->old_key.empty(); });
  CHECK(Client(*first).get("o") == "refused");
  CHECK(Client(*second).get("o") == "content");

  cluster->run({"stop", "rgw"});
  const auto pool_state = [&] { return store::get<api::BucketPool>(*place.store, "", "rgw").value()->status.state; };
  CHECK(eventually(place.clock, [&] { return pool_state() == api::StoragePoolState::unavailable; }));
  CHECK(place.bucket()->status.state == api::BucketState::available);
  cluster->run({"start", "rgw"});
  CHECK(eventually(place.clock, [&] { return pool_state() == api::StoragePoolState::available; }));

  REQUIRE(store::remove<api::Bucket>(*place.store, "default", "pictures").has_value());
  place.wait("why it stays", [&](const api::Bucket& b) { return place.reason(b, "Removable") == "HasContent"; });
  CHECK(Client(*second).get("o") == "content");
  place.annotate(api::remove_content_annotation, "true");
  CHECK(eventually(place.clock, [&] { return place.bucket() == nullptr; }));
  CHECK(place.gateway->bucket(id).error().code() == ErrorCode::not_found);
  CHECK(place.gateway->keys(id).error().code() == ErrorCode::not_found);
  CHECK(store::list<api::Secret>(*place.store).value().empty());
  CHECK(Client(*second).get("o") == "refused");
}

/// Arguments: tests/support/ceph-cluster, then doctest's own.
int main(int argc, char** argv) {
  if (argc < 2) return 2;
  cluster = CephCluster::start(argv[1]);
  if (!cluster) return 77;
  doctest::Context context(argc, argv);
  const int result = context.run();
  cluster.reset();
  return result;
}
