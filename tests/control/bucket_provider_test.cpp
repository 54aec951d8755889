// SPDX-License-Identifier: Apache-2.0
// From a Bucket in the store to a bucket in a simulated gateway, through its whole life.
#include "ironcore/control/bucket_provider.hpp"

#include <doctest/doctest.h>

#include <set>
#include <thread>

#include "bucket_world.hpp"
#include "fault_loops.hpp"
#include "ironcore/control/finalizers.hpp"
#include "ironcore/control/managed_by.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::BucketState;
using api::ConditionStatus;

TEST_CASE("a bucket is made, and its status and Secret say everything about it") {
  BucketWorld world;
  world.create_class("small", {{"storage", Quantity::bytes(1500)}, {"objects", Quantity(2)}});
  world.options.classes["small"] = &world.gateway;
  world.start();
  world.create(BucketWorld::here("pictures", "small"));
  world.run_for(5s);
  const auto made = world.get_bucket("pictures");
  CHECK(made->status.state == BucketState::available);
  CHECK(made->status.bucket_id == "ceph://" + made->metadata.uid);
  CHECK(made->status.last_state_transition_time);
  CHECK(has_finalizer(made->metadata, api::bucket_finalizer));
  for (const auto* type : {"Ready", "UpToDate", "Limited"}) {
    CAPTURE(type);
    CHECK(world.condition("pictures", type).status == ConditionStatus::true_);
  }
  const auto secret = world.get<api::Secret>("bucket-" + made->metadata.uid, "default");
  REQUIRE(secret);
  CHECK(secret->type == api::bucket_access_secret_type);
  REQUIRE(secret->metadata.owner_references.size() == 1);
  CHECK(secret->metadata.owner_references[0].uid == made->metadata.uid);
  const auto access = world.access_to("pictures");
  CHECK(access.bucket == storage::bucket_name("pictures", world.id_of("pictures")));
  CHECK(made->status.access->endpoint == access.endpoint + "/" + access.bucket);
  CHECK(world.gateway.put(access, "o", "content"));
  CHECK(world.gateway.get(access, "o").value() == "content");
  const auto seen = world.seen("pictures");
  CHECK(seen.quota == storage::BucketQuota{.bytes = 2048, .objects = 2});
  CHECK(world.gateway.limits(seen.id) ==
        storage::BucketLimits{.reads = 10, .writes = 10, .read_bytes = 1000, .written_bytes = 1000});
  CHECK(world.events("pictures", "BucketCreationSucceeded").size() == 1);
  // What is secret is nowhere else.
  CHECK(store::Object::of(*made).json().find(access.secret) == std::string::npos);
  for (const auto& event : store::list<api::Event>(*world.real).value())
    CHECK(event->message.find(access.secret) == std::string::npos);
  // How much it holds comes by itself; then nothing is written any more.
  world.run_for(2min, 1s);
  CHECK(world.get_bucket("pictures")->status.usage ==
        api::ResourceList{{"storage", Quantity::bytes(7)}, {"objects", Quantity(1)}});
  const auto revision = world.real->revision().value();
  world.run_for(5min, 5s);
  CHECK(world.real->revision().value() == revision);
}

TEST_CASE("buckets of other pools, without a pool or class, or managed by others are not touched") {
  BucketWorld world;
  world.start();
  auto elsewhere = BucketWorld::here("elsewhere");
  elsewhere.spec.bucket_pool_ref->name = "other";
  world.create(elsewhere);
  world.create(bucket("unbound", "standard"));
  auto classless = bucket("classless", "standard");
  classless.spec.bucket_class_ref.reset();
  world.create(classless);
  auto managed = BucketWorld::here("managed");
  managed.metadata.annotations[managed_by] = "somebody";
  world.create(managed);
  world.run_for(2min, 1s);
  for (const auto* name : {"elsewhere", "unbound", "classless", "managed"}) {
    CAPTURE(name);
    CHECK(world.get_bucket(name)->metadata.finalizers.empty());
  }
  CHECK(world.gateway.buckets().value().empty());
}

TEST_CASE("a class that is not offered, or not there, is waited for") {
  BucketWorld world;
  world.options.classes["late"] = &world.gateway;
  world.start();
  world.create(BucketWorld::here("wrong", "slow"));
  world.create(BucketWorld::here("early", "late"));
  world.run_for(5s);
  CHECK(world.state_of("wrong") == BucketState::pending);
  CHECK(world.condition("wrong", "Ready").reason == "BucketClassNotReady");
  CHECK(world.condition("wrong", "Ready").message ==
        "bucket class slow is not offered by pool rgw; it offers late, standard");
  CHECK(world.get_bucket("wrong")->metadata.finalizers.empty());
  CHECK(world.condition("early", "Ready").message == "bucket class late does not exist");
  CHECK(world.pool()->status.available_bucket_classes == std::vector<api::LocalReference>{{.name = "standard"}});
  world.create_class("late");
  world.run_for(5s);
  CHECK(world.state_of("early") == BucketState::available);
  CHECK(world.pool()->status.available_bucket_classes.size() == 2);
}

TEST_CASE("a quota that somebody changed by hand is put right, and an object of another class has another") {
  BucketWorld world;
  world.create_class("small", {{"objects", Quantity(1)}});
  world.options.classes["small"] = &world.gateway;
  world.start();
  world.create(BucketWorld::here("free"));
  world.create(BucketWorld::here("tight", "small"));
  world.run_for(5s);
  CHECK(world.seen("free").quota == storage::BucketQuota{});
  REQUIRE(world.gateway.set_quota(world.id_of("free"), {.bytes = 4096, .objects = 1}));
  REQUIRE(world.gateway.set_quota(world.id_of("tight"), {}));
  world.run_for(2min, 1s);
  CHECK(world.seen("free").quota == storage::BucketQuota{});
  CHECK(world.seen("tight").quota == storage::BucketQuota{.bytes = 0, .objects = 1});
  const auto access = world.access_to("tight");
  CHECK(world.gateway.put(access, "a", "1"));
  CHECK(world.gateway.put(access, "b", "2").error().code() == ErrorCode::forbidden);
}

TEST_CASE("a server that cannot limit rates says so, the bucket works, and limits come when it can") {
  BucketWorld world;
  world.gateway.set_no_limits("this server cannot limit rates: a newer one can");
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(15s, 1s);
  CHECK(world.state_of("pictures") == BucketState::available);
  CHECK(world.condition("pictures", "UpToDate").status == ConditionStatus::true_);
  const auto told = world.condition("pictures", "Limited");
  CHECK(told.status == ConditionStatus::false_);
  CHECK(told.reason == "Unsupported");
  CHECK(told.message == "this server cannot limit rates: a newer one can");
  CHECK(world.events("pictures", "Unsupported").size() == 1);
  CHECK(world.gateway.put(world.access_to("pictures"), "o", "content"));
  world.gateway.set_no_limits("");
  world.run_for(15s, 1s);
  CHECK(world.condition("pictures", "Limited").status == ConditionStatus::true_);
  CHECK(world.gateway.limits(world.id_of("pictures")).reads == 10);
}

// ---- settings -----------------------------------------------------------------------------------------------------

TEST_CASE("settings that the object states are set, and changed with it") {
  BucketWorld world;
  world.start();
  auto made = BucketWorld::here("pictures");
  made.spec.lockable = true;
  auto& settings = made.spec.settings.emplace();
  settings.lifecycle.push_back({.id = "tidy", .prefix = "tmp/", .expire_days = 7, .old_version_days = 30});
  settings.cors.push_back({.origins = {"https://example.com"}, .methods = {"GET"}, .max_age_seconds = 60});
  settings.policy = R"({"Resource":["arn:aws:s3:::${bucket}","arn:aws:s3:::${bucket}/*"]})";
  settings.retention = api::BucketRetention{.mode = api::BucketRetentionMode::compliance, .days = 3};
  world.create(made);
  world.run_for(5s);
  REQUIRE(world.condition("pictures", "UpToDate").status == ConditionStatus::true_);
  const auto name = world.seen("pictures").name;
  const auto id = world.id_of("pictures");
  CHECK(world.gateway.settings(id).value() ==
        storage::BucketSettings{
            .is_versioned = true,
            .lifecycle = {{.id = "tidy", .prefix = "tmp/", .expire_days = 7, .old_version_days = 30}},
            .cors = {{.origins = {"https://example.com"}, .methods = {"GET"}, .max_age_seconds = 60}},
            .policy = R"({"Resource":["arn:aws:s3:::)" + name + R"(","arn:aws:s3:::)" + name + R"(/*"]})",
            .retention = storage::Retention{.mode = storage::RetentionMode::compliance, .days = 3}});
  world.change<api::Bucket>("pictures", [](api::Bucket& b) { b.spec.settings = api::BucketSettings{}; });
  world.run_for(5s);
  CHECK(world.gateway.settings(id).value() == storage::BucketSettings{.is_versioned = true});
}

TEST_CASE("settings of a bucket whose object states none are left to its users") {
  BucketWorld world;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  const auto id = world.id_of("pictures");
  REQUIRE(world.gateway.configure(id, {.is_versioned = true}));
  world.start();
  world.run_for(2min, 1s);
  CHECK(world.gateway.settings(id).value().is_versioned);
  world.change<api::Bucket>("pictures", [](api::Bucket& b) { b.spec.settings = api::BucketSettings{}; });
  world.run_for(5s);
  CHECK_FALSE(world.gateway.settings(id).value().is_versioned);
}

TEST_CASE("settings that make no sense are told by field, and the bucket works without them") {
  BucketWorld world;
  world.start();
  auto made = BucketWorld::here("pictures");
  made.spec.settings.emplace().versioned = true;
  made.spec.settings->lifecycle.push_back({.id = "nothing"});
  made.spec.settings->policy = "none";
  world.create(made);
  world.run_for(5s);
  CHECK(world.state_of("pictures") == BucketState::available);
  CHECK(world.gateway.put(world.access_to("pictures"), "o", "content"));
  const auto told = world.condition("pictures", "UpToDate");
  CHECK(told.reason == "InvalidSettings");
  CHECK(told.message.find("lifecycle[0]") != std::string::npos);
  CHECK(told.message.find("policy") != std::string::npos);
  CHECK(world.events("pictures", "InvalidSettings").size() == 1);
  const auto calls = world.gateway.operations();
  world.run_for(9s, 1s);
  CHECK(world.gateway.operations() == calls + 2);  // whether it answers and what it can; nobody tries in vain
  world.change<api::Bucket>("pictures", [](api::Bucket& b) {
    b.spec.settings->lifecycle[0].upload_days = 1;
    b.spec.settings->policy.clear();
  });
  world.run_for(5s);
  CHECK(world.condition("pictures", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.gateway.settings(world.id_of("pictures")).value().is_versioned);
}

// ---- keys ---------------------------------------------------------------------------------------------------------

TEST_CASE("a key is replaced on request: at every moment what the Secret says opens the bucket") {
  BucketWorld world;
  world.start();
  auto made = BucketWorld::here("pictures");
  made.metadata.annotations[std::string(api::rotate_key_annotation)] = "from the beginning";
  world.create(made);
  world.run_for(5s);
  const auto first = world.access_to("pictures");
  CHECK(world.gateway.keys(world.id_of("pictures")).value().size() == 1);
  CHECK(world.get_bucket("pictures")->status.key_rotation->request == "from the beginning");
  world.annotate("pictures", api::rotate_key_annotation, "again");
  world.run_for(5s);
  const auto second = world.access_to("pictures");
  CHECK(second.key_id != first.key_id);
  CHECK(world.gateway.put(first, "o", "with the old one"));
  CHECK(world.gateway.put(second, "o", "with the new one"));
  const auto rotation = world.get_bucket("pictures")->status.key_rotation;
  REQUIRE(rotation);
  CHECK(rotation->request == "again");
  CHECK(rotation->old_key == first.key_id);
  CHECK(rotation->time);
  CHECK(world.events("pictures", "KeyRotated").size() == 1);
  // A request in the meantime waits until the oldest is gone.
  world.annotate("pictures", api::rotate_key_annotation, "once more");
  world.run_for(59min, 30s);
  CHECK(world.access_to("pictures").key_id == second.key_id);
  CHECK(world.gateway.get(first, "o"));
  world.run_for(2min, 1s);
  CHECK(world.gateway.get(first, "o").error().code() == ErrorCode::forbidden);
  CHECK(world.gateway.get(second, "o"));
  const auto third = world.access_to("pictures");
  CHECK(third.key_id != second.key_id);
  CHECK(world.gateway.get(third, "o"));
  world.run_for(62min, 30s);
  CHECK(world.gateway.get(second, "o").error().code() == ErrorCode::forbidden);
  CHECK(world.get_bucket("pictures")->status.key_rotation->old_key.empty());
  CHECK(world.events("pictures", "OldKeyRevoked").front()->count == 2);
  const auto revision = world.real->revision().value();
  world.run_for(3h, 1min);
  CHECK(world.real->revision().value() == revision);
}

TEST_CASE("keys are replaced by period, also while the provider is not there") {
  BucketWorld world;
  world.options.rotate_keys_every = 24h;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  std::set<std::string> keys{world.access_to("pictures").key_id};
  world.run_for(23h, 10min);
  keys.insert(world.access_to("pictures").key_id);
  CHECK(keys.size() == 1);
  world.run_for(2h, 5min);
  keys.insert(world.access_to("pictures").key_id);
  CHECK(keys.size() == 2);
  world.provider.reset();
  world.clock.advance(48h);
  world.start();
  world.run_for(5min, 1s);
  keys.insert(world.access_to("pictures").key_id);
  CHECK(keys.size() == 3);
  world.run_for(61min, 1min);
  CHECK(world.gateway.keys(world.id_of("pictures")).value().size() == 1);
}

TEST_CASE("keys that somebody made or removed by hand bring nobody out") {
  BucketWorld world;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  const auto id = world.id_of("pictures");
  const auto first = world.access_to("pictures");
  // A second key that no status knows: as after a restored backup.
  REQUIRE(world.gateway.rotate_key(id, first.key_id));
  world.annotate("pictures", api::rotate_key_annotation, "now");
  world.run_for(5s);
  const auto second = world.access_to("pictures");
  CHECK(second.key_id == world.gateway.access(id).value().key_id);
  CHECK(second.key_id != first.key_id);
  CHECK(world.gateway.put(first, "o", "still good"));
  world.run_for(2h, 1min);
  CHECK(world.gateway.get(first, "o").error().code() == ErrorCode::forbidden);
  CHECK(world.get_bucket("pictures")->status.key_rotation->request == "now");
  CHECK(world.access_to("pictures").key_id != second.key_id);
  world.run_for(2h, 1min);
  CHECK(world.gateway.keys(id).value().size() == 1);
  // The new one is revoked in the grace of the old one.
  const auto old = world.access_to("pictures");
  world.annotate("pictures", api::rotate_key_annotation, "then");
  world.run_for(5s);
  REQUIRE(world.gateway.revoke_key(id, world.access_to("pictures").key_id));
  world.start();
  world.run_for(5s);
  const auto next = world.access_to("pictures");
  CHECK(next.key_id != old.key_id);
  CHECK(world.gateway.get(next, "o"));
  CHECK(world.gateway.get(old, "o"));
  world.run_for(2h, 1min);
  CHECK(world.gateway.get(old, "o").error().code() == ErrorCode::forbidden);
  CHECK(world.gateway.get(world.access_to("pictures"), "o"));
  // All of them: what is handed out next is a new one.
  REQUIRE(world.gateway.revoke_key(id, world.access_to("pictures").key_id));
  world.start();
  world.run_for(5s);
  CHECK(world.gateway.get(world.access_to("pictures"), "o"));
}

// ---- the end ------------------------------------------------------------------------------------------------------

TEST_CASE("a deleted bucket leaves nothing") {
  BucketWorld world;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  CHECK(world.count_secrets() == 1);
  world.remove<api::Bucket>("pictures");
  world.run_for(5s);
  CHECK_FALSE(world.get_bucket("pictures"));
  CHECK(world.gateway.buckets().value().empty());
  CHECK(world.count_secrets() == 0);
  CHECK(world.events("pictures", "BucketDeletionSucceeded").size() == 1);
}

TEST_CASE("a deleted bucket with content waits until it is empty, or until its content may go") {
  BucketWorld world;
  world.start();
  for (const auto* name : {"kept", "dropped"}) world.create(BucketWorld::here(name));
  world.run_for(5s);
  for (const auto* name : {"kept", "dropped"}) {
    REQUIRE(world.gateway.put(world.access_to(name), "o", "content"));
    world.remove<api::Bucket>(name);
  }
  world.run_for(2min, 1s);
  const auto told = world.condition("kept", "Removable");
  CHECK(told.status == ConditionStatus::false_);
  CHECK(told.reason == "HasContent");
  CHECK(told.message.find("holds 1 object (old versions, delete markers and parts of unfinished uploads count)") !=
        std::string::npos);
  CHECK(told.message.find("storage.ironcore.dev/remove-content: \"true\" (ironcorectl edit bucket kept -n default)") !=
        std::string::npos);
  CHECK(world.events("kept", "HasContent").size() == 1);
  CHECK(world.gateway.get(world.access_to("kept"), "o").value() == "content");
  world.annotate("dropped", api::remove_content_annotation, "true");
  world.annotate("kept", api::remove_content_annotation, "perhaps");
  world.run_for(5s);
  CHECK_FALSE(world.get_bucket("dropped"));
  CHECK(world.get_bucket("kept"));
  CHECK(world.gateway.buckets().value().size() == 1);
  // Somebody else has removed all of it.
  REQUIRE(world.gateway.remove(world.id_of("kept"), storage::Content::remove, {}));
  world.run_for(1min, 1s);
  CHECK_FALSE(world.get_bucket("kept"));
  CHECK(world.count_secrets() == 0);
}

TEST_CASE("an annotation of before is a request too, and content that takes long to remove is waited for") {
  BucketWorld world;
  world.start();
  auto made = BucketWorld::here("pictures");
  made.metadata.annotations[std::string(api::remove_content_annotation)] = "true";
  world.create(made);
  world.run_for(5s);
  REQUIRE(world.gateway.put(world.access_to("pictures"), "o", "content"));
  world.run_for(5s);
  bool is_slow = true;
  world.gateway.set_faults([&]() -> std::optional<ErrorCode> {
    const auto found = world.get_bucket("pictures");
    return is_slow && found && found->metadata.deletion_timestamp ? std::optional(ErrorCode::timeout) : std::nullopt;
  });
  world.remove<api::Bucket>("pictures");
  world.run_for(20s, 1s);
  CHECK(world.condition("pictures", "Removable").reason == "RemovingContent");
  CHECK(world.count_secrets() == 1);
  is_slow = false;
  world.run_for(1min, 1s);
  CHECK_FALSE(world.get_bucket("pictures"));
  CHECK(world.gateway.buckets().value().empty());
}

TEST_CASE("a bucket that vanished from its store is found out, and never made anew") {
  BucketWorld world;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  REQUIRE(world.gateway.remove(world.id_of("pictures"), storage::Content::remove, {}));
  world.run_for(3min, 1s);
  CHECK(world.gateway.buckets().value().empty());
  CHECK(world.state_of("pictures") == BucketState::error);
  CHECK(world.condition("pictures", "Ready").reason == "BucketLost");
  CHECK(world.events("pictures", "BucketLost").size() == 1);
  world.remove<api::Bucket>("pictures");
  world.run_for(2min, 1s);
  CHECK_FALSE(world.get_bucket("pictures"));
}

TEST_CASE("another bucket in its place is not taken for it") {
  BucketWorld world;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  const auto before = world.get_bucket("pictures")->status.access->endpoint;
  world.gateway.replace(world.id_of("pictures"), "another");
  world.run_for(3min, 1s);
  CHECK(world.state_of("pictures") == BucketState::error);
  CHECK(world.condition("pictures", "Ready").reason == "BucketLost");
  CHECK(world.condition("pictures", "Ready").message.find("another") != std::string::npos);
  CHECK(world.get_bucket("pictures")->status.access->endpoint == before);
}

TEST_CASE("what somebody else has under its name or user is left alone, and told") {
  BucketWorld world;
  const auto taken = world.create(BucketWorld::here("taken"));
  const auto used = world.create(BucketWorld::here("used"));
  const auto id = [](const auto& object) { return Uid::parse(object->metadata.uid).value(); };
  const auto other = Uid::random(world.random);
  REQUIRE(world.gateway.create(other, {.name = storage::bucket_name("taken", id(taken))}));
  REQUIRE(world.gateway.create(id(used), {.name = "not-ours"}));
  const auto key = world.gateway.access(id(used)).value().key_id;
  world.start();
  world.run_for(2min, 1s);
  for (const auto* name : {"taken", "used"}) {
    CAPTURE(name);
    CHECK(world.state_of(name) == BucketState::error);
    CHECK(world.condition(name, "Ready").reason == "NameTaken");
    CHECK(world.condition(name, "Ready").message.find("make it again") != std::string::npos);
    CHECK(world.events(name, "NameTaken").size() == 1);
  }
  CHECK(world.count_secrets() == 0);
  CHECK(world.gateway.access(id(used)).value().key_id == key);
  // What is in the way goes: it is made after all.
  REQUIRE(world.gateway.remove(other, storage::Content::remove, {}));
  world.run_for(2min, 1s);
  CHECK(world.state_of("taken") == BucketState::available);
}

// ---- the pool -----------------------------------------------------------------------------------------------------

TEST_CASE("a gateway that is down makes the pool not ready; buckets stay as they are and go on when it is back") {
  BucketWorld world;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  CHECK(world.pool()->status.state == api::StoragePoolState::available);
  CHECK(api::find_condition(world.pool()->status.conditions, "Ready")->status == ConditionStatus::true_);
  bool is_down = true;
  world.gateway.set_faults(
      [&]() -> std::optional<ErrorCode> { return is_down ? std::optional(ErrorCode::unavailable) : std::nullopt; });
  world.create(BucketWorld::here("late"));
  world.annotate("pictures", api::rotate_key_annotation, "now");
  world.run_for(2min, 1s);
  const auto* ready = api::find_condition(world.pool()->status.conditions, "Ready");
  CHECK(ready->status == ConditionStatus::false_);
  CHECK(ready->reason == "StoreUnreachable");
  CHECK(ready->message.find("standard: ") != std::string::npos);
  CHECK(world.pool()->status.available_bucket_classes.empty());
  CHECK(world.real->leases("bucketpool/").value().size() == 1);
  CHECK(world.state_of("pictures") == BucketState::available);
  CHECK(world.condition("pictures", "UpToDate").reason == "StoreUnreachable");
  CHECK(world.state_of("late") == BucketState::pending);
  CHECK(world.condition("late", "Ready").reason == "StoreUnreachable");
  is_down = false;
  world.run_for(2min, 1s);
  CHECK(world.pool()->status.state == api::StoragePoolState::available);
  CHECK(world.state_of("late") == BucketState::available);
  CHECK(world.condition("pictures", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.get_bucket("pictures")->status.key_rotation->request == "now");
}

TEST_CASE("a store that does not answer is only asked whether it does, and what waits goes on at once when it does") {
  for (const auto code : {ErrorCode::unavailable, ErrorCode::timeout}) {
    CAPTURE(code);
    BucketWorld world;
    world.start();
    for (const auto* name : {"pictures", "gone"}) world.create(BucketWorld::here(name));
    world.run_for(5s);
    bool is_down = true;
    world.gateway.set_faults(
        [&]() -> std::optional<ErrorCode> { return is_down ? std::optional(code) : std::nullopt; });
    world.run_for(15s, 1s);
    world.create(BucketWorld::here("late"));
    world.annotate("pictures", api::rotate_key_annotation, "now");
    world.remove<api::Bucket>("gone");
    const auto calls = world.gateway.operations();
    world.run_for(2min, 1s);
    CHECK(world.gateway.operations() == calls + 12);
    for (const auto& [name, type] : {std::pair("late", "Ready"), {"pictures", "UpToDate"}, {"gone", "Removable"}}) {
      CAPTURE(name);
      const auto told = world.condition(name, type);
      CHECK(told.status == ConditionStatus::false_);
      CHECK(told.reason == "StoreUnreachable");
      CHECK(told.message.find("the simulated store does not answer") != std::string::npos);
      CHECK(world.events(name, "StoreUnreachable").size() == 1);
    }
    CHECK(world.state_of("pictures") == BucketState::available);
    is_down = false;
    world.run_for(12s, 1s);
    CHECK(world.state_of("late") == BucketState::available);
    CHECK(world.condition("pictures", "UpToDate").status == ConditionStatus::true_);
    CHECK(world.get_bucket("pictures")->status.key_rotation->request == "now");
    CHECK_FALSE(world.get_bucket("gone"));
  }
}

TEST_CASE("each class has its store: one that does not answer takes only its own class away") {
  BucketWorld world;
  sim::BucketStore archive;
  world.options.classes["cold"] = &archive;
  world.create_class("cold");
  world.start();
  world.create(BucketWorld::here("old", "cold"));
  world.create(BucketWorld::here("pictures"));
  world.run_for(5s);
  CHECK(archive.buckets().value().size() == 1);
  CHECK(world.gateway.buckets().value().size() == 1);
  archive.set_faults([]() -> std::optional<ErrorCode> { return ErrorCode::forbidden; });
  world.run_for(2min, 1s);
  CHECK(world.pool()->status.available_bucket_classes == std::vector<api::LocalReference>{{.name = "standard"}});
  CHECK(world.pool()->status.state == api::StoragePoolState::available);
  CHECK(api::find_condition(world.pool()->status.conditions, "Ready")->message.find("cold") != std::string::npos);
  CHECK(world.state_of("old") == BucketState::available);
  archive.set_faults({});
  // A class that is not offered any more: its buckets are found wherever they are.
  world.options.classes = {{"standard", &world.gateway}, {"other", &archive}};
  world.start();
  world.remove<api::Bucket>("old");
  world.run_for(2min, 1s);
  CHECK_FALSE(world.get_bucket("old"));
  CHECK(archive.buckets().value().empty());
}

TEST_CASE("of two providers for one pool the lease decides, and the other takes over") {
  BucketWorld world;
  world.start();
  world.run_for(1s);
  auto others = world.options;
  others.holder = "the-other";
  const auto other = BucketProvider::create(world.store, others, world.clock, world.log).value();
  auto parts = world.parts();
  parts.push_back([&] { return other->step(); });
  for (int i = 0; i < 5; ++i) world.create(BucketWorld::here("b" + std::to_string(i)));
  world.pass(10s, parts);
  CHECK(world.gateway.buckets().value().size() == 5);
  CHECK(world.real->leases("bucketpool/").value().at(0).holder == "ceph://one");
  world.annotate("b0", api::rotate_key_annotation, "now");
  world.pass(1s, parts);
  const auto handed_out = world.access_to("b0").key_id;
  world.provider.reset();
  world.create(BucketWorld::here("late"));
  world.pass(2h, {[&] { return other->step(); }}, 30s);
  CHECK(world.state_of("late") == BucketState::available);
  CHECK(world.real->leases("bucketpool/").value().at(0).holder == "the-other");
  CHECK(world.access_to("b0").key_id == handed_out);
  CHECK(world.gateway.keys(world.id_of("b0")).value().size() == 1);
}

TEST_CASE("a pool of another provider is left alone") {
  BucketWorld world;
  api::BucketPool foreign;
  foreign.metadata.name = "rgw";
  foreign.spec.provider_id = "ceph://somebody-else";
  world.create(foreign);
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(30s, 1s);
  CHECK(world.pool()->status == api::BucketPoolStatus{});
  CHECK(world.get_bucket("pictures")->metadata.finalizers.empty());
  CHECK(world.gateway.buckets().value().empty());
}

TEST_CASE("what lies in the store without an object is reported once and left alone") {
  BucketWorld world;
  const auto stray = Uid::random(world.random);
  REQUIRE(world.gateway.create(stray, {.name = "stray"}));
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.run_for(10min, 5s);
  CHECK(world.gateway.bucket(stray));
  const auto told = world.events("rgw", "OrphanedBucket");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->count == 1);
  CHECK(told.front()->message.find("stray (" + stray.to_text() + ")") != std::string::npos);
  CHECK(told.front()->message.find(world.get_bucket("pictures")->metadata.uid) == std::string::npos);
  CHECK(world.count(*world.provider, "bucket_orphans") == 1);
}

TEST_CASE("a provider counts its buckets, what fails, and what waits") {
  BucketWorld world;
  world.start();
  world.create(BucketWorld::here("pictures"));
  world.create(BucketWorld::here("late", "late"));
  world.run_for(2min, 1s);
  const auto count = [&](const char* name, const char* label = "") {
    return world.count(*world.provider, name, label);
  };
  CHECK(count("bucket_pool_is_ours") == 1);
  CHECK(count("buckets", "available") == 1);
  CHECK(count("buckets", "pending") == 1);
  CHECK(count("buckets", "error") == 0);
  CHECK(count("buckets_not_ready", "BucketClassNotReady") == 1);
  CHECK(count("bucket_maintenances", "done") >= 1);
  CHECK(count("bucket_maintenances", "failed") == 0);
  CHECK(count("bucket_orphans") == 0);
  CHECK(count("buckets_waiting") == 0);
}

TEST_CASE("a Secret of its name that somebody else made is not touched") {
  BucketWorld world;
  const auto made = world.create(BucketWorld::here("pictures"));
  api::Secret foreign;
  foreign.metadata.namespace_ = "default";
  foreign.metadata.name = "bucket-" + made->metadata.uid;
  foreign.data["mine"].value = "x";
  world.create(foreign);
  world.start();
  world.run_for(10s);
  CHECK(world.state_of("pictures") == BucketState::error);
  CHECK(world.condition("pictures", "Ready").reason == "AccessNotReady");
  CHECK(world.get<api::Secret>(foreign.metadata.name, "default")->data.size() == 1);
  world.remove<api::Secret>(foreign.metadata.name);
  world.run_for(2min, 1s);
  CHECK(world.state_of("pictures") == BucketState::available);
}

TEST_CASE("wrong options are refused, each by name") {
  BucketWorld world;
  const auto refused = BucketProvider::create(world.store,
                                              {.pool = "Not A Name",
                                               .provider_id = "x",
                                               .type = "",
                                               .classes = {{"standard", nullptr}},
                                               .workers = 0,
                                               .lease_time_to_live = 15s,
                                               .rotate_keys_every = 30min},
                                              world.clock, world.log);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == ErrorCode::invalid);
  std::vector<std::string> fields;
  const auto error = refused.error();
  for (const auto& field : error.fields()) fields.push_back(field.field);
  CHECK(fields == std::vector<std::string>{"pool", "provider_id", "lease_time_to_live", "type", "classes", "workers",
                                           "rotate_keys_every"});
}

// ---- faults -------------------------------------------------------------------------------------------------------

namespace {

/// At every moment, whatever has failed, what the Secret says opens the bucket.
void check_access(BucketWorld& world, const std::string& name) {
  CAPTURE(name);
  CHECK(world.gateway.get(world.access_to(name), "o").value() == "content");
}

/// The whole life of two buckets; ends with one of them.
void live(BucketWorld& world) {
  const auto run = [&] { world.run_for(3min, 5s); };
  world.create_class("small", {{"objects", Quantity(5)}});
  world.options.classes["small"] = &world.gateway;
  world.options.key_grace = 1min;
  world.start();
  auto safe = BucketWorld::here("safe", "small");
  safe.spec.settings.emplace().versioned = true;
  world.create(safe);
  world.create(BucketWorld::here("gone"));
  run();
  for (const auto* name : {"safe", "gone"}) {
    CAPTURE(name);
    REQUIRE(world.state_of(name) == BucketState::available);
    for (const auto* type : {"Ready", "UpToDate", "Limited"})
      CHECK(world.condition(name, type).status == ConditionStatus::true_);
    REQUIRE(world.gateway.put(world.access_to(name), "o", "content"));
  }
  CHECK(world.gateway.buckets().value().size() == 2);
  CHECK(world.seen("safe").quota.objects == 5);
  CHECK(world.gateway.settings(world.id_of("safe")).value().is_versioned);
  const auto before = world.access_to("safe");
  world.annotate("safe", api::rotate_key_annotation, "now");
  for (int i = 0; i < 36; ++i) {
    world.run_for(5s, 5s);
    check_access(world, "safe");
  }
  CHECK(world.access_to("safe").key_id != before.key_id);
  CHECK(world.gateway.get(before, "o").error().code() == ErrorCode::forbidden);
  CHECK(world.gateway.keys(world.id_of("safe")).value().size() == 1);
  world.annotate("gone", api::remove_content_annotation, "true");
  world.remove<api::Bucket>("gone");
  run();
  CHECK_FALSE(world.get_bucket("gone"));
  check_access(world, "safe");
  const auto left = world.gateway.buckets().value();
  REQUIRE(left.size() == 1);
  CHECK(left[0].objects == 1);
  CHECK(world.get_bucket("safe")->status.usage.at("objects") == Quantity(1));
  CHECK(world.count_secrets() == 1);
  CHECK(world.events("rgw", "OrphanedBucket").empty());
}

}  // namespace

TEST_CASE("whatever call of the gateway fails, or is not answered, everything ends right") {
  for (const auto code : {ErrorCode::unavailable, ErrorCode::timeout, ErrorCode::conflict}) {
    CAPTURE(code);
    const int moments = at_each_moment([&](int n) {
      CAPTURE(n);
      BucketWorld world;
      bool was_reached = false;
      world.gateway.set_faults([&, seen = 0]() mutable -> std::optional<ErrorCode> {
        if (!world.is_stepping || seen++ != n) return std::nullopt;
        was_reached = true;
        return code;
      });
      live(world);
      return was_reached;
    });
    CHECK(moments > 100);
  }
}

TEST_CASE("whatever write to the store of objects fails or is not answered, everything ends right") {
  for (const auto when : {FaultyStore::Fault::When::before, FaultyStore::Fault::When::after})
    CHECK(at_each_failing_write<BucketWorld>(when, live) > 15);
}

TEST_CASE("a provider that is killed at any write and started again ends right") {
  const int writes = at_each_deadly_write<BucketWorld>([](BucketWorld& world, bool& is_dead) {
    world.options.key_grace = 1min;
    world.start();
    for (const auto* name : {"safe", "gone"}) world.create(BucketWorld::here(name));
    const auto go_on = [&] {
      world.run_for(5s, 1s);
      if (!is_dead) return;
      is_dead = false;
      world.start();
      world.run_for(2min, 5s);
    };
    go_on();
    REQUIRE(world.gateway.put(world.access_to("safe"), "o", "content"));
    world.annotate("safe", api::rotate_key_annotation, "now");
    world.remove<api::Bucket>("gone");
    go_on();
    check_access(world, "safe");
    world.run_for(3min, 5s);
    check_access(world, "safe");
    CHECK(world.gateway.keys(world.id_of("safe")).value().size() == 1);
    CHECK(world.access_to("safe").key_id.ends_with("2"));  // one request, one new key
    CHECK(world.get_bucket("safe")->status.key_rotation->request == "now");
    CHECK_FALSE(world.get_bucket("gone"));
    CHECK(world.gateway.buckets().value().size() == 1);
    CHECK(world.count_secrets() == 1);
  });
  CHECK(writes > 10);
}

TEST_CASE("running on its own threads, buckets come and go") {
  SystemClock clock;
  NullLog log;
  sim::BucketStore gateway;
  const auto store = store::memory_store(clock, log);
  const auto provider =
      BucketProvider::create(*store, {.pool = "rgw", .provider_id = "ceph://one", .classes = {{"standard", &gateway}}},
                             clock, log)
          .value();
  api::BucketClass standard;
  standard.metadata.name = "standard";
  standard.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
  REQUIRE(store::create(*store, standard));
  std::jthread runner([&](std::stop_token stop) { provider->run(stop); });
  for (int i = 0; i < 20; ++i) REQUIRE(store::create(*store, BucketWorld::here("b" + std::to_string(i))));
  CHECK(eventually(clock, [&] {
    const auto all = store::list<api::Bucket>(*store).value();
    return std::all_of(all.begin(), all.end(),
                       [](const auto& bucket) { return bucket->status.state == BucketState::available; });
  }));
  CHECK(gateway.buckets().value().size() == 20);
  CHECK(eventually(clock, [&] {
    const auto pool = store::get<api::BucketPool>(*store, "", "rgw");
    return pool && (*pool)->status.state == api::StoragePoolState::available;
  }));
  for (int i = 0; i < 20; ++i) REQUIRE(store::remove<api::Bucket>(*store, "default", "b" + std::to_string(i)));
  CHECK(eventually(clock, [&] { return store::list<api::Bucket>(*store).value().empty(); }));
  CHECK(gateway.buckets().value().empty());
}

TEST_CASE("a store that hangs, from the start or later, holds up no bucket of another") {
  SystemClock clock;
  NullLog log;
  for (const bool from_the_start : {true, false}) {
    CAPTURE(from_the_start);
    sim::BucketStore gateway;
    sim::BucketStore hanging;
    const auto store = store::memory_store(clock, log);
    const auto provider = BucketProvider::create(*store,
                                                 {.pool = "rgw",
                                                  .provider_id = "ceph://one",
                                                  .classes = {{"standard", &gateway}, {"cold", &hanging}},
                                                  .workers = 3,
                                                  .heartbeat_every = from_the_start ? Duration(50ms) : Duration(10s)},
                                                 clock, log)
                              .value();
    for (const auto* name : {"standard", "cold"}) {
      api::BucketClass made;
      made.metadata.name = name;
      made.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
      REQUIRE(store::create(*store, made));
    }
    const auto is_available = [&](const std::string& name) {
      const auto found = store::get<api::Bucket>(*store, "default", name);
      return found && (*found)->status.state == BucketState::available;
    };
    if (from_the_start) hanging.hang();
    std::jthread runner([&](std::stop_token stop) { provider->run(stop); });
    if (!from_the_start) {
      REQUIRE(store::create(*store, BucketWorld::here("before", "cold")));
      REQUIRE(eventually(clock, [&] { return is_available("before"); }));
      hanging.hang();
    }
    for (int i = 0; i < 10; ++i) REQUIRE(store::create(*store, BucketWorld::here("c" + std::to_string(i), "cold")));
    // As many as may: those that hang, or the one that asks.
    REQUIRE(eventually(clock, [&] { return hanging.held() >= (from_the_start ? 1U : 2U); }));
    for (int i = 0; i < 10; ++i) REQUIRE(store::create(*store, BucketWorld::here("s" + std::to_string(i))));
    CHECK(eventually(clock, [&] {
      for (int i = 0; i < 10; ++i)
        if (!is_available("s" + std::to_string(i))) return false;
      return true;
    }));
    // Turns, the question, and the look at all of them.
    CHECK(hanging.held() <= 4);
    runner.request_stop();
  }
}

TEST_CASE("a stop does not wait for a gateway that removes much content, and the bucket stays for the next start") {
  SystemClock clock;
  NullLog log;
  sim::BucketStore gateway;
  const auto store = store::memory_store(clock, log);
  const auto provider =
      BucketProvider::create(*store, {.pool = "rgw", .provider_id = "ceph://one", .classes = {{"standard", &gateway}}},
                             clock, log)
          .value();
  api::BucketClass standard;
  standard.metadata.name = "standard";
  standard.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
  REQUIRE(store::create(*store, standard));
  auto full = BucketWorld::here("full");
  full.metadata.annotations[std::string(api::remove_content_annotation)] = "true";
  REQUIRE(store::create(*store, full));
  std::jthread runner([&](std::stop_token stop) { provider->run(stop); });
  REQUIRE(eventually(clock, [&] {
    return (*store::get<api::Bucket>(*store, "default", "full"))->status.state == BucketState::available;
  }));
  gateway.hold_removals();
  REQUIRE(store::remove<api::Bucket>(*store, "default", "full"));
  REQUIRE(eventually(clock, [&] { return gateway.held() == 1; }));
  runner.request_stop();
  runner.join();  // would not end
  CHECK(gateway.buckets().value().size() == 1);
  const auto left = store::get<api::Bucket>(*store, "default", "full");
  REQUIRE(left);
  CHECK((*left)->metadata.finalizers.size() == 1);
}

TEST_CASE("a stop does not wait for a gateway that answers nothing, and nothing is told about it") {
  SystemClock clock;
  NullLog log;
  sim::BucketStore gateway;
  const auto store = store::memory_store(clock, log);
  const auto provider = BucketProvider::create(*store,
                                               {.pool = "rgw",
                                                .provider_id = "ceph://one",
                                                .classes = {{"standard", &gateway}},
                                                .workers = 3,
                                                .heartbeat_every = 50ms,
                                                .maintain_every = 50ms},
                                               clock, log)
                            .value();
  api::BucketClass standard;
  standard.metadata.name = "standard";
  standard.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
  REQUIRE(store::create(*store, standard));
  std::jthread runner([&](std::stop_token stop) { provider->run(stop); });
  REQUIRE(store::create(*store, BucketWorld::here("one")));
  const auto one = [&] { return *store::get<api::Bucket>(*store, "default", "one").value(); };
  REQUIRE(eventually(clock, [&] { return one().status.state == BucketState::available; }));
  const auto pool_state = [&] { return (*store::get<api::BucketPool>(*store, "", "rgw"))->status.state; };
  REQUIRE(eventually(clock, [&] { return pool_state() == api::StoragePoolState::available; }));
  gateway.hang();
  // The question, the look at all of them, and the turns of both; perhaps another one of the first.
  for (const auto* name : {"two", "three"}) REQUIRE(store::create(*store, BucketWorld::here(name)));
  const auto is_begun = [&](const char* name) {
    return store::get<api::Bucket>(*store, "default", name).value()->metadata.finalizers.size() == 1;
  };
  REQUIRE(eventually(clock, [&] { return gateway.held() >= 4 && is_begun("two") && is_begun("three"); }));
  const auto before = one();
  runner.request_stop();
  runner.join();  // would not end
  CHECK(gateway.held() == 0);
  CHECK(one().status == before.status);
  CHECK(pool_state() == api::StoragePoolState::available);
  for (const auto* name : {"two", "three"}) {
    CHECK((*store::get<api::Bucket>(*store, "default", name))->status.conditions.empty());
    CHECK(is_begun(name));
  }
}
