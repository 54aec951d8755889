// SPDX-License-Identifier: Apache-2.0
// Settings of ceph-providerd: defaults, names, and what fits together.
#include "ceph-providerd/options.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <iterator>
#include <string_view>
#include <system_error>

#include "ironcore/base/file.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/crypto/key_file.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::ceph_providerd {
namespace {

constexpr const char* region_label = "topology.ironcore.dev/region";
constexpr const char* zone_label = "topology.ironcore.dev/zone";
constexpr std::size_t most_key_bytes = 4096;

Error wrong(const std::string& what) {
  return {ErrorCode::invalid, what};
}

struct Word {
  std::string_view name;
  bool is_needed = false;
};

/// `NAME,word=value,…` with these words and no others.
Result<Named> parse_named(const std::string& text, std::initializer_list<Word> words) {
  Named named;
  std::size_t at = text.find(',');
  named.name = text.substr(0, at);
  if (const auto reason = check_dns_label(named.name)) return wrong(in_quotes(named.name) + ' ' + *reason);
  while (at != std::string::npos) {
    const auto next = text.find(',', at + 1);
    const auto part = text.substr(at + 1, next == std::string::npos ? next : next - at - 1);
    at = next;
    const auto equals = part.find('=');
    const auto name = part.substr(0, equals);
    if (std::ranges::none_of(words, [&](const Word& word) { return word.name == name; })) {
      std::string known;
      for (const auto& word : words) known += (known.empty() ? "" : ", ") + std::string(word.name);
      return wrong(named.name + ": unknown word " + in_quotes(name) + "; there are: " + known);
    }
    if (equals == std::string::npos || equals + 1 == part.size())
      return wrong(named.name + ": expected " + name + "=VALUE");
    if (!named.values.emplace(name, part.substr(equals + 1)).second)
      return wrong(named.name + ": " + name + " is given twice");
  }
  for (const auto& word : words)
    if (word.is_needed && named[std::string(word.name)].empty())
      return wrong(named.name + ": " + std::string(word.name) + "=VALUE is missing");
  return named;
}

Result<std::vector<Named>> parse_all(const std::vector<std::string>& texts, const char* setting,
                                     std::initializer_list<Word> words) {
  std::vector<Named> all;
  for (const auto& text : texts) {
    IRONCORE_TRY(auto named, within(parse_named(text, words), setting));
    if (std::ranges::any_of(all, [&](const Named& other) { return other.name == named.name; }))
      return wrong(std::string(setting) + ": " + named.name + " is there twice");
    all.push_back(std::move(named));
  }
  return all;
}

Result<void> check_number(const Named& named, const char* word, std::uint64_t least, std::uint64_t most) {
  const auto text = named[word];
  if (text.empty()) return {};
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size() || number < least || number > most)
    return wrong(named.name + ": " + word + ": expected " + std::to_string(least) + " to " + std::to_string(most) +
                 ", not " + in_quotes(text));
  return {};
}

/// However it is written, also through links and other mounts of the same: two stores in one directory would promise its room twice. What is there is
/// known by its device and inode, and what is not there yet by its name below that.
std::string place_of(const std::filesystem::path& directory) {
  std::error_code failed;
  auto there = std::filesystem::weakly_canonical((directory / "").lexically_normal(), failed);
  if (failed) there = directory.lexically_normal();
  std::string below;
  struct ::stat found {};
  while (::stat(there.c_str(), &found) != 0) {
    if (there == there.parent_path()) return there.string() + below;
    below.insert(0, '/' + there.filename().string());
    there = there.parent_path();
  }
  return std::to_string(found.st_dev) + ':' + std::to_string(found.st_ino) + below;
}

Result<void> check_stores(const Options& options) {
  std::map<std::string, std::string> places, data_places;  // to the name of the store
  for (const auto& store : options.store_list) {
    const bool is_local = !store["local"].empty();
    if (is_local == !store["pool"].empty())
      return wrong("store: " + store.name +
                   ": either local=DIRECTORY for files of this host, or cluster=NAME and pool=POOL for Ceph");
    if (is_local && store.values.size() > 1) return wrong("store: " + store.name + ": local takes no other words");
    if (is_local && !std::filesystem::path(store["local"]).is_absolute())
      return wrong("store: " + store.name + ": expected an absolute path, not " + in_quotes(store["local"]));
    if (!is_local && std::ranges::none_of(options.cluster_list,
                                          [&](const Named& cluster) { return cluster.name == store["cluster"]; }))
      return wrong("store: " + store.name + ": there is no cluster " + in_quotes(store["cluster"]) +
                   ": add --cluster " + (store["cluster"].empty() ? "NAME" : store["cluster"]) + ",monitors=…");
    IRONCORE_CHECK(within(check_number(store, "max-depth", 1, 16), "store"));
    // Clusters that are one under two names are found out when they are connected.
    const auto place = is_local ? place_of(store["local"]) : store["cluster"] + '/' + store["pool"];
    if (const auto other = places.emplace(place, store.name); !other.second)
      return wrong("store: " + store.name + " and " + other.first->second + " are kept in the same place");
    if (is_local) continue;
    const auto data_pool = store["data-pool"].empty() ? store["pool"] : store["data-pool"];
    if (const auto other = data_places.emplace(store["cluster"] + '/' + data_pool, store.name); !other.second)
      return wrong("store: " + store.name + " and " + other.first->second + " keep their data in one pool, " +
                   data_pool + ": its room would count twice; give one of them another");
  }
  return {};
}

Result<void> check_classes(const std::map<std::string, std::string>& classes, const char* setting,
                           const std::vector<Named>& places, const char* place) {
  for (const auto& [name, at] : classes) {
    if (const auto reason = check_dns_subdomain(name))
      return wrong(std::string(setting) + ": " + in_quotes(name) + ' ' + *reason);
    if (std::ranges::none_of(places, [&](const Named& one) { return one.name == at; }))
      return wrong(std::string(setting) + ": " + name + ": there is no " + place + ' ' + in_quotes(at));
  }
  for (const auto& one : places)
    if (std::ranges::none_of(classes, [&](const auto& entry) { return entry.second == one.name; }))
      return wrong(std::string(place) + ": no class is kept in " + one.name + ": add --" + setting +
                   " CLASS=" + one.name);
  return {};
}

Result<void> check_pool(const std::string& name, const char* setting) {
  if (const auto reason = check_dns_subdomain(name))
    return wrong(std::string(setting) + ": " + in_quotes(name) + ' ' + *reason);
  return {};
}

Result<void> check_numbers(const Options& options) {
  constexpr std::uint64_t most_workers = 1000;  // each one is a thread
  using std::chrono::milliseconds;
  if (options.workers == 0 || options.workers > most_workers)
    return wrong("workers: expected 1 to " + std::to_string(most_workers));
  if (options.heartbeat < milliseconds(100)) return wrong("heartbeat: at least 100ms");
  if (options.lease <= 2 * options.heartbeat) return wrong("lease: must be more than twice heartbeat");
  if (options.volumes.patience_with_workers < std::chrono::minutes(1)) return wrong("worker-patience: at least 1m");
  if (options.thin_provision_percent < 100 || options.thin_provision_percent > 10'000)
    return wrong("thin-provision-percent: expected 100 to 10000");
  if (options.burst_factor == 0 || options.burst_factor > 1000) return wrong("burst-factor: expected 1 to 1000");
  if (options.burst_span < std::chrono::seconds(1)) return wrong("burst-span: at least 1s");
  return {};
}

/// What both providers are told.
template <class ProviderOptions>
void fill_in(const Options& options, const std::string& type, ProviderOptions& provider) {
  provider.provider_id = options.provider_id.empty() ? type + "://" + provider.pool : options.provider_id;
  provider.type = type;
  provider.labels = options.labels;
  if (!options.region.empty()) provider.labels[region_label] = options.region;
  if (!options.zone.empty()) provider.labels[zone_label] = options.zone;
  provider.workers = options.workers;
  provider.heartbeat_every = options.heartbeat;
  provider.lease_time_to_live = options.lease;
}

/// The lines of a file that only its owner may read.
Result<std::vector<std::string>> private_lines(const std::filesystem::path& file) {
  IRONCORE_TRY(auto text, read_private_file(file, most_key_bytes));
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    at = end + 1;
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos) continue;
    lines.push_back(line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1));
    crypto::wipe(line);
  }
  crypto::wipe(text);
  return lines;
}

}  // namespace

std::string Named::operator[](const std::string& word) const {
  const auto found = values.find(word);
  return found == values.end() ? std::string() : found->second;
}

Options default_options(const program::Environment& environment) {
  Options options;
  options.client.server = program::default_endpoint(environment);
  options.directory = program::default_state_directory(environment) / "ceph-providerd";
  options.image_roots = {(program::default_state_directory(environment) / "images").string()};
  return options;
}

program::Command grammar(Options& o) {
  using namespace program;
  Command program{
      .name = "ceph-providerd",
      .summary = "Keeps volumes on Ceph or on local files, and buckets on RADOS gateways: one pool of each.",
      .examples =
          "ceph-providerd --volume-pool here --store disk,local=/var/lib/ironcore/volumes --volume-class fast=disk\n"
          "ceph-providerd --volume-pool rack-1 --cluster c1,monitors=10.0.0.1:3300+10.0.0.2:3300,user=provider,"
          "key-file=/etc/ironcore/c1.key --store ssd,cluster=c1,pool=ssd --volume-class fast=ssd\n"
          "ceph-providerd --bucket-pool rack-1 --gateway gw,endpoint=https://s3.example.org,"
          "key-file=/etc/ironcore/gw.keys --bucket-class standard=gw\n"
          "ceph-providerd --config /etc/ironcore/ceph-providerd.yaml --check-config",
      .settings = {
          text("volume-pool", o.volumes.pool, "NAME", "the VolumePool that is kept here; made when absent"),
          text("bucket-pool", o.buckets.pool, "NAME", "the BucketPool that is kept here; made when absent"),
          texts("cluster", o.clusters, "NAME,monitors=HOST:PORT+…,user=USER,key-file=FILE",
                "a Ceph cluster; the file holds the user's key"),
          texts("store", o.stores, "NAME,cluster=CLUSTER,pool=POOL|NAME,local=DIRECTORY",
                "where volumes are kept; of Ceph also data-pool=POOL and max-depth=NUMBER"),
          labels("volume-class", o.volume_classes, "CLASS=STORE: a class that is offered, and where its volumes are"),
          texts(
              "gateway", o.gateways, "NAME,endpoint=URL,key-file=FILE",
              "a RADOS gateway; the file holds access key and secret key, a line each; also ca-file=FILE, region=NAME"),
          labels("bucket-class", o.bucket_classes, "CLASS=GATEWAY: a class that is offered, and where its buckets are"),
          path("directory", o.directory, "where copies of images lie, and what this provider is known by"),
          texts("image-root", o.image_roots, "DIRECTORY",
                "image layouts (oci:/path) that volumes name must lie below one of these; / allows all"),
          path("encryption-key-file", o.encryption_key_file,
               "wraps the keys of encrypted volumes; needed for keys that are generated"),
          duration("rotate-credentials", o.volumes.rotate_credentials_every,
                   "the age at which a tenant's credential of a cluster gets a successor; 0s is never"),
          duration("rotate-bucket-keys", o.buckets.rotate_keys_every,
                   "the age at which a bucket's key gets a successor; 0s is never"),
          duration("bucket-key-grace", o.buckets.key_grace, "how long the old key of a bucket opens it beside the new"),
          count("thin-provision-percent", o.thin_provision_percent,
                "of what a store has, so much is promised; above 100 trusts that volumes are not filled"),
          count("burst-factor", o.burst_factor, "how far above its class a volume may go"),
          duration("burst-span", o.burst_span, "and for how long"),
          duration("base-image-grace", o.volumes.base_image_grace, "an image that no volume needs is kept so long"),
          text("region", o.region, "NAME", std::string("label ") + region_label + " of the pools"),
          text("zone", o.zone, "NAME", std::string("label ") + zone_label + " of the pools"),
          labels("label", o.labels, "more labels of the pools"),
          text("provider-id", o.provider_id, "TYPE://ID",
               "identity of this place; from the pool's name when not given"),
          duration("heartbeat", o.heartbeat, "how often the pools say that they are alive"),
          duration("lease", o.lease, "another process may take a pool over after this; more than twice heartbeat"),
          count("workers", o.workers, "volumes that are worked on at the same time, and buckets"),
          duration("worker-patience", o.volumes.patience_with_workers,
                   "when all workers have hung in one call each for so long, the program ends itself with status 3"),
          text("metrics", o.metrics, "ADDRESS:PORT", "where Prometheus fetches counters; nowhere when not given")}};
  auto client = settings_of(o.client);
  program.settings.insert(program.settings.begin(), std::make_move_iterator(client.begin()),
                          std::make_move_iterator(client.end()));
  return program;
}

Result<void> check(Options& options) {
  auto& volumes = options.volumes;
  auto& buckets = options.buckets;
  if (volumes.pool.empty() && buckets.pool.empty())
    return wrong("volume-pool or bucket-pool is missing: name the pool that is kept here");
  IRONCORE_CHECK(check_numbers(options));
  IRONCORE_TRY(options.cluster_list,
               parse_all(options.clusters, "cluster", {{"monitors", true}, {"user", true}, {"key-file", true}}));
  IRONCORE_TRY(options.store_list,
               parse_all(options.stores, "store", {{"local"}, {"cluster"}, {"pool"}, {"data-pool"}, {"max-depth"}}));
  IRONCORE_TRY(options.gateway_list, parse_all(options.gateways, "gateway",
                                               {{"endpoint", true}, {"key-file", true}, {"ca-file"}, {"region"}}));
  IRONCORE_CHECK(check_stores(options));
  IRONCORE_CHECK(check_classes(options.volume_classes, "volume-class", options.store_list, "store"));
  IRONCORE_CHECK(check_classes(options.bucket_classes, "bucket-class", options.gateway_list, "gateway"));
  if (!volumes.pool.empty()) {
    IRONCORE_CHECK(check_pool(volumes.pool, "volume-pool"));
    if (options.volume_classes.empty())
      return wrong("volume-class is missing: say which classes are offered, and by which store: CLASS=STORE");
  } else if (!options.volume_classes.empty()) {
    return wrong("volume-pool is missing: volumes need a pool");
  }
  if (!buckets.pool.empty()) {
    IRONCORE_CHECK(check_pool(buckets.pool, "bucket-pool"));
    if (options.bucket_classes.empty())
      return wrong("bucket-class is missing: say which classes are offered, and by which gateway: CLASS=GATEWAY");
  } else if (!options.bucket_classes.empty()) {
    return wrong("bucket-pool is missing: buckets need a pool");
  }
  if (!options.provider_id.empty() && options.provider_id.find("://") == std::string::npos)
    return wrong("provider-id: expected TYPE://ID, not " + in_quotes(options.provider_id));
  for (const auto* const label : {&options.region, &options.zone})
    if (const auto reason = check_label_value(*label))
      return wrong(std::string(label == &options.region ? "region" : "zone") + ": " + in_quotes(*label) + ' ' +
                   *reason);
  for (const auto& root : options.image_roots)
    if (!std::filesystem::path(root).is_absolute())
      return wrong("image-root: expected an absolute path, not " + in_quotes(root));
  const bool is_all_local =
      std::ranges::none_of(options.store_list, [](const Named& store) { return store["local"].empty(); });
  fill_in(options, is_all_local ? "local" : "ceph", volumes);
  fill_in(options, "ceph", buckets);
  volumes.burst = {.factor = options.burst_factor,
                   .span = std::chrono::duration_cast<std::chrono::seconds>(options.burst_span)};
  volumes.thin_provision_ratio = static_cast<double>(options.thin_provision_percent) / 100;
  for (const auto& cluster : options.cluster_list)
    IRONCORE_CHECK(within(read_key(cluster["key-file"]), "cluster: " + cluster.name));
  for (const auto& gateway : options.gateway_list)
    IRONCORE_CHECK(within(read_gateway_keys(gateway["key-file"]), "gateway: " + gateway.name));
  if (!options.encryption_key_file.empty())
    IRONCORE_CHECK(within(crypto::KeyFile::open(options.encryption_key_file), "encryption-key-file"));
  if (!options.metrics.empty()) IRONCORE_CHECK(within(program::parse_tcp_address(options.metrics), "metrics"));
  IRONCORE_CHECK(program::client_options(options.client, "ceph-providerd"));  // reads our key
  return {};
}

Result<std::string> read_key(const std::filesystem::path& file) {
  IRONCORE_TRY(auto lines, private_lines(file));
  if (lines.size() != 1)
    return wrong(file.string() + ": expected one line with the key, as `ceph auth get-key` prints it");
  return std::move(lines.front());
}

Result<GatewayKeys> read_gateway_keys(const std::filesystem::path& file) {
  IRONCORE_TRY(auto lines, private_lines(file));
  if (lines.size() != 2) return wrong(file.string() + ": expected two lines: the access key, and the secret key");
  return GatewayKeys{std::move(lines[0]), std::move(lines[1])};
}

}  // namespace ironcore::ceph_providerd
