// SPDX-License-Identifier: Apache-2.0
// What every BucketStore must do, whatever keeps the objects.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ironcore/storage/bucket_store.hpp"

namespace ironcore::storage::testing {

/// A store that others may use too: buckets of other uids are not its tests' business.
class BucketStoreFixture {
 public:
  virtual ~BucketStoreFixture() = default;
  virtual BucketStore& store() = 0;
  /// What a client does who knows nothing but this.
  virtual Result<void> put(const BucketAccess& access, const std::string& object, std::string_view content) = 0;
  virtual Result<std::string> get(const BucketAccess& access, const std::string& object) = 0;
};

/// A bucket that is gone with its content at the end of the test.
class TestBucket {
 public:
  explicit TestBucket(BucketStore& store, BucketSpec spec = {}) : id(Uid::random()), store_(store) {
    if (spec.name.empty()) spec.name = bucket_name("suite", id);
    name = spec.name;
    const auto made = store.create(id, spec);
    REQUIRE_MESSAGE(made.has_value(), made.error());
    CHECK(*made == Bucket{.id = id, .name = name});
  }
  TestBucket(const TestBucket&) = delete;
  TestBucket& operator=(const TestBucket&) = delete;
  ~TestBucket() { static_cast<void>(store_.remove(id, Content::remove, {})); }
  BucketAccess access() const { return store_.access(id).value(); }

  Uid id;
  std::string name;

 private:
  BucketStore& store_;
};

inline bool lists(BucketStore& store, const Uid& id) {
  const auto all = store.buckets().value();
  return std::ranges::any_of(all, [&](const Bucket& bucket) { return bucket.id == id; });
}

inline void check_bucket_store(const std::function<std::unique_ptr<BucketStoreFixture>()>& make) {
  const auto fixture = make();
  BucketStore& store = fixture->store();

  SUBCASE("a bucket is made once, listed, and gone after it is removed") {
    const Uid id = Uid::random();
    const BucketSpec spec{.name = bucket_name("Once Only", id)};
    CHECK(store.bucket(id).error().code() == ErrorCode::not_found);
    CHECK_FALSE(lists(store, id));
    const Bucket made = store.create(id, spec).value();
    CHECK(made == Bucket{.id = id, .name = spec.name});
    const BucketAccess access = store.access(id).value();
    CHECK(store.create(id, spec).value() == made);
    CHECK(store.access(id).value().secret == access.secret);
    CHECK(store.bucket(id).value() == made);
    CHECK(lists(store, id));
    CHECK(store.settings(id).value() == BucketSettings());
    CHECK(store.remove(id, Content::refuse, {}).has_value());
    CHECK(store.remove(id, Content::refuse, {}).has_value());
    CHECK(store.remove(id, Content::remove, {}).has_value());
    CHECK(store.bucket(id).error().code() == ErrorCode::not_found);
    CHECK_FALSE(lists(store, id));
    CHECK(store.create(id, spec).value() == made);
    CHECK(store.remove(id, Content::refuse, {}).has_value());
  }
  SUBCASE("a bucket that is there is not another one") {
    const TestBucket bucket(store);
    CHECK(store.create(bucket.id, {.name = bucket.name + "x"}).error().code() == ErrorCode::already_exists);
    CHECK(store.create(bucket.id, {.name = bucket.name, .is_lockable = true}).error().code() ==
          ErrorCode::already_exists);
    const Uid other = Uid::random();
    CHECK(store.create(other, {.name = bucket.name}).error().code() == ErrorCode::already_exists);
    CHECK(store.bucket(other).error().code() == ErrorCode::not_found);
    CHECK(store.remove(other, Content::remove, {}).has_value());
    CHECK(store.bucket(bucket.id).has_value());
  }
  SUBCASE("a name that no bucket may have is refused") {
    for (const char* name : {"", "ab", "Upper", "a_b", "-ab", "a/b", "a.b"})
      CHECK(store.create(Uid::random(), {.name = name}).error().code() == ErrorCode::invalid);
    CHECK(store.create(Uid::random(), {.name = std::string(64, 'a')}).error().code() == ErrorCode::invalid);
  }
  SUBCASE("nothing can be done with a bucket that is not there") {
    const Uid id = Uid::random();
    CHECK(store.bucket(id).error().code() == ErrorCode::not_found);
    CHECK(store.set_quota(id, {.bytes = 1}).error().code() == ErrorCode::not_found);
    CHECK(store.settings(id).error().code() == ErrorCode::not_found);
    CHECK(store.configure(id, {.is_versioned = true}).error().code() == ErrorCode::not_found);
    CHECK(store.access(id).error().code() == ErrorCode::not_found);
    CHECK(store.keys(id).error().code() == ErrorCode::not_found);
    CHECK(store.rotate_key(id, "key").error().code() == ErrorCode::not_found);
    CHECK(store.revoke_key(id, "key").error().code() == ErrorCode::not_found);
  }
  SUBCASE("who has the key writes and reads, and nobody else") {
    const TestBucket bucket(store);
    const TestBucket other(store);
    BucketAccess access = bucket.access();
    CHECK(access.bucket == bucket.name);
    REQUIRE(fixture->put(access, "a b/c+d&e=f", "content").has_value());
    CHECK(fixture->get(access, "a b/c+d&e=f").value() == "content");
    CHECK(fixture->get(access, "nothing").error().code() == ErrorCode::not_found);
    BucketAccess wrong = other.access();
    wrong.bucket = bucket.name;
    CHECK(fixture->get(wrong, "a b/c+d&e=f").error().code() == ErrorCode::forbidden);
    CHECK(fixture->put(wrong, "o", "content").error().code() == ErrorCode::forbidden);
    access.secret += "x";
    const auto refused = fixture->get(access, "a b/c+d&e=f");
    CHECK(refused.error().code() == ErrorCode::forbidden);
    CHECK(refused.error().message().find(access.secret) == std::string::npos);
  }
  SUBCASE("what a bucket holds is counted, and removed only on request") {
    const TestBucket bucket(store);
    REQUIRE(fixture->put(bucket.access(), "one", std::string(1000, '1')).has_value());
    REQUIRE(fixture->put(bucket.access(), "two", std::string(500, '2')).has_value());
    const Bucket now = store.bucket(bucket.id).value();
    CHECK(now.objects == 2);
    CHECK(now.bytes == 1500);
    const auto refused = store.remove(bucket.id, Content::refuse, {});
    CHECK(refused.error().code() == ErrorCode::wrong_state);
    CHECK(refused.error().message().find(" 2 objects (old versions") != std::string::npos);
    CHECK(fixture->get(bucket.access(), "two").value() == std::string(500, '2'));
    CHECK(store.remove(bucket.id, Content::remove, {}).has_value());
    CHECK(store.bucket(bucket.id).error().code() == ErrorCode::not_found);
  }
  SUBCASE("a key is replaced and no client is ever shut out") {
    const TestBucket bucket(store);
    const BucketAccess first = bucket.access();
    CHECK(bucket.access().key_id == first.key_id);
    CHECK(store.keys(bucket.id).value() == std::vector{BucketKey{.id = first.key_id, .is_current = true}});
    REQUIRE(fixture->put(first, "o", "content").has_value());
    REQUIRE(store.rotate_key(bucket.id, first.key_id).has_value());
    const BucketAccess second = bucket.access();
    CHECK(second.key_id != first.key_id);
    CHECK(second.secret != first.secret);
    REQUIRE(store.rotate_key(bucket.id, first.key_id).has_value());  // the answer was lost
    CHECK(bucket.access().key_id == second.key_id);
    CHECK(bucket.access().secret == second.secret);
    CHECK(store.keys(bucket.id).value() ==
          std::vector{BucketKey{.id = first.key_id}, BucketKey{.id = second.key_id, .is_current = true}});
    CHECK(fixture->get(first, "o").value() == "content");
    CHECK(fixture->get(second, "o").value() == "content");
    const auto third = store.rotate_key(bucket.id, second.key_id);
    CHECK(third.error().code() == ErrorCode::wrong_state);
    CHECK(third.error().message().find(first.key_id) != std::string::npos);
    REQUIRE(store.revoke_key(bucket.id, first.key_id).has_value());
    REQUIRE(store.revoke_key(bucket.id, first.key_id).has_value());
    CHECK(fixture->get(first, "o").error().code() == ErrorCode::forbidden);
    CHECK(fixture->get(second, "o").value() == "content");
    REQUIRE(store.rotate_key(bucket.id, second.key_id).has_value());
    CHECK(store.keys(bucket.id).value().size() == 2);
  }
  SUBCASE("after all keys were revoked there is a new one") {
    const TestBucket bucket(store);
    const BucketAccess first = bucket.access();
    REQUIRE(fixture->put(first, "o", "content").has_value());
    REQUIRE(store.revoke_key(bucket.id, first.key_id).has_value());
    CHECK(store.keys(bucket.id).value().empty());
    CHECK(fixture->get(first, "o").error().code() == ErrorCode::forbidden);
    const BucketAccess second = bucket.access();
    CHECK(second.key_id != first.key_id);
    CHECK(fixture->get(second, "o").value() == "content");
  }
  SUBCASE("a quota is kept, raised and lifted") {
    const TestBucket bucket(store);
    REQUIRE(store.set_quota(bucket.id, {.bytes = 1 << 20, .objects = 1}).has_value());
    CHECK(store.bucket(bucket.id).value().quota == BucketQuota{.bytes = 1 << 20, .objects = 1});
    const BucketAccess access = bucket.access();
    REQUIRE(fixture->put(access, "one", "1").has_value());
    CHECK(fixture->put(access, "two", "2").error().code() == ErrorCode::forbidden);
    REQUIRE(store.set_quota(bucket.id, {.bytes = 1 << 20}).has_value());
    CHECK(store.bucket(bucket.id).value().quota == BucketQuota{.bytes = 1 << 20});
    REQUIRE(fixture->put(access, "two", "2").has_value());
    CHECK(fixture->put(access, "big", std::string(1 << 20, 'b')).error().code() == ErrorCode::forbidden);
    REQUIRE(store.set_quota(bucket.id, {}).has_value());
    CHECK(store.bucket(bucket.id).value().quota == BucketQuota());
    REQUIRE(fixture->put(access, "big", std::string(1 << 20, 'b')).has_value());
    CHECK(store.bucket(bucket.id).value().objects == 3);
  }
  SUBCASE("rates are limited, or it is said what can do it") {
    const TestBucket bucket(store);
    const BucketCapabilities can = store.capabilities().value();
    const BucketLimits limits{.reads = 100, .writes = 50, .read_bytes = 1 << 20, .written_bytes = 1 << 20};
    const auto limited = store.set_limits(bucket.id, limits);
    if (can.limits.empty()) {
      CHECK(limited.has_value());
    } else {
      CHECK(limited.error().code() == ErrorCode::unsupported);
      CHECK(limited.error().message() == can.limits);
    }
    CHECK(store.set_limits(bucket.id, {}).has_value());
  }
  SUBCASE("settings are kept as they were given, changed and taken back") {
    const TestBucket bucket(store);
    const BucketSettings all{
        .is_versioned = true,
        .lifecycle = {{.id = "rule-1", .prefix = "tmp/<&>\"'", .expire_days = 3, .old_version_days = 2},
                      {.id = "rule-2", .upload_days = 1}},
        .cors = {{.origins = {"https://a.example", "https://b.example"},
                  .methods = {"GET", "PUT"},
                  .headers = {"*"},
                  .exposed_headers = {"ETag"},
                  .max_age_seconds = 60}},
        .policy = R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",)"
                  R"("Resource":["arn:aws:s3:::)" +
                  bucket.name + R"(/public/*"]}]})",
    };
    REQUIRE(store.configure(bucket.id, all).has_value());
    CHECK(store.settings(bucket.id).value() == all);
    REQUIRE(store.configure(bucket.id, all).has_value());
    BucketSettings fewer = all;
    fewer.lifecycle.pop_back();
    fewer.cors.clear();
    REQUIRE(store.configure(bucket.id, fewer).has_value());
    CHECK(store.settings(bucket.id).value() == fewer);
    REQUIRE(store.configure(bucket.id, {}).has_value());
    CHECK(store.settings(bucket.id).value() == BucketSettings());
  }
  SUBCASE("settings in whatever order are written once") {
    const TestBucket bucket(store);
    // Whoever writes one of these again is refused.
    const BucketSettings settings{
        .lifecycle = {{.id = "z", .prefix = "b/", .expire_days = 3},
                      {.id = "m", .prefix = "c/", .expire_days = 1},
                      {.id = "a", .prefix = "a/", .upload_days = 1}},
        .cors = {{.origins = {"https://z.example", "https://a.example", "https://z.example"},
                  .methods = {"PUT", "GET", "DELETE"},
                  .headers = {"x-z", "x-a"},
                  .exposed_headers = {"x-z", "ETag", "x-z"}},
                 {.origins = {"*"}, .methods = {"HEAD", "GET"}}},
        .policy = R"({"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",)"
                  R"("Action":["s3:PutLifecycleConfiguration","s3:PutBucketCORS"],"Resource":["arn:aws:s3:::)" +
                  bucket.name + R"("]}]})",
    };
    REQUIRE(store.configure(bucket.id, settings).has_value());
    const auto again = store.configure(bucket.id, settings);
    CHECK_MESSAGE(again.has_value(), again.error());
    CHECK(normalized(store.settings(bucket.id).value()) == normalized(settings));
    BucketSettings swapped = settings;
    std::swap(swapped.cors[0], swapped.cors[1]);
    CHECK(normalized(swapped) != normalized(settings));
  }
  SUBCASE("old versions stay, and count") {
    const TestBucket bucket(store);
    const BucketAccess access = bucket.access();
    REQUIRE(store.configure(bucket.id, {.is_versioned = true}).has_value());
    REQUIRE(fixture->put(access, "o", "old").has_value());
    REQUIRE(fixture->put(access, "o", "newer").has_value());
    CHECK(fixture->get(access, "o").value() == "newer");
    const Bucket now = store.bucket(bucket.id).value();
    CHECK(now.objects == 2);
    CHECK(now.bytes == 8);
    CHECK(store.remove(bucket.id, Content::refuse, {}).error().code() == ErrorCode::wrong_state);
    CHECK(store.remove(bucket.id, Content::remove, {}).has_value());
  }
  SUBCASE("a lockable bucket keeps versions and takes a retention, another does not") {
    const TestBucket lockable(store, {.name = bucket_name("locked", Uid::random()), .is_lockable = true});
    CHECK(store.create(lockable.id, {.name = lockable.name, .is_lockable = true}).has_value());
    CHECK(store.create(lockable.id, {.name = lockable.name}).error().code() == ErrorCode::already_exists);
    CHECK(store.settings(lockable.id).value() == BucketSettings{.is_versioned = true});
    const BucketSettings kept{.is_versioned = true,
                              .retention = Retention{.mode = RetentionMode::compliance, .days = 2}};
    REQUIRE(store.configure(lockable.id, kept).has_value());
    CHECK(store.settings(lockable.id).value() == kept);
    REQUIRE(fixture->put(lockable.access(), "o", "content").has_value());
    CHECK(store.configure(lockable.id, {}).error().code() == ErrorCode::wrong_state);
    REQUIRE(store.configure(lockable.id, {.is_versioned = true}).has_value());
    CHECK(store.settings(lockable.id).value() == BucketSettings{.is_versioned = true});
    CHECK(store.remove(lockable.id, Content::remove, {}).has_value());

    const TestBucket plain(store);
    CHECK(store.configure(plain.id, kept).error().code() == ErrorCode::wrong_state);
  }
  SUBCASE("settings that make no sense are refused by name") {
    const TestBucket bucket(store);
    const auto refuses = [&](const BucketSettings& settings, std::string_view field) {
      const auto refused = store.configure(bucket.id, settings);
      REQUIRE(refused.has_error());
      CHECK(refused.error().code() == ErrorCode::invalid);
      CHECK_MESSAGE(std::ranges::any_of(refused.error().fields(), [&](const auto& e) { return e.field == field; }),
                    refused.error());
    };
    refuses({.lifecycle = {{.id = "r"}}}, "lifecycle[0]");
    refuses({.lifecycle = {{.id = "", .expire_days = 1}}}, "lifecycle[0].id");
    refuses({.lifecycle = {{.id = "r", .expire_days = 1}, {.id = "r", .expire_days = 2}}}, "lifecycle[1].id");
    refuses({.lifecycle = {{.id = "r", .prefix = "\n", .expire_days = 1}}}, "lifecycle[0].prefix");
    refuses({.cors = {{.origins = {"*"}}}}, "cors[0].methods");
    refuses({.cors = {{.origins = {"*"}, .methods = {"PATCH"}}}}, "cors[0].methods");
    refuses({.cors = {{.methods = {"GET"}}}}, "cors[0].origins");
    refuses({.policy = "{"}, "policy");
    refuses({.retention = Retention{.days = 0}}, "retention.days");
    CHECK(store.settings(bucket.id).value() == BucketSettings());
  }
  SUBCASE("with a stop requested before, no call does anything") {
    const TestBucket bucket(store);
    const BucketAccess access = bucket.access();
    std::stop_source before;
    before.request_stop();
    const auto stop = before.get_token();
    const auto is_stopped = [](const auto& result) {
      REQUIRE(result.has_error());
      CHECK_MESSAGE(result.error().code() == ErrorCode::cancelled, result.error());
    };
    const Uid other = Uid::random();
    is_stopped(store.capabilities(stop));
    is_stopped(store.create(other, {.name = bucket_name("stopped", other)}, stop));
    is_stopped(store.bucket(bucket.id, stop));
    is_stopped(store.buckets(stop));
    is_stopped(store.set_quota(bucket.id, {.objects = 1}, stop));
    is_stopped(store.set_limits(bucket.id, {.reads = 1}, stop));
    is_stopped(store.settings(bucket.id, stop));
    is_stopped(store.configure(bucket.id, {.is_versioned = true}, stop));
    is_stopped(store.access(bucket.id, stop));
    is_stopped(store.keys(bucket.id, stop));
    is_stopped(store.rotate_key(bucket.id, access.key_id, stop));
    is_stopped(store.revoke_key(bucket.id, access.key_id, stop));
    CHECK(store.bucket(other).error().code() == ErrorCode::not_found);
    CHECK(store.bucket(bucket.id).value().quota == BucketQuota());
    CHECK_FALSE(store.settings(bucket.id).value().is_versioned);
    CHECK(store.access(bucket.id).value().key_id == access.key_id);
    CHECK(store.keys(bucket.id).value().size() == 1);
  }
  SUBCASE("a removal that is stopped has done nothing yet, or is completed by the next one") {
    const TestBucket bucket(store);
    const BucketAccess access = bucket.access();
    for (int i = 0; i < 20; ++i) REQUIRE(fixture->put(access, "o" + std::to_string(i), "content").has_value());
    std::stop_source before;
    before.request_stop();
    for (const auto content : {Content::refuse, Content::remove}) {
      const auto stopped = store.remove(bucket.id, content, before.get_token());
      REQUIRE(stopped.has_error());
      CHECK(stopped.error().code() == ErrorCode::cancelled);
    }
    CHECK(fixture->get(access, "o19").value() == "content");
    std::stop_source meanwhile;
    std::thread stopping([&] { meanwhile.request_stop(); });
    const auto removed = store.remove(bucket.id, Content::remove, meanwhile.get_token());
    stopping.join();
    if (removed.has_error()) CHECK_MESSAGE(removed.error().code() == ErrorCode::cancelled, removed.error());
    // The store may still be at it.
    Result<void> again = store.remove(bucket.id, Content::remove, {});
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!again && std::chrono::steady_clock::now() < end) again = store.remove(bucket.id, Content::remove, {});
    CHECK_MESSAGE(again.has_value(), again.error());
    CHECK(store.bucket(bucket.id).error().code() == ErrorCode::not_found);
  }
  SUBCASE("many at once for the same bucket leave it whole") {
    const Uid id = Uid::random();
    const BucketSpec spec{.name = bucket_name("race", id)};
    std::vector<Result<Bucket>> made(4, Error(ErrorCode::internal, "not called"));
    std::vector<std::thread> threads;
    for (auto& result : made) threads.emplace_back([&] { result = store.create(id, spec); });
    for (auto& thread : threads) thread.join();
    for (const auto& result : made) CHECK((result.has_value() || result.error().code() == ErrorCode::conflict));
    CHECK(store.create(id, spec).has_value());
    CHECK(store.keys(id).value().size() == 1);
    CHECK(store.remove(id, Content::remove, {}).has_value());
  }
}

}  // namespace ironcore::storage::testing
