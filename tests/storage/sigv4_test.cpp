// SPDX-License-Identifier: Apache-2.0
// Signatures against AWS's published test suite and the examples of the S3 reference ("Signature Calculations for the Authorization Header").
#include "sigv4.hpp"

#include <doctest/doctest.h>

using namespace ironcore;
using namespace ironcore::storage::rgw;

namespace {

std::string signature(const std::string& authorization) {
  return authorization.substr(authorization.rfind('=') + 1);
}

/// As every request of the test suite is signed.
std::string of_suite(Request request) {
  request.headers.emplace_back("host", "example.amazonaws.com");
  request.headers.emplace_back("x-amz-date", "20150830T123600Z");
  return authorization(request, {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}, "us-east-1", "service",
                       parse_rfc3339("2015-08-30T12:36:00Z").value());
}

/// As every example of the reference is.
std::string of_reference(Request request, const std::string& body_digest) {
  request.headers.emplace_back("host", "examplebucket.s3.amazonaws.com");
  request.headers.emplace_back("x-amz-date", "20130524T000000Z");
  request.headers.emplace_back("x-amz-content-sha256", body_digest);
  return signature(authorization(request, {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
                                 "us-east-1", "s3", parse_rfc3339("2013-05-24T00:00:00Z").value()));
}

constexpr const char* empty_digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

}  // namespace

TEST_CASE("requests of the published test suite are signed as it says") {
  CHECK(of_suite({}) ==
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  const auto expect = [](const char* name, const Request& request, const char* wanted) {
    INFO(name);
    CHECK(signature(of_suite(request)) == wanted);
  };
  expect("get-vanilla-query-order-key-case", {.query = {{"Param2", "value2"}, {"Param1", "value1"}}},
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
  const std::string unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  expect("get-vanilla-query-unreserved", {.query = {{unreserved, unreserved}}},
         "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197");
  expect("get-unreserved", {.path = "/" + unreserved},
         "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
  expect("get-utf8", {.path = "/\xe1\x88\xb4"}, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
  expect("post-vanilla", {.method = "POST"}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
  expect(
      "post-x-www-form-urlencoded",
      {.method = "POST", .headers = {{"content-type", "application/x-www-form-urlencoded"}}, .body = "Param1=value1"},
      "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
  expect("get-header-key-duplicate",
         {.headers = {{"my-header1", "value2"}, {"my-header1", "value2"}, {"my-header1", "value1"}}},
         "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea");
  expect("get-header-value-trim", {.headers = {{"my-header1", " value1"}, {"my-header2", " \"a   b   c\""}}},
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

TEST_CASE("the examples of the S3 reference are signed as it says") {
  CHECK(of_reference({.path = "/test.txt", .headers = {{"range", "bytes=0-9"}}}, empty_digest) ==
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  CHECK(of_reference(
            {.method = "PUT",
             .path = "/test$file.text",
             .headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
             .body = "Welcome to Amazon S3."},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072") ==
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  CHECK(of_reference({.query = {{"lifecycle", ""}}}, empty_digest) ==
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  CHECK(of_reference({.query = {{"max-keys", "2"}, {"prefix", "J"}}}, empty_digest) ==
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST_CASE("a path and a query are encoded once") {
  CHECK(encoded_path("/a b/c+d%&=?") == "/a%20b/c%2Bd%25%26%3D%3F");
  CHECK(encoded_query({.query = {{"b", "1/2"}, {"a", ""}, {"b", "0"}}}) == "a=&b=0&b=1%2F2");
  CHECK(encoded_query({}).empty());
  CHECK(signing_date(parse_rfc3339("2026-11-23T01:45:08.25Z").value()) == "20261123T014508Z");
}
