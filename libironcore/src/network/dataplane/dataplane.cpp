// SPDX-License-Identifier: Apache-2.0
// One lock for all of control; workers meet it only in what is published for them and what they count.
#include "ironcore/network/dataplane.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <new>

#include "captures.hpp"
#include "change_log.hpp"
#include "compiler.hpp"
#include "configuration_log.hpp"
#include "crossing.hpp"
#include "desired.hpp"
#include "generations.hpp"
#include "ironcore/base/random.hpp"
#include "kept_flows.hpp"
#include "learned_macs.hpp"
#include "maglev.hpp"
#include "object_checks.hpp"
#include "published.hpp"
#include "router_neighbor.hpp"
#include "tally.hpp"
#include "worker.hpp"

namespace ironcore::network {

namespace {

using dataplane::Captures;
using dataplane::ChangeLog;
using dataplane::Compiler;
using dataplane::ConfigurationLog;
using dataplane::Crossing;
using dataplane::Desired;
using dataplane::Dirty;
using dataplane::Generations;
using dataplane::KeptFlows;
using dataplane::LearnedMacs;
using dataplane::PortTally;
using dataplane::Published;
using dataplane::RouterMail;
using dataplane::RouterNeighbor;
using dataplane::Snapshot;
using dataplane::Tallies;
using dataplane::UplinkView;
using dataplane::Worker;
using dataplane::WorkerOptions;
using Reason = FieldError::Reason;

constexpr std::size_t burst = 32;
/// Without a packet, before a worker goes to sleep.
constexpr int idle_rounds = 256;
/// Connections die of age while nothing comes, too.
constexpr std::uint64_t longest_sleep_ns = 100'000'000;
constexpr Duration tend_interval = std::chrono::milliseconds(20);
constexpr std::uint16_t outer_header = 40;

// ---- options -----------------------------------------------------------------------------------------------------------

void check_timeouts(const ConnectionTimeouts& timeouts, std::vector<FieldError>& errors) {
  const auto check_one = [&](std::chrono::seconds value, const char* field) {
    // Ticks are compared by their distance.
    if (value.count() < 1 || value > std::chrono::hours(24 * 365))
      errors.push_back({std::string("timeouts.") + field, Reason::invalid, "must be 1 second to 365 days"});
  };
  check_one(timeouts.tcp_established, "tcp_established");
  check_one(timeouts.tcp_transitory, "tcp_transitory");
  check_one(timeouts.tcp_closed, "tcp_closed");
  check_one(timeouts.tcp_reset, "tcp_reset");
  check_one(timeouts.tcp_one_sided, "tcp_one_sided");
  check_one(timeouts.udp, "udp");
  check_one(timeouts.icmp, "icmp");
  check_one(timeouts.other, "other");
}

void check_uplinks(const std::vector<Uplink>& uplinks, std::vector<FieldError>& errors) {
  for (std::size_t i = 0; i < uplinks.size(); ++i) {
    const auto add = [&](const char* field, Reason reason, std::string message) {
      errors.push_back({"uplinks[" + std::to_string(i) + "]." + field, reason, std::move(message)});
    };
    if (uplinks[i].port.empty()) add("port", Reason::required, "must name a port");
    for (std::size_t j = 0; j < i; ++j)
      if (uplinks[j].port == uplinks[i].port) add("port", Reason::duplicate, uplinks[i].port + " is named twice");
    if (const auto& address = uplinks[i].router_address) {
      const bool is_host = address->is_v6() && !address->is_multicast() && !address->is_unspecified();
      if (!is_host) add("router_address", Reason::invalid, "must be an IPv6 address that a router can have");
      if (uplinks[i].router != MacAddress())
        add("router", Reason::forbidden, "is told and to be asked for: choose one");
    } else if (uplinks[i].router.is_multicast() || uplinks[i].router == MacAddress())
      add("router", Reason::invalid, "must be the address of one station");
  }
}

Result<void> check(const DataplaneOptions& options) {
  std::vector<FieldError> errors;
  const auto add = [&](std::string field, std::string message) {
    errors.push_back({std::move(field), Reason::invalid, std::move(message)});
  };
  constexpr unsigned host_bits = 64;
  if (options.underlay.is_v4() || options.underlay.length() != host_bits)
    add("underlay", "must be an IPv6 /64, and is " + options.underlay.to_text());
  if (options.underlay.address().is_multicast() || options.underlay.address().is_unspecified())
    add("underlay", "must be a prefix that one host can have");
  check_uplinks(options.uplinks, errors);
  if (options.mtu < 68 || options.mtu > 9000) add("mtu", "must be 68 to 9000, and is " + std::to_string(options.mtu));
  if (options.connections == 0 || options.connections > dataplane::FlowTable::largest_capacity)
    add("connections", "must be 1 to " + std::to_string(dataplane::FlowTable::largest_capacity));
  if (options.fragments == 0) add("fragments", "must be 1 at least");
  check_timeouts(options.timeouts, errors);
  if (!dataplane::is_prime(options.maglev_size))
    add("maglev_size", "must be a prime, such as 65537 or 251, and is " + std::to_string(options.maglev_size));
  if (!options.flow_directory.empty() && options.configuration_directory.empty())
    add("flow_directory", "needs a configuration_directory: flows are nothing without what they belong to");
  if (!options.flow_directory.empty() && options.flow_directory == options.configuration_directory)
    add("flow_directory", "must be another one than configuration_directory, in memory");
  if (options.offload_packets_per_second == 0) add("offload_packets_per_second", "must be 1 at least");
  if (options.offload_connections == 0) add("offload_connections", "must be 1 at least");
  if (options.lease_seconds == 0) add("lease_seconds", "must be 1 at least");
  for (std::size_t i = 0; i < options.dns_v4.size(); ++i)
    if (options.dns_v4[i].is_v6()) add("dns_v4[" + std::to_string(i) + "]", "must be an IPv4 address");
  for (std::size_t i = 0; i < options.dns_v6.size(); ++i)
    if (options.dns_v6[i].is_v4()) add("dns_v6[" + std::to_string(i) + "]", "must be an IPv6 address");
  if (!errors.empty()) return Error(std::move(errors));
  return dataplane::check(options.captures);
}

constexpr dataplane::Timeouts ticks(const ConnectionTimeouts& from) {
  const auto tick = [](std::chrono::seconds value) { return static_cast<dataplane::Tick>(value.count()); };
  dataplane::Timeouts out;
  out.tcp_established = tick(from.tcp_established);
  out.tcp_transitory = tick(from.tcp_transitory);
  out.tcp_closed = tick(from.tcp_closed);
  out.tcp_reset = tick(from.tcp_reset);
  out.tcp_one_sided = tick(from.tcp_one_sided);
  out.udp = tick(from.udp);
  out.icmp = tick(from.icmp);
  out.other = tick(from.other);
  return out;
}
static_assert(ticks({}) == dataplane::Timeouts());

std::uint64_t random_word() {
  std::uint64_t word = 0;
  SystemRandom().fill(std::as_writable_bytes(std::span(&word, 1)));
  return word;
}

// ---- objects -----------------------------------------------------------------------------------------------------------

const auto& table_of(const Desired& desired, const Interface*) {
  return desired.interfaces();
}
const auto& table_of(const Desired& desired, const InterfacePrefix*) {
  return desired.prefixes();
}
const auto& table_of(const Desired& desired, const VirtualIp*) {
  return desired.virtual_ips();
}
const auto& table_of(const Desired& desired, const Nat*) {
  return desired.nats();
}
const auto& table_of(const Desired& desired, const NeighbourNat*) {
  return desired.neighbour_nats();
}
const auto& table_of(const Desired& desired, const LoadBalancer*) {
  return desired.load_balancers();
}
const auto& table_of(const Desired& desired, const LoadBalancerTarget*) {
  return desired.targets();
}
const auto& table_of(const Desired& desired, const FirewallRule*) {
  return desired.rules();
}
const auto& table_of(const Desired& desired, const VirtualService*) {
  return desired.virtual_services();
}

IpAddress address_of(dataplane::PrefixBits bits, bool is_v6) {
  if (!is_v6) return IpAddress::v4(static_cast<std::uint32_t>(bits.high >> 32));
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(bits.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(bits.low >> (56 - 8 * i));
  }
  return IpAddress::v6(bytes);
}

/// In the order of their keys: the maps have the same.
template <class Each>
void each_route(const Desired& desired, const std::optional<RouteKey>& after, Each each) {
  const auto& networks = desired.routes();
  for (auto it = after ? networks.lower_bound(after->vni) : networks.begin(); it != networks.end(); ++it) {
    for (const bool is_v6 : {false, true}) {
      it->second.of(is_v6).for_each([&](dataplane::PrefixBits bits, unsigned length, std::uint32_t set) {
        const RouteKey key{it->first, Prefix::make(address_of(bits, is_v6), length).value()};
        if (!after || *after < key) each(key, set);
      });
    }
  }
}

/// Every object there is.
void each_object(const Desired& desired, const ConfigurationLog::Each& each) {
  const auto each_of = [&](const auto& table) {
    for (const auto& [key, object] : table) each(object);
  };
  each_of(desired.interfaces());
  each_of(desired.prefixes());
  each_of(desired.virtual_ips());
  each_of(desired.nats());
  each_of(desired.neighbour_nats());
  each_of(desired.load_balancers());
  each_of(desired.targets());
  each_of(desired.rules());
  each_of(desired.virtual_services());
  each_route(desired, std::nullopt, [&](const RouteKey& key, std::uint32_t set) {
    each(Route{key.vni, key.prefix, desired.next_hops()[set]});
  });
}

/// A prefix with host bits means its network, as in a batch.
const auto& normal(const auto& key) {
  return key;
}
InterfacePrefixKey normal(const InterfacePrefixKey& key) {
  return {key.interface, key.prefix.network(), key.use};
}

void add_slow_path(DataplaneCounters& out, const Worker& worker) {
  const auto& counts = worker.slow_path_counts();
  for (std::size_t i = 0; i < stages; ++i) {
    out.by_stage[i].reached += counts.by_stage[i].reached.get();
    out.by_stage[i].refused += counts.by_stage[i].refused.get();
  }
  out.rechecks_kept += counts.kept.get();
  out.rechecks_ended += counts.ended.get();
  out.connections_opened += counts.opened.get();
  out.connections_expired += counts.expired.get();
  for (std::size_t i = 0; i < gateway_services; ++i)
    out.answers_by_service[i] += worker.gateway().answers(static_cast<GatewayService>(i));
}

/// The hot path does not count by itself: it has what is neither unreadable, nor the gateway's, nor new. `rounds`: packets that came again. Workers go
/// on while this is read, so that it may be a few packets off.
std::uint64_t known_packets(const DataplaneCounters& counters, std::uint64_t rounds) {
  auto known = static_cast<std::int64_t>(rounds + counters.rechecks_kept + counters.rechecks_ended -
                                         counters.slow_path - counters.answers);
  for (std::size_t i = 0; i < drop_reasons; ++i) {
    switch (static_cast<Drop>(i)) {
      case Drop::port:
      case Drop::ethertype:
      case Drop::malformed:
      case Drop::source_mac:
      case Drop::outer:
      case Drop::fragment:
      case Drop::hop_limit:
      case Drop::too_big:
      case Drop::local:
      case Drop::busy:
      case Drop::elsewhere:
        break;
      default:
        known += static_cast<std::int64_t>(counters.packets[i]);
    }
  }
  return static_cast<std::uint64_t>(std::max<std::int64_t>(known, 0));
}

Error not_there(const char* what) {
  return {ErrorCode::not_found, std::string("there is no such ") + what};
}

}  // namespace

// ---- state -------------------------------------------------------------------------------------------------------------

struct Dataplane::State {
  /// What a worker is asked to do between two bursts.
  struct Request {
    Packet packet;
    std::optional<Explanation> answer;
    bool is_done = false;
  };

  /// A worker and what is of its thread.
  struct Lane {
    Lane(Published<Snapshot>& snapshots, std::size_t number, const Generations& generations, LearnedMacs& learned,
         const WorkerOptions& options, Crossing* crossing)
        : worker(snapshots, number, generations, learned, options, crossing) {}
    Worker worker;
    Tallies tallies;
    const Captures::Taps* taps = nullptr;     ///< in a round: what is captured, if anything is
    std::atomic<Request*> request = nullptr;  ///< of somebody who waits for it
    std::array<Packet, burst> packets;
    std::array<Packet, burst> dropped;
  };

  /// How much of a port's counters is an interface's.
  struct InterfaceTally {
    std::string port;
    std::optional<std::uint32_t> number;
    PortTally base;    ///< of the port when the interface got it
    PortTally before;  ///< at ports that it had before
  };

  State(DataplaneOptions with, Ports& its_ports, Clock& its_clock, Log& its_log, std::uint64_t seed,
        std::unique_ptr<ConfigurationLog> its_configuration, std::unique_ptr<KeptFlows> its_flows)
      : options(std::move(with)),
        configuration(std::move(its_configuration)),
        kept(std::move(its_flows)),
        ports(its_ports),
        clock(its_clock),
        log(its_log),
        routers(options.uplinks.size()),
        desired(options.underlay, seed),
        compiler(options.underlay, {options.maglev_size, ports.queues(), options.connections, seed, kept.get()}),
        snapshots(ports.queues(), compiler.compile(desired, {}, generations)),
        changes(static_cast<std::uint64_t>(
                    std::chrono::duration_cast<std::chrono::microseconds>(clock.wall().time_since_epoch()).count()),
                options.watched_changes),
        captures(options.captures, ports.queues(), clock, log) {
    WorkerOptions worker_options;
    worker_options.connections = options.connections;
    worker_options.fragments = options.fragments;
    worker_options.secret = seed;
    worker_options.kept = kept.get();
    worker_options.timeouts = ticks(options.timeouts);
    worker_options.has_firewall = options.has_firewall;
    worker_options.interfaces = Desired::max_interfaces;
    worker_options.flow_offload = options.flow_offload;
    worker_options.offload.packets_per_second = options.offload_packets_per_second;
    worker_options.offload.connections = options.offload_connections;
    worker_options.gateway.mtu = options.mtu;
    worker_options.gateway.routers = &router_mail;
    worker_options.gateway.dns_v4 = options.dns_v4;
    worker_options.gateway.dns_v6 = options.dns_v6;
    worker_options.gateway.lease_seconds = options.lease_seconds;
    Crossing* const between = ports.queues() > 1 ? &crossing : nullptr;
    for (std::size_t i = 0; i < ports.queues(); ++i)
      lanes.push_back(std::make_unique<Lane>(snapshots, i, generations, learned, worker_options, between));
  }

  /// What is between workers goes back to where it came from.
  ~State() {
    std::array<Packet, burst> left;
    for (std::size_t i = 0; i < lanes.size(); ++i)
      while (const std::size_t count = crossing.pop(i, left)) ports.release(std::span(left).first(count));
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // ---- control, with the mutex ----

  Result<void> restore();
  Result<void> compact();
  void publish(const Dirty& dirty) { snapshots.publish(compiler.compile(desired, dirty, generations)); }

  Result<void> check_ports(std::span<const Change> batch) const {
    std::vector<FieldError> errors;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto* interface = std::get_if<Interface>(&batch[i]);
      if (interface != nullptr && uplink_of(interface->port) != nullptr)
        errors.push_back({"changes[" + std::to_string(i) + "].port", Reason::forbidden,
                          interface->port + " is an uplink: no machine can be there"});
    }
    if (!errors.empty()) return Error(std::move(errors));
    return {};
  }

  const Uplink* uplink_of(const std::string& port) const {
    const auto found = std::find_if(options.uplinks.begin(), options.uplinks.end(),
                                    [&](const auto& uplink) { return uplink.port == port; });
    return found == options.uplinks.end() ? nullptr : &*found;
  }

  UplinkView view_of(const PortState& port, const Uplink& uplink) const {
    const auto number = number_of(uplink);
    const auto mac = uplink.router_address ? routers[number].mac() : uplink.router;
    return {port.number,       mac.value_or(MacAddress()),         uplink.weight,
            port.is_up && mac, static_cast<std::uint32_t>(number), uplink.router_address};
  }

  std::size_t number_of(const Uplink& uplink) const {
    return static_cast<std::size_t>(&uplink - options.uplinks.data());
  }

  /// What routers have said, and what is to be asked of them. True: the workers are to know something else.
  bool watch_routers() {
    const auto now_ns = static_cast<std::uint64_t>(clock.now().time_since_epoch().count());
    bool is_different = false;
    for (const auto& uplink : options.uplinks) {
      const auto there = port_numbers.find(uplink.port);
      if (!uplink.router_address || there == port_numbers.end()) continue;
      const auto port = std::lower_bound(known_ports.begin(), known_ports.end(), there->second,
                                         [](const PortState& one, std::uint32_t place) { return one.number < place; });
      if (!port->is_up) continue;
      const auto number = number_of(uplink);
      auto& router = routers[number];
      const auto before = router.mac();
      if (const auto told = router_mail.take_told(number)) router.hear(*told, now_ns);
      const auto ask = router.tick(now_ns);
      router_mail.ask(number, ask, router.mac().value_or(MacAddress()));
      if (ask != dataplane::RouterAsk::nothing) ports.wake(0);
      if (router.mac() == before) continue;
      is_different = true;
      compiler.change_uplink(view_of(*port, uplink));
      log.warning(router.mac() ? "router found" : "router gone",
                  {{"uplink", uplink.port},
                   {"router", uplink.router_address->to_text()},
                   {"mac", router.mac() ? router.mac()->to_text() : before->to_text()}});
    }
    return is_different;
  }

  /// The link is another one, perhaps with another router.
  void forget_router(const Uplink& uplink) {
    routers[number_of(uplink)].restart();
    static_cast<void>(router_mail.take_told(number_of(uplink)));
  }

  void port_goes(const PortState& port) {
    port_numbers.erase(port.spec.name);
    if (uplink_of(port.spec.name) != nullptr)
      compiler.remove_uplink(port.number);
    else
      compiler.remove_port(port.spec.name);
    log.info("port is gone", {{"port", port.spec.name}, {"number", std::to_string(port.number)}});
  }

  void port_comes(const PortState& port) {
    port_numbers[port.spec.name] = port.number;
    const auto* uplink = uplink_of(port.spec.name);
    if (uplink != nullptr) forget_router(*uplink);
    if (uplink == nullptr)
      compiler.add_port(port.spec.name, port.number, port.mac);
    else
      compiler.add_uplink(view_of(port, *uplink), port.mac);
    log.info("port is there", {{"port", port.spec.name}, {"number", std::to_string(port.number)}});
    if (uplink != nullptr && port.spec.mtu < options.mtu + outer_header)
      log.warning("uplink is too narrow for the machines' MTU",
                  {{"port", port.spec.name}, {"mtu", std::to_string(port.spec.mtu)}});
  }

  /// What the ports are now, to the workers.
  void sync_ports() {
    auto before = std::exchange(known_ports, ports.list());
    std::vector<const PortState*> gone;
    std::vector<const PortState*> come;
    bool is_different = false;
    auto old = before.begin();
    for (const auto& port : known_ports) {
      for (; old != before.end() && old->number < port.number; ++old) gone.push_back(&*old);
      const bool is_known = old != before.end() && old->number == port.number;
      if (is_known && old->spec.name == port.spec.name && old->mac == port.mac) {
        const auto* uplink = old->is_up == port.is_up ? nullptr : uplink_of(port.spec.name);
        if (uplink != nullptr) {
          is_different = true;
          forget_router(*uplink);
          compiler.change_uplink(view_of(port, *uplink));
          log.warning(port.is_up ? "uplink is up" : "uplink is down", {{"port", port.spec.name}});
        }
      } else {
        if (is_known) gone.push_back(&*old);
        come.push_back(&port);
      }
      if (is_known) ++old;
    }
    for (; old != before.end(); ++old) gone.push_back(&*old);
    if (gone.empty() && come.empty() && !is_different) return;
    captures.follow(known_ports);
    // All leave before the first one comes: a number may go from one to another.
    for (const auto* port : gone) port_goes(*port);
    for (const auto* port : come) port_comes(*port);
    for (const auto& moved : {gone, come})
      for (const auto* port : moved)
        if (const auto user = port_users.find(port->spec.name); user != port_users.end())
          count_at(user->second, port->spec.name);
    publish({});
  }

  PortTally total(std::uint32_t port) const {
    PortTally sum;
    for (const auto& lane : lanes) {
      sum += lane->tallies.get(port);
      sum.icmp_errors += lane->worker.gateway().errors_at(port);
    }
    return sum;
  }

  std::optional<MacAddress> heard_mac(const std::string& id) const {
    const auto& view = *snapshots.newest().interfaces[compiler.interface_index(id)];
    return view.told.mac ? std::nullopt : view.mac;
  }

  static PortTally sum_of(const InterfaceTally& tally, const State& state) {
    PortTally sum = tally.before;
    if (tally.number) (sum += state.total(*tally.number)) -= tally.base;
    return sum;
  }

  /// From now on what is counted at this port is the interface's.
  void count_at(const std::string& interface, const std::string& port) {
    auto& tally = interface_tallies[interface];
    tally.before = sum_of(tally, *this);
    tally.port = port;
    const auto there = port_numbers.find(port);
    tally.number = there == port_numbers.end() ? std::nullopt : std::optional(there->second);
    tally.base = tally.number ? total(*tally.number) : PortTally();
  }

  void follow_interfaces(const std::set<std::string>& ids) {
    for (const auto& id : ids) {
      const auto tally = interface_tallies.find(id);
      if (tally == interface_tallies.end()) continue;
      const auto told = desired.interfaces().find({id});
      if (told != desired.interfaces().end() && told->second.port == tally->second.port) continue;
      port_users.erase(tally->second.port);
      if (told == desired.interfaces().end()) interface_tallies.erase(tally);
    }
    for (const auto& id : ids) {
      const auto told = desired.interfaces().find({id});
      if (told == desired.interfaces().end()) continue;
      const auto [user, is_new] = port_users.emplace(told->second.port, id);
      if (is_new) count_at(id, told->second.port);
    }
  }

  void tend() {
    bool is_different = watch_routers();
    const auto& interfaces = snapshots.newest().interfaces;
    learned.take([&](std::uint32_t index, std::uint16_t mark, const MacAddress& mac) {
      const auto* view = index < interfaces.size() ? interfaces[index].get() : nullptr;
      if (view == nullptr || view->told.mac || view->mac == mac || LearnedMacs::mark_of(view->born) != mark) return;
      compiler.learn_mac(view->told.id, mac);
      is_different = true;
    });
    if (is_different)
      publish({});
    else
      snapshots.collect();
  }

  // ---- workers ----

  std::size_t round(std::size_t queue) noexcept;
  void announce(Lane& lane, std::size_t queue, std::uint64_t now_ns) noexcept;
  void send(Lane& lane, std::size_t queue, std::span<const Packet> packets, std::uint64_t now_ns) noexcept;
  void ask_routers(Lane& lane, std::size_t queue, std::uint64_t now_ns) noexcept;
  void serve(Lane& lane, std::uint64_t now_ns) noexcept;
  void finish(Lane& lane, std::size_t queue, std::size_t count, std::uint64_t now_ns) noexcept;
  static void count_offloaded(Tallies& tallies, const dataplane::OffloadedFlows& offloaded) noexcept;

  const DataplaneOptions options;
  const std::unique_ptr<ConfigurationLog> configuration;  ///< null = what is told is not kept
  const std::unique_ptr<KeptFlows> kept;                  ///< null = connections are not
  Ports& ports;
  Clock& clock;
  Log& log;
  std::vector<RouterNeighbor> routers;  ///< of the uplinks as they were told; where a MAC was told, nothing is asked
  RouterMail router_mail{options.uplinks.size()};

  mutable std::mutex mutex;
  mutable std::condition_variable_any applied;
  Generations generations;
  LearnedMacs learned{Desired::max_interfaces};
  Desired desired;
  Compiler compiler;
  Published<Snapshot> snapshots;
  ChangeLog changes;
  std::vector<PortState> known_ports;  ///< by their numbers
  std::map<std::string, std::uint32_t> port_numbers;
  std::map<std::string, InterfaceTally> interface_tallies;
  std::map<std::string, std::string> port_users;  ///< port → interface

  Captures captures;
  Crossing crossing{ports.queues()};
  std::vector<std::unique_ptr<Lane>> lanes;
  std::mutex asking_mutex;   ///< one asks at a time
  std::mutex request_mutex;  ///< of the request that a worker has taken
  std::condition_variable_any answered;
};

// ---- life --------------------------------------------------------------------------------------------------------------

Dataplane::Dataplane(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Dataplane>> Dataplane::create(DataplaneOptions options, Ports& ports, Clock& clock, Log& log) {
  IRONCORE_CHECK(within(check(options), "dataplane"));
  if (options.flow_offload != nullptr && options.flow_offload->queues() < ports.queues())
    return Error(ErrorCode::invalid, "dataplane: flow_offload: it has " +
                                         std::to_string(options.flow_offload->queues()) + " queues, and there are " +
                                         std::to_string(ports.queues()) + " workers");
  std::uint64_t seed = options.seed ? *options.seed : random_word();
  std::unique_ptr<ConfigurationLog> configuration;
  std::unique_ptr<KeptFlows> kept;
  if (!options.configuration_directory.empty()) {
    IRONCORE_TRY(configuration, within(ConfigurationLog::open(options.configuration_directory, options.underlay, log),
                                       "kept configuration"));
  }
  if (!options.flow_directory.empty()) {
    const KeptFlows::Shape shape{options.underlay, ports.queues(), options.connections};
    IRONCORE_TRY(kept, within(KeptFlows::open(options.flow_directory, shape, seed, log), "kept connections"));
    seed = kept->secret();
  }
  std::unique_ptr<Dataplane> out(new Dataplane(
      std::make_unique<State>(std::move(options), ports, clock, log, seed, std::move(configuration), std::move(kept))));
  State* state = out->state_.get();
  if (state->configuration) IRONCORE_CHECK(state->restore());
  const auto sync = [state] {
    std::lock_guard guard(state->mutex);
    state->sync_ports();
  };
  ports.on_change(sync);
  sync();
  return out;
}

Dataplane::~Dataplane() {
  state_->ports.on_change({});
}

// ---- what was there before -------------------------------------------------------------------------------------------

Result<void> Dataplane::State::restore() {
  const auto began = clock.now();
  Dirty dirty;
  for (const auto& batch : configuration->take_batches()) {
    auto restored = desired.restore(batch);
    if (!restored)
      return Error(ErrorCode::corrupt, "what " + configuration->file().string() +
                                           " says does not fit together: put a copy of the file back, or move it away "
                                           "to begin without a configuration: " +
                                           restored.error().message());
    dirty.add(*restored);
  }
  publish(dirty);
  follow_interfaces(dirty.interfaces);
  std::uint64_t connections = 0;
  if (kept) {
    const auto now_ns = static_cast<std::uint64_t>(began.time_since_epoch().count());
    for (auto& lane : lanes) {
      lane->worker.adopt(now_ns);
      lane->tallies.connections.set(lane->worker.flows().size());
      connections += lane->worker.flows().size();
    }
    snapshots.publish(compiler.finish_restoring(generations));
  }
  if (!dirty.empty())
    log.info("what was there before goes on", {{"interfaces", std::to_string(desired.interfaces().size())},
                                               {"connections", std::to_string(connections)},
                                               {"took", to_text(clock.now() - began)}});
  return {};
}

/// When it is time.
Result<void> Dataplane::State::compact() {
  if (!configuration || !configuration->is_to_compact()) return {};
  const auto done = configuration->compact([&](const ConfigurationLog::Each& each) { each_object(desired, each); });
  if (done) return {};
  if (configuration->is_suspect()) return within(Result<void>(done.error()), "keep the configuration");
  log.warning("the kept configuration could not be written shorter", {{"why", done.error().message()}});
  return {};
}

// ---- control -----------------------------------------------------------------------------------------------------------

Result<std::uint64_t> Dataplane::apply(std::span<const Change> batch) {
  std::lock_guard guard(state_->mutex);
  state_->tend();
  IRONCORE_CHECK(state_->check_ports(batch));
  IRONCORE_CHECK(state_->compact());
  Desired::Keep keep;
  if (auto* file = state_->configuration.get())
    keep = [file](std::span<const Change> changes) { return within(file->add(changes), "keep the configuration"); };
  IRONCORE_TRY(auto dirty, state_->desired.apply(batch, keep));
  if (dirty.changes.empty()) return state_->changes.revision();
  state_->publish(dirty);
  state_->follow_interfaces(dirty.interfaces);
  const auto revision = state_->changes.add(std::move(dirty.changes));
  state_->applied.notify_all();
  return revision;
}

template <class Object, class Key>
ConfigurationPage<Object> Dataplane::list(std::size_t limit, const std::optional<Key>& after) const {
  std::lock_guard guard(state_->mutex);
  ConfigurationPage<Object> page;
  page.revision = state_->changes.revision();
  const auto& desired = state_->desired;
  if constexpr (std::is_same_v<Object, Route>) {
    each_route(desired, after, [&](const RouteKey& key, std::uint32_t set) {
      if (page.objects.size() < limit)
        page.objects.push_back({key.vni, key.prefix, desired.next_hops()[set]});
      else
        page.has_more = true;
    });
  } else {
    const auto& table = table_of(desired, static_cast<const Object*>(nullptr));
    auto it = after ? table.upper_bound(normal(*after)) : table.begin();
    for (; it != table.end() && page.objects.size() < limit; ++it) page.objects.push_back(it->second);
    page.has_more = it != table.end();
  }
  return page;
}

template <class Object, class Key>
Result<Object> Dataplane::get(const Key& key) const {
  std::lock_guard guard(state_->mutex);
  const auto& desired = state_->desired;
  if constexpr (std::is_same_v<Object, Route>) {
    const auto network = desired.routes().find(key.vni);
    if (network == desired.routes().end()) return not_there("route");
    const auto prefix = key.prefix.network();
    const auto& address = prefix.address();
    const auto set = network->second.of(address.is_v6()).get(dataplane::bits_of(address), prefix.length());
    if (!set) return not_there("route");
    return Route{key.vni, prefix, desired.next_hops()[*set]};
  } else {
    const auto& table = table_of(desired, static_cast<const Object*>(nullptr));
    const auto found = table.find(normal(key));
    if (found == table.end()) return not_there("object");
    return found->second;
  }
}

#define IRONCORE_DATAPLANE_OBJECT(Object)                                                                   \
  template ConfigurationPage<Object> Dataplane::list(std::size_t, const std::optional<Object##Key>&) const; \
  template Result<Object> Dataplane::get(const Object##Key&) const
IRONCORE_DATAPLANE_OBJECT(Interface);
IRONCORE_DATAPLANE_OBJECT(InterfacePrefix);
IRONCORE_DATAPLANE_OBJECT(VirtualIp);
IRONCORE_DATAPLANE_OBJECT(Nat);
IRONCORE_DATAPLANE_OBJECT(NeighbourNat);
IRONCORE_DATAPLANE_OBJECT(LoadBalancer);
IRONCORE_DATAPLANE_OBJECT(LoadBalancerTarget);
IRONCORE_DATAPLANE_OBJECT(Route);
IRONCORE_DATAPLANE_OBJECT(FirewallRule);
IRONCORE_DATAPLANE_OBJECT(VirtualService);
#undef IRONCORE_DATAPLANE_OBJECT

Result<std::vector<AppliedBatch>> Dataplane::watch(std::uint64_t after, Instant deadline, std::stop_token stop,
                                                   std::size_t limit) const {
  std::unique_lock lock(state_->mutex);
  const auto& changes = state_->changes;
  if (after <= changes.revision())
    state_->clock.wait(lock, state_->applied, std::move(stop), deadline, [&] { return changes.revision() > after; });
  auto batches = changes.after(after, limit);
  if (!batches)
    return Error(ErrorCode::gone, "revision " + std::to_string(after) +
                                      " is not remembered, or of another start: list again, and go on from there");
  return *std::move(batches);
}

std::uint64_t Dataplane::revision() const {
  std::lock_guard guard(state_->mutex);
  return state_->changes.revision();
}

DataplaneCounters Dataplane::counters() const {
  DataplaneCounters out;
  std::uint64_t rounds = 0;
  for (const auto& lane : state_->lanes) {
    const auto& tallies = lane->tallies;
    for (std::size_t i = 0; i < drop_reasons; ++i) out.packets[i] += tallies.packets[i].get();
    out.slow_path += tallies.slow_path.get();
    out.answers += tallies.answers.get();
    out.icmp_errors += tallies.icmp_errors.get();
    out.connections += tallies.connections.get();
    add_slow_path(out, lane->worker);
    rounds += lane->worker.slow_path_counts().rounds.get();
    for (std::size_t i = 0; i < BurstTimes::buckets; ++i) out.bursts.count[i] += tallies.bursts[i].get();
    out.bursts.sum_ns += tallies.burst_ns.get();
    out.most_connections = std::max(out.most_connections, tallies.connections.get());
    out.connection_room += state_->options.connections;
    out.offloaded += tallies.offloaded.get();
    out.offload_refused += tallies.offload_refused.get();
    out.offload_packets += tallies.offload_packets.get();
  }
  out.fast_path = known_packets(out, rounds);
  return out;
}

std::vector<InterfaceCounters> Dataplane::interface_counters() const {
  std::lock_guard guard(state_->mutex);
  std::vector<InterfaceCounters> out;
  for (const auto& [id, tally] : state_->interface_tallies) {
    const auto sum = State::sum_of(tally, *state_);
    out.push_back({id, sum.from_packets, sum.from_bytes, sum.to_packets, sum.to_bytes, sum.dropped, sum.icmp_errors,
                   state_->heard_mac(id)});
  }
  return out;
}

std::vector<PortUse> Dataplane::ports() const {
  std::lock_guard guard(state_->mutex);
  std::vector<PortUse> out;
  for (auto& port : state_->ports.list()) {
    const auto counters = state_->ports.counters(port.spec.name);
    if (!counters) continue;  // it has just been closed
    const auto user = state_->port_users.find(port.spec.name);
    const bool is_uplink = state_->uplink_of(port.spec.name) != nullptr;
    out.push_back({std::move(port), *counters, is_uplink, user == state_->port_users.end() ? "" : user->second});
  }
  return out;
}

Result<Explanation> Dataplane::explain(const std::string& port, std::span<const std::uint8_t> frame, Instant deadline,
                                       std::stop_token stop, std::size_t worker) const {
  constexpr std::size_t headroom = 128;
  constexpr std::size_t longest_frame = 9216;
  auto& state = *state_;
  if (worker >= state.lanes.size())
    return Error(ErrorCode::not_found, "there are " + std::to_string(state.lanes.size()) + " workers, counted from 0");
  if (frame.size() > longest_frame)
    return Error(ErrorCode::invalid, "a frame has at most " + std::to_string(longest_frame) + " bytes");
  std::vector<std::uint8_t> memory(headroom + longest_frame);
  std::copy(frame.begin(), frame.end(), memory.begin() + headroom);
  State::Request request;
  request.packet.frame = memory.data() + headroom;
  request.packet.bytes = request.packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
  request.packet.headroom = headroom;
  request.packet.room = longest_frame;
  {
    std::lock_guard guard(state.mutex);
    const auto number = state.port_numbers.find(port);
    if (number == state.port_numbers.end()) return Error(ErrorCode::not_found, "no port is called " + port);
    request.packet.port = number->second;
  }
  std::lock_guard asking(state.asking_mutex);
  auto& lane = *state.lanes[worker];
  lane.request.store(&request);
  state.ports.wake(worker);
  std::unique_lock lock(state.request_mutex);
  const auto is_done = [&] { return request.is_done; };
  if (!state.clock.wait(lock, state.answered, stop, deadline, is_done)) {
    lock.unlock();
    if (lane.request.exchange(nullptr) != nullptr) {
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "explaining was stopped");
      return Error(ErrorCode::timeout, "worker " + std::to_string(worker) + " does not run");
    }
    lock.lock();
    state.answered.wait(lock, is_done);  // it is at it just now
  }
  if (!request.answer) return Error(ErrorCode::exhausted, "there is no memory for an explanation");
  return *std::move(request.answer);
}

Result<CaptureState> Dataplane::start_capture(const CaptureSpec& spec) {
  return state_->captures.start(spec);
}

Result<CaptureState> Dataplane::stop_capture(const std::string& id) {
  return state_->captures.stop(id);
}

std::vector<CaptureState> Dataplane::captures() const {
  return state_->captures.list();
}

Result<CaptureChunk> Dataplane::read_capture(const std::string& id, std::uint64_t offset) {
  return state_->captures.read(id, offset);
}

std::size_t Dataplane::write_captures() {
  return state_->captures.write();
}

void Dataplane::run_captures(std::stop_token stop) {
  state_->captures.run(std::move(stop));
}

void Dataplane::tend() {
  std::lock_guard guard(state_->mutex);
  state_->tend();
}

void Dataplane::run_control(std::stop_token stop) {
  while (sleep_for(state_->clock, tend_interval, stop)) tend();
}

// ---- workers -----------------------------------------------------------------------------------------------------------

std::size_t Dataplane::workers() const noexcept {
  return state_->lanes.size();
}

void Dataplane::run(std::size_t worker, std::stop_token stop) noexcept {
  auto& state = *state_;
  const std::stop_callback waker(stop, [&] { state.ports.wake(worker); });
  int idle = 0;
  while (!stop.stop_requested()) {
    if (state.round(worker) > 0) {
      idle = 0;
      continue;
    }
    if (idle < idle_rounds || state.lanes[worker]->worker.is_behind()) {
      ++idle;
      continue;
    }
    state.lanes[worker]->worker.rest();
    state.ports.wait(worker, longest_sleep_ns);
  }
  state.lanes[worker]->worker.rest();
  state.ports.leave(worker);
}

std::size_t Dataplane::step(std::size_t worker) noexcept {
  const std::size_t count = state_->round(worker);
  state_->lanes[worker]->worker.rest();
  state_->ports.leave(worker);
  return count;
}

/// At most a burst from each port, so that none waits for another one's flood; what several ports have goes through in one burst.
std::size_t Dataplane::State::round(std::size_t queue) noexcept {
  Lane& lane = *lanes[queue];
  ports.quiesce(queue);
  lane.taps = captures.enter(queue);
  const auto now_ns = static_cast<std::uint64_t>(clock.now().time_since_epoch().count());
  if (lane.request.load(std::memory_order_relaxed) != nullptr) serve(lane, now_ns);
  std::size_t total = 0;
  std::size_t count = 0;
  for (const std::uint32_t port : ports.polled(queue)) {
    std::size_t left = burst;
    while (left > 0) {
      const auto room = std::span(lane.packets).subspan(count, std::min(left, burst - count));
      const std::size_t came = ports.receive(port, queue, room);
      if (came == 0) break;
      if (lane.taps != nullptr) [[unlikely]]
        Captures::take(*lane.taps, queue, Captures::Way::in, room.first(came), now_ns);
      if (auto* tally = lane.tallies.of(port); tally != nullptr) {
        std::uint64_t bytes = 0;
        for (const auto& packet : room.first(came)) bytes += packet.frame_bytes;
        tally->from_packets.add(came);
        tally->from_bytes.add(bytes);
      }
      count += came;
      left -= came;
      if (count == burst) {
        finish(lane, queue, count, now_ns);
        total += std::exchange(count, 0);
      }
      if (came < room.size()) break;
    }
  }
  if (count > 0) finish(lane, queue, count, now_ns);
  total += count;
  if (queue == 0 && options.announces && lane.worker.is_to_announce(now_ns)) announce(lane, queue, now_ns);
  if (queue == 0 && router_mail.has_asks()) ask_routers(lane, queue, now_ns);
  // From other workers: these packets are counted as received already.
  const std::size_t crossed = lanes.size() > 1 ? crossing.pop(queue, lane.packets) : 0;
  // With nothing as well: connections grow old.
  if (crossed > 0 || total == 0) finish(lane, queue, crossed, now_ns);
  if (lane.taps != nullptr) captures.leave(queue);
  return total + crossed;
}

/// At most a burst, so that packets do not wait.
void Dataplane::State::announce(Lane& lane, std::size_t queue, std::uint64_t now_ns) noexcept {
  std::size_t count = 0;
  while (count < burst) {
    auto packet = ports.allocate(queue);
    if (!packet) break;
    if (!lane.worker.announce(*packet, now_ns)) {
      ports.release({&*packet, 1});
      break;
    }
    if (auto* tally = lane.tallies.of(packet->port); tally != nullptr) {
      tally->to_packets.add(1);
      tally->to_bytes.add(packet->frame_bytes);
    }
    lane.packets[count++] = *packet;
  }
  if (count > 0) send(lane, queue, std::span(lane.packets).first(count), now_ns);
}

void Dataplane::State::send(Lane& lane, std::size_t queue, std::span<const Packet> packets,
                            std::uint64_t now_ns) noexcept {
  if (lane.taps != nullptr) [[unlikely]]
    Captures::take(*lane.taps, queue, Captures::Way::out, packets, now_ns);
  ports.send(queue, packets);
}

void Dataplane::State::ask_routers(Lane& lane, std::size_t queue, std::uint64_t now_ns) noexcept {
  const auto& snapshot = snapshots.enter(queue);
  router_mail.take_asks([&](std::size_t number, const std::optional<MacAddress>& known) {
    for (const auto& uplink : snapshot.uplinks) {
      if (uplink.number != number || !uplink.router) continue;
      auto packet = ports.allocate(queue);
      if (!packet) return;
      const auto bytes = dataplane::write_router_question(snapshot.ports[uplink.port].mac, *uplink.router, known,
                                                          {packet->frame, packet->room});
      if (bytes == 0) return ports.release({&*packet, 1});
      packet->bytes = packet->frame_bytes = static_cast<std::uint32_t>(bytes);
      packet->port = uplink.port;
      if (auto* tally = lane.tallies.of(packet->port); tally != nullptr) {
        tally->to_packets.add(1);
        tally->to_bytes.add(packet->frame_bytes);
      }
      send(lane, queue, {&*packet, 1}, now_ns);
    }
  });
}

/// Somebody asked; it may take its time and memory.
void Dataplane::State::serve(Lane& lane, std::uint64_t now_ns) noexcept {
  Request* request = lane.request.exchange(nullptr);
  if (request == nullptr) return;  // not any more
  std::optional<Explanation> answer;
  try {
    answer = lane.worker.explain(request->packet, now_ns);
  } catch (const std::bad_alloc&) {
    answer.reset();
  }
  std::lock_guard guard(request_mutex);
  request->answer = std::move(answer);
  request->is_done = true;
  answered.notify_all();
}

/// As if the packets had come this way.
void Dataplane::State::count_offloaded(Tallies& tallies, const dataplane::OffloadedFlows& offloaded) noexcept {
  for (const auto& hit : offloaded.hits()) {
    if (auto* from = tallies.of(hit.from); from != nullptr) {
      from->from_packets.add(hit.packets);
      from->from_bytes.add(hit.from_bytes);
    }
    if (auto* to = tallies.of(hit.to); to != nullptr) {
      to->to_packets.add(hit.packets);
      to->to_bytes.add(hit.to_bytes);
    }
  }
  tallies.offloaded.set(offloaded.counters().connections);
  tallies.offload_refused.set(offloaded.counters().refused);
  tallies.offload_packets.set(offloaded.counters().packets);
}

void Dataplane::State::finish(Lane& lane, std::size_t queue, std::size_t count, std::uint64_t now_ns) noexcept {
  const std::span packets(lane.packets.data(), count);
  std::array<std::uint32_t, burst> from;
  for (std::size_t i = 0; i < count; ++i) from[i] = packets[i].port;
  lane.worker.process(packets, now_ns);
  std::size_t sent = 0;
  std::size_t dropped = 0;
  // Neighbours mostly leave by the same port: its counters are written once.
  std::uint32_t port = 0;
  std::uint64_t run = 0;
  std::uint64_t bytes = 0;
  const auto count_run = [&] {
    if (auto* tally = lane.tallies.of(port); tally != nullptr && run > 0) {
      tally->to_packets.add(run);
      tally->to_bytes.add(bytes);
    }
    run = bytes = 0;
  };
  for (std::size_t i = 0; i < count; ++i) {
    const Packet& packet = packets[i];
    if (packet.drop == Drop::none) [[likely]] {
      if (packet.port != port) {
        count_run();
        port = packet.port;
      }
      ++run;
      bytes += packet.frame_bytes;
      if (sent != i) packets[sent] = packet;
      ++sent;
    } else if (packet.drop != Drop::elsewhere) {
      if (auto* tally = lane.tallies.of(from[i]); tally != nullptr) tally->dropped.add(1);
      lane.dropped[dropped++] = packet;
    }
  }
  count_run();
  if (sent > 0) send(lane, queue, packets.first(sent), now_ns);
  for (std::uint64_t handed = lane.worker.take_handed(); handed != 0; handed &= handed - 1)
    ports.wake(static_cast<std::size_t>(std::countr_zero(handed)));
  if (dropped > 0) ports.release(std::span(lane.dropped).first(dropped));

  auto& tallies = lane.tallies;
  if (const auto* offloaded = lane.worker.offloaded(); offloaded != nullptr) [[unlikely]]
    count_offloaded(tallies, *offloaded);
  tallies.connections.set(lane.worker.flows().size());
  if (count == 0) return;
  const auto end_ns = static_cast<std::uint64_t>(clock.now().time_since_epoch().count());
  tallies.add_burst(end_ns - now_ns);
  tallies.slow_path.set(lane.worker.slow_path());
  tallies.answers.set(lane.worker.gateway().answers());
  tallies.icmp_errors.set(lane.worker.gateway().errors());
  for (std::size_t i = 0; i < drop_reasons; ++i) tallies.packets[i].set(lane.worker.packets()[i]);
}

}  // namespace ironcore::network
