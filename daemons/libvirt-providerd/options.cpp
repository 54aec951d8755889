// SPDX-License-Identifier: Apache-2.0
// Settings of libvirt-providerd: defaults, names, and what fits together.
#include "libvirt-providerd/options.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

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

/// Empty if the host does not know.
std::string name_of_this_host() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace

Options default_options(const program::Environment& environment) {
  Options options;
  options.server = program::default_endpoint(environment);
  options.libvirt_uri = environment.is_root ? "qemu:///system" : "qemu:///session";
  options.host_name = name_of_this_host();
  options.host.directory = program::default_state_directory(environment) / "libvirt-providerd";
  return options;
}

program::Command grammar(Options& o) {
  using namespace program;
  using compute::Accelerator;
  using compute::ShutdownSignal;
  return {
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
          text("server", o.server, "ENDPOINT", "where ironcored listens"),
          path("key-file", o.key_file, "our key pair, for tcp; `ironcored keygen` makes one"),
          text("server-key", o.server_key, "KEY", "the server's public key, for tcp"),
          text("libvirt-uri", o.libvirt_uri, "URI", "qemu:///system, qemu:///session, or with ?socket=PATH"),
          path("directory", o.host.directory, "where disks, image copies and logs of the machines lie"),
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
  if (options.provider.workers == 0) return Error(ErrorCode::invalid, "workers: at least 1 is needed");
  if (options.provider.lease_time_to_live <= 2 * options.provider.heartbeat_every) {
    return Error(ErrorCode::invalid, "lease: must be more than twice heartbeat");
  }
  if (options.key_file.empty() != options.server_key.empty()) {
    return Error(ErrorCode::invalid, "key-file and server-key are given together or not at all");
  }
  auto& addresses = options.provider.addresses;
  addresses.clear();
  for (const auto& text : options.addresses) {
    IRONCORE_TRY(auto address, parse_address(text));
    addresses.push_back(std::move(address));
  }
  const auto is_host_name = [](const auto& address) { return address.type == AddressType::hostname; };
  if (!options.host_name.empty() && std::none_of(addresses.begin(), addresses.end(), is_host_name))
    addresses.insert(addresses.begin(), {.type = AddressType::hostname, .address = options.host_name});
  IRONCORE_CHECK(check_label("region", options.region));
  IRONCORE_CHECK(check_label("zone", options.zone));
  if (!options.region.empty()) options.provider.labels[region_label] = options.region;
  if (!options.zone.empty()) options.provider.labels[zone_label] = options.zone;
  return {};
}

Result<store::zmq::ClientOptions> client_options(const Options& options) {
  store::zmq::ClientOptions client{.endpoint = options.server, .program = "libvirt-providerd/" + options.provider.pool};
  if (!options.key_file.empty()) {
    IRONCORE_TRY(auto keys, store::zmq::load_key_pair(options.key_file));
    client.keys = store::zmq::ClientKeys{std::move(keys), options.server_key};
  }
  return client;
}

}  // namespace ironcore::providerd
