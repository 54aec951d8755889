// SPDX-License-Identifier: Apache-2.0
// The engine's own actions said in the words of the seam, and compared again and again.
#include "offloaded_flows.hpp"

#include <algorithm>
#include <limits>

#include "tracking.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t events_at_once = 32;
/// How much more is looked at and checked while there are no packets that would wait for it.
constexpr std::uint32_t idle_times = 64;
/// After the device was full.
constexpr Tick full_pause = 1;
/// Before a connection that was refused, or was silent in the hardware, is tried again.
constexpr Tick refused_pause = 60;
constexpr std::uint64_t ethernet_header = 14;
constexpr std::uint64_t outer_header = 40;

IpAddress address_of(const std::uint8_t* bytes, bool is_v6) noexcept {
  if (is_v6) {
    std::array<std::uint8_t, 16> all;
    std::copy_n(bytes, all.size(), all.begin());
    return IpAddress::v6(all);
  }
  return IpAddress::v4(static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
                       static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3]);
}
MacAddress mac_at(const std::uint8_t* bytes) noexcept {
  std::array<std::uint8_t, 6> all;
  std::copy_n(bytes, all.size(), all.begin());
  return MacAddress(all);
}

bool is_attached(const Snapshot& snapshot, std::uint32_t interface) noexcept {
  if (interface >= snapshot.interfaces.size() || !snapshot.interfaces[interface]) return false;
  const auto& at = snapshot.attachments[interface];
  return at.port != no_port && at.has_mac && !at.is_limited;
}

}  // namespace

std::string_view obstacle(const Snapshot& snapshot, const Connection& connection, Direction direction) {
  const auto& [key, action] = connection.side(direction);
  if (key.protocol() == protocol_tcp) {
    if (TcpTracking(connection.state.tcp).phase() != TcpTracking::Phase::established)
      return "TCP goes there once it is established, and until it ends";
    if (connection.state.is_one_sided) return "its answers do not come this way";
  } else if (key.protocol() != protocol_udp) {
    return "only TCP and UDP go there";
  }
  if (action.translates_family) return "the engine alone translates between IPv4 and IPv6";
  const auto scope = key.scope();
  if (!scope.is_wire() && !is_attached(snapshot, scope.interface()))
    return "its sender has rates, or has no port or MAC";
  switch (action.verdict) {
    case Verdict::machine:
      return is_attached(snapshot, action.out) ? "" : "its receiver has rates, or has no port or MAC";
    case Verdict::underlay:
      // What came from the wire and goes there again keeps its outer hop limit: only the engine does that.
      if (scope.is_wire() || connection.state.owner >= snapshot.attachments.size())
        return "it comes from another host and goes on to one";
      return snapshot.uplink_for(action.entropy) == nullptr ? "there is no uplink for it" : "";
    case Verdict::here:
      return "it goes round on this host";
    case Verdict::plain:
    case Verdict::drop:
      break;
  }
  return "it goes to nobody that the hardware reaches";
}

std::optional<OffloadedFlow> describe(const Snapshot& snapshot, const Connection& connection, Direction direction,
                                      std::uint32_t port) {
  if (!obstacle(snapshot, connection, direction).empty()) return std::nullopt;
  const auto& [key, action] = connection.side(direction);

  OffloadedFlow out;
  auto& match = out.match;
  match.port = port;
  match.protocol = key.protocol();
  match.source = address_of(key.source(), key.is_v6());
  match.destination = address_of(key.destination(), key.is_v6());
  match.source_port = key.source_port();
  match.destination_port = key.destination_port();
  auto& change = out.change;
  const FlowKey& opposite_key = connection.side(opposite(direction)).key;
  change.source = address_of(opposite_key.destination(), opposite_key.is_v6());
  change.destination = address_of(opposite_key.source(), opposite_key.is_v6());
  change.source_port = opposite_key.destination_port();
  change.destination_port = opposite_key.source_port();

  const auto scope = key.scope();
  if (scope.is_wire()) {
    auto underlay = snapshot.host;
    const auto suffix = scope.underlay_suffix();
    std::copy(suffix.begin(), suffix.end(), underlay.begin() + 8);
    match.underlay = IpAddress::v6(underlay);
  } else {
    const auto& sender = snapshot.attachments[scope.interface()];
    match.port = sender.port;
    match.source_mac = mac_at(sender.addresses.data());
    change.counts_down = true;
  }

  if (action.verdict == Verdict::machine) {
    const auto& receiver = snapshot.attachments[action.out];
    change.port = receiver.port;
    change.destination_mac = mac_at(receiver.addresses.data());
    change.source_mac = mac_at(receiver.addresses.data() + 6);
    return out;
  }
  const auto* uplink = snapshot.uplink_for(action.entropy);
  change.port = uplink->port;
  change.destination_mac = uplink->neighbour;
  change.source_mac = snapshot.ports[uplink->port].mac;
  change.encapsulation =
      FlowChange::Encapsulation{.source = IpAddress::v6(snapshot.attachments[connection.state.owner].underlay),
                                .destination = IpAddress::v6(snapshot.next_hops[action.out]),
                                .flow_label = action.entropy};
  return out;
}

OffloadedFlows::OffloadedFlows(FlowOffload& device, std::size_t queue, const OffloadOptions& options, FlowTable& table,
                               const Generations& generations)
    : device_(device),
      queue_(queue),
      options_(options),
      table_(table),
      generations_(generations),
      entries_(std::min(options.connections, table.capacity())),
      looks_(table.capacity()) {
  hits_.reserve(most_flows * (events_at_once + std::size_t{options.checks} * idle_times));
}

void OffloadedFlows::work(const Snapshot& snapshot, Tick now, std::size_t packets) noexcept {
  const std::uint32_t times = packets == 0 ? idle_times : 1;
  hits_.clear();
  take_events(snapshot, now);
  const auto checks = std::min(options_.checks * times, used_);
  for (std::uint32_t i = 0; i < checks; ++i) {
    if (next_check_ >= used_) next_check_ = 0;
    check(snapshot, next_check_++, now);
  }
  if (next_look_ >= table_.capacity()) next_look_ = 0;
  const auto looks = std::min(options_.looks * times, table_.capacity());
  table_.visit(next_look_, looks, [&](Connection& connection) { look(snapshot, connection, now); });
  next_look_ += looks;
}

// ---- what the device says ----------------------------------------------------------------------------------------------

void OffloadedFlows::take_events(const Snapshot& snapshot, Tick now) noexcept {
  std::array<FlowEvent, events_at_once> events;
  const auto count = device_.poll(queue_, events);
  for (const auto& event : std::span(events).first(count)) {
    if (event.kind == FlowEvent::Kind::reset) {
      reset(now);
      continue;
    }
    const auto number = static_cast<std::uint32_t>(event.id / most_flows);
    if (number >= used_ || entries_[number].place == nobody) continue;  // not ours, or of before a reset
    Entry& entry = entries_[number];
    Flow& flow = entry.flows[event.id % most_flows];
    Look& seen = looks_[entry.place];
    switch (event.kind) {
      case FlowEvent::Kind::installed:
        if (flow.phase == Flow::Phase::installing) flow.phase = Flow::Phase::installed;
        break;
      case FlowEvent::Kind::refused:
        // One that is being removed is told as removed, too; only then is its id free.
        if (flow.phase == Flow::Phase::installing) flow.phase = Flow::Phase::none;
        ++counters_.refused[static_cast<std::size_t>(event.refusal)];
        if (event.refusal == FlowEvent::Refusal::full) pause_until_ = now + full_pause;
        if (seen.entry == number)
          seen.at = now + (event.refusal == FlowEvent::Refusal::full ? full_pause : refused_pause);
        entry.is_leaving = true;  // both directions or neither
        break;
      case FlowEvent::Kind::removed:
        add_hits(entry, flow, event.hits, now);
        flow.phase = Flow::Phase::none;
        break;
      case FlowEvent::Kind::idle:
        check(snapshot, number, now);
        continue;
      case FlowEvent::Kind::reset:
        break;
    }
    if (entry.is_leaving) let_go(entry);
    free_if_done(number);
  }
}

void OffloadedFlows::reset(Tick now) noexcept {
  ++counters_.resets;
  for (std::uint32_t number = 0; number < used_; ++number) {
    Entry& entry = entries_[number];
    if (entry.place == nobody) continue;
    for (auto& flow : entry.flows) flow.phase = Flow::Phase::none;
    looks_[entry.place].at = now;
    free_if_done(number);
  }
}

// ---- what is offloaded -------------------------------------------------------------------------------------------------

Connection* OffloadedFlows::connection_of(const Entry& entry) const noexcept {
  Connection& connection = table_[entry.place];
  const bool is_same = connection.state.timeout != 0 && connection.side(Direction::forward).key == entry.keys[0] &&
                       connection.side(Direction::reverse).key == entry.keys[1];
  return is_same ? &connection : nullptr;
}

bool OffloadedFlows::is_right(const Snapshot& snapshot, const Entry& entry, Tick now) const noexcept {
  const auto* connection = connection_of(entry);
  // One silent direction alone is nothing: many send and hardly hear.
  if (connection == nullptr || now - connection->state.seen >= options_.idle_seconds ||
      !generations_.is_unchanged(connection->state.slots, connection->state.valid_at))
    return false;
  for (const auto& flow : entry.flows) {
    if (flow.phase == Flow::Phase::none) continue;
    auto should = describe(snapshot, *connection, flow.direction, flow.told.match.port);
    if (!should) return false;
    should->id = flow.told.id;
    should->idle = flow.told.idle;
    if (!(*should == flow.told)) return false;
  }
  return true;
}

void OffloadedFlows::check(const Snapshot& snapshot, std::uint32_t number, Tick now) noexcept {
  Entry& entry = entries_[number];
  if (entry.place == nobody) return;
  std::array<std::uint64_t, most_flows> ids;
  std::array<Flow*, most_flows> flows;
  std::array<FlowHits, most_flows> hits;
  std::size_t count = 0;
  bool is_installed = true;
  for (auto& flow : entry.flows) {
    is_installed = is_installed && flow.phase != Flow::Phase::installing;
    if (flow.phase != Flow::Phase::installed) continue;
    ids[count] = flow.told.id;
    flows[count++] = &flow;
  }
  if (count > 0) device_.hits(queue_, std::span(ids).first(count), std::span(hits).first(count));
  for (std::size_t i = 0; i < count; ++i) add_hits(entry, *flows[i], hits[i], now);
  if (is_installed && count > 0 && !entry.is_counted && !entry.is_leaving) {
    entry.is_counted = true;
    ++counters_.installed;
  }
  if (!entry.is_leaving && !is_right(snapshot, entry, now)) entry.is_leaving = true;
  if (entry.is_leaving) let_go(entry);
  free_if_done(number);
}

void OffloadedFlows::add_hits(Entry& entry, Flow& flow, const FlowHits& hits, Tick now) noexcept {
  if (hits.packets <= flow.counted.packets) return;
  const auto packets = hits.packets - flow.counted.packets;
  const auto bytes = hits.bytes - flow.counted.bytes;
  flow.counted = hits;
  counters_.packets += packets;
  const auto& told = flow.told;
  if (hits_.size() < hits_.capacity())
    hits_.push_back({told.match.port, told.change.port, packets,
                     bytes + packets * (ethernet_header + (told.match.underlay ? outer_header : 0)),
                     bytes + packets * (ethernet_header + (told.change.encapsulation ? outer_header : 0))});
  auto* connection = connection_of(entry);
  if (connection == nullptr) return;
  auto& state = connection->state;
  const auto direction = static_cast<std::size_t>(flow.direction);
  state.packets[direction] += static_cast<std::uint32_t>(packets);
  state.bytes[direction] += bytes;
  state.seen = now;
}

/// As far as the device takes commands; the rest at the next check.
void OffloadedFlows::let_go(Entry& entry) noexcept {
  for (auto& flow : entry.flows)
    if ((flow.phase == Flow::Phase::installing || flow.phase == Flow::Phase::installed) &&
        device_.remove(queue_, flow.told.id))
      flow.phase = Flow::Phase::removing;
}

std::uint32_t OffloadedFlows::take_entry() noexcept {
  std::uint32_t number = free_;
  if (number != nobody)
    free_ = entries_[number].next_free;
  else if (used_ < entries_.size())
    number = used_++;
  if (number != nobody) ++counters_.connections;
  return number;
}

void OffloadedFlows::free_if_done(std::uint32_t number) noexcept {
  Entry& entry = entries_[number];
  if (entry.place == nobody) return;
  for (const auto& flow : entry.flows)
    if (flow.phase != Flow::Phase::none) return;
  if (looks_[entry.place].entry == number) looks_[entry.place].entry = nobody;
  entry = Entry();
  entry.next_free = free_;
  free_ = number;
  --counters_.connections;
}

// ---- what is told ------------------------------------------------------------------------------------------------------

std::string OffloadedFlows::tell(const Snapshot& snapshot, const Connection& connection,
                                 std::optional<std::uint32_t> place, Tick now) const {
  if (place && looks_[*place].entry != nobody) return tell_entry(looks_[*place].entry);
  std::size_t flows = 0;
  for (const auto direction : {Direction::forward, Direction::reverse}) {
    if (const auto why = obstacle(snapshot, connection, direction); !why.empty())
      return (direction == Direction::forward ? "no: " : "no, because of its answers: ") + std::string(why);
    flows += connection.side(direction).key.scope().is_wire() ? snapshot.uplinks.size() : 1;
  }
  if (flows > most_flows) return "no: there are too many uplinks by which its packets may come";
  if (place && looks_[*place].at > now)
    return "no: the hardware has refused it, and is asked again in " + std::to_string(looks_[*place].at - now) + " s";
  if (counters_.connections >= entries_.size())
    return "no: the hardware has as many connections as it may have, " + std::to_string(entries_.size());
  if (pause_until_ > now) return "no: the hardware has no room for more now";
  return "not yet: it would be, from " + std::to_string(options_.packets_per_second) + " packets a second on";
}

std::string OffloadedFlows::tell_entry(std::uint32_t number) const {
  const Entry& entry = entries_[number];
  if (entry.is_leaving) return "not any more: it is being taken out";
  std::uint64_t packets = 0;
  for (const auto& flow : entry.flows) {
    if (flow.phase == Flow::Phase::installing) return "nearly: the hardware has been told, and has not answered yet";
    if (flow.phase != Flow::Phase::none) packets += flow.counted.packets;
  }
  return "yes: the hardware forwards it, " + std::to_string(packets) +
         " packets so far; plain packets do not come here";
}

// ---- what is worth it --------------------------------------------------------------------------------------------------

std::uint32_t OffloadedFlows::place_of(const Connection& connection) const noexcept {
  return static_cast<std::uint32_t>(&connection - &table_[0]);
}

void OffloadedFlows::look(const Snapshot& snapshot, Connection& connection, Tick now) noexcept {
  const auto place = place_of(connection);
  Look& last = looks_[place];
  const std::uint32_t packets = connection.state.packets[0] + connection.state.packets[1];
  if (now <= last.at) {
    // Whoever is not to be tried is not to look busy afterwards, either.
    if (now < last.at) last.packets = packets;
    return;
  }
  // Of another connection, which had this place before, there may have been more.
  const std::uint32_t came = packets < last.packets ? 0 : packets - last.packets;
  const bool is_busy = came >= std::uint64_t{options_.packets_per_second} * (now - last.at) && last.at != 0;
  last.packets = packets;
  last.at = now;
  if (is_busy && last.entry == nobody && now >= pause_until_) offload(snapshot, connection, place);
}

bool OffloadedFlows::offload(const Snapshot& snapshot, Connection& connection, std::uint32_t place) noexcept {
  if (!generations_.is_unchanged(connection.state.slots, connection.state.valid_at)) return false;
  std::array<OffloadedFlow, most_flows> told;
  std::array<Direction, most_flows> directions{};
  std::size_t count = 0;
  for (const auto direction : {Direction::forward, Direction::reverse}) {
    const bool is_wire = connection.side(direction).key.scope().is_wire();
    // Answers may come by any uplink.
    const std::size_t ports = is_wire ? snapshot.uplinks.size() : 1;
    if (ports == 0) return false;
    for (std::size_t i = 0; i < ports; ++i) {
      const auto flow = describe(snapshot, connection, direction, is_wire ? snapshot.uplinks[i].port : no_port);
      if (!flow || count == most_flows) return false;
      told[count] = *flow;
      directions[count++] = direction;
    }
  }
  const auto number = take_entry();
  if (number == nobody) return false;
  Entry& entry = entries_[number];
  entry = Entry();
  entry.place = place;
  entry.keys = {connection.side(Direction::forward).key, connection.side(Direction::reverse).key};
  looks_[place].entry = number;
  for (std::size_t i = 0; i < count; ++i) {
    Flow& flow = entry.flows[i];
    told[i].id = std::uint64_t{number} * most_flows + i;
    told[i].idle = std::chrono::seconds(options_.idle_seconds);
    if (!device_.install(queue_, told[i])) {
      entry.is_leaving = true;
      break;
    }
    flow.phase = Flow::Phase::installing;
    flow.direction = directions[i];
    flow.told = told[i];
  }
  if (entry.is_leaving) let_go(entry);
  free_if_done(number);
  return true;
}

}  // namespace ironcore::network::dataplane
