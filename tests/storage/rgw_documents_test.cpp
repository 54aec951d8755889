// SPDX-License-Identifier: Apache-2.0
// Answers of RADOS gateways: what is read, and what is refused.
#include "documents.hpp"

#include <doctest/doctest.h>

#include "xml.hpp"

using namespace ironcore;
using namespace ironcore::storage;

TEST_CASE("XML of S3 is a tree of names and texts") {
  const auto root =
      rgw::parse_xml("<?xml version=\"1.0\"?><a x=\"1\"> <b>1 &lt;&#x32;</b><!-- c --><b>3</b><c><d/></c></a>").value();
  CHECK(root.name == "a");
  CHECK(root.text.empty());
  REQUIRE(root.children.size() == 3);
  CHECK(root.text_of("b") == "1 <2");
  CHECK(root.child("c")->child("d") != nullptr);
  CHECK(root.child("e") == nullptr);
  CHECK(root.text_of("e").empty());
}

TEST_CASE("XML that nobody needs is refused") {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<a>";
  std::string many = "<a>";
  for (int i = 0; i < 100'001; ++i) many += "<b/>";
  for (const std::string& text :
       {std::string(), std::string("text"), std::string("<a>"), std::string("<a></b>"), std::string("<a/><a/>"), deep,
        many + "</a>", std::string("<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>"),
        std::string("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>"), std::string("<a>\xff</a>")})
    CHECK_MESSAGE(rgw::parse_xml(text).error().code() == ErrorCode::corrupt, text.substr(0, 40));
}

TEST_CASE("text is made fit for XML") {
  const std::string text = "<&>\"' \xc3\xa4";
  CHECK(rgw::parse_xml(rgw::xml_element("a", text)).value().text == text);
}

TEST_CASE("settings are read back from what is written of them") {
  const std::vector<LifecycleRule> rules{{.id = "a<b", .prefix = "x&y/", .expire_days = 1},
                                         {.id = "c", .old_version_days = 36'500, .upload_days = 7}};
  CHECK(rgw::parse_lifecycle(rgw::lifecycle_xml(rules)).value() == rules);
  const std::vector<CorsRule> cors{{.origins = {"*"}, .methods = {"GET", "HEAD"}},
                                   {.origins = {"https://a", "https://b"},
                                    .methods = {"PUT"},
                                    .headers = {"x-*"},
                                    .exposed_headers = {"etag", "date"},
                                    .max_age_seconds = 5}};
  CHECK(rgw::parse_cors(rgw::cors_xml(cors)).value() == cors);
  CHECK(rgw::parse_versioning(rgw::versioning_xml({.is_versioned = true})).value());
  CHECK_FALSE(rgw::parse_versioning(rgw::versioning_xml({})).value());
  CHECK_FALSE(rgw::parse_versioning("<VersioningConfiguration/>").value());
  const std::optional kept = Retention{.mode = RetentionMode::compliance, .days = 3};
  CHECK(rgw::parse_object_lock(rgw::object_lock_xml(kept)).value() == kept);
  CHECK_FALSE(rgw::parse_object_lock(rgw::object_lock_xml({})).value());
  CHECK(
      rgw::parse_object_lock("<ObjectLockConfiguration><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Years>2</Years>"
                             "</DefaultRetention></Rule></ObjectLockConfiguration>")
          .value() == Retention{.days = 730});
}

TEST_CASE("settings that we have no words for are not misread") {
  const auto rule = [](const std::string& inner) {
    return rgw::parse_lifecycle("<LifecycleConfiguration><Rule><ID>r</ID>" + inner +
                                "</Rule></LifecycleConfiguration>");
  };
  CHECK(rule("<Prefix>p</Prefix><Expiration><Days>1</Days></Expiration>").value() ==
        std::vector{LifecycleRule{.id = "r", .prefix = "p", .expire_days = 1}});
  CHECK(rule("<Expiration><Date>2026-01-01</Date></Expiration>").error().code() == ErrorCode::unsupported);
  CHECK(rule("<Expiration><Days>-1</Days></Expiration>").error().code() == ErrorCode::corrupt);
  CHECK(rule("<Expiration><Days>4294967296</Days></Expiration>").error().code() == ErrorCode::corrupt);
  CHECK(rule("<Transition><Days>1</Days></Transition>").error().code() == ErrorCode::unsupported);
  CHECK(rule("<Status>Disabled</Status>").error().code() == ErrorCode::unsupported);
  CHECK(rule("<Filter><Tag><Key>k</Key></Tag></Filter>").error().code() == ErrorCode::unsupported);
  CHECK(rgw::parse_lifecycle("<CORSConfiguration/>").error().code() == ErrorCode::corrupt);
  CHECK(rgw::parse_cors("<CORSConfiguration><x/></CORSConfiguration>").error().code() == ErrorCode::corrupt);
  CHECK(
      rgw::parse_object_lock("<ObjectLockConfiguration><Rule><DefaultRetention><Mode>X</Mode></DefaultRetention></Rule>"
                             "</ObjectLockConfiguration>")
          .error()
          .code() == ErrorCode::corrupt);
}

TEST_CASE("a page of users says where the next one begins") {
  const auto page =
      rgw::parse_user_page(R"({"keys":["a","b"],"truncated":true,"count":2,"marker":"5:1:u:head"})").value();
  CHECK(page.users == std::vector<std::string>{"a", "b"});
  CHECK(page.marker == "5:1:u:head");
  CHECK(rgw::parse_user_page(R"({"keys":[],"truncated":false,"count":0})").value().marker.empty());
  for (const char* text : {"", "[]", "{}", R"({"keys":[1],"truncated":false})", R"({"keys":[]})",
                           R"({"keys":[],"truncated":"true","marker":"m"})", R"({"keys":[],"truncated":true})",
                           R"({"keys":[],"truncated":true,"marker":""})"})
    CHECK_MESSAGE(rgw::parse_user_page(text).error().code() == ErrorCode::corrupt, text);
}

TEST_CASE("the JSON of buckets is read, with what may be missing") {
  const auto all =
      rgw::parse_bucket_list(
          R"([{"bucket":"a","owner":"u","usage":{"rgw.main":{"size":5,"num_objects":2}},)"
          R"("bucket_quota":{"enabled":true,"max_size":-1024,"max_objects":7}},)"
          R"({"bucket":"b","owner":"v","usage":{},"bucket_quota":{"enabled":false,"max_size":9,"max_objects":9}}])")
          .value();
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == "a");
  CHECK(all[0].owner == "u");
  CHECK(all[0].bytes == 5);
  CHECK(all[0].objects == 2);
  CHECK(all[0].quota == BucketQuota{.objects = 7});
  CHECK(all[1].objects == 0);
  CHECK(all[1].quota == BucketQuota());
  for (const char* text : {"", "{}", "[1]", R"([{"bucket":"a"}])", R"([{"bucket":1,"owner":"u"}])",
                           R"([{"bucket":"a","owner":"u","usage":{"rgw.main":{"size":1.5}}}])"})
    CHECK_MESSAGE(rgw::parse_bucket_list(text).error().code() == ErrorCode::corrupt, text);
}
