// SPDX-License-Identifier: Apache-2.0
// The client of RADOS gateways against servers that misbehave, newer gateways, and TLS.
#include "client.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <stop_token>
#include <thread>

#include "fake_gateway.hpp"

using namespace ironcore;
using namespace ironcore::storage;
using ironcore::tests::FakeGateway;
using Then = FakeGateway::Then;

namespace {

SystemClock machine_clock;

rgw::Options options(const std::string& endpoint) {
  return {.endpoint = endpoint,
          .key_id = "KEYID",
          .secret = "verysecret",
          .patience = std::chrono::milliseconds(300),
          .first_pause = std::chrono::milliseconds(1)};
}

Result<rgw::Answer> ask(rgw::Client& client, Duration patience = std::chrono::seconds(20)) {
  return client.call({.path = "/a b", .query = {{"q", ""}}}, {.key_id = "KEYID", .secret = "verysecret"}, patience);
}
Result<rgw::Answer> ask_once(const FakeGateway& gateway, Duration patience = std::chrono::seconds(20)) {
  return ask(*rgw::Client::create(options("http://" + gateway.authority()), machine_clock).value(), patience);
}

class TestFile {
 public:
  explicit TestFile(const char* name)
      : path(std::filesystem::temp_directory_path() / (std::string(name) + "-" + std::to_string(::getpid()) + ".pem")) {
  }
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;
  ~TestFile() { std::filesystem::remove(path); }
  const std::filesystem::path path;
};

}  // namespace

TEST_CASE("an endpoint is a scheme, a host and a port") {
  const auto plain = rgw::Endpoint::parse("http://rgw.example").value();
  CHECK_FALSE(plain.is_secure);
  CHECK(plain.host == "rgw.example");
  CHECK(plain.port == "80");
  CHECK(plain.authority == "rgw.example");
  const auto secure = rgw::Endpoint::parse("https://[fd00::1]:8443/").value();
  CHECK(secure.is_secure);
  CHECK(secure.host == "fd00::1");
  CHECK(secure.port == "8443");
  CHECK(secure.authority == "[fd00::1]:8443");
  CHECK(rgw::Endpoint::parse("https://10.0.0.1").value().port == "443");
  for (const char* text :
       {"", "rgw", "ftp://rgw", "http://", "http://:80", "http://rgw:0", "http://rgw:65536", "http://rgw:x",
        "http://user@rgw", "http://rgw/path", "http://rgw?q", "http://[::1", "http://[rgw]", "http://r\n"})
    CHECK_MESSAGE(rgw::Endpoint::parse(text).error().code() == ErrorCode::invalid, text);
}

TEST_CASE("options that make no sense are refused") {
  const auto code = [](const rgw::Options& wrong) { return rgw::open(wrong, machine_clock).error().code(); };
  rgw::Options wrong = options("http://127.0.0.1:1");
  CHECK(rgw::open(wrong, machine_clock).has_value());
  wrong.secret.clear();
  CHECK(code(wrong) == ErrorCode::invalid);
  wrong = options("nowhere");
  CHECK(code(wrong) == ErrorCode::invalid);
  wrong = options("http://127.0.0.1:1");
  wrong.user_prefix.clear();
  CHECK(code(wrong) == ErrorCode::invalid);
  wrong = options("https://127.0.0.1:1");
  wrong.ca_file = "/nonexistent/ca.pem";
  const auto refused = rgw::open(wrong, machine_clock);
  CHECK(refused.error().code() == ErrorCode::invalid);
  CHECK(refused.error().message().find("/nonexistent/ca.pem") != std::string::npos);
}

TEST_CASE("one connection serves many calls, and a closed one is replaced") {
  int count = 0;
  FakeGateway gateway([&](const FakeGateway::Asked& asked) -> FakeGateway::Reply {
    CHECK(asked.target == "/a%20b?q=");
    return {.bytes = FakeGateway::http(200, "ok"), .then = ++count % 3 == 0 ? Then::close : Then::keep};
  });
  const auto client = rgw::Client::create(options("http://" + gateway.authority()), machine_clock).value();
  for (int i = 0; i < 3; ++i) CHECK(ask(*client).value().body == "ok");
  CHECK(gateway.connections() == 1);
  for (int i = 0; i < 3; ++i) CHECK(ask(*client).value().body == "ok");
  CHECK(gateway.connections() == 2);
  CHECK(gateway.requests() == 6);
}

TEST_CASE("what nobody asked for is no answer to the next request") {
  const auto answers = [](const std::string& before, const std::string& after, Then then = Then::keep) {
    int count = 0;
    FakeGateway gateway([&](const FakeGateway::Asked&) -> FakeGateway::Reply {
      return {.bytes = before + FakeGateway::http(200, "answer " + std::to_string(++count)) + after, .then = then};
    });
    const auto client = rgw::Client::create(options("http://" + gateway.authority()), machine_clock).value();
    for (int i = 1; i <= 5; ++i) CHECK(ask(*client).value().body == "answer " + std::to_string(i));
    CHECK(gateway.requests() == 5);
    return gateway.connections();
  };
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
  CHECK(answers("HTTP/1.1 100 Continue\r\n\r\n", "") == 1);
  CHECK(answers(interim + interim + interim, "") == 1);
  CHECK(answers("", "HTTP/1.1 100 Continue\r\n\r\n") == 5);
  CHECK(answers("", FakeGateway::http(200, "of somebody else")) == 5);
  for (const std::string& bytes :
       {std::string("HTTP/1.1 101 Switching Protocols\r\n\r\n"), interim + interim + interim + interim + interim}) {
    FakeGateway gateway(
        [&](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = bytes + FakeGateway::http(200, "ok")}; });
    CHECK(ask_once(gateway).error().code() == ErrorCode::corrupt);
    CHECK(gateway.requests() == 1);
  }
}

TEST_CASE("a kept connection on which something comes between two calls is not used again") {
  const TestFile certificate("ironcore-rgw-late");
  FakeGateway::make_certificate(certificate.path);
  for (const bool is_secure : {false, true}) {
    CAPTURE(is_secure);
    int count = 0;
    FakeGateway gateway(
        [&](const FakeGateway::Asked&) -> FakeGateway::Reply {
          return {.bytes = FakeGateway::http(200, "answer " + std::to_string(++count)),
                  .late = FakeGateway::http(408, "late")};
        },
        is_secure ? certificate.path : std::filesystem::path());
    rgw::Options with = options((is_secure ? "https://" : "http://") + gateway.authority());
    if (is_secure) with.ca_file = certificate.path;
    const auto client = rgw::Client::create(with, machine_clock).value();
    for (int i = 1; i <= 3; ++i) {
      CHECK(ask(*client).value().body == "answer " + std::to_string(i));
      gateway.send_late();
    }
    CHECK(gateway.requests() == 3);
    CHECK(gateway.connections() == 3);
  }
  FakeGateway quiet([](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = FakeGateway::http(200, "ok")}; },
                    certificate.path);
  rgw::Options secure = options("https://" + quiet.authority());
  secure.ca_file = certificate.path;
  const auto client = rgw::Client::create(secure, machine_clock).value();
  for (int i = 0; i < 3; ++i) CHECK(ask(*client).value().body == "ok");
  CHECK(quiet.connections() == 1);
}

TEST_CASE("what is of another user is not taken for this one's") {
  const Uid id = Uid::random();
  std::string user = "ironcore-" + id.to_text();
  FakeGateway gateway([&](const FakeGateway::Asked& asked) -> FakeGateway::Reply {
    if (asked.target.starts_with("/admin/bucket?"))
      return {.bytes = FakeGateway::http(200, R"([{"bucket":"b-1","owner":")" + user + R"("}])")};
    return {.bytes = FakeGateway::http(
                200, R"({"user_id":")" + user + R"(","keys":[{"access_key":"KEY","secret_key":"hunter2"}]})")};
  });
  rgw::Options patient = options("http://" + gateway.authority());
  patient.patience = std::chrono::seconds(20);
  const auto store = rgw::open(patient, machine_clock).value();
  CHECK(store->access(id).value().secret == "hunter2");
  user = "ironcore-" + Uid::random().to_text();
  CHECK(store->bucket(id).error().code() == ErrorCode::corrupt);
  CHECK(store->keys(id).error().code() == ErrorCode::corrupt);
  const auto refused = store->access(id);
  CHECK(refused.error().code() == ErrorCode::corrupt);
  CHECK(refused.error().message().find("hunter2") == std::string::npos);
}

TEST_CASE("a key is asked for once without its secret, and one whose answer was lost is found") {
  const Uid id = Uid::random();
  const std::string user = "ironcore-" + id.to_text();
  std::string keys;
  std::vector<std::string> asked_for;
  bool is_made = true;
  FakeGateway gateway([&](const FakeGateway::Asked& asked) -> FakeGateway::Reply {
    if (asked.target.starts_with("/admin/bucket?"))
      return {.bytes = FakeGateway::http(200, R"([{"bucket":"b-1","owner":")" + user + R"("}])")};
    if (asked.method != "PUT")
      return {.bytes = FakeGateway::http(200, R"({"user_id":")" + user + R"(","keys":[)" + keys + "]}")};
    asked_for.push_back(asked.target);
    const auto from = asked.target.find("access-key=") + 11;
    if (is_made)
      keys = R"({"access_key":")" + asked.target.substr(from, asked.target.find('&', from) - from) +
             R"(","secret_key":"hunter)" + std::to_string(asked_for.size()) + R"("})";
    return {.bytes = asked_for.size() == 1 ? std::string() : FakeGateway::http(503, ""), .then = Then::close};
  });
  rgw::Options patient = options("http://" + gateway.authority());
  patient.patience = std::chrono::seconds(20);
  const auto store = rgw::open(patient, machine_clock).value();
  CHECK(store->access(id).value().secret == "hunter1");
  CHECK(store->access(id).value().secret == "hunter1");
  CHECK(asked_for.size() == 1);
  keys.clear();
  is_made = false;
  const auto refused = store->access(id);
  CHECK(refused.error().code() == ErrorCode::unavailable);
  REQUIRE(asked_for.size() == 2);
  for (const std::string& target : asked_for) {
    CHECK(target.find("generate-key=true") != std::string::npos);
    CHECK(target.find("secret") == std::string::npos);
  }
}

TEST_CASE("buckets are listed by pages of users, and only those of this store") {
  const std::vector<Uid> ids{Uid::random(), Uid::random(), Uid::random()};
  const auto user = [&](std::size_t i) { return "ironcore-" + ids[i].to_text(); };
  std::vector<std::string> asked_for;
  bool has_end = true;
  FakeGateway gateway([&](const FakeGateway::Asked& asked) -> FakeGateway::Reply {
    const auto page = [](const std::string& users, const std::string& marker) -> FakeGateway::Reply {
      const std::string end = marker.empty() ? "false" : R"(true,"marker":")" + marker + R"(")";
      return {.bytes = FakeGateway::http(200, R"({"keys":[)" + users + R"(],"truncated":)" + end + "}")};
    };
    if (asked.target.starts_with("/admin/user?")) {
      CHECK(asked.target.find("max-entries=500") != std::string::npos);
      if (!has_end) return page(R"("somebody")", "again");
      const auto from = asked.target.find("marker=");
      const std::string marker = from == std::string::npos ? "" : asked.target.substr(from + 7);
      if (marker.empty()) return page('"' + user(0) + R"(","somebody","ironcore-else")", "5:a/b");
      if (marker == "5%3Aa%2Fb&max-entries=500") return page("", "6");
      return page('"' + user(1) + "\",\"" + user(2) + "\",\"" + user(1) + '"', "");
    }
    asked_for.push_back(asked.target);
    for (std::size_t i = 0; i < 2; ++i)
      if (asked.target.find("uid=" + user(i)) != std::string::npos)
        return {.bytes = FakeGateway::http(200, R"([{"bucket":"b","owner":")" + user(i) + R"("}])")};
    return {.bytes = FakeGateway::http(200, "[]")};
  });
  rgw::Options patient = options("http://" + gateway.authority());
  patient.patience = std::chrono::seconds(20);
  const auto store = rgw::open(patient, machine_clock).value();
  const auto listed = store->buckets().value();
  CHECK(listed.size() == 2);
  for (const Bucket& bucket : listed) CHECK((bucket.id == ids[0] || bucket.id == ids[1]));
  CHECK(asked_for.size() == 3);
  has_end = false;
  CHECK(store->buckets().error().code() == ErrorCode::corrupt);
}

TEST_CASE("a web server that knows no such page tells nothing about buckets") {
  const Uid id = Uid::random();
  const std::string user = "ironcore-" + id.to_text();
  std::string place;  // from here on every answer is of somebody else
  FakeGateway gateway([&](const FakeGateway::Asked& asked) -> FakeGateway::Reply {
    if (asked.target.find(place) != std::string::npos)
      return {.bytes = FakeGateway::http(404, "<html><body>no such page</body></html>")};
    if (asked.target.starts_with("/admin/bucket?"))
      return {.bytes = FakeGateway::http(200, R"([{"bucket":"b-1","owner":")" + user + R"("}])")};
    if (asked.target.starts_with("/admin/user?"))
      return {.bytes = FakeGateway::http(
                  200, R"({"user_id":")" + user + R"(","keys":[{"access_key":"KEY","secret_key":"x"}]})")};
    if (asked.target.ends_with("?versioning=")) return {.bytes = FakeGateway::http(200, "<VersioningConfiguration/>")};
    const std::string code = asked.target.ends_with("?lifecycle=") ? "NoSuchLifecycleConfiguration"
                             : asked.target.ends_with("?cors=")    ? "NoSuchCORSConfiguration"
                             : asked.target.ends_with("?policy=")  ? "NoSuchBucketPolicy"
                                                                   : "ObjectLockConfigurationNotFoundError";
    return {.bytes = FakeGateway::http(404, "<Error><Code>" + code + "</Code></Error>")};
  });
  rgw::Options patient = options("http://" + gateway.authority());
  patient.patience = std::chrono::seconds(20);
  const auto store = rgw::open(patient, machine_clock).value();
  place = "nothing";
  CHECK(store->settings(id).value() == BucketSettings());
  for (const char* setting : {"versioning", "lifecycle", "cors", "policy", "object-lock"}) {
    place = "/b-1?" + std::string(setting);
    const auto refused = store->settings(id);
    REQUIRE_MESSAGE(refused.has_error(), setting);
    CHECK_MESSAGE(refused.error().code() == ErrorCode::unavailable, refused.error());
    CHECK(refused.error().message().find("no RADOS gateway") != std::string::npos);
  }
  place = "/";
  CHECK(store->bucket(id).error().code() == ErrorCode::unavailable);
  CHECK(store->keys(id).error().code() == ErrorCode::unavailable);
  CHECK(store->create(id, {.name = "b-1"}).error().code() == ErrorCode::unavailable);
  CHECK(store->buckets().error().code() == ErrorCode::unavailable);
  CHECK(store->remove(id, Content::refuse, {}).error().code() == ErrorCode::unavailable);
  CHECK(store->remove(id, Content::remove, {}).error().code() == ErrorCode::unavailable);
}

TEST_CASE("whom the gateway does not let in is told as such, and only a shut out key as a policy") {
  const Uid id = Uid::random();
  const std::string user = "ironcore-" + id.to_text();
  std::string code;
  FakeGateway gateway([&](const FakeGateway::Asked& asked) -> FakeGateway::Reply {
    if (asked.target.starts_with("/admin/bucket?"))
      return {.bytes = FakeGateway::http(200, R"([{"bucket":"b-1","owner":")" + user + R"("}])")};
    if (asked.target.starts_with("/admin/user?"))
      return {.bytes = FakeGateway::http(200, R"({"user_id":")" + user + R"(","keys":[]})")};
    return {.bytes = FakeGateway::http(403, "<Error><Code>" + code + "</Code></Error>")};
  });
  rgw::Options patient = options("http://" + gateway.authority());
  patient.patience = std::chrono::seconds(20);
  const auto store = rgw::open(patient, machine_clock).value();
  for (const auto& [said, told] :
       {std::pair("AccessDenied", "the policy of bucket b-1"), std::pair("UserSuspended", "radosgw-admin user enable"),
        std::pair("InvalidAccessKeyId", "no user has this key"), std::pair("RequestTimeTooSkewed", "clock")}) {
    code = said;
    const auto refused = store->settings(id);
    REQUIRE(refused.has_error());
    CHECK(refused.error().code() == ErrorCode::forbidden);
    CHECK_MESSAGE(refused.error().message().find(told) != std::string::npos, refused.error());
  }
}

TEST_CASE("an overloaded gateway is asked again, and not for ever") {
  int failures = 2;
  FakeGateway gateway([&](const FakeGateway::Asked&) -> FakeGateway::Reply {
    return {.bytes = failures-- > 0 ? FakeGateway::http(503, R"({"Code":"SlowDown"})") : FakeGateway::http(200, "ok")};
  });
  CHECK(ask_once(gateway).value().body == "ok");
  CHECK(gateway.requests() == 3);
  failures = 1000;
  const auto answer = ask_once(gateway).value();
  CHECK(gateway.requests() == 7);  // retries = 3
  CHECK(rgw::refusal(answer).code() == ErrorCode::unavailable);
}

TEST_CASE("one that is out of time, or asked too much, is asked again; one that redirects is not") {
  unsigned status = 0;
  int failures = 0;
  FakeGateway gateway([&](const FakeGateway::Asked&) -> FakeGateway::Reply {
    return {.bytes = failures-- > 0 ? FakeGateway::http(status, "") : FakeGateway::http(200, "ok")};
  });
  int asked = 0;
  for (const unsigned passing : {408U, 429U, 500U, 502U, 503U, 504U}) {
    status = passing;
    failures = 1;
    CHECK(ask_once(gateway).value().body == "ok");
    CHECK(gateway.requests() == (asked += 2));
    CHECK(rgw::refusal({.status = passing, .body = {}}).code() == ErrorCode::unavailable);
  }
  for (const unsigned elsewhere : {301U, 302U, 307U, 308U}) {
    status = elsewhere;
    failures = 1;
    const Error refused = rgw::refusal(ask_once(gateway).value());
    CHECK(gateway.requests() == ++asked);
    CHECK(refused.code() == ErrorCode::invalid);
    CHECK(refused.message().find("it redirects: name the gateway itself") != std::string::npos);
  }
}

TEST_CASE("what a gateway refuses is not asked again") {
  FakeGateway gateway([](const FakeGateway::Asked&) -> FakeGateway::Reply {
    return {.bytes =
                FakeGateway::http(403, "<Error><Code>Access\nDenied</Code><Message>no &amp; no</Message></Error>")};
  });
  const Error refused = rgw::refusal(ask_once(gateway).value());
  CHECK(gateway.requests() == 1);
  CHECK(refused.code() == ErrorCode::forbidden);
  CHECK(refused.message().find("403 Access?Denied (no & no)") != std::string::npos);
}

TEST_CASE("a gateway that is not there is told") {
  std::string authority;
  {
    const FakeGateway gateway([](const FakeGateway::Asked&) { return FakeGateway::Reply{}; });
    authority = gateway.authority();
  }
  const auto refused = ask(*rgw::Client::create(options("http://" + authority), machine_clock).value());
  CHECK(refused.error().code() == ErrorCode::unavailable);
  CHECK(refused.error().message().find(authority) != std::string::npos);
  CHECK(refused.error().message().find("verysecret") == std::string::npos);
}

TEST_CASE("a gateway that hangs, also in the middle of an answer, is told in time") {
  for (const char* bytes : {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"}) {
    FakeGateway gateway(
        [&](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = bytes, .then = Then::hang}; });
    CHECK(ask_once(gateway, std::chrono::milliseconds(100)).error().code() == ErrorCode::timeout);
    CHECK(gateway.requests() == 1);
  }
}

TEST_CASE("a stop ends what a gateway takes long for, at once") {
  const auto patience = std::chrono::minutes(1);
  const auto stopped = [&](FakeGateway& gateway, const rgw::Options& with) {
    const auto client = rgw::Client::create(with, machine_clock).value();
    std::stop_source stop;
    std::thread stopping([&] {
      while (gateway.requests() == 0) std::this_thread::yield();
      stop.request_stop();
    });
    const auto answer =
        client->call({.path = "/"}, {.key_id = "KEYID", .secret = "verysecret"}, patience, stop.get_token());
    stopping.join();
    REQUIRE(answer.has_error());
    CHECK_MESSAGE(answer.error().code() == ErrorCode::cancelled, answer.error());
    CHECK(gateway.requests() == 1);
    // Nor is anything asked that was stopped before.
    CHECK(client->call({.path = "/"}, {}, patience, stop.get_token()).error().code() == ErrorCode::cancelled);
    CHECK(gateway.requests() == 1);
  };
  SUBCASE("an answer that does not come, or not all of it") {
    for (const char* bytes : {"", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"}) {
      FakeGateway gateway(
          [&](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = bytes, .then = Then::hang}; });
      stopped(gateway, options("http://" + gateway.authority()));
    }
  }
  SUBCASE("the same by TLS") {
    const TestFile certificate("ironcore-rgw-stop");
    FakeGateway::make_certificate(certificate.path);
    FakeGateway gateway([](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = "", .then = Then::hang}; },
                        certificate.path);
    auto secure = options("https://" + gateway.authority());
    secure.ca_file = certificate.path;
    stopped(gateway, secure);
  }
  SUBCASE("the pause before it is asked again") {
    FakeGateway gateway(
        [](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = FakeGateway::http(503, "")}; });
    auto slow = options("http://" + gateway.authority());
    slow.first_pause = std::chrono::hours(1);
    stopped(gateway, slow);
  }
}

TEST_CASE("a stop that comes with the answer harms no later call") {
  FakeGateway gateway(
      [](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = FakeGateway::http(200, "ok")}; });
  const auto client = rgw::Client::create(options("http://" + gateway.authority()), machine_clock).value();
  for (int i = 1; i <= 200; ++i) {
    std::stop_source stop;
    std::thread stopping([&] {
      while (gateway.requests() < 2 * i - 1) std::this_thread::yield();
      stop.request_stop();
    });
    const auto answer = client->call({.path = "/"}, {.key_id = "KEYID", .secret = "verysecret"},
                                     std::chrono::minutes(1), stop.get_token());
    stopping.join();
    CHECK((answer.has_value() || answer.error().code() == ErrorCode::cancelled));
    CHECK(ask(*client).value().body == "ok");
  }
}

TEST_CASE("an answer that is cut off is asked for again") {
  int count = 0;
  FakeGateway gateway([&](const FakeGateway::Asked&) -> FakeGateway::Reply {
    if (++count == 1) return {.bytes = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", .then = Then::close};
    return {.bytes = FakeGateway::http(200, "whole")};
  });
  CHECK(ask_once(gateway).value().body == "whole");
}

TEST_CASE("what is no HTTP, or too much of it, is corrupt") {
  for (const std::string& bytes :
       {std::string("SSH-2.0-OpenSSH\r\n\r\n"), std::string("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nx: " + std::string(20'000, 'x') + "\r\n\r\n",
        std::string("HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n")}) {
    FakeGateway gateway(
        [&](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = bytes, .then = Then::close}; });
    const auto refused = ask_once(gateway);
    REQUIRE(refused.has_error());
    CHECK_MESSAGE(refused.error().code() == ErrorCode::corrupt, refused.error());
    CHECK(gateway.requests() == 1);
  }
}

TEST_CASE("TLS is spoken only with whom a certificate is good for") {
  const TestFile certificate("ironcore-rgw-certificate");
  const TestFile other("ironcore-rgw-other");
  FakeGateway::make_certificate(certificate.path);
  FakeGateway::make_certificate(other.path);
  FakeGateway gateway(
      [](const FakeGateway::Asked&) { return FakeGateway::Reply{.bytes = FakeGateway::http(200, "ok")}; },
      certificate.path);
  const auto with = [&](const std::string& host, const std::filesystem::path& ca) {
    rgw::Options secure = options("https://" + host + gateway.authority().substr(gateway.authority().find(':')));
    secure.ca_file = ca;
    return ask(*rgw::Client::create(secure, machine_clock).value());
  };
  CHECK(with("127.0.0.1", certificate.path).value().body == "ok");
  CHECK(with("127.0.0.1", other.path).error().code() == ErrorCode::forbidden);
  CHECK(with("127.0.0.1", {}).error().code() == ErrorCode::forbidden);
  CHECK(with("localhost", certificate.path).error().code() == ErrorCode::forbidden);
  CHECK(gateway.requests() == 1);

  FakeGateway plain([](const FakeGateway::Asked&) { return FakeGateway::Reply{}; });
  const auto refused = ask(*rgw::Client::create(options("https://" + plain.authority()), machine_clock).value());
  REQUIRE(refused.has_error());
  CHECK(plain.requests() == 0);
}

TEST_CASE("limits go to a gateway that knows them, for a minute each") {
  const Uid id = Uid::random();
  std::vector<std::string> posted;
  unsigned status = 200;
  FakeGateway gateway([&](const FakeGateway::Asked& asked) -> FakeGateway::Reply {
    if (asked.target.starts_with("/admin/bucket?"))
      return {.bytes = FakeGateway::http(200, R"([{"bucket":"b-1","owner":"ironcore-)" + id.to_text() + R"("}])")};
    if (asked.method == "POST") posted.push_back(asked.target);
    return {.bytes = FakeGateway::http(status, "")};
  });
  rgw::Options newer = options("http://" + gateway.authority());
  newer.patience = std::chrono::seconds(20);
  const auto store = rgw::open(newer, machine_clock).value();
  CHECK(store->capabilities().value() == BucketCapabilities());
  REQUIRE(store->set_limits(id, {.reads = 10, .written_bytes = UINT64_MAX}).has_value());
  REQUIRE(store->set_limits(id, {}).has_value());
  REQUIRE(posted.size() == 2);
  CHECK(posted[0] ==
        "/admin/ratelimit?bucket=b-1&enabled=true&format=json&max-read-bytes=0&max-read-ops=600&"
        "max-write-bytes=9223372036854775807&max-write-ops=0&ratelimit-scope=bucket");
  CHECK(posted[1].find("enabled=false") != std::string::npos);
  status = 405;
  CHECK(store->capabilities().value().limits.find("17.2") != std::string::npos);
  CHECK(store->set_limits(id, {.reads = 1}).error().code() == ErrorCode::unsupported);
  CHECK(store->set_limits(id, {}).has_value());
}

TEST_CASE("an answer that makes no sense shows none of its secrets") {
  const Uid id = Uid::random();
  std::string body;
  FakeGateway gateway(
      [&](const FakeGateway::Asked&) -> FakeGateway::Reply { return {.bytes = FakeGateway::http(200, body)}; });
  rgw::Options patient = options("http://" + gateway.authority());
  patient.patience = std::chrono::seconds(20);
  const auto store = rgw::open(patient, machine_clock).value();
  for (const char* text :
       {"", "hunter2", R"({"user_id":"u","keys":"hunter2"})", R"({"keys":[],"user":"hunter2"})",
        R"({"user_id":"u","keys":["hunter2"]})", R"({"user_id":"u","keys":[{"access_key":1,"secret_key":"hunter2"}]})",
        R"({"user_id":"u","keys":[{"access_key":"","secret_key":"hunter2"}]})",
        R"({"user_id":"u","keys":[{"access_key":"a\n","secret_key":"hunter2"}]})"}) {
    body = text;
    const auto refused = store->keys(id);
    REQUIRE_MESSAGE(refused.has_error(), text);
    CHECK(refused.error().code() == ErrorCode::corrupt);
    CHECK(refused.error().message().find("hunter2") == std::string::npos);
  }
}
