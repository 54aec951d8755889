// SPDX-License-Identifier: Apache-2.0
// The rules of the kinds of storage, on creation and on update.
#include <doctest/doctest.h>

#include "admission.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

/// A volume of a class, with these further members of its spec.
std::string classful(std::string_view more = "") {
  return R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"})" + std::string(more) + "}}";
}

/// An object without a namespace.
template <class T>
T named(std::string name) {
  T object;
  object.metadata.name = std::move(name);
  return object;
}

template <class Class>
void check_class() {
  CAPTURE(Class::info.kind);
  auto base = named<Class>("fast");
  base.capabilities = {{"tps", Quantity::bytes(1 << 20)}, {"iops", Quantity(100)}};
  check_rows(base, {
                       {"fine", "{}", fine},
                       {"no capabilities", R"({"capabilities":null})",
                        "capabilities[tps] required\ncapabilities[iops] required"},
                       {"no iops", R"({"capabilities":{"iops":null}})", "capabilities[iops] required"},
                       {"zero", R"({"capabilities":{"tps":0}})", "capabilities[tps] invalid"},
                       {"negative", R"({"capabilities":{"iops":-1}})", "capabilities[iops] invalid"},
                       {"more than is needed", R"({"capabilities":{"example.com/replicas":3}})", fine},
                       {"a subdomain", R"({"metadata":{"name":"foo.bar.baz"}})", fine},
                   });
  check_steps(base, {
                        {"other words for the same", "{}", R"({"capabilities":{"tps":"1Mi"}})", fine},
                        {"changed", "{}", R"({"capabilities":{"iops":"2"}})", "capabilities forbidden"},
                        {"one less", R"({"capabilities":{"x":1}})", "{}", "capabilities forbidden"},
                    });
}

template <class Pool>
void check_pool() {
  CAPTURE(Pool::info.kind);
  const auto base = named<Pool>("ceph-1.rack-2");
  check_rows(base, {
                       {"fine", "{}", fine},
                       {"taints", R"({"spec":{"taints":[{"key":"a"},{"key":"a"},{}]}})",
                        "spec.taints[1] duplicate\nspec.taints[2].key required"},
                   });
  check_steps(base, {
                        {"set", "{}", R"({"spec":{"providerID":"ceph://a"}})", fine},
                        {"changed", R"({"spec":{"providerID":"ceph://a"}})", R"({"spec":{"providerID":"ceph://b"}})",
                         "spec.providerID forbidden"},
                        {"removed", R"({"spec":{"providerID":"ceph://a"}})", "{}", "spec.providerID forbidden"},
                        {"taints", "{}", R"({"spec":{"taints":[{"key":"a"}]}})", fine},
                    });
}

}  // namespace

TEST_CASE("rules of classes and pools of storage") {
  check_class<VolumeClass>();
  check_class<BucketClass>();
  check_pool<VolumePool>();
  check_pool<BucketPool>();
}

TEST_CASE("volumes of a class keep their size unless it says otherwise") {
  auto base = named<VolumeClass>("fast");
  base.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
  CHECK(base.resize_policy == ResizePolicy::static_);
  check_rows(base, {
                       {"static", R"({"resizePolicy":"Static"})", fine},
                       {"expand only", R"({"resizePolicy":"ExpandOnly"})", fine},
                   });
  check_steps(base, {
                        {"may grow now", "{}", R"({"resizePolicy":"ExpandOnly"})", fine},
                        {"no more", R"({"resizePolicy":"ExpandOnly"})", R"({"resizePolicy":"Static"})", fine},
                    });
  CHECK(apply_merge_patch(Object::of(base), R"({"resizePolicy":"ShrinkOnly"})").has_error());
}

TEST_CASE("rules of a snapshot") {
  const auto base = in_shop<VolumeSnapshot>("s");
  check_rows(base, {
                       {"without a volume", "{}", fine},
                       {"of a volume", R"({"spec":{"volumeRef":{"name":"data"}}})", fine},
                       {"bad volume", R"({"spec":{"volumeRef":{"name":"foo*"}}})", "spec.volumeRef.name invalid"},
                       {"a volume without a name", R"({"spec":{"volumeRef":{}}})", "spec.volumeRef.name required"},
                   });
  constexpr const char* of_data = R"({"spec":{"volumeRef":{"name":"data"}}})";
  check_steps(base, {
                        {"kept", of_data, of_data, fine},
                        {"changed", of_data, R"({"spec":{"volumeRef":{"name":"other"}}})", "spec.volumeRef forbidden"},
                        {"added", "{}", of_data, "spec.volumeRef forbidden"},
                        {"removed", of_data, "{}", "spec.volumeRef forbidden"},
                    });
}

TEST_CASE("rules of a bucket") {
  const auto base = in_shop<Bucket>("b");
  check_rows(
      base,
      {
          {"classless", "{}", fine},
          {"classful", R"({"spec":{"bucketClassRef":{"name":"fast"}}})", fine},
          {"bad class", R"({"spec":{"bucketClassRef":{"name":"foo*"}}})", "spec.bucketClassRef.name invalid"},
          {"classless with the rest",
           R"({"spec":{"bucketPoolSelector":{"a":"b"},"bucketPoolRef":{"name":"p"},"tolerations":[{"key":"a"}]}})",
           "spec.bucketPoolSelector forbidden\nspec.bucketPoolRef forbidden\nspec.tolerations forbidden"},
          {"a pool", R"({"spec":{"bucketClassRef":{"name":"fast"},"bucketPoolRef":{"name":"foo.bar.baz"}}})", fine},
          {"bad pool, selector and toleration",
           R"({"spec":{"bucketClassRef":{"name":"fast"},"bucketPoolRef":{"name":"foo*"},)"
           R"("bucketPoolSelector":{"a b":"c"},"tolerations":[{"value":"x"}]}})",
           "spec.bucketPoolSelector[a b] invalid\nspec.bucketPoolRef.name invalid\n"
           "spec.tolerations[0].operator invalid"},
          {"classless with settings", R"({"spec":{"lockable":true,"settings":{"versioned":true}}})",
           "spec.lockable forbidden\nspec.settings forbidden"},
          {"settings",
           R"({"spec":{"bucketClassRef":{"name":"fast"},"lockable":true,"settings":{"retention":{"days":1},)"
           R"("lifecycle":[{"id":"a","expireDays":1},{"id":"b","uploadDays":1}]}}})",
           fine},
          {"bad settings",
           R"({"spec":{"bucketClassRef":{"name":"fast"},"settings":{"retention":{"days":0},"cors":[{"maxAgeSeconds":-1}],)"
           R"("lifecycle":[{"expireDays":-1},{"id":"a"},{"id":"a","oldVersionDays":-1,"uploadDays":-1}]}}})",
           "spec.settings.lifecycle[0].id required\nspec.settings.lifecycle[0].expireDays invalid\n"
           "spec.settings.lifecycle[2].id duplicate\nspec.settings.lifecycle[2].oldVersionDays invalid\n"
           "spec.settings.lifecycle[2].uploadDays invalid\nspec.settings.cors[0].maxAgeSeconds invalid\n"
           "spec.settings.retention.days invalid\nspec.settings.retention forbidden"},
      });
  constexpr const char *plain = R"({"spec":{"bucketClassRef":{"name":"fast"}}})",
                       *pooled = R"({"spec":{"bucketClassRef":{"name":"fast"},"bucketPoolRef":{"name":"p"}}})";
  check_steps(base,
              {
                  {"class", plain, R"({"spec":{"bucketClassRef":{"name":"slow"}}})", "spec.bucketClassRef forbidden"},
                  {"class added", "{}", plain, "spec.bucketClassRef forbidden"},
                  {"class removed", plain, "{}", "spec.bucketClassRef forbidden"},
                  {"pool set", plain, pooled, fine},
                  {"pool removed", pooled, plain, "spec.bucketPoolRef forbidden"},
                  {"lockable later", plain, R"({"spec":{"bucketClassRef":{"name":"fast"},"lockable":true}})",
                   "spec.lockable forbidden"},
              });
}

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
          {"encryption with a generated key",
           R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"},"encryption":{}}})", fine},
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

TEST_CASE("a volume carries a finalizer exactly while a machine uses it") {
  const auto admitted = [](std::string_view from, std::string_view to) {
    const auto base = Object::of(in_shop<Volume>("v"));
    const auto current = apply_merge_patch(base, from).value();
    const auto wanted = apply_merge_patch(base, to).value();
    return current.kind().admit_update(current, wanted).value().metadata().finalizers;
  };
  using Names = std::vector<std::string>;
  const std::string ours(volume_claim_finalizer);
  constexpr const char* used = R"({"spec":{"claimRef":{"name":"m","uid":"u"}}})";
  CHECK(admitted("{}", used) == Names{ours});
  CHECK_MESSAGE(admitted("{}", R"({"spec":{"claimRef":{"name":"m"}}})") == Names{}, "a plan is no use");
  CHECK(admitted("{}", R"({"metadata":{"finalizers":["a/b"]},"spec":{"claimRef":{"name":"m","uid":"u"}}})") ==
        Names{"a/b", ours});
  constexpr const char* kept =
      R"({"metadata":{"finalizers":["storage.ironcore.dev/volume-claim"]},"spec":{"claimRef":{"name":"m","uid":"u"}}})";
  CHECK(admitted(kept, kept) == Names{ours});
  CHECK_MESSAGE(admitted(kept, used) == Names{ours}, "nobody takes it off a volume in use");
  CHECK(admitted(kept, R"({"metadata":{"finalizers":["storage.ironcore.dev/volume-claim","a/b"]}})") == Names{"a/b"});
  constexpr const char* leaving = R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]}})";
  CHECK_MESSAGE(
      admitted(
          leaving,
          R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]},"spec":{"claimRef":{"name":"m","uid":"u"}}})") ==
          Names{"a/b"},
      "none is added to what is being deleted");
  const auto made =
      kind_of<Volume>().admit_create(apply_merge_patch(Object::of(in_shop<Volume>("v")), used).value()).value();
  CHECK(made.metadata().finalizers == Names{ours});
}

TEST_CASE("rules of a changed volume") {
  const auto base = in_shop<Volume>("v");
  const auto plain = classful(), pooled = classful(R"(,"volumePoolRef":{"name":"p"})");
  const auto imaged = classful(R"(,"dataSource":{"osImage":{"image":"debian:12"}})");
  constexpr const char* locked = R"({"spec":{"encryption":{"secretRef":{"name":"s"}}}})";
  const std::string wished =
      R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"100Ti"}},"status":{"resources":{"storage":"2Gi"}}})";
  constexpr const char* classful = R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"}}})";
  constexpr const char* generated =
      R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"},"encryption":{}}})";
  check_steps(
      base,
      {
          {"class", plain.c_str(), R"({"spec":{"volumeClassRef":{"name":"slow"},"resources":{"storage":"1Gi"}}})",
           "spec.volumeClassRef forbidden"},
          {"class added", "{}", plain.c_str(), "spec.volumeClassRef forbidden"},
          {"class removed", plain.c_str(), "{}", "spec.volumeClassRef forbidden"},
          {"pool set", plain.c_str(), pooled.c_str(), fine},
          {"pool removed", pooled.c_str(), plain.c_str(), "spec.volumePoolRef forbidden"},
          {"claim", "{}", R"({"spec":{"claimRef":{"name":"m"}}})", fine},
          {"release", R"({"spec":{"claimRef":{"name":"m"}}})", "{}", fine},
          {"source", plain.c_str(), imaged.c_str(), fine},
          {"grown", plain.c_str(), R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"2Gi"}}})",
           fine},
          {"grown in vain, taken back", wished.c_str(),
           R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"2Gi"}}})", fine},
          {"to less, and more than it has", wished.c_str(),
           R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"3Gi"}}})", fine},
          {"below what it has", wished.c_str(),
           R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"2047Mi"}}})",
           "spec.resources[storage] forbidden"},
          {"shrunk", plain.c_str(), R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1023Mi"}}})",
           "spec.resources[storage] forbidden"},
          {"encryption added", "{}", locked, "spec.encryption forbidden"},
          {"encryption changed", locked, R"({"spec":{"encryption":{"secretRef":{"name":"other"}}}})",
           "spec.encryption forbidden"},
          {"encryption removed", locked, "{}", "spec.encryption forbidden"},
          {"encryption kept", locked, locked, fine},
          {"a generated key given up", generated, classful, "spec.encryption forbidden"},
          {"a generated key exchanged for another", generated,
           R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"},"encryption":{"secretRef":{"name":"s"}}}})",
           "spec.encryption forbidden"},
          {"a generated key kept", generated, generated, fine},
      });
}
