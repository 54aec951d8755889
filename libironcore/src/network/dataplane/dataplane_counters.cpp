// SPDX-License-Identifier: Apache-2.0
// What workers count, added up: of the host, of interfaces, of ports.
#include <algorithm>

#include "dataplane_state.hpp"

namespace ironcore::network {

namespace {

using dataplane::Worker;

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

void add_offload(OffloadCounters& out, const dataplane::Tallies& tallies) {
  out.connections += tallies.offloaded.get();
  out.installed += tallies.offload_installed.get();
  for (std::size_t i = 0; i < flow_refusals; ++i) out.refused[i] += tallies.offload_refused[i].get();
  out.packets += tallies.offload_packets.get();
  out.resets += tallies.offload_resets.get();
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

}  // namespace

DataplaneCounters Dataplane::counters() const {
  DataplaneCounters out;
  if (state_->options.flow_offload != nullptr) out.offload.emplace();
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
    if (out.offload) add_offload(*out.offload, tallies);
  }
  out.fast_path = known_packets(out, rounds);
  return out;
}

std::vector<InterfaceCounters> Dataplane::interface_counters() const {
  std::lock_guard guard(state_->mutex);
  std::vector<InterfaceCounters> out;
  for (const auto& [id, tally] : state_->interface_tallies) {
    const auto sum = state_->sum_of(tally);
    out.push_back({id, sum.from_packets, sum.from_bytes, sum.to_packets, sum.to_bytes, sum.dropped, sum.icmp_errors,
                   state_->heard_mac(id), tally.number.has_value()});
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

// ---- of interfaces -----------------------------------------------------------------------------------------------------

dataplane::PortTally Dataplane::State::total(std::uint32_t port) const {
  PortTally sum;
  for (const auto& lane : lanes) {
    sum += lane->tallies.get(port);
    sum.icmp_errors += lane->worker.gateway().errors_at(port);
  }
  return sum;
}

std::optional<MacAddress> Dataplane::State::heard_mac(const std::string& id) const {
  const auto& view = *snapshots.newest().interfaces[compiler.interface_index(id)];
  return view.told.mac ? std::nullopt : view.mac;
}

dataplane::PortTally Dataplane::State::sum_of(const InterfaceTally& tally) const {
  PortTally sum = tally.before;
  if (tally.number) (sum += total(*tally.number)) -= tally.base;
  return sum;
}

void Dataplane::State::count_at(const std::string& interface, const std::string& port) {
  auto& tally = interface_tallies[interface];
  tally.before = sum_of(tally);
  tally.port = port;
  const auto there = port_numbers.find(port);
  tally.number = there == port_numbers.end() ? std::nullopt : std::optional(there->second);
  tally.base = tally.number ? total(*tally.number) : PortTally();
}

void Dataplane::State::follow_interfaces(const std::set<std::string>& ids) {
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

}  // namespace ironcore::network
