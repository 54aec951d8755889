// SPDX-License-Identifier: Apache-2.0
// The suite of BucketStore against a real RADOS gateway, and what only that one does.
#define DOCTEST_CONFIG_IMPLEMENT
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "../support/cluster_main.hpp"
#include "bucket_store_suite.hpp"
#include "client.hpp"
#include "ironcore/storage/rgw.hpp"

using namespace ironcore;
using namespace ironcore::storage;
using ironcore::tests::CephCluster;

namespace {

std::unique_ptr<CephCluster> cluster;
SystemClock machine_clock;

rgw::Options options() {
  return {.endpoint = cluster->env("S3_ENDPOINT"),
          .key_id = cluster->env("S3_ACCESS_KEY"),
          .secret = cluster->env("S3_SECRET_KEY")};
}

/// A client that knows the access only.
class S3 {
 public:
  explicit S3(const BucketAccess& access)
      : client_(rgw::Client::create({.endpoint = access.endpoint}, machine_clock).value()), access_(access) {}

  Result<std::string> call(std::string method, const std::string& path, std::string body = {},
                           std::vector<std::pair<std::string, std::string>> query = {}) {
    const auto answer = client_->call(
        {.method = std::move(method), .path = "/" + path, .query = std::move(query), .body = std::move(body)},
        {.key_id = access_.key_id, .secret = access_.secret}, std::chrono::seconds(30));
    if (!answer) return answer.error();
    if (!answer->is_good()) return rgw::refusal(*answer);
    return answer->body;
  }
  Result<std::string> get(const std::string& object) { return call("GET", access_.bucket + "/" + object); }
  Result<void> put(const std::string& object, std::string_view content) {
    IRONCORE_CHECK(call("PUT", access_.bucket + "/" + object, std::string(content)));
    return {};
  }

 private:
  std::unique_ptr<rgw::Client> client_;
  BucketAccess access_;
};

class RgwFixture final : public storage::testing::BucketStoreFixture {
 public:
  RgwFixture() : store_(rgw::open(options(), machine_clock).value()) {}
  BucketStore& store() override { return *store_; }
  Result<void> put(const BucketAccess& access, const std::string& object, std::string_view content) override {
    return S3(access).put(object, content);
  }
  Result<std::string> get(const BucketAccess& access, const std::string& object) override {
    return S3(access).get(object);
  }

 private:
  std::unique_ptr<BucketStore> store_;
};

using storage::testing::TestBucket;

}  // namespace

TEST_CASE("a RADOS gateway is a bucket store") {
  storage::testing::check_bucket_store([] { return std::make_unique<RgwFixture>(); });
}

TEST_CASE("a stock client works with what access hands out") {
  const auto store = rgw::open(options(), machine_clock).value();
  const TestBucket bucket(*store);
  const BucketAccess access = bucket.access();
  const std::string host = access.endpoint.substr(std::string("http://").size());
  const std::filesystem::path& directory = cluster->directory();
  const auto write = [](const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; };
  write(directory / "s3cfg", "[default]\nuse_https = False\nhost_base = " + host + "\nhost_bucket = " + host +
                                 "\naccess_key = " + access.key_id + "\nsecret_key = " + access.secret + "\n");
  write(directory / "sent", "marker");
  const auto s3cmd = [&](const std::string& arguments) {
    return std::system(("s3cmd -q -c " + (directory / "s3cfg").string() + " " + arguments).c_str());
  };
  REQUIRE(s3cmd("put " + (directory / "sent").string() + " s3://" + bucket.name + "/o") == 0);
  REQUIRE(s3cmd("get s3://" + bucket.name + "/o " + (directory / "got").string()) == 0);
  std::string got;
  std::ifstream(directory / "got") >> got;
  CHECK(got == "marker");
  CHECK(store->bucket(bucket.id).value().objects == 1);
}

TEST_CASE("no secret of a bucket stands in the gateway's log") {
  const auto store = rgw::open(options(), machine_clock).value();
  const TestBucket bucket(*store);
  const BucketAccess first = bucket.access();
  REQUIRE(store->rotate_key(bucket.id, first.key_id).has_value());
  const BucketAccess second = bucket.access();
  std::string log;
  const auto read_log = [&] {
    std::ifstream file(cluster->directory() / "log" / "client.rgw.log");
    log.assign(std::istreambuf_iterator<char>(file), {});
    return log.find("access-key=" + second.key_id) != std::string::npos;
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!read_log() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  REQUIRE(log.find("access-key=" + second.key_id) != std::string::npos);
  CHECK(log.find("access-key=" + first.key_id) != std::string::npos);
  CHECK(log.find(first.secret) == std::string::npos);
  CHECK(log.find(second.secret) == std::string::npos);
}

TEST_CASE("a key that two ask for at once is made twice, and no secret that was handed out is replaced") {
  const auto store = rgw::open(options(), machine_clock).value();
  const TestBucket bucket(*store);
  REQUIRE(store->revoke_key(bucket.id, bucket.access().key_id).has_value());
  std::vector<Result<BucketAccess>> handed_out(4, Error(ErrorCode::internal, "not called"));
  std::vector<std::thread> threads;
  for (auto& access : handed_out) threads.emplace_back([&] { access = store->access(bucket.id); });
  for (auto& thread : threads) thread.join();
  for (const auto& access : handed_out)
    if (access) CHECK(S3(*access).call("GET", bucket.name).has_value());
  CHECK(std::ranges::any_of(handed_out, [](const auto& access) { return access.has_value(); }));
}

TEST_CASE("the user of a bucket makes no other one, and sees no other one") {
  const auto store = rgw::open(options(), machine_clock).value();
  const TestBucket bucket(*store);
  const TestBucket other(*store);
  S3 user(bucket.access());
  CHECK(user.call("PUT", bucket.name + "-2").error().code() == ErrorCode::invalid);
  CHECK(user.call("GET", other.name).error().code() == ErrorCode::forbidden);
  CHECK(user.call("GET", "").value().find(other.name) == std::string::npos);
  CHECK(user.call("GET", "admin/user", {}, {{"uid", "admin"}}).error().code() == ErrorCode::forbidden);
}

TEST_CASE("stores with another prefix do not see each other's buckets") {
  const auto store = rgw::open(options(), machine_clock).value();
  rgw::Options others = options();
  others.user_prefix = "other-";
  const auto other = rgw::open(others, machine_clock).value();
  const TestBucket bucket(*store);
  CHECK(storage::testing::lists(*store, bucket.id));
  CHECK_FALSE(storage::testing::lists(*other, bucket.id));
  CHECK(other->bucket(bucket.id).error().code() == ErrorCode::not_found);
  CHECK(other->create(bucket.id, {.name = bucket.name}).error().code() == ErrorCode::already_exists);
  CHECK(other->remove(bucket.id, Content::remove, {}).has_value());
  CHECK(store->bucket(bucket.id).has_value());
}

TEST_CASE("a bucket that was half made is not listed, completed by repeating it, and removed") {
  const auto store = rgw::open(options(), machine_clock).value();
  const auto client = rgw::Client::create(options(), machine_clock).value();
  const Uid id = Uid::random();
  const auto begin = [&] {
    const auto answer =
        client->call({.method = "PUT",
                      .path = "/admin/user",
                      .query = {{"uid", "ironcore-" + id.to_text()}, {"display-name", "half"}}},
                     {.key_id = options().key_id, .secret = options().secret}, std::chrono::seconds(30));
    REQUIRE(answer.value().is_good());
  };
  begin();
  CHECK(store->bucket(id).error().code() == ErrorCode::not_found);
  CHECK_FALSE(storage::testing::lists(*store, id));
  CHECK(store->remove(id, Content::refuse, {}).has_value());
  CHECK(store->keys(id).error().code() == ErrorCode::not_found);
  begin();
  CHECK(store->create(id, {.name = bucket_name("half", id)}).has_value());
  CHECK(S3(store->access(id).value()).put("o", "content").has_value());
  CHECK(store->remove(id, Content::remove, {}).has_value());
}

TEST_CASE("a policy that shuts out everybody shuts out neither an admin nor removal") {
  const auto store = rgw::open(options(), machine_clock).value();
  const TestBucket bucket(*store);
  REQUIRE(S3(bucket.access()).put("o", "content").has_value());
  const std::string policy = R"({"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*",)"
                             R"("Resource":["arn:aws:s3:::)" +
                             bucket.name + R"(","arn:aws:s3:::)" + bucket.name + R"(/*"]}]})";
  REQUIRE(store->configure(bucket.id, {.policy = policy}).has_value());
  CHECK(S3(bucket.access()).get("o").error().code() == ErrorCode::forbidden);
  const auto refused = store->configure(bucket.id, {});
  CHECK(refused.error().code() == ErrorCode::forbidden);
  CHECK(refused.error().message().find("--admin") != std::string::npos);
  CHECK(store->bucket(bucket.id).value().objects == 1);

  rgw::Options mighty = options();
  mighty.key_id = "MIGHTY";
  mighty.secret = "mighty-secret";
  const std::string command = "radosgw-admin -c " + cluster->env("CEPH_CONF") +
                              " user create --uid=mighty --display-name=mighty --admin --caps='users=*;buckets=*' "
                              "--access-key=MIGHTY --secret=mighty-secret >/dev/null 2>&1";
  REQUIRE(std::system(command.c_str()) == 0);
  const auto admin = rgw::open(mighty, machine_clock).value();
  CHECK(admin->settings(bucket.id).value().policy == policy);
  CHECK(admin->configure(bucket.id, {}).has_value());
  CHECK(S3(bucket.access()).get("o").value() == "content");
  REQUIRE(store->configure(bucket.id, {.policy = policy}).has_value());
  CHECK(store->remove(bucket.id, Content::remove, {}).has_value());
  CHECK(store->bucket(bucket.id).error().code() == ErrorCode::not_found);
}

TEST_CASE("a suspended user is told as one, not as a policy") {
  const auto store = rgw::open(options(), machine_clock).value();
  const auto client = rgw::Client::create(options(), machine_clock).value();
  const TestBucket bucket(*store);
  const auto suspend = [&](const char* is_suspended) {
    const auto answer =
        client->call({.method = "POST",
                      .path = "/admin/user",
                      .query = {{"uid", "ironcore-" + bucket.id.to_text()}, {"suspended", is_suspended}}},
                     {.key_id = options().key_id, .secret = options().secret}, std::chrono::seconds(30));
    REQUIRE(answer.value().is_good());
  };
  suspend("true");
  const auto refused = store->settings(bucket.id);
  CHECK(refused.error().code() == ErrorCode::forbidden);
  CHECK(refused.error().message().find("UserSuspended") != std::string::npos);
  CHECK(refused.error().message().find("radosgw-admin user enable") != std::string::npos);
  CHECK(refused.error().message().find("policy") == std::string::npos);
  CHECK(store->bucket(bucket.id).has_value());
  suspend("false");
  CHECK(store->settings(bucket.id).value() == BucketSettings());
}

TEST_CASE("a part of an upload that was never completed, or what marks a removal, is content") {
  const auto store = rgw::open(options(), machine_clock).value();
  const TestBucket uploading(*store);
  S3 user(uploading.access());
  const std::string begun = user.call("POST", uploading.name + "/o", {}, {{"uploads", ""}}).value();
  const auto from = begun.find("<UploadId>") + 10;
  REQUIRE(user.call("PUT", uploading.name + "/o", "part",
                    {{"partNumber", "1"}, {"uploadId", begun.substr(from, begun.find('<', from) - from)}})
              .has_value());
  const TestBucket marked(*store);
  REQUIRE(store->configure(marked.id, {.is_versioned = true}).has_value());
  REQUIRE(S3(marked.access()).call("DELETE", marked.name + "/o").has_value());
  for (const auto* bucket : {&uploading, &marked}) {
    const auto refused = store->remove(bucket->id, Content::refuse, {});
    REQUIRE(refused.has_error());
    CHECK(refused.error().code() == ErrorCode::wrong_state);
    CHECK_MESSAGE(
        refused.error().message().find("delete markers and parts of unfinished uploads count") != std::string::npos,
        refused.error());
    CHECK(store->remove(bucket->id, Content::remove, {}).has_value());
  }
}

TEST_CASE("rules that a user of the bucket made are told of, and replaced on request") {
  const auto store = rgw::open(options(), machine_clock).value();
  const TestBucket bucket(*store);
  REQUIRE(S3(bucket.access())
              .call("PUT", bucket.name,
                    "<LifecycleConfiguration><Rule><ID>mine</ID><Filter><Prefix/></Filter><Status>Disabled</Status>"
                    "<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
                    {{"lifecycle", ""}})
              .has_value());
  CHECK(store->settings(bucket.id).error().code() == ErrorCode::unsupported);
  REQUIRE(store->configure(bucket.id, {.is_versioned = true}).has_value());
  CHECK(store->settings(bucket.id).value() == BucketSettings{.is_versioned = true});
}

TEST_CASE("a wrong key of the store is told without the key") {
  rgw::Options wrong = options();
  wrong.secret[0] = wrong.secret[0] == 'x' ? 'y' : 'x';
  const auto store = rgw::open(wrong, machine_clock).value();
  const auto refused = store->buckets();
  CHECK(refused.error().code() == ErrorCode::forbidden);
  CHECK(refused.error().message().find("SignatureDoesNotMatch") != std::string::npos);
  CHECK(refused.error().message().find(wrong.secret) == std::string::npos);
}

TEST_CASE("a gateway that is gone or hangs is told in time, and used again when it is back") {
  rgw::Options impatient = options();
  impatient.patience = std::chrono::seconds(1);
  impatient.first_pause = std::chrono::milliseconds(1);
  const auto store = rgw::open(impatient, machine_clock).value();
  const auto patient = rgw::open(options(), machine_clock).value();
  const TestBucket bucket(*patient);
  CHECK(store->bucket(bucket.id).has_value());
  cluster->run({"pause", "rgw"});
  CHECK(store->bucket(bucket.id).error().code() == ErrorCode::timeout);
  cluster->run({"resume", "rgw"});
  CHECK(patient->bucket(bucket.id).has_value());
  cluster->run({"stop", "rgw"});
  CHECK(store->bucket(bucket.id).error().code() == ErrorCode::unavailable);
  cluster->run({"start", "rgw"});
  CHECK(patient->bucket(bucket.id).has_value());
  CHECK(S3(bucket.access()).put("o", "content").has_value());
}

int main(int argc, char** argv) {
  return ironcore::tests::run_with_cluster(argc, argv, cluster);
}
