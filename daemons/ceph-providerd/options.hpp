// SPDX-License-Identifier: Apache-2.0
// What ceph-providerd can be told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ironcore/control/bucket_provider.hpp"
#include "ironcore/control/volume_provider.hpp"
#include "program/command_line.hpp"
#include "program/directory.hpp"
#include "program/store_client.hpp"

namespace ironcore::ceph_providerd {

/// One thing with a name, as it is written in a setting: `NAME,word=value,word=value`.
struct Named {
  std::string name;
  std::map<std::string, std::string> values;
  /// Empty if it is not there.
  std::string operator[](const std::string& word) const;
};

struct Options {
  program::StoreClient client;
  std::filesystem::path directory;
  std::vector<std::string> image_roots;
  std::string metrics;       ///< address of the Prometheus endpoint; empty = none
  std::string region, zone;  ///< topology labels of the pools
  std::map<std::string, std::string> labels;
  std::string provider_id;

  std::vector<std::string> clusters, stores, gateways;  ///< as `Named`
  std::map<std::string, std::string> volume_classes;    ///< class → store
  std::map<std::string, std::string> bucket_classes;    ///< class → gateway
  std::filesystem::path encryption_key_file;            ///< that wraps the keys of volumes; empty = none
  std::uint64_t thin_provision_percent = 100;
  std::uint64_t burst_factor = 10;
  Duration burst_span = std::chrono::seconds(15);
  std::uint64_t workers = 8;
  Duration heartbeat = std::chrono::seconds(10);
  Duration lease = std::chrono::seconds(40);
  control::VolumeProviderOptions volumes;  ///< filled in by `check`, but for stores, keys and holder
  control::BucketProviderOptions buckets;

  std::vector<Named> cluster_list, store_list, gateway_list;  ///< filled in by `check`
};

Options default_options(const program::Environment& environment);

/// Settings, bound to `options`, which must outlive it.
program::Command grammar(Options& options);

/// Looks at the settings as a whole and fills in what follows from others; `invalid` names the one that is wrong. Reads files of keys, to say so before anything starts.
Result<void> check(Options& options);

/// A file with one key: its first line, without white space around it. Nobody but its owner may read it.
Result<std::string> read_key(const std::filesystem::path& file);
/// A file with the two keys of a gateway's user: the access key in the first line, the secret one in the second.
struct GatewayKeys {
  std::string id, secret;
};
Result<GatewayKeys> read_gateway_keys(const std::filesystem::path& file);

}  // namespace ironcore::ceph_providerd
