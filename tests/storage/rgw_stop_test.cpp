// SPDX-License-Identifier: Apache-2.0
// A stop ends every call of a store of buckets whose gateway takes a connection and never answers.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fake_gateway.hpp"
#include "ironcore/storage/rgw.hpp"

using namespace ironcore;
using namespace ironcore::storage;
using ironcore::tests::FakeGateway;

namespace {

using Call = std::function<Result<void>(BucketStore& store, const Uid& id, std::stop_token stop)>;

template <class T>
Result<void> outcome(const Result<T>& result) {
  return result ? Result<void>() : Result<void>(result.error());
}

const std::vector<std::pair<const char*, Call>> calls = {
    {"capabilities", [](auto& store, auto&, auto stop) { return outcome(store.capabilities(stop)); }},
    {"create", [](auto& store, auto& id, auto stop) { return outcome(store.create(id, {.name = "a-bucket"}, stop)); }},
    {"bucket", [](auto& store, auto& id, auto stop) { return outcome(store.bucket(id, stop)); }},
    {"buckets", [](auto& store, auto&, auto stop) { return outcome(store.buckets(stop)); }},
    {"remove", [](auto& store, auto& id, auto stop) { return store.remove(id, Content::refuse, stop); }},
    {"remove content", [](auto& store, auto& id, auto stop) { return store.remove(id, Content::remove, stop); }},
    {"set_quota", [](auto& store, auto& id, auto stop) { return store.set_quota(id, {.bytes = 1 << 20}, stop); }},
    {"set_limits", [](auto& store, auto& id, auto stop) { return store.set_limits(id, {.reads = 1}, stop); }},
    {"settings", [](auto& store, auto& id, auto stop) { return outcome(store.settings(id, stop)); }},
    {"configure", [](auto& store, auto& id, auto stop) { return store.configure(id, {.is_versioned = true}, stop); }},
    {"access", [](auto& store, auto& id, auto stop) { return outcome(store.access(id, stop)); }},
    {"keys", [](auto& store, auto& id, auto stop) { return outcome(store.keys(id, stop)); }},
    {"rotate_key", [](auto& store, auto& id, auto stop) { return store.rotate_key(id, "KEY", stop); }},
    {"revoke_key", [](auto& store, auto& id, auto stop) { return store.revoke_key(id, "KEY", stop); }},
};

/// Answers so many requests as for a bucket that is there, then none.
FakeGateway silent_after(int answers) {
  return FakeGateway([left = answers](const FakeGateway::Asked& asked) mutable -> FakeGateway::Reply {
    if (left-- <= 0) return {.bytes = "", .then = FakeGateway::Then::hang};
    if (asked.target.find("list=") != std::string::npos)
      return {.bytes = FakeGateway::http(
                  200, R"({"keys":["ironcore-)" + Uid::random().to_text() + R"("],"truncated":false})")};
    const auto from = asked.target.find("uid=") + 4;
    const std::string user = asked.target.substr(from, asked.target.find('&', from) - from);
    if (asked.target.starts_with("/admin/user"))
      return {.bytes = FakeGateway::http(
                  200, R"({"user_id":")" + user + R"(","keys":[{"access_key":"KEY","secret_key":"verysecret"}]})")};
    if (asked.target.starts_with("/admin/bucket"))
      return {.bytes = FakeGateway::http(200, R"([{"bucket":"a-bucket","owner":")" + user + R"("}])")};
    for (const auto& [setting, code] :
         {std::pair("lifecycle", "NoSuchLifecycleConfiguration"), std::pair("cors", "NoSuchCORSConfiguration"),
          std::pair("policy", "NoSuchBucketPolicy"), std::pair("object-lock", "ObjectLockConfigurationNotFoundError")})
      if (asked.method == "GET" && asked.target.ends_with(std::string("?") + setting + "="))
        return {.bytes = FakeGateway::http(404, "<Error><Code>" + std::string(code) + "</Code></Error>")};
    if (asked.method == "GET" && asked.target.ends_with("?versioning="))
      return {.bytes = FakeGateway::http(200, "<VersioningConfiguration/>")};
    return {.bytes = FakeGateway::http(200, "")};
  });
}

}  // namespace

TEST_CASE("whichever answer a gateway keeps back, a stop ends the call at once, and nothing is asked after it") {
  SystemClock clock;
  for (const auto& one : calls) {
    CAPTURE(one.first);
    const auto& call = one.second;
    int waited = 0;
    for (int answers = 0; answers < 12; ++answers) {
      CAPTURE(answers);
      auto gateway = silent_after(answers);
      const auto store = rgw::open({.endpoint = "http://" + gateway.authority(),
                                    .key_id = "KEYID",
                                    .secret = "verysecret",
                                    .patience = std::chrono::minutes(5)},
                                   clock)
                             .value();
      const auto id = Uid::random();
      std::stop_source stop;
      std::stop_source done;
      std::thread stopping([&] {
        while (gateway.requests() <= answers && !done.stop_requested()) std::this_thread::yield();
        stop.request_stop();
      });
      const auto result = call(*store, id, stop.get_token());
      done.request_stop();
      stopping.join();
      const int asked = gateway.requests();
      if (asked <= answers) break;  // it needed no more answers than that
      ++waited;
      REQUIRE(result.has_error());
      CHECK_MESSAGE(result.error().code() == ErrorCode::cancelled, result.error().message());
      const auto again = call(*store, id, stop.get_token());
      REQUIRE(again.has_error());
      CHECK_MESSAGE(again.error().code() == ErrorCode::cancelled, again.error().message());
      CHECK(gateway.requests() == asked);
    }
    CHECK(waited >= 1);
  }
}
