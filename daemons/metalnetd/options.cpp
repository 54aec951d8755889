// SPDX-License-Identifier: Apache-2.0
// Settings of metalnetd: defaults, names, and what fits together.
#include "metalnetd/options.hpp"

#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

#include "ironcore/network/pcap.hpp"
#include "program/daemon.hpp"
#include "program/endpoint.hpp"

namespace ironcore::metalnetd {
namespace {

/// Bytes of the outer headers that an uplink carries besides the machines' packets.
constexpr std::uint64_t outer_bytes = 40;
constexpr std::uint64_t largest_port_mtu = 9000;

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
      } else {
        IRONCORE_TRY(out.uplink.router, within(MacAddress::parse(who), "router"));
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
    return wrong("connections: expected 1 to 4294967295");
  const std::uint64_t largest = largest_port_mtu - outer_bytes;
  if (options.mtu < 576 || options.mtu > largest)
    return wrong("mtu: expected 576 to " + std::to_string(largest) + ", because an uplink carries 40 bytes more");
  if (options.memory < 64ULL * 1024 * 1024) return wrong("memory: at least 64Mi");
  if (options.capture_file_size == 0) return wrong("capture-file-size: at least 1");
  if (options.lease >= std::chrono::seconds(std::numeric_limits<std::uint32_t>::max()))
    return wrong("lease: less than 4294967295s; 0s is for ever");
  if (options.lease != Duration(0) && options.lease < std::chrono::seconds(60))
    return wrong("lease: at least 60s; 0s is for ever");
  return {};
}

Result<void> check_listen(const Options& options) {
  if (options.listen.empty()) return wrong("listen: at least one endpoint is needed");
  IRONCORE_TRY(const auto listen, within(program::parse_endpoints(options.listen), "listen"));
  const bool has_keys = !options.key_file.empty(), has_identities = !options.identities_file.empty();
  if (listen.tcp) {
    if (!has_keys) return wrong("key-file: tcp is offered only with keys; make them with `ironcored keygen FILE`");
    if (!has_identities) return wrong("identities-file: tcp is offered only to known keys; say which in a file");
    IRONCORE_CHECK(server_options(options));  // reads both files
  } else if (has_keys || has_identities) {
    return wrong("key-file and identities-file are for tcp; add --listen tcp://address:port");
  }
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
  options.listen = {program::default_dataplane_endpoint(environment)};
  options.state_directory = program::default_state_directory(environment) / "metalnetd";
  // Sockets lie in memory, and so shall connections.
  const auto socket = program::parse_endpoint(options.listen.front());
  if (socket) options.flow_directory = std::filesystem::path(socket->path).parent_path() / "metalnetd";
  options.eal.prefix = "metalnetd";
  return options;
}

program::Command grammar(Options& o) {
  using namespace program;
  return {
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
                "a port towards other hosts; at most two. Of an IPv6 address the MAC is asked for, and watched"),
          texts("port", o.port_texts, "NAME=DEVICE",
                "opened at start: vhost:PATH of a guest's socket, tap:NAME, af_packet:NAME, pci:ADDRESS …"),
          texts("listen", o.listen, "ENDPOINT",
                "ipc:///path (mode 0600) or tcp://address:port (with keys), for those who configure it"),
          path("key-file", o.key_file, "our key pair, for tcp; `ironcored keygen` makes one"),
          path("identities-file", o.identities_file, "whose keys may do what, for tcp; read again on SIGHUP"),
          count("workers", o.workers, "threads that forward packets"),
          count("connections", o.connections, "room of each worker, about 214 bytes each"),
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
  IRONCORE_CHECK(check_listen(options));
  if (options.keep != Keep::nothing)
    dataplane.configuration_directory = std::filesystem::absolute(options.state_directory).lexically_normal();
  if (options.keep == Keep::everything)
    dataplane.flow_directory = std::filesystem::absolute(options.flow_directory).lexically_normal();
  if (options.keep == Keep::everything && dataplane.flow_directory == dataplane.configuration_directory)
    return wrong(
        "flow-directory must be another one than state-directory: on tmpfs, so that a restart of the host empties it");
  dataplane.mtu = mtu;
  dataplane.has_firewall = options.firewall == Firewall::on;
  dataplane.connections = static_cast<std::uint32_t>(options.connections);
  if (options.lease != Duration(0)) {
    dataplane.lease_seconds =
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(options.lease).count());
  }
  dataplane.captures.directory = options.capture_directory.string();
  dataplane.captures.most_file_bytes = options.capture_file_size;
  dataplane.captures.compile = network::pcap::compile_filter;
  options.eal.memory_mib = options.memory / (1024 * 1024);
  return {};
}

Result<network::zmq::ServerOptions> server_options(const Options& options) {
  network::zmq::ServerOptions server;
  server.program = "metalnetd " + std::string(program::version());
  IRONCORE_TRY(auto listen, within(program::parse_endpoints(options.listen), "listen"));
  server.path = std::move(listen.path);
  if (listen.tcp) {
    IRONCORE_TRY(auto keys, within(network::zmq::load_key_pair(options.key_file), "key-file"));
    IRONCORE_TRY(auto identities, within(network::zmq::load_identities(options.identities_file), "identities-file"));
    server.tcp = network::zmq::TcpOptions{.address = std::move(listen.tcp->address),
                                          .port = listen.tcp->port,
                                          .keys = std::move(keys),
                                          .identities = std::move(identities)};
  }
  return server;
}

}  // namespace ironcore::metalnetd
