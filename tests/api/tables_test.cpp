// SPDX-License-Identifier: Apache-2.0
// The tables of `ironcorectl get`.
#include "tables.hpp"

#include <doctest/doctest.h>

#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::api;
using namespace std::chrono_literals;

namespace {

const WallTime noon = parse_rfc3339("2026-11-23T12:00:00Z").value();

/// `HEADER=cell` for each column.
std::string row(const Object& object) {
  const auto columns = object.kind().columns();
  const auto cells = object.kind().cells(object, noon);
  CHECK(columns.size() == cells.size());
  std::string text;
  for (std::size_t i = 0; i < cells.size(); ++i)
    text += (i == 0 ? "" : columns[i].is_wide ? " | " : " ") + std::string(columns[i].header) + "=" + cells[i];
  return text;
}

std::string age_after(Duration span) {
  return age(noon - span, noon);
}

}  // namespace

TEST_CASE("ages are written as kubectl writes them") {
  CHECK(age_after(0s) == "0s");
  CHECK(age_after(5s) == "5s");
  CHECK(age_after(119s) == "119s");
  CHECK(age_after(120s) == "2m");
  CHECK(age_after(200s) == "3m20s");
  CHECK(age_after(10min) == "10m");
  CHECK(age_after(179min) == "179m");
  CHECK(age_after(3h) == "3h");
  CHECK(age_after(4h + 30min) == "4h30m");
  CHECK(age_after(47h) == "47h");
  CHECK(age_after(48h) == "2d");
  CHECK(age_after(53h) == "2d5h");
  CHECK(age_after(24h * 9) == "9d");
  CHECK(age_after(24h * 365 * 2) == "2y");
  CHECK(age_after(24h * 365 * 3 + 24h * 12) == "3y12d");
  CHECK(age_after(24h * 365 * 9) == "9y");
  CHECK(age_after(-1s) == "0s");
  CHECK(age_after(-1h) == "<invalid>");
  CHECK(age(std::nullopt, noon) == "<unknown>");
  // Further away than nanoseconds in 64 bits reach.
  CHECK(age(parse_rfc3339("1700-01-01T00:00:00Z").value(), noon) == "327y");
  CHECK(age(parse_rfc3339("2200-01-01T00:00:00Z").value(), parse_rfc3339("1700-01-01T00:00:00Z").value()) ==
        "<invalid>");
}

TEST_CASE("a machine in the table") {
  CHECK(row(Object::decode(running_machine).value()) ==
        "NAME=web-1 MACHINECLASSREF=small IMAGE=registry.example/images/debian:12 MACHINEPOOLREF=host-17 "
        "STATE=Running AGE=10h"
        " | POWER=On | VOLUMES=1/2 | NICS=1/1 | MACHINEID=libvirt://6f1c1c5e");
  CHECK(row(Object::of(small_machine())) ==
        "NAME=web-1 MACHINECLASSREF=small IMAGE=<none> MACHINEPOOLREF=<none> STATE=Pending AGE=<unknown>"
        " | POWER=On | VOLUMES=0/0 | NICS=0/0 | MACHINEID=<none>");
  auto leaving = small_machine();
  leaving.metadata.deletion_timestamp = noon;
  CHECK(row(Object::of(leaving)).find("STATE=Terminating") != std::string::npos);
}

TEST_CASE("classes and pools in the table") {
  MachineClass small;
  small.metadata.name = "small";
  small.metadata.creation_timestamp = noon - 5s;
  small.capabilities = {{"cpu", Quantity(2)}, {"memory", Quantity::bytes(std::int64_t{4} << 30)}};
  CHECK(row(Object::of(small)) == "NAME=small CPU=2 MEMORY=4Gi AGE=5s");
  MachinePool pool;
  pool.metadata.name = "host";
  CHECK(row(Object::of(pool)) ==
        "NAME=host MACHINECLASSES=<none> AGE=<unknown> | READY=<none> | CPU=<none> | MEMORY=<none> | "
        "TAINTS=<none> | PROVIDERID=<none>");
  pool.status.available_machine_classes = {{.name = "small"}, {.name = "large"}};
  pool.status.conditions = {{.type = "Ready", .status = ConditionStatus::true_}};
  pool.spec.taints = {{.key = "a", .value = "b"}, {.key = "c", .effect = TaintEffect::no_execute}};
  CHECK(row(Object::of(pool)).starts_with("NAME=host MACHINECLASSES=large,small AGE=<unknown> | READY=True"));
  CHECK(row(Object::of(pool)).find("TAINTS=a=b:NoSchedule,c:NoExecute") != std::string::npos);
}

TEST_CASE("volumes and network interfaces in the table") {
  const auto volume =
      Object::decode(
          R"({"apiVersion":"storage.ironcore.dev/v1alpha1","kind":"Volume","metadata":{"name":"v"},"spec":{"volumeClassRef":{"name":"fast"},)"
          R"("resources":{"storage":"5Gi"},"claimRef":{"name":"m"},"dataSource":{"osImage":{"image":"debian:12"}}},"status":{"state":"Available"}})")
          .value();
  CHECK(row(volume) ==
        "NAME=v VOLUMEPOOLREF=<none> IMAGE=debian:12 VOLUMECLASS=fast STATE=Available AGE=<unknown> | "
        "SIZE=5Gi | CLAIMREF=m");
  const auto nic =
      Object::decode(
          R"({"apiVersion":"networking.ironcore.dev/v1alpha1","kind":"NetworkInterface","metadata":{"name":"n"},"spec":{"networkRef":{"name":"net"}},)"
          R"("status":{"ips":["10.0.0.1","fd00::1"],"prefixes":["10.1.0.0/24","10.2.0.0/24"],"virtualIP":"203.0.113.5"}})")
          .value();
  CHECK(row(nic) ==
        "NAME=n NETWORK=net MACHINE=<none> IPS=10.0.0.1,fd00::1 PREFIXES=10.1.0.0/24,10.2.0.0/24 "
        "VIRTUALIP=203.0.113.5 STATE=Pending AGE=<unknown> | PROVIDERID=<none>");
}

TEST_CASE("classes, pools, snapshots and buckets in the table") {
  VolumeClass fast;
  fast.metadata.name = "fast";
  fast.capabilities = {{"tps", Quantity::bytes(std::int64_t{200} << 20)}, {"iops", Quantity(15000)}};
  fast.resize_policy = ResizePolicy::expand_only;
  CHECK(row(Object::of(fast)) == "NAME=fast TPS=200Mi IOPS=15k AGE=<unknown> | RESIZEPOLICY=ExpandOnly");
  BucketClass standard;
  standard.metadata.name = "standard";
  standard.capabilities = {{"tps", Quantity::bytes(std::int64_t{1} << 20)}};
  CHECK(row(Object::of(standard)) == "NAME=standard TPS=1Mi IOPS=<none> AGE=<unknown>");

  VolumePool ceph;
  ceph.metadata.name = "ceph";
  CHECK(row(Object::of(ceph)) ==
        "NAME=ceph VOLUMECLASSES=<none> AGE=<unknown> | READY=<none> | STORAGE=<none> | TAINTS=<none> | "
        "PROVIDERID=<none>");
  ceph.spec = {.provider_id = "ceph://1", .taints = {{.key = "a"}}};
  ceph.status.available_volume_classes = {{.name = "slow"}, {.name = "fast"}};
  ceph.status.conditions = {{.type = "Ready", .status = ConditionStatus::false_}};
  ceph.status.allocatable = {{"storage", Quantity::bytes(std::int64_t{1} << 40)}};
  CHECK(row(Object::of(ceph)) ==
        "NAME=ceph VOLUMECLASSES=fast,slow AGE=<unknown> | READY=False | STORAGE=1Ti | TAINTS=a:NoSchedule | "
        "PROVIDERID=ceph://1");
  BucketPool rgw;
  rgw.metadata.name = "rgw";
  rgw.status.available_bucket_classes = {{.name = "standard"}};
  CHECK(row(Object::of(rgw)) ==
        "NAME=rgw BUCKETCLASSES=standard AGE=<unknown> | READY=<none> | TAINTS=<none> | PROVIDERID=<none>");

  auto snapshot = in_shop<VolumeSnapshot>("s");
  CHECK(row(Object::of(snapshot)) ==
        "NAME=s VOLUMEREF=<none> STATE=Pending AGE=<unknown> | SIZE=<none> | SNAPSHOTID=<none>");
  snapshot.spec.volume_ref = {.name = "data"};
  snapshot.status.state = VolumeSnapshotState::ready;
  snapshot.status.snapshot_id = "ceph://18";
  snapshot.status.size = Quantity::bytes(std::int64_t{5} << 30);
  CHECK(row(Object::of(snapshot)) ==
        "NAME=s VOLUMEREF=data STATE=Ready AGE=<unknown> | SIZE=5Gi | SNAPSHOTID=ceph://18");

  auto bucket = in_shop<Bucket>("b");
  bucket.spec.bucket_class_ref = {.name = "standard"};
  CHECK(row(Object::of(bucket)) ==
        "NAME=b BUCKETPOOLREF=<none> BUCKETCLASS=standard STATE=Pending AGE=<unknown> | SIZE=<none> | "
        "OBJECTS=<none> | ENDPOINT=<none> | BUCKETID=<none>");
  bucket.spec.bucket_pool_ref = {.name = "rgw"};
  bucket.status = {
      .bucket_id = "rgw://1", .state = BucketState::available, .access = BucketAccess{.endpoint = "http://b"}};
  bucket.status.usage = {{"storage", Quantity::bytes(3 << 20)}, {"objects", Quantity(7)}};
  CHECK(row(Object::of(bucket)) ==
        "NAME=b BUCKETPOOLREF=rgw BUCKETCLASS=standard STATE=Available AGE=<unknown> | SIZE=3Mi | "
        "OBJECTS=7 | ENDPOINT=http://b | BUCKETID=rgw://1");
}

TEST_CASE("namespaces, secrets and events in the table") {
  Namespace space;
  space.metadata.name = "shop";
  CHECK(row(Object::of(space)) == "NAME=shop STATUS=Active AGE=<unknown>");
  Secret secret;
  secret.metadata.name = "s";
  secret.type = "Opaque";
  secret.data["password"].value = "hunter2";
  CHECK(row(Object::of(secret)) == "NAME=s TYPE=Opaque DATA=1 AGE=<unknown>");
  Event event;
  event.metadata.name = "e";
  event.involved_object = {.kind = "MachinePool", .name = "host"};
  event.reason = "Lost";
  event.message = "no heartbeat";
  event.type = EventType::warning;
  event.source = {.component = "pools", .host = "h"};
  event.count = 3;
  event.first_timestamp = noon - 60s;
  event.last_timestamp = noon - 10s;
  CHECK(row(Object::of(event)) ==
        "LAST SEEN=10s TYPE=Warning REASON=Lost OBJECT=machinepool/host MESSAGE=no heartbeat | SOURCE=pools, "
        "h | FIRST SEEN=60s | COUNT=3 | NAME=e");
}
