// SPDX-License-Identifier: Apache-2.0
// Settings of metalnetd: defaults, names, and what fits together.
#include "metalnetd/options.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include "ironcore/base/file.hpp"
#include "ironcore/network/pcap.hpp"
#include "program/daemon.hpp"
#include "program/endpoint.hpp"

namespace ironcore::metalnetd {
namespace {

/// Bytes of the outer headers that an uplink carries besides the machines' packets.
constexpr std::uint64_t outer_bytes = 40;
constexpr std::uint64_t largest_port_mtu = 9000;
constexpr std::uint64_t mebibyte = 1024 * 1024;
/// Of each connection there is room for: in memory, and in the flow directory.
constexpr std::uint64_t connection_bytes = 214;
constexpr std::uint64_t kept_flow_bytes = 192;

Error wrong(const std::string& what) {
  return {ErrorCode::invalid, what};
}

Result<std::uint16_t> parse_weight(std::string_view text) {
  std::uint16_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size())
    return wrong("weight: expected 0 to 65535, not \"" + std::string(text) + '"');
  return number;
}

struct ParsedUplink {
  network::Uplink uplink;
  std::string device;
};

/// The device is the last one, because it may hold commas.
Result<ParsedUplink> parse_uplink(const std::string& text) {
  const auto refuse = [&] {
    return wrong("expected NAME,router=MAC|ADDRESS[,weight=N],device=DEVICE, not \"" + text + '"');
  };
  ParsedUplink out;
  std::string_view rest = text;
  const auto next = [&] {
    const auto word = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    return word;
  };
  out.uplink.port = next();
  bool has_router = false;
  constexpr std::string_view router = "router=", weight = "weight=", device = "device=";
  while (!rest.empty() && !rest.starts_with(device)) {
    const auto word = next();
    if (word.starts_with(router)) {
      const auto who = word.substr(router.size());
      if (const auto address = IpAddress::parse(who); address && address->is_v6()) {
        if (address->is_multicast() || address->is_unspecified())
          return wrong("router: no router can have " + address->to_text());
        out.uplink.router_address = *address;
      } else if (const auto mac = MacAddress::parse(who)) {
        out.uplink.router = *mac;
      } else {
        return wrong(
            "router: expected a MAC address such as 02:00:00:00:00:01, or an IPv6 address such as fe80::1 whose MAC is "
            "asked for, not \"" +
            std::string(who) + '"');
      }
      has_router = true;
    } else if (word.starts_with(weight)) {
      IRONCORE_TRY(out.uplink.weight, parse_weight(word.substr(weight.size())));
    } else {
      return refuse();
    }
  }
  if (!has_router || rest.size() <= device.size()) return refuse();
  out.device = rest.substr(device.size());
  return out;
}

Result<network::PortSpec> parse_port(const std::string& text, std::uint16_t mtu) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals + 1 == text.size())
    return wrong("expected NAME=DEVICE, such as web-1=tap:web1, not \"" + text + '"');
  network::PortSpec spec{
      .name = text.substr(0, equals), .device = text.substr(equals + 1), .mtu = mtu, .mac = std::nullopt};
  IRONCORE_CHECK(network::check(spec));
  return spec;
}

Result<void> check_numbers(const Options& options) {
  if (options.workers == 0 || options.workers > 64) return wrong("workers: expected 1 to 64");
  if (options.connections == 0 || options.connections > std::numeric_limits<std::uint32_t>::max())
    return wrong("connections: expected 1 to 1073741824");
  if (options.maglev_size > std::numeric_limits<std::uint32_t>::max())
    return wrong("maglev-size: expected a prime such as 65537, not " + std::to_string(options.maglev_size));
  const std::uint64_t largest = largest_port_mtu - outer_bytes;
  if (options.mtu < 576 || options.mtu > largest)
    return wrong("mtu: expected 576 to " + std::to_string(largest) + ", because an uplink carries 40 bytes more");
  if (options.memory < 64 * mebibyte) return wrong("memory: at least 64Mi");
  if (options.capture_file_size == 0) return wrong("capture-file-size: at least 1");
  if (options.lease >= std::chrono::seconds(std::numeric_limits<std::uint32_t>::max()))
    return wrong("lease: less than 4294967295s; 0s is for ever");
  if (options.lease != Duration(0) && options.lease < std::chrono::seconds(60))
    return wrong("lease: at least 60s; 0s is for ever");
  return {};
}

/// A library's words for its options in those of the command line: `maglev_size` is `maglev-size`, `ports[1].device` is `port web-1: device`.
Error in_our_words(const Error& error, const Options& options) {
  std::string text;
  for (auto field : error.fields()) {
    std::replace(field.field.begin(), field.field.end(), '_', '-');
    if (field.field == "memory-mib") field.field = "memory";
    if (field.field == "prefix") field.field = "dpdk-prefix";
    const auto name_it = [&](const std::string& list, std::size_t index, const std::string& name) {
      const auto start = list + "s[" + std::to_string(index) + "].";
      if (field.field.starts_with(start)) field.field = list + ' ' + name + ": " + field.field.substr(start.size());
    };
    for (std::size_t i = 0; i < options.ports.size(); ++i) name_it("port", i, options.ports[i].name);
    for (std::size_t i = 0; i < options.dataplane.uplinks.size(); ++i)
      name_it("uplink", i, options.dataplane.uplinks[i].port);
    text += (text.empty() ? "" : "\n") + field.field + ": " + field.message;
  }
  return text.empty() ? error : Error(error.code(), text);
}

/// Bytes of all huge pages that this host has set aside, in use or not.
std::uint64_t huge_page_bytes() {
  std::uint64_t sum = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", ignored)) {
    unsigned long long kibibytes = 0;
    if (std::sscanf(entry.path().filename().c_str(), "hugepages-%llukB", &kibibytes) != 1) continue;
    const auto text = read_file(entry.path() / "nr_hugepages", 64);
    if (text) sum += kibibytes * 1024 * std::strtoull(text->c_str(), nullptr, 10);
  }
  return sum;
}

std::string size_text(std::uint64_t bytes) {
  return std::to_string(bytes / mebibyte) + " MiB";
}

/// Where a directory is, or will be made.
std::filesystem::path nearest_existing(std::filesystem::path path) {
  std::error_code ignored;
  while (!std::filesystem::exists(path, ignored) && path.has_relative_path()) path = path.parent_path();
  return path;
}

Result<void> check_directory(const char* setting, const std::filesystem::path& path) {
  std::error_code ignored;
  const auto existing = nearest_existing(path);
  if (std::filesystem::is_directory(existing, ignored)) return {};
  return wrong(std::string(setting) + ": " + existing.string() + " is no directory");
}

/// That the host has room at all; what others need of it is not known.
Result<void> check_room(const Options& options) {
  const auto in_all = options.workers * options.connections;
  const auto connections = std::to_string(options.connections) + " for each of " + std::to_string(options.workers) +
                           (options.workers == 1 ? " worker" : " workers");
  const auto pages = ::sysconf(_SC_PHYS_PAGES), page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0) {
    const auto there = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
    if (in_all * connection_bytes > there)
      return wrong("connections: " + connections + " take " + size_text(in_all * connection_bytes) +
                   ", and this host has " + size_text(there) + ": at most " +
                   std::to_string(there / connection_bytes / options.workers) + " would fit");
    if (options.memory > there)
      return wrong("memory: this host has " + size_text(there) + ", not " + size_text(options.memory));
  }
  if (const auto huge = huge_page_bytes();
      options.eal.memory == network::dpdk::Memory::huge_pages && huge < options.eal.memory_mib * mebibyte)
    return wrong("pages: huge pages of " + size_text(options.memory) + " are needed, and this host has set aside " +
                 size_text(huge) + ": raise vm.nr_hugepages, give less --memory, or --pages ordinary");
  if (options.dataplane.flow_directory.empty()) return {};
  std::error_code failed;
  const auto place = nearest_existing(options.dataplane.flow_directory);
  const auto space = std::filesystem::space(place, failed);
  if (!failed && in_all * kept_flow_bytes > space.capacity)
    return wrong("flow-directory: connections (" + connections + ") take " + size_text(in_all * kept_flow_bytes) +
                 " there, and the file system of " + place.string() + " has " + size_text(space.capacity) +
                 ": give fewer --connections, another --flow-directory, or --keep configuration");
  return {};
}

Result<void> check_directories(const Options& options) {
  const auto& captures = options.capture_directory;
  std::error_code ignored;
  if (!captures.empty() && !std::filesystem::is_directory(captures, ignored))
    return wrong("capture-directory: " + captures.string() + " is no directory: make it");
  const auto& dataplane = options.dataplane;
  if (!dataplane.configuration_directory.empty())
    IRONCORE_CHECK(check_directory("state-directory", dataplane.configuration_directory));
  if (!dataplane.flow_directory.empty()) IRONCORE_CHECK(check_directory("flow-directory", dataplane.flow_directory));
  if (options.keep == Keep::everything && dataplane.flow_directory == dataplane.configuration_directory)
    return wrong(
        "flow-directory must be another one than state-directory: on tmpfs, so that a restart of the host empties it");
  return {};
}

Result<void> add_dns(const std::string& text, network::DataplaneOptions& options) {
  IRONCORE_TRY(const auto address, IpAddress::parse(text));
  (address.is_v4() ? options.dns_v4 : options.dns_v6).push_back(address);
  return {};
}

}  // namespace

Options default_options(const program::Environment& environment) {
  Options options;
  options.serving.listen = {program::default_dataplane_endpoint(environment)};
  options.state_directory = program::default_state_directory(environment) / "metalnetd";
  // Sockets lie in memory, and so shall connections.
  const auto socket = program::parse_endpoint(options.serving.listen.front());
  if (socket) options.flow_directory = std::filesystem::path(socket->path).parent_path() / "metalnetd";
  options.eal.prefix = "metalnetd";
  return options;
}

program::Command grammar(Options& o) {
  using namespace program;
  Command program{
      .name = "metalnetd",
      .summary = "The dataplane of this host: forwards packets between machines and other hosts.",
      .examples =
          "metalnetd --underlay 2001:db8:0:1::/64 --uplink up0,router=02:00:00:00:00:01,device=af_packet:eth1\n"
          "metalnetd --underlay 2001:db8:0:1::/64 --port web-1=tap:web1 --workers 2\n"
          "metalnetd --underlay 2001:db8:0:1::/64 --listen tcp://10.0.0.1:7410 --key-file host-1.key --identities-file "
          "identities.json\n"
          "metalnetd --config /etc/ironcore/metalnetd.yaml --check-config",
      .settings = {
          text("underlay", o.underlay, "PREFIX", "IPv6 /64 of this host: what other hosts send to; required"),
          texts("uplink", o.uplink_texts, "NAME,router=MAC|ADDRESS[,weight=N],device=DEVICE",
                "a port towards other hosts; several share the flows by weight. Of an IPv6 address the MAC is asked "
                "for, and watched"),
          texts("port", o.port_texts, "NAME=DEVICE",
                "opened at start: vhost:PATH of a guest's socket, tap:NAME, af_packet:NAME, pci:ADDRESS …"),
          count("workers", o.workers, "threads that forward packets"),
          count("connections", o.connections, "room of each worker, about 214 bytes each"),
          count("maglev-size", o.maglev_size,
                "entries of a load balancer's table, two bytes each: a prime, at best 100 times as many as targets"),
          count("mtu", o.mtu, "of the machines' packets; uplinks carry 40 bytes more"),
          choice<Firewall>("firewall", o.firewall, {{"on", Firewall::on}, {"off", Firewall::off}},
                           "off: everything may come in and go out"),
          texts("dns", o.dns, "ADDRESS", "name server told to machines, the best one first"),
          duration("lease", o.lease, "of addresses told by DHCP; 0s is for ever"),
          choice<Keep>(
              "keep", o.keep,
              {{"everything", Keep::everything}, {"configuration", Keep::configuration}, {"nothing", Keep::nothing}},
              "what is there again after a restart; connections go on only with everything"),
          path("state-directory", o.state_directory,
               "where configuration and opened ports are kept; made with mode 0700"),
          path("flow-directory", o.flow_directory,
               "where connections are kept, in memory (tmpfs, hugetlbfs); made with mode 0700"),
          text("metrics", o.metrics, "ADDRESS:PORT", "where Prometheus fetches counters; nowhere when not given"),
          path("capture-directory", o.capture_directory,
               "where captures write files; nowhere when not given; it must be there"),
          bytes("capture-file-size", o.capture_file_size, "most bytes of a file of a capture"),
          bytes("memory", o.memory, "of all buffers and queues"),
          count("buffers", o.buffers, "frames that all ports hold together"),
          choice<network::dpdk::Memory>(
              "pages", o.eal.memory,
              {{"ordinary", network::dpdk::Memory::ordinary}, {"huge", network::dpdk::Memory::huge_pages}},
              "huge ones are faster, and must have been set aside"),
          texts("card", o.eal.cards, "ADDRESS", "PCI address of a network card that may be opened as a port"),
          text("dpdk-prefix", o.eal.prefix, "NAME", "tells processes with DPDK on one host apart")}};
  add_settings(program.settings, o.serving,
               "ipc:///path (mode 0600) or tcp://address:port (with keys), for those who configure it");
  return program;
}

Result<void> check(Options& options) {
  IRONCORE_CHECK(check_numbers(options));
  auto& dataplane = options.dataplane;
  dataplane = {};
  options.ports.clear();
  if (options.underlay.empty()) return wrong("underlay is missing: name the IPv6 /64 of this host");
  IRONCORE_TRY(dataplane.underlay, within(Prefix::parse(options.underlay), "underlay"));
  if (dataplane.underlay.is_v4() || dataplane.underlay.length() != 64 ||
      dataplane.underlay != dataplane.underlay.network())
    return wrong("underlay: expected an IPv6 prefix of length 64 such as 2001:db8:0:1::/64, not \"" + options.underlay +
                 '"');
  const auto mtu = static_cast<std::uint16_t>(options.mtu);
  const auto uplink_mtu = static_cast<std::uint16_t>(options.mtu + outer_bytes);
  for (const auto& text : options.uplink_texts) {
    IRONCORE_TRY(auto parsed, within(parse_uplink(text), "uplink"));
    IRONCORE_TRY(auto spec, within(parse_port(parsed.uplink.port + '=' + parsed.device, uplink_mtu), "uplink"));
    dataplane.uplinks.push_back(std::move(parsed.uplink));
    options.ports.push_back(std::move(spec));
  }
  for (const auto& text : options.port_texts) {
    IRONCORE_TRY(auto spec, within(parse_port(text, mtu), "port"));
    options.ports.push_back(std::move(spec));
  }
  for (const auto& text : options.dns) IRONCORE_CHECK(within(add_dns(text, dataplane), "dns"));
  if (!options.metrics.empty()) IRONCORE_CHECK(within(program::parse_tcp_address(options.metrics), "metrics"));
  IRONCORE_CHECK(server_options(options));  // reads keys and identities
  if (options.keep != Keep::nothing)
    dataplane.configuration_directory = std::filesystem::absolute(options.state_directory).lexically_normal();
  if (options.keep == Keep::everything)
    dataplane.flow_directory = std::filesystem::absolute(options.flow_directory).lexically_normal();
  IRONCORE_CHECK(check_directories(options));
  dataplane.mtu = mtu;
  dataplane.has_firewall = options.firewall == Firewall::on;
  dataplane.connections = static_cast<std::uint32_t>(options.connections);
  dataplane.maglev_size = static_cast<std::uint32_t>(options.maglev_size);
  if (options.lease != Duration(0)) {
    dataplane.lease_seconds =
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(options.lease).count());
  }
  dataplane.captures.directory = options.capture_directory.string();
  dataplane.captures.most_file_bytes = options.capture_file_size;
  dataplane.captures.compile = network::pcap::compile_filter;
  options.eal.memory_mib = options.memory / mebibyte;
  options.ports_options = {.queues = options.workers, .buffers = options.buffers};
  if (const auto right = network::check(dataplane); !right) return in_our_words(right.error(), options);
  if (const auto right = network::dpdk::check(options.eal, options.ports_options, options.ports); !right)
    return in_our_words(right.error(), options);
  return check_room(options);
}

Result<network::zmq::ServerOptions> server_options(const Options& options) {
  IRONCORE_TRY(auto server, program::server_options<network::zmq::ServerOptions>(
                                options.serving, network::zmq::load_identities, &network::zmq::TcpOptions::identities));
  server.program = "metalnetd " + std::string(program::version());
  return server;
}

}  // namespace ironcore::metalnetd
