// SPDX-License-Identifier: Apache-2.0
// Settings of libvirt-providerd: defaults, names, and what fits together.
#include "libvirt-providerd/options.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "ironcore/base/names.hpp"

namespace ironcore::providerd {
namespace {

constexpr const char* region_label = "topology.ironcore.dev/region";
constexpr const char* zone_label = "topology.ironcore.dev/zone";

program::Setting size_of(std::string name, std::size_t& target, std::string help) {
  static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
  return program::bytes(std::move(name), target, std::move(help));
}

Result<void> check_label(const char* name, const std::string& value) {
  if (const auto wrong = check_label_value(value))
    return Error(ErrorCode::invalid, std::string(name) + ": \"" + value + "\" " + *wrong);
  return {};
}

using AddressType = api::MachinePoolAddressType;
constexpr std::array<std::pair<std::string_view, AddressType>, 5> address_types{
    {{"Hostname", AddressType::hostname},
     {"InternalIP", AddressType::internal_ip},
     {"ExternalIP", AddressType::external_ip},
     {"InternalDNS", AddressType::internal_dns},
     {"ExternalDNS", AddressType::external_dns}}};

Result<api::MachinePoolAddress> parse_address(const std::string& text) {
  const auto equals = text.find('=');
  for (const auto& [word, type] : address_types) {
    if (equals != std::string::npos && equals + 1 < text.size() && text.compare(0, equals, word) == 0)
      return api::MachinePoolAddress{.type = type, .address = text.substr(equals + 1)};
  }
  return Error(
      ErrorCode::invalid,
      "address: expected TYPE=ADDRESS with Hostname, InternalIP, ExternalIP, InternalDNS or ExternalDNS, not \"" +
          text + '"');
}

Error wrong(const std::string& what) {
  return {ErrorCode::invalid, what};
}

/// libvirt knows more drivers; these are the ones that we know. Of the one for tests only the world that all connections share.
bool is_libvirt_uri(const std::string& uri) {
  const auto scheme = uri.substr(0, uri.find("://"));
  const auto driver = scheme.substr(0, scheme.find('+'));
  return uri == "test:///default" || (scheme.size() < uri.size() && driver == "qemu");
}

Result<void> check_numbers(const Options& options) {
  constexpr std::size_t most_workers = 1000;  // each one is a thread
  constexpr std::size_t least_log = 4096;
  using std::chrono::milliseconds;
  const auto& provider = options.provider;
  if (provider.workers == 0 || provider.workers > most_workers)
    return wrong("workers: expected 1 to " + std::to_string(most_workers));
  if (provider.heartbeat_every < milliseconds(100)) return wrong("heartbeat: at least 100ms");
  if (provider.lease_time_to_live <= 2 * provider.heartbeat_every)
    return wrong("lease: must be more than twice heartbeat");
  if (options.host.shutdown_repeat < milliseconds(100)) return wrong("shutdown-repeat: at least 100ms");
  if (options.host.console_log_bytes < least_log) return wrong("console-log-size: at least 4Ki");
  return {};
}

}  // namespace

Options default_options(const program::Environment& environment) {
  Options options;
  options.client.server = program::default_endpoint(environment);
  options.libvirt_uri = environment.is_root ? "qemu:///system" : "qemu:///session";
  options.host_name = program::host_name();
  options.host.directory = program::default_state_directory(environment) / "libvirt-providerd";
  options.provider.vhost_user_directory = environment.is_root
                                              ? std::filesystem::path("/run/ironcore/vhost-user")
                                              : program::default_state_directory(environment) / "vhost-user";
  options.rbd_namespace_library = IRONCORE_LIBRARY_DIRECTORY "/ironcore/libironcore-rbd-namespace.so";
  options.volume_directories = {(program::default_state_directory(environment) / "volumes").string()};
  options.image_roots = {(program::default_state_directory(environment) / "images").string()};
  return options;
}

program::Command grammar(Options& o) {
  using namespace program;
  using compute::Accelerator;
  using compute::ShutdownSignal;
  Command program{
      .name = "libvirt-providerd",
      .summary = "Runs the machines of one pool, which is this host, through libvirt.",
      .examples =
          "libvirt-providerd --pool-name host-1\n"
          "libvirt-providerd --pool-name host-1 --zone a --server ipc:///run/ironcore/api.sock\n"
          "libvirt-providerd --pool-name host-1 --server tcp://10.0.0.1:7400 --key-file host-1.key "
          "--server-key '<Z85>'\n"
          "libvirt-providerd --config /etc/ironcore/libvirt-providerd.yaml --check-config",
      .settings = {
          text("pool-name", o.provider.pool, "NAME", "the MachinePool that this host is; made when absent; required"),
          text("provider-id", o.provider.provider_id, "TYPE://ID",
               "identity of this host; from the pool's name when not given"),
          text("libvirt-uri", o.libvirt_uri, "URI", "qemu:///system, qemu:///session, or with ?socket=PATH"),
          path("directory", o.host.directory, "where disks, image copies and logs of the machines lie"),
          texts("image-root", o.image_roots, "DIRECTORY",
                "image layouts (oci:/path) that machines name must lie below one of these; / allows all"),
          texts("volume-directory", o.volume_directories, "DIRECTORY",
                "files of local volumes must lie below one of these"),
          path("rbd-namespace-library", o.rbd_namespace_library,
               "what a libvirt before 11.6 needs for volumes on Ceph: loaded into QEMU, which must be able to read it"),
          path("vhost-user-directory", o.provider.vhost_user_directory,
               "where the sockets of vhost-user NICs may lie; QEMU must be able to write there"),
          choice<Accelerator>("accelerator", o.host.accelerator,
                              {{"auto", Accelerator::automatic}, {"kvm", Accelerator::kvm}, {"tcg", Accelerator::tcg}},
                              "what runs the guests; auto takes KVM where it works"),
          text("region", o.region, "NAME", std::string("label ") + region_label + " of the pool"),
          text("zone", o.zone, "NAME", std::string("label ") + zone_label + " of the pool"),
          labels("label", o.provider.labels, "more labels of the pool"),
          texts("address", o.addresses, "TYPE=ADDRESS",
                "address of the pool: InternalIP, ExternalIP, InternalDNS, ExternalDNS; the Hostname is this host's"),
          texts("machine-class", o.provider.classes, "NAME",
                "a class that is offered; all that fit when none is given"),
          size_of("reserved-memory", o.host.capacity_reserved_memory, "memory kept for the host itself"),
          size_of("console-log-size", o.host.console_log_bytes,
                  "a serial log is rotated at this size; one old one is kept"),
          choice<ShutdownSignal>("shutdown-signal", o.provider.shutdown_signal,
                                 {{"agent-then-acpi", ShutdownSignal::agent_then_acpi},
                                  {"agent", ShutdownSignal::agent},
                                  {"acpi", ShutdownSignal::acpi}},
                                 "how guests are asked to stop"),
          duration("shutdown-grace", o.provider.shutdown_grace, "a guest that has not stopped by then is switched off"),
          duration("shutdown-repeat", o.host.shutdown_repeat, "a guest that does not react is asked again after this"),
          duration("heartbeat", o.provider.heartbeat_every, "how often the pool says that it is alive"),
          duration("lease", o.provider.lease_time_to_live,
                   "another process may take the pool over after this; more than twice heartbeat"),
          count("workers", o.provider.workers, "machines that are worked on at the same time")}};
  constexpr std::ptrdiff_t after_identity = 2;
  auto client = settings_of(o.client);
  program.settings.insert(program.settings.begin() + after_identity, std::make_move_iterator(client.begin()),
                          std::make_move_iterator(client.end()));
  return program;
}

Result<void> check(Options& options) {
  if (options.provider.pool.empty())
    return Error(ErrorCode::invalid, "pool-name is missing: name the pool that this host is");
  if (const auto wrong = check_dns_subdomain(options.provider.pool)) {
    return Error(ErrorCode::invalid, "pool-name: \"" + options.provider.pool + "\" " + *wrong);
  }
  if (options.provider.provider_id.empty()) options.provider.provider_id = "libvirt://" + options.provider.pool;
  if (options.provider.provider_id.find("://") == std::string::npos) {
    return Error(ErrorCode::invalid, "provider-id: expected TYPE://ID, not \"" + options.provider.provider_id + '"');
  }
  IRONCORE_CHECK(check_numbers(options));
  for (const std::string& name : options.provider.classes) {
    if (const auto why = check_dns_subdomain(name)) return wrong("machine-class: \"" + name + "\" " + *why);
  }
  if (!is_libvirt_uri(options.libvirt_uri)) {
    return wrong("libvirt-uri: expected qemu:///system, qemu:///session or another qemu URI, not \"" +
                 options.libvirt_uri + '"');
  }
  // QEMU's driver has no session of a privileged daemon, and root starts no other: it would be waited for in vain.
  if (options.libvirt_uri == "qemu:///session" && geteuid() == 0)
    return wrong("libvirt-uri: root has no qemu:///session: use qemu:///system, or run as another user");
  auto& addresses = options.provider.addresses;
  addresses.clear();
  for (const auto& text : options.addresses) {
    IRONCORE_TRY(auto address, parse_address(text));
    addresses.push_back(std::move(address));
  }
  const auto is_host_name = [](const auto& address) { return address.type == AddressType::hostname; };
  if (!options.host_name.empty() && std::none_of(addresses.begin(), addresses.end(), is_host_name))
    addresses.insert(addresses.begin(), {.type = AddressType::hostname, .address = options.host_name});
  IRONCORE_CHECK(client_options(options));  // reads the key file
  // libvirt, which is another process, is told paths below it.
  options.host.directory = std::filesystem::absolute(options.host.directory).lexically_normal();
  options.provider.vhost_user_directory =
      std::filesystem::absolute(options.provider.vhost_user_directory).lexically_normal();
  options.host.image_roots.clear();
  for (const auto& root : options.image_roots) {
    if (!std::filesystem::path(root).is_absolute())
      return wrong("image-root: expected an absolute path, not \"" + root + '"');
    options.host.image_roots.emplace_back(root);
  }
  options.rbd_namespace_library = std::filesystem::absolute(options.rbd_namespace_library).lexically_normal();
  control::VolumeAccessOptions volumes;
  for (const auto& directory : options.volume_directories) {
    if (!std::filesystem::path(directory).is_absolute())
      return wrong("volume-directory: expected an absolute path, not \"" + directory + '"');
    volumes.directories.emplace_back(directory);
  }
  options.provider.open_volume = [volumes](const api::VolumeAccess& access, const control::VolumeSecrets& secrets) {
    return control::open_volume(access, secrets, volumes);
  };
  IRONCORE_CHECK(check_label("region", options.region));
  IRONCORE_CHECK(check_label("zone", options.zone));
  if (!options.region.empty()) options.provider.labels[region_label] = options.region;
  if (!options.zone.empty()) options.provider.labels[zone_label] = options.zone;
  return {};
}

Result<store::zmq::ClientOptions> client_options(const Options& options) {
  return program::client_options(options.client, "libvirt-providerd/" + options.provider.pool);
}

}  // namespace ironcore::providerd
