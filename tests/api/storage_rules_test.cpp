// SPDX-License-Identifier: Apache-2.0
// The rules of a Volume, on creation and on update.
#include <doctest/doctest.h>

#include "admission.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

/// A volume of a class, with these further members of its spec.
std::string classful(std::string_view more = "") {
  return R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"})" + std::string(more) + "}}";
}

}  // namespace

TEST_CASE("rules of a volume") {
  const auto base = in_shop<Volume>("v");
  check_rows(
      base,
      {
          {"classless", "{}", fine},
          {"bad class", R"({"spec":{"volumeClassRef":{"name":"foo*"},"resources":{"storage":"1Gi"}}})",
           "spec.volumeClassRef.name invalid"},
          {"classful needs storage", R"({"spec":{"volumeClassRef":{"name":"fast"}}})",
           "spec.resources[storage] required"},
          {"not negative", R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":-1}}})",
           "spec.resources[storage] invalid"},
          {"not zero", R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":0}}})",
           "spec.resources[storage] invalid"},
          {"classless with a pool", R"({"spec":{"volumePoolRef":{"name":"p"}}})", "spec.volumePoolRef forbidden"},
          {"classless with resources", R"({"spec":{"resources":{"storage":"1Gi"}}})", "spec.resources forbidden"},
          {"classless with selector and tolerations",
           R"({"spec":{"volumePoolSelector":{"a":"b"},"tolerations":[{"key":"a"}]}})",
           "spec.volumePoolSelector forbidden\nspec.tolerations forbidden"},
          {"bad claim", R"({"spec":{"claimRef":{"name":"foo*"}}})", "spec.claimRef.name invalid"},
          {"claimed and unclaimable", R"({"spec":{"claimRef":{"name":"m"},"unclaimable":true}})",
           "spec.claimRef forbidden"},
          {"unclaimable", R"({"spec":{"unclaimable":true}})", fine},
          {"claimable", R"({"spec":{"claimRef":{"name":"m","uid":"u"},"unclaimable":false}})", fine},
          {"encryption", R"({"spec":{"encryption":{"secretRef":{"name":"key"}}}})", fine},
          {"bad encryption secret", R"({"spec":{"encryption":{"secretRef":{"name":"foo*"}}}})",
           "spec.encryption.secretRef.name invalid"},
          {"encryption without a secret", R"({"spec":{"encryption":{}}})", "spec.encryption.secretRef.name required"},
          {"from a snapshot", R"({"spec":{"dataSource":{"volumeSnapshotRef":{"name":"s"}}}})", fine},
          {"bad snapshot", R"({"spec":{"dataSource":{"volumeSnapshotRef":{"name":"foo*"}}}})",
           "spec.dataSource.volumeSnapshotRef.name invalid"},
          {"classless from an image", R"({"spec":{"dataSource":{"osImage":{"image":"debian:12"}}}})",
           "spec.dataSource.osImage forbidden"},
          {"an empty source", R"({"spec":{"dataSource":{}}})", fine},
      });
  const auto classful_errors = [&](std::string_view more) { return created(base, classful(more)); };
  CHECK(classful_errors("") == fine);
  CHECK(classful_errors(R"(,"volumePoolRef":{"name":"foo.bar.baz"})") == fine);
  CHECK(classful_errors(R"(,"volumePoolRef":{"name":"foo*"})") == "spec.volumePoolRef.name invalid");
  CHECK(classful_errors(R"(,"volumePoolSelector":{"a b":"c"})") == "spec.volumePoolSelector[a b] invalid");
  CHECK(classful_errors(R"(,"tolerations":[{"key":"a","operator":"","effect":""},{"value":"x"}])") ==
        "spec.tolerations[1].operator invalid");
  CHECK(classful_errors(R"(,"dataSource":{"osImage":{"image":"debian:12","architecture":"amd64"}})") == fine);
  CHECK(classful_errors(R"(,"dataSource":{"osImage":{"image":"a b"}})") == "spec.dataSource.osImage.image invalid");
  CHECK(classful_errors(R"(,"dataSource":{"osImage":{}})") == "spec.dataSource.osImage.image required");
  CHECK(classful_errors(R"(,"dataSource":{"osImage":{"image":"x"},"volumeSnapshotRef":{"name":"s"}})") ==
        "spec.dataSource.osImage forbidden");
}

TEST_CASE("rules of a changed volume") {
  const auto base = in_shop<Volume>("v");
  const auto plain = classful(), pooled = classful(R"(,"volumePoolRef":{"name":"p"})");
  const auto imaged = classful(R"(,"dataSource":{"osImage":{"image":"debian:12"}})");
  constexpr const char* locked = R"({"spec":{"encryption":{"secretRef":{"name":"s"}}}})";
  check_steps(
      base, {
                {"class", plain.c_str(), R"({"spec":{"volumeClassRef":{"name":"slow"},"resources":{"storage":"1Gi"}}})",
                 "spec.volumeClassRef forbidden"},
                {"class added", "{}", plain.c_str(), "spec.volumeClassRef forbidden"},
                {"class removed", plain.c_str(), "{}", "spec.volumeClassRef forbidden"},
                {"pool set", plain.c_str(), pooled.c_str(), fine},
                {"pool removed", pooled.c_str(), plain.c_str(), "spec.volumePoolRef forbidden"},
                {"claim", "{}", R"({"spec":{"claimRef":{"name":"m"}}})", fine},
                {"release", R"({"spec":{"claimRef":{"name":"m"}}})", "{}", fine},
                {"source", plain.c_str(), imaged.c_str(), fine},
                {"encryption added", "{}", locked, "spec.encryption forbidden"},
                {"encryption changed", locked, R"({"spec":{"encryption":{"secretRef":{"name":"other"}}}})",
                 "spec.encryption forbidden"},
                {"encryption removed", locked, "{}", "spec.encryption forbidden"},
                {"encryption kept", locked, locked, fine},
            });
}
