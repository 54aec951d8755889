// SPDX-License-Identifier: Apache-2.0
// One complete document of each kind of compute, networking and storage, written by hand: all names as the reference has them.
#include <doctest/doctest.h>

#include <functional>

#include "ironcore/api/json.hpp"
#include "objects.hpp"
#include "shapes.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

constexpr std::string_view machine_class = R"({
  "apiVersion": "compute.ironcore.dev/v1alpha1",
  "kind": "MachineClass",
  "metadata": {
    "name": "small",
    "generateName": "sm-",
    "namespace": "none",
    "uid": "6f1c1c5e-2a44-4b8f-9d0a-1f0e8d1c9b77",
    "resourceVersion": "4711",
    "generation": 2,
    "creationTimestamp": "2026-11-23T01:45:08Z",
    "deletionTimestamp": "2026-11-23T01:46:08Z",
    "labels": {"common.ironcore.dev/architecture": "amd64"},
    "annotations": {"a": "b"},
    "finalizers": ["compute.ironcore.dev/machineclass"],
    "ownerReferences": [
      {
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": "owner",
        "uid": "u",
        "controller": true,
        "blockOwnerDeletion": false
      }
    ]
  },
  "capabilities": {"cpu": "4", "memory": "16Gi", "type-a.vendor.com/gpu": "2"}
})";

constexpr std::string_view machine_pool = R"({
  "apiVersion": "compute.ironcore.dev/v1alpha1",
  "kind": "MachinePool",
  "metadata": {"name": "host-1"},
  "spec": {
    "providerID": "libvirt://host-1",
    "taints": [
      {"key": "a", "value": "b", "effect": "NoSchedule"},
      {"key": "c", "effect": "NoExecute"}
    ]
  },
  "status": {
    "state": "Ready",
    "conditions": [
      {
        "type": "Ready",
        "status": "True",
        "reason": "HeartbeatReceived",
        "message": "it answers",
        "observedGeneration": 1,
        "lastUpdateTime": "2026-11-23T01:45:08Z",
        "lastTransitionTime": "2026-11-23T01:45:07Z"
      }
    ],
    "availableMachineClasses": [{"name": "small"}],
    "addresses": [
      {"type": "Hostname", "address": "host-1"},
      {"type": "InternalIP", "address": "10.0.0.1"},
      {"type": "ExternalIP", "address": "192.0.2.1"},
      {"type": "InternalDNS", "address": "host-1.internal"},
      {"type": "ExternalDNS", "address": "host-1.example"}
    ],
    "daemonEndpoints": {"machinepoolletEndpoint": {"port": 12319}},
    "capacity": {"class/machine.small": "8", "cpu": "32", "memory": "128Gi"},
    "allocatable": {"class/machine.small": "7", "cpu": "28", "memory": "112Gi"}
  }
})";

constexpr std::string_view machine = R"({
  "apiVersion": "compute.ironcore.dev/v1alpha1",
  "kind": "Machine",
  "metadata": {"name": "web-1", "namespace": "shop"},
  "spec": {
    "machineClassRef": {"name": "small"},
    "machinePoolSelector": {"topology.ironcore.dev/zone": "a"},
    "machinePoolRef": {"name": "host-1"},
    "power": "Off",
    "networkInterfaces": [
      {"name": "front", "networkInterfaceRef": {"name": "web-front"}},
      {
        "name": "back",
        "ephemeral": {
          "networkInterfaceTemplate": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
              "networkRef": {"name": "net"},
              "ipFamilies": ["IPv4"],
              "ips": [
                {
                  "ephemeral": {
                    "prefixTemplate": {
                      "spec": {"ipFamily": "IPv4", "prefixLength": 32, "parentRef": {"name": "root"}}
                    }
                  }
                }
              ],
              "virtualIP": {
                "ephemeral": {"virtualIPTemplate": {"spec": {"type": "Public", "ipFamily": "IPv4"}}}
              }
            }
          }
        }
      }
    ],
    "volumes": [
      {"name": "root", "device": "oda", "localDisk": {"sizeLimit": "10Gi", "image": "registry.example/debian:12"}},
      {"name": "data", "device": "odb", "volumeRef": {"name": "web-data"}},
      {"name": "scratch", "device": "odc", "emptyDisk": {"sizeLimit": "1Gi"}},
      {
        "name": "more",
        "device": "odd",
        "ephemeral": {
          "volumeTemplate": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
              "volumeClassRef": {"name": "fast"},
              "volumePoolSelector": {"a": "b"},
              "resources": {"storage": "5Gi"},
              "dataSource": {"osImage": {"image": "registry.example/debian:12", "architecture": "amd64"}}
            }
          }
        }
      }
    ],
    "ignitionRef": {"name": "web-ignition", "key": "ignition.yaml"},
    "efiVars": [{"name": "Boot0000", "uuid": "8be4df61-93ca-11d2-aa0d-00e098032b8c", "value": "AQ=="}],
    "tolerations": [
      {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
      {"operator": "Exists", "effect": "NoExecute"}
    ],
    "guestConfig": {"hostname": "web-1"}
  },
  "status": {
    "machineID": "libvirt://6f1c1c5e",
    "observedGeneration": 2,
    "state": "Shutdown",
    "conditions": [{"type": "NetworkInterfacesReady", "status": "False"}, {"type": "VolumesReady", "status": "Unknown"}],
    "networkInterfaces": [
      {
        "name": "front",
        "handle": "tap0",
        "state": "Attached",
        "networkInterfaceRef": {"name": "web-front"},
        "lastStateTransitionTime": "2026-11-23T01:45:08Z"
      }
    ],
    "volumes": [
      {
        "name": "data",
        "handle": "vdb",
        "state": "Pending",
        "volumeRef": {"name": "web-data"},
        "lastStateTransitionTime": "2026-11-23T01:45:08Z"
      }
    ],
    "rebootToken": "t"
  }
})";

constexpr std::string_view network_interface = R"({
  "apiVersion": "networking.ironcore.dev/v1alpha1",
  "kind": "NetworkInterface",
  "metadata": {"name": "web-front", "namespace": "shop"},
  "spec": {
    "providerID": "net://17",
    "networkRef": {"name": "net"},
    "machineRef": {"name": "web-1", "uid": "u"},
    "ipFamilies": ["IPv4", "IPv6"],
    "ips": [
      {"value": "10.0.0.1"},
      {
        "ephemeral": {
          "prefixTemplate": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
              "ipFamily": "IPv6",
              "prefix": "fd00::1/128",
              "prefixLength": 128,
              "parentRef": {"name": "root"},
              "parentSelector": {
                "matchLabels": {"subnet-type": "public"},
                "matchExpressions": [
                  {"key": "a", "operator": "In", "values": ["b"]},
                  {"key": "c", "operator": "NotIn", "values": ["d", "e"]},
                  {"key": "f", "operator": "Exists"},
                  {"key": "g", "operator": "DoesNotExist"}
                ]
              }
            }
          }
        }
      }
    ],
    "prefixes": [
      {"value": "10.1.0.1/16"},
      {
        "ephemeral": {
          "prefixTemplate": {
            "spec": {
              "ipFamily": "IPv4",
              "prefix": "10.2.3.0/24",
              "prefixLength": 24,
              "parentRef": {"name": "root"},
              "parentSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
            }
          }
        }
      }
    ],
    "virtualIP": {
      "virtualIPRef": {"name": "vip"},
      "ephemeral": {
        "virtualIPTemplate": {
          "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
          "spec": {
            "type": "Public",
            "ipFamily": "IPv4",
            "targetRef": {"name": "web-front", "uid": "u"},
            "reclaimPolicy": "Retain"
          }
        }
      }
    },
    "attributes": {"a": "b"}
  },
  "status": {
    "state": "Available",
    "lastStateTransitionTime": "2026-11-23T01:45:08Z",
    "ips": ["10.0.0.1", "fd00::1"],
    "prefixes": ["10.1.0.0/16"],
    "virtualIP": "192.0.2.7"
  }
})";

constexpr std::string_view volume = R"({
  "apiVersion": "storage.ironcore.dev/v1alpha1",
  "kind": "Volume",
  "metadata": {"name": "web-data", "namespace": "shop"},
  "spec": {
    "volumeClassRef": {"name": "fast"},
    "volumePoolSelector": {"a": "b"},
    "volumePoolRef": {"name": "ceph-1"},
    "claimRef": {"name": "web-1", "uid": "u"},
    "resources": {"storage": "5Gi"},
    "unclaimable": false,
    "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
    "encryption": {"secretRef": {"name": "key"}},
    "dataSource": {
      "volumeSnapshotRef": {"name": "snap"},
      "osImage": {"image": "registry.example/debian:12", "architecture": "amd64"}
    }
  },
  "status": {
    "volumeID": "ceph://17",
    "state": "Error",
    "lastStateTransitionTime": "2026-11-23T01:45:08Z",
    "access": {
      "secretRef": {"name": "auth"},
      "driver": "ceph",
      "handle": "0001",
      "volumeAttributes": {"image": "pool/img"}
    },
    "conditions": [{"type": "Ready", "status": "False"}],
    "resources": {"storage": "5Gi"},
    "use": {
      "machine": {"name": "web-1", "uid": "u"},
      "machinePool": "host-1",
      "credential": "shop-2",
      "credentialSince": "2026-11-23T01:45:08Z"
    }
  }
})";

constexpr std::string_view volume_class = R"({
  "apiVersion": "storage.ironcore.dev/v1alpha1",
  "kind": "VolumeClass",
  "metadata": {"name": "fast"},
  "capabilities": {"iops": "15k", "tps": "200Mi"},
  "resizePolicy": "ExpandOnly"
})";

constexpr std::string_view volume_pool = R"({
  "apiVersion": "storage.ironcore.dev/v1alpha1",
  "kind": "VolumePool",
  "metadata": {"name": "ceph-1"},
  "spec": {"providerID": "ceph://ceph-1", "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]},
  "status": {
    "state": "Unavailable",
    "conditions": [{"type": "Ready", "status": "True"}],
    "availableVolumeClasses": [{"name": "fast"}],
    "capacity": {"class/volume.fast": "10Ti", "storage": "12Ti"},
    "allocatable": {"class/volume.fast": "9Ti", "storage": "11Ti"}
  }
})";

constexpr std::string_view volume_snapshot = R"({
  "apiVersion": "storage.ironcore.dev/v1alpha1",
  "kind": "VolumeSnapshot",
  "metadata": {"name": "web-data-1", "namespace": "shop"},
  "spec": {"volumeRef": {"name": "web-data"}},
  "status": {
    "snapshotID": "ceph://18",
    "state": "Ready",
    "lastStateTransitionTime": "2026-11-23T01:45:08Z",
    "size": "5Gi"
  }
})";

constexpr std::string_view bucket_class = R"({
  "apiVersion": "storage.ironcore.dev/v1alpha1",
  "kind": "BucketClass",
  "metadata": {"name": "standard"},
  "capabilities": {"iops": "1k", "tps": "50Mi"}
})";

constexpr std::string_view bucket_pool = R"({
  "apiVersion": "storage.ironcore.dev/v1alpha1",
  "kind": "BucketPool",
  "metadata": {"name": "rgw-1"},
  "spec": {"providerID": "rgw://rgw-1", "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]},
  "status": {
    "state": "Available",
    "conditions": [{"type": "Ready", "status": "True"}],
    "availableBucketClasses": [{"name": "standard"}]
  }
})";

constexpr std::string_view bucket = R"({
  "apiVersion": "storage.ironcore.dev/v1alpha1",
  "kind": "Bucket",
  "metadata": {"name": "pictures", "namespace": "shop"},
  "spec": {
    "bucketClassRef": {"name": "standard"},
    "bucketPoolSelector": {"a": "b"},
    "bucketPoolRef": {"name": "rgw-1"},
    "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
    "lockable": true,
    "settings": {
      "versioned": true,
      "lifecycle": [{"id": "tidy", "prefix": "tmp/", "expireDays": 7, "oldVersionDays": 30, "uploadDays": 1}],
      "cors": [{"origins": ["*"], "methods": ["GET"], "headers": ["a"], "exposedHeaders": ["b"], "maxAgeSeconds": 60}],
      "policy": "{\"Version\":\"2012-10-17\"}",
      "retention": {"mode": "Compliance", "days": 30}
    }
  },
  "status": {
    "bucketID": "rgw://19",
    "state": "Available",
    "lastStateTransitionTime": "2026-11-23T01:45:08Z",
    "access": {"secretRef": {"name": "keys"}, "endpoint": "http://rgw-1.example/pictures"},
    "conditions": [{"type": "Ready", "status": "True"}],
    "usage": {"objects": "12", "storage": "3Mi"},
    "keyRotation": {"request": "monday", "oldKey": "A1", "time": "2026-11-23T01:45:08Z"}
  }
})";

/// Members of T, at any depth, that none of the trees has. Shapes that others share (metadata, conditions, templates of
/// other kinds) are complete where they are at home.
template <class T>
void find_missing(const std::vector<const json::Tree*>& trees, const std::string& at, std::string& missing) {
  if constexpr (is_optional<T>) {
    find_missing<typename T::value_type>(trees, at, missing);
  } else if constexpr (is_list<T>) {
    std::vector<const json::Tree*> items;
    for (const auto* tree : trees)
      for (const auto& item : tree->items) items.push_back(&item);
    find_missing<typename T::value_type>(items, at + "[]", missing);
  } else if constexpr (DescribedStruct<T>) {
    for_each_member<T>([&](auto descriptor) {
      using Descriptor = decltype(descriptor);
      using Member = std::remove_cvref_t<decltype(std::declval<T>().*Descriptor::pointer)>;
      if constexpr (!std::same_as<Member, Metadata> && !std::same_as<Member, TemplateMetadata> &&
                    !std::same_as<Member, NetworkInterfaceTemplate> && !std::same_as<Member, VolumeTemplate> &&
                    !std::same_as<Member, std::optional<NetworkInterfaceTemplate>> &&
                    !std::same_as<Member, std::optional<VolumeTemplate>> &&
                    !std::same_as<Member, std::vector<Condition>>) {
        const std::string name(json::member_name<Descriptor>);
        std::vector<const json::Tree*> found;
        for (const auto* tree : trees)
          if (const auto* member = tree->find(name)) found.push_back(member);
        if (found.empty()) {
          missing += at + "." + name + "\n";
        } else {
          find_missing<Member>(found, at + "." + name, missing);
        }
      }
    });
  }
}

template <class T>
void check_golden(std::string_view text) {
  CAPTURE(T::info.kind);
  const auto tree = json::parse_tree(text, json::Nulls::keep).value();
  const auto compact = json::to_text(tree);
  const auto object = Object::decode(compact, UnknownFields::refuse);
  REQUIRE(object.has_value());
  CHECK(object->is<T>());
  CHECK(object->json() == compact);
  std::string missing;
  find_missing<T>({&tree}, "", missing);
  CHECK(missing == "");
}

}  // namespace

TEST_CASE("a complete document of each kind comes back as it was written, and no member of it is unknown") {
  check_golden<MachineClass>(machine_class);
  check_golden<MachinePool>(machine_pool);
  check_golden<Machine>(machine);
  check_golden<NetworkInterface>(network_interface);
  check_golden<Volume>(volume);
  check_golden<VolumeClass>(volume_class);
  check_golden<VolumePool>(volume_pool);
  check_golden<VolumeSnapshot>(volume_snapshot);
  check_golden<BucketClass>(bucket_class);
  check_golden<BucketPool>(bucket_pool);
  check_golden<Bucket>(bucket);
  // The shapes that are left out above, once.
  std::string missing;
  const auto metadata = json::parse_tree(machine_class, json::Nulls::keep).value();
  find_missing<Metadata>({metadata.find("metadata")}, "metadata", missing);
  const auto pool = json::parse_tree(machine_pool, json::Nulls::keep).value();
  find_missing<std::vector<Condition>>({pool.find("status")->find("conditions")}, "conditions", missing);
  CHECK(missing == "");
}
