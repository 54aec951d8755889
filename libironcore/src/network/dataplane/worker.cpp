// SPDX-License-Identifier: Apache-2.0
// Read a burst, find its flows, carry out what they say.
#include "worker.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "bytes.hpp"
#include "checksum.hpp"
#include "local_frames.hpp"
#include "rewrite.hpp"
#include "worker_packets.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint8_t next_header_ipv4 = 4;     // RFC 2003
constexpr std::uint8_t next_header_ipv6 = 41;    // RFC 2473
constexpr std::uint32_t longest_inner = 65'535;  // what the outer header can say
constexpr std::size_t host_bytes = 8;
/// Dead connections that a burst looks for, beside one for each of its packets: those that come must not outrun those that go.
constexpr std::uint32_t least_expired = 8;
/// And so many when no packet waits: some ten microseconds.
constexpr std::uint32_t idle_expired = 128;
/// Connections that a burst looks at while a NAT that was told anew awaits its flows: as long as a few packets take.
constexpr std::uint32_t most_followed = 32;
constexpr std::uint32_t idle_followed = 128;
/// Places of fragments, by fours, likewise.
constexpr std::size_t idle_swept = 64;
/// How long a flow that got no port of its NAT is refused without a look whether one is free.
constexpr Tick refusal_seconds = 2;
/// Whoever has more than so many times the connections that are free gets no more of them: so many that flood the table leave room
/// for others (dynamic threshold, Choudhury and Hahne 1998).
constexpr std::uint64_t share_of_free = 8;

bool is_icmp(const Headers& headers) noexcept {
  return headers.protocol == (headers.is_v6 ? protocol_icmpv6 : protocol_icmp);
}

/// Echoes and what has ports; all other ICMP is of no flow: each message is decided on by itself, unless it is about a packet of one.
bool is_flow(const Headers& headers) noexcept {
  return !is_icmp(headers) || is_echo(headers);
}

/// One router has been passed (RFC 1812 §5.3.1, RFC 8200 §3).
void count_down(std::uint8_t* ip, bool is_v6) noexcept {
  if (is_v6) {
    --ip[7];
    return;
  }
  --ip[8];
  const std::uint32_t sum = load16(ip + 10) + 0x100U;  // RFC 1141
  store16(ip + 10, static_cast<std::uint16_t>(sum + (sum >> 16)));
}

bool is_same_mac(const std::uint8_t* a, const std::uint8_t* b) noexcept {
  std::uint32_t first[2];
  std::uint16_t last[2];
  std::memcpy(&first[0], a, 4);
  std::memcpy(&first[1], b, 4);
  std::memcpy(&last[0], a + 4, 2);
  std::memcpy(&last[1], b + 4, 2);
  return first[0] == first[1] && last[0] == last[1];
}

void write_mac(std::uint8_t* at, const MacAddress& mac) noexcept {
  std::memcpy(at, mac.bytes().data(), mac.bytes().size());
}

}  // namespace

Worker::Worker(Published<Snapshot>& snapshots, std::size_t number, const Generations& generations, LearnedMacs& learned,
               const WorkerOptions& options, Crossing* crossing)
    : snapshots_(snapshots),
      number_(number),
      generations_(generations),
      options_(options),
      crossing_(crossing),
      flows_(options.connections, options.secret,
             options.kept == nullptr ? nullptr : options.kept->connections(number)),
      fragments_(options.fragments, options.secret),
      gateway_(options.gateway, options.interfaces, learned),
      owned_(options.interfaces + 1) {
  if (options.flow_offload != nullptr)
    offloaded_.emplace(*options.flow_offload, number, options.offload, flows_, generations);
}

const Snapshot& Worker::begin(std::uint64_t now_ns) noexcept {
  constexpr std::uint64_t second = 1'000'000'000;
  now_ns_ = now_ns;
  now_ = static_cast<Tick>(now_ns / second);
  return snapshots_.enter(number_);
}

bool Worker::announce(Packet& packet, std::uint64_t now_ns) noexcept {
  constexpr std::uint64_t second = 1'000'000'000;
  constexpr std::uint32_t quick_times = 12;
  const Snapshot& snapshot = begin(now_ns);
  const auto all = static_cast<std::uint32_t>(snapshot.interfaces.size()) * Gateway::announcements;
  while (announced_ < all) {
    const std::uint32_t place = announced_++;
    const auto what = static_cast<Gateway::Announcement>(place % Gateway::announcements);
    if (gateway_.announce(snapshot, place / Gateway::announcements, what, packet)) return true;
  }
  announced_ = 0;
  next_announcement_ns_ = now_ns + (announced_times_ < quick_times ? 5 : 30) * second;
  announced_times_ += announced_times_ < quick_times ? 1 : 0;
  return false;
}

void Worker::process(std::span<Packet> packets, std::uint64_t now_ns) noexcept {
  const Snapshot& snapshot = begin(now_ns);
  const auto count = static_cast<std::uint32_t>(packets.size());
  follow_nats(snapshot, count == 0 ? idle_followed : most_followed);
  while (!packets.empty()) {
    const auto some = packets.first(std::min(packets.size(), most_at_once));
    packets = packets.subspan(some.size());
    Burst burst;
    std::transform(some.begin(), some.end(), burst.begin(), [](Packet& packet) { return &packet; });
    Burst again;
    std::size_t again_count = 0;
    process_some(snapshot, {burst.data(), some.size()}, again, again_count);
    for (int round = 1; again_count > 0; ++round) {
      burst = again;
      const std::span<Packet*> round_packets{burst.data(), std::exchange(again_count, 0)};
      if (round == most_rounds) {
        for (auto* packet : round_packets) finish(snapshot, *packet, Drop::route, no_port);
        break;
      }
      counts_.rounds.add(round_packets.size());
      process_some(snapshot, round_packets, again, again_count);
    }
  }
  struct Context {
    Worker* worker;
    const Snapshot* snapshot;
  } context{this, &snapshot};
  const auto on_expired = [](void* at, Connection& connection) noexcept {
    const auto* with = static_cast<Context*>(at);
    with->worker->forget(*with->snapshot, connection);
    with->worker->counts_.expired.add(1);
  };
  if (offloaded_) offloaded_->work(snapshot, now_, count);
  fragments_.sweep(now_, count == 0 ? idle_swept : 1);
  flows_.expire(now_, count == 0 ? idle_expired : least_expired + count, on_expired, &context);
}

/// `elsewhere`: another worker has the packet. `busy`: that one has no room for it. `none`: it belongs here.
[[gnu::noinline]] Drop Worker::hand_over(const Snapshot& snapshot, Work& work) noexcept {
  Packet& packet = *work.packet;
  Dispatch dispatch(snapshot, crossing_->workers(), number_, fragments_, now_);
  const Place place = work.is_plain ? dispatch.of(work.key) : dispatch.of(packet);
  if (place.worker == number_) {
    packet.is_placed = true;
    return Drop::none;
  }
  packet.is_placed = place.is_final;
  if (!crossing_->push(number_, place.worker, packet)) return Drop::busy;
  handed_ |= std::uint64_t{1} << place.worker;
  return Drop::elsewhere;
}

/// All that a packet of a known flow needs is in this one function, when it is compiled: calls would cost a third of the time.
[[gnu::flatten]] void Worker::process_some(const Snapshot& snapshot, std::span<Packet*> packets, Burst& again,
                                           std::size_t& again_count) noexcept {
  auto& works = works_;
  std::size_t count = 0;
  for (auto* packet : packets) {
    Work& work = works[count];
    const std::uint32_t from = packet->is_from_here ? no_port : packet->port;
    const Drop drop = read(snapshot, *packet, work);
    if (drop != Drop::none || work.is_answered) [[unlikely]] {
      if (work.goes_round && drop == Drop::none)
        again[again_count++] = packet;
      else
        settle(snapshot, *packet, drop, from);
      continue;
    }
    work.hash = flows_.hash(work.key);
    flows_.prefetch(work.hash);
    ++count;
  }
  for (std::size_t i = 0; i < count; ++i) works[i].guess = flows_.candidate(works[i].hash);
  for (std::size_t i = 0; i < count; ++i) {
    Packet& packet = *works[i].packet;
    const std::uint32_t from = packet.is_from_here ? no_port : packet.port;
    const Drop drop = forward(snapshot, works[i]);
    if (works[i].goes_round && drop == Drop::none) [[unlikely]] {
      again[again_count++] = &packet;
      continue;
    }
    settle(snapshot, packet, drop, from);
  }
}

void Worker::settle(const Snapshot& snapshot, Packet& packet, Drop drop, std::uint32_t from) noexcept {
  packet.drop = drop;
  if (drop == Drop::none) [[likely]]
    ++packets_[0];
  else if (drop != Drop::elsewhere)
    finish(snapshot, packet, drop, from);
}

/// The last word on a dropped packet; a machine may hear why. `from`: its port, unless the packet has gone round: then it is not the machine's any more.
[[gnu::noinline]] void Worker::finish(const Snapshot& snapshot, Packet& packet, Drop drop,
                                      std::uint32_t from) noexcept {
  if (drop == Drop::outer && from < snapshot.ports.size() && packet.port == from)
    drop = gateway_.answer_uplink(snapshot, packet);
  ++packets_[static_cast<std::size_t>(drop)];
  packet.drop = drop;
  if (from >= snapshot.ports.size()) return;
  const PortView& port = snapshot.ports[from];
  if (port.kind != PortView::Kind::machine || packet.port != from) return;
  if (gateway_.explain(snapshot, port.interface, drop, packet, now_ns_)) packet.drop = Drop::none;
}

// ---- reading ---------------------------------------------------------------------------------------------------------

Drop Worker::read(const Snapshot& snapshot, Packet& packet, Work& work) noexcept {
  work.packet = &packet;
  work.is_from_machine = work.is_answered = work.goes_round = false;
  if (packet.is_from_here) return read_wire(snapshot, packet, work);
  if (packet.port >= snapshot.ports.size()) return Drop::port;
  const PortView& port = snapshot.ports[packet.port];
  switch (port.kind) {
    case PortView::Kind::machine:
      return read_machine(snapshot, port.interface, packet, work);
    case PortView::Kind::uplink:
      return read_wire(snapshot, packet, work);
    case PortView::Kind::none:
      break;
  }
  return Drop::port;
}

Drop Worker::read_machine(const Snapshot& snapshot, std::uint32_t interface, Packet& packet, Work& work) noexcept {
  if (packet.bytes < ethernet_bytes) return Drop::malformed;
  const Attachment& attachment = snapshot.attachments[interface];
  const bool is_its_mac = attachment.has_mac && is_same_mac(packet.frame + 6, attachment.addresses.data());
  // One that was learned may change; the gateway is where that is heard.
  if (!is_its_mac && snapshot.interfaces[interface]->told.mac) [[unlikely]]
    return Drop::source_mac;
  const std::uint16_t type = load16(packet.frame + 12);
  if (type != ethertype_ipv4 && type != ethertype_ipv6) [[unlikely]] {
    return type == ethertype_arp ? answer(snapshot, interface, packet, work) : Drop::ethertype;
  }
  work.ip = ethernet_bytes;
  work.is_from_machine = true;
  const Drop drop = read_inner(snapshot, FlowScope::machine(interface), type == ethertype_ipv6,
                               packet.frame_bytes - work.ip, options_.gateway.mtu, work);
  if (drop != Drop::none) [[unlikely]]
    return drop;
  if (Gateway::is_for_gateway(inner_of(packet, work.ip), work.headers)) [[unlikely]]
    return answer(snapshot, interface, packet, work);
  if (attachment.has_mac && !is_its_mac) return Drop::source_mac;
  return work.headers.hop_limit <= 1 ? Drop::hop_limit : Drop::none;
}

[[gnu::noinline]] Drop Worker::answer(const Snapshot& snapshot, std::uint32_t interface, Packet& packet,
                                      Work& work) noexcept {
  work.is_answered = true;
  return is_explaining_ ? Drop::none : gateway_.answer(snapshot, interface, packet);
}

/// RFC 2473. What is for this host, but for nothing on it, may be somebody's probe; it is not answered.
Drop Worker::read_wire(const Snapshot& snapshot, Packet& packet, Work& work) noexcept {
  if (packet.bytes < ethernet_bytes + outer_bytes) return Drop::malformed;
  if (load16(packet.frame + 12) != ethertype_ipv6) return Drop::ethertype;
  const std::uint8_t* outer = packet.frame + ethernet_bytes;
  if (outer[0] >> 4 != 6) return Drop::malformed;
  const std::uint8_t next = outer[6];
  if (next != next_header_ipv4 && next != next_header_ipv6) return read_service(snapshot, packet, work);
  if (std::memcmp(outer + 24, snapshot.host.data(), host_bytes) != 0) return Drop::outer;
  const std::uint8_t* source = outer + 8;
  const bool is_from_group = source[0] == 0xff;
  const bool is_from_us = std::memcmp(source, snapshot.host.data(), host_bytes) == 0;
  if (is_from_group || is_from_us != packet.is_from_here) return Drop::outer;
  work.ip = ethernet_bytes + outer_bytes;
  const std::uint32_t length = load16(outer + 4);
  if (length > packet.frame_bytes - work.ip) return Drop::malformed;
  const Drop drop =
      read_inner(snapshot, FlowScope::wire(outer + 32), next == next_header_ipv6, length, options_.gateway.mtu, work);
  return drop == Drop::too_big ? refuse_length(snapshot, work) : drop;
}

/// What comes without an outer header may be an answer of a virtual service, or an error about a packet to it.
[[gnu::noinline]] Drop Worker::read_service(const Snapshot& snapshot, const Packet& packet, Work& work) noexcept {
  constexpr std::uint32_t growth = 20;  // of what a machine may send, by translation
  const std::uint8_t* ip = packet.frame + ethernet_bytes;
  const auto* underlay = snapshot.underlay(ip + 32);
  const bool is_for_service = underlay != nullptr && underlay->use == UnderlayUse::virtual_service &&
                              std::memcmp(ip + 24, snapshot.host.data(), host_bytes) == 0;
  const bool is_from_other = ip[8] != 0xff && std::memcmp(ip + 8, snapshot.host.data(), host_bytes) != 0;
  if (!is_for_service || !is_from_other || packet.is_from_here) return Drop::outer;
  work.ip = ethernet_bytes;
  return read_inner(snapshot, FlowScope::wire(ip + 32), true, packet.frame_bytes - work.ip,
                    options_.gateway.mtu + growth, work);
}

Drop Worker::read_inner(const Snapshot& snapshot, FlowScope scope, bool is_v6, std::uint32_t length, std::uint32_t most,
                        Work& work) noexcept {
  const Packet& packet = *work.packet;
  const std::uint8_t* ip = inner_of(packet, work.ip);
  const auto here = std::min(packet.bytes - work.ip, length);
  Headers& headers = work.headers;
  work.is_plain = parse_plain({ip, here}, length, headers);
  if (!work.is_plain) {
    // Whose it is may depend on other packets of its datagram, or on what it quotes; whoever has those reads it.
    if (may_cross(packet))
      if (const Drop drop = hand_over(snapshot, work); drop != Drop::none) return drop;
    headers = {};
    if (parse({ip, here}, length, headers) != Malformed::none) return Drop::malformed;
    if (headers.is_fragment && headers.is_v6 == is_v6 && !is_explaining_ && !fragments_.track(scope, ip, headers, now_))
      return Drop::fragment;
  }
  if (headers.is_v6 != is_v6) return Drop::malformed;
  work.key = FlowKey(scope, ip, headers);
  return length_on_the_way(packet, headers, ip) > most || headers.length > longest_inner ? Drop::too_big : Drop::none;
}

// ---- forwarding ------------------------------------------------------------------------------------------------------

Drop Worker::forward(const Snapshot& snapshot, Work& work) noexcept {
  FlowTable::Reference found;
  if (work.is_plain || is_flow(work.headers)) {
    found = find(snapshot, work.key, work.hash, work.guess);
  } else if (Drop drop = Drop::none; relate(snapshot, work, drop)) {
    return drop;
  }
  if (!found) [[unlikely]] {
    // What is known here belongs here; so only now, and for few packets, it is asked.
    if (may_cross(*work.packet))
      if (const Drop drop = hand_over(snapshot, work); drop != Drop::none) return drop;
    const Drop drop = open(snapshot, work, found);
    if (drop != Drop::none || !found) return drop;
  }
  Connection& connection = flows_[found.connection()];
  const auto direction = found.direction();
  const auto& side = connection.side(direction);
  if (side.action.verdict == Verdict::drop) return static_cast<Drop>(side.action.out);
  auto& state = connection.state;
  state.seen = now_;
  ++state.packets[static_cast<std::size_t>(direction)];
  state.bytes[static_cast<std::size_t>(direction)] += work.headers.length;
  if (work.headers.protocol == protocol_tcp && work.headers.has_transport) track(connection, direction, work);
  return execute(snapshot, side.action, connection.side(opposite(direction)).key, state.owner, work);
}

/// One that is still as the configuration wants it.
FlowTable::Reference Worker::find(const Snapshot& snapshot, const FlowKey& key, std::uint64_t hash,
                                  FlowTable::Reference guess) noexcept {
  const auto found = flows_.find(key, hash, guess);
  if (!found) [[unlikely]]
    return found;
  Connection& connection = flows_[found.connection()];
  // Nobody has come to take it away yet.
  if (now_ - connection.state.seen >= connection.state.timeout) [[unlikely]] {
    forget(snapshot, connection);
    flows_.erase(connection);
    counts_.expired.add(1);
    return {};
  }
  if (connection.state.valid_at == snapshot.number) [[likely]]
    return found;
  return is_valid_still(snapshot, connection) ? found : flows_.find(key, hash);  // it may have moved
}

/// Of one that was last checked against another configuration. What has not changed up to this one needs no look until the next one.
bool Worker::is_valid_still(const Snapshot& snapshot, Connection& connection) noexcept {
  if (!generations_.is_unchanged(connection.state.slots, connection.state.valid_at))
    return check_again(snapshot, connection);
  connection.state.valid_at = snapshot.number;
  return true;
}

/// An ICMP error about a packet of a flow goes the way of that flow's answers (RFC 5508). False: it is about none.
[[gnu::noinline]] bool Worker::relate(const Snapshot& snapshot, Work& work, Drop& drop) noexcept {
  const Headers& headers = work.headers;
  if (headers.is_fragment || !headers.has_transport || !is_icmp_error(headers)) return false;
  constexpr std::uint32_t icmp_header = 8;
  const std::uint32_t quote = headers.transport + icmp_header;
  const std::uint8_t* ip = inner_of(*work.packet, work.ip);
  const std::uint32_t here = std::min(work.packet->bytes - work.ip, headers.length);
  if (quote > here) return false;
  Headers quoted;
  if (parse({ip + quote, here - quote}, headers.length - quote, quoted, Extent::quoted) != Malformed::none ||
      quoted.is_v6 != headers.is_v6)
    return false;
  // Who sent the quoted packet is who hears of it.
  const bool is_to_sender =
      headers.is_v6 ? std::memcmp(ip + 24, ip + quote + 8, 16) == 0 : std::memcmp(ip + 16, ip + quote + 12, 4) == 0;
  if (!is_to_sender) return false;
  const FlowScope scope = work.key.scope();
  const FlowKey key = FlowKey(scope, ip + quote, quoted).reversed(scope);
  const auto found = find(snapshot, key, flows_.hash(key), {});
  if (!found) return false;
  const Connection& connection = flows_[found.connection()];
  const auto& side = connection.side(found.direction());
  const FlowKey& other = connection.side(opposite(found.direction())).key;
  if (side.action.verdict == Verdict::drop) {
    drop = static_cast<Drop>(side.action.out);
    return true;
  }
  if (!scope.is_wire()) {
    // A router that a machine plays for others would be another matter.
    const auto& sender = *snapshot.interfaces[scope.interface()];
    const auto source = headers.is_v6 ? bits_of(load_v6(ip + 8)) : bits_of(load_v4(ip + 12));
    if (!sender.own.of(headers.is_v6).find(source)) {
      drop = Drop::source_address;
      return true;
    }
    if (!is_within_rates(sender, Way::egress, side.action, work)) {
      drop = Drop::rate;
      return true;
    }
  }
  if (side.action.translates_family) {
    drop = translate_family(other, work);
  } else if (side.action.rewrites && !rewrite_error({*work.packet, work.ip, headers}, side.key, other)) {
    drop = Drop::translation;
  }
  if (drop == Drop::none) drop = pass_on(snapshot, side.action, connection.state.owner, work);
  return true;
}

/// A new connection; or, for what is of no flow, what happens to this one packet: then `found` stays empty.
[[gnu::noinline]] Drop Worker::open(const Snapshot& snapshot, Work& work, FlowTable::Reference& found) noexcept {
  ++slow_path_;
  const Headers& headers = work.headers;
  const Question question{work.key, work.hash, headers.icmp_type, headers.icmp_code, nullptr, number_};
  const Decision decision = decide(snapshot, question, options_.has_firewall);
  counts_.add(decision.stages, decision.drop);
  // While a NAT awaits its flows, ports become free at any moment.
  if (decision.drop == Drop::nat_ports && is_flow(headers) && !is_following_)
    return remember_refusal(snapshot, work, decision.drop);
  if (decision.drop != Drop::none) return decision.drop;
  if (decision.is_echo_for_us) {
    const Drop drop = answer_echo(work);
    return drop == Drop::none ? carry(snapshot, decision.forward, decision.owner, work) : drop;
  }
  if (!is_flow(headers)) return execute(snapshot, decision.forward, decision.reverse_key, decision.owner, work);

  const bool is_tcp = headers.protocol == protocol_tcp;
  const Tick timeout = is_tcp ? options_.timeouts.tcp_transitory : timeout_of(headers.protocol, options_.timeouts);
  const bool has_room = has_share(decision.owner);
  auto inserted = has_room ? flows_.insert(work.key, decision.reverse_key, now_, timeout) : FlowTable::Inserted();
  // Whoever has the answers' key may have no right to it any more.
  if (inserted.refusal == FlowTable::Refusal::taken &&
      !find(snapshot, decision.reverse_key, flows_.hash(decision.reverse_key), {}))
    inserted = flows_.insert(work.key, decision.reverse_key, now_, timeout);
  if (inserted.connection == nullptr) {
    if (decision.holds_port) give_back_port(snapshot, decision.owner, snapshot.number, work.key, decision.reverse_key);
    // Somebody else's answers look like this one's: of both only the older one is known. It goes, but is not remembered.
    if (inserted.refusal == FlowTable::Refusal::taken && !decision.holds_port)
      return execute(snapshot, decision.forward, decision.reverse_key, decision.owner, work);
    return Drop::table_full;
  }
  Connection& connection = *inserted.connection;
  connection.side(Direction::forward).action = decision.forward;
  connection.side(Direction::reverse).action = decision.reverse;
  connection.state.owner = decision.owner;
  connection.state.slots = decision.slots;
  connection.state.holds_port = decision.holds_port;
  connection.state.is_one_sided = decision.is_one_sided;
  if (is_echo(headers)) connection.state.tcp = headers.icmp_type;
  FlowTable::complete(connection, snapshot.number);
  ++owned(decision.owner);
  counts_.opened.add(1);
  found = flows_.find(work.key, work.hash);
  return Drop::none;
}

/// So that the flow's next packets cost one search.
Drop Worker::remember_refusal(const Snapshot& snapshot, const Work& work, Drop drop) noexcept {
  const auto owner =
      static_cast<std::uint16_t>(work.key.scope().is_wire() ? ConnectionState::nobody : work.key.scope().interface());
  if (!has_share(owner)) return drop;
  const auto inserted = flows_.insert(work.key, work.key, now_, refusal_seconds);
  if (inserted.connection == nullptr) return drop;
  Action action;
  action.out = static_cast<std::uint32_t>(drop);
  for (auto& side : inserted.connection->sides) side.action = action;
  auto& state = inserted.connection->state;
  state.owner = owner;
  state.valid_at = snapshot.number;
  if (owner != ConnectionState::nobody) state.slots[0] = Generations::interface(owner);
  ++owned(owner);
  counts_.opened.add(1);
  return drop;
}

std::uint32_t& Worker::owned(std::uint16_t owner) noexcept {
  return owned_[std::min<std::size_t>(owner, owned_.size() - 1)];
}

bool Worker::has_share(std::uint16_t owner) const noexcept {
  const std::uint64_t free = flows_.capacity() - flows_.size();
  return owned_[std::min<std::size_t>(owner, owned_.size() - 1)] < share_of_free * free;
}

/// What the configuration says now, with the choices of before where these are still legal. False: the connection is no more, or is another one.
[[gnu::noinline]] bool Worker::check_again(const Snapshot& snapshot, Connection& connection) noexcept {
  ++slow_path_;
  follow_nat(snapshot, connection);
  const FlowKey& key = connection.side(Direction::forward).key;
  const bool is_icmp = key.protocol() == (key.is_v6() ? protocol_icmpv6 : protocol_icmp);
  auto& state = connection.state;
  const Question question{key, flows_.hash(key), is_icmp ? state.tcp : std::uint8_t{0}, 0, &connection, number_};
  const Decision decision = decide(snapshot, question, options_.has_firewall);
  counts_.add(decision.stages, decision.drop);
  const bool is_of_this_worker =
      crossing_ == nullptr ||
      Dispatch(snapshot, crossing_->workers(), number_, fragments_, now_).of(key).worker == number_;
  const bool stays = is_of_this_worker && decision.drop == Drop::none && decision.owner == state.owner &&
                     decision.holds_port == state.holds_port &&
                     decision.reverse_key == connection.side(Direction::reverse).key;
  if (!stays) {
    const FlowKey& reverse = connection.side(Direction::reverse).key;
    FlowKey same_place = decision.reverse_key;
    same_place.set_scope(reverse.scope());
    const bool has_moved = decision.drop == Drop::none && decision.owner == state.owner && decision.holds_port &&
                           state.holds_port && same_place == reverse;
    if (has_moved) {
      move(snapshot, connection, decision.reverse_key);
    } else {
      forget(snapshot, connection);
      flows_.erase(connection);
      counts_.ended.add(1);
    }
    return false;
  }
  connection.side(Direction::forward).action = decision.forward;
  connection.side(Direction::reverse).action = decision.reverse;
  state.slots = decision.slots;
  state.valid_at = snapshot.number;
  counts_.kept.add(1);
  return true;
}

/// The answers come to another underlay address of the same NAT. It is looked at once more when it is found there.
void Worker::move(const Snapshot& snapshot, Connection& connection, const FlowKey& reverse) noexcept {
  const FlowKey forward = connection.side(Direction::forward).key;
  const FlowKey reverse_before = connection.side(Direction::reverse).key;
  const ConnectionState before = connection.state;
  flows_.erase(connection);
  const auto inserted = flows_.insert(forward, reverse, now_, before.timeout);
  if (inserted.connection == nullptr) {
    counts_.ended.add(1);
    --owned(before.owner);
    give_back_port(snapshot, before.owner, before.valid_at, forward, reverse_before);
    return;
  }
  auto& state = inserted.connection->state;
  state.seen = before.seen;
  state.owner = before.owner;
  state.holds_port = true;
  state.tcp = before.tcp;
  state.packets = before.packets;
  state.bytes = before.bytes;
  FlowTable::complete(*inserted.connection, before.valid_at);
  check_again(snapshot, *inserted.connection);
}

/// Pools that take the place of others are told of the flows that have their ports: a few connections at a time, each once in a pass. Pools that come
/// during one wait for the next one, so that no pool waits for more than two.
void Worker::follow_nats(const Snapshot& snapshot, std::uint32_t most) noexcept {
  auto& followed = *snapshot.followed_nats;
  is_following_ = followed.get(number_) < snapshot.nats_renewed;
  if (!is_following_) return;
  if (follow_next_ == 0) following_ = snapshot.number;
  const std::uint32_t count = std::min(most, flows_.places() - follow_next_);
  flows_.visit(follow_next_, count, [&](Connection& connection) { follow_nat(snapshot, connection); });
  counts_.followed.add(count);
  follow_next_ += count;
  if (follow_next_ < flows_.places()) return;
  follow_next_ = 0;
  followed.set(number_, following_);
  is_following_ = following_ < snapshot.nats_renewed;
}

/// The connection has its port of the pool that there is now, or none any more. Its next packet decides about all the rest.
void Worker::follow_nat(const Snapshot& snapshot, Connection& connection) noexcept {
  auto& state = connection.state;
  const auto& forward = connection.side(Direction::forward).key;
  const auto& reverse = connection.side(Direction::reverse).key;
  if (!state.holds_port || public_side(forward, reverse).is_v6()) return;
  auto* pool = pool_of(snapshot, state.owner, public_side(forward, reverse));
  if (pool == nullptr || state.valid_at >= pool->since() || state.valid_at < pool->born()) return;
  const auto holder = port_holder(forward, reverse, snapshot.interfaces[state.owner]->told.vni);
  state.holds_port = pool->follow(number_, holder.port, holder.inside, holder.outside, holder.opener, state.valid_at);
  // The configuration behind this number has changed the interface.
  state.slots = {Generations::interface(state.owner)};
  state.valid_at = pool->since();
}

/// Before a connection is erased.
void Worker::forget(const Snapshot& snapshot, const Connection& connection) noexcept {
  const auto& state = connection.state;
  --owned(state.owner);
  if (state.holds_port)
    give_back_port(snapshot, state.owner, state.valid_at, connection.side(Direction::forward).key,
                   connection.side(Direction::reverse).key);
}

/// Unless the ports of that time are gone: whoever checked the connection last saw `valid_at`.
void Worker::give_back_port(const Snapshot& snapshot, std::uint16_t owner, std::uint64_t valid_at,
                            const FlowKey& forward, const FlowKey& reverse) noexcept {
  auto* pool = pool_of(snapshot, owner, public_side(forward, reverse));
  if (pool == nullptr) return;
  const auto holder = port_holder(forward, reverse, Vni());
  pool->release(number_, holder.port, holder.outside, holder.opener, valid_at);
}

/// Where a connection's port is from, as far as it is still there; null = it is not.
NatPool* Worker::pool_of(const Snapshot& snapshot, std::uint16_t owner, const FlowKey& public_side) noexcept {
  if (public_side.is_v6()) {
    const auto* underlay = snapshot.underlay(public_side.scope().underlay_suffix().data());
    return underlay != nullptr && underlay->use == UnderlayUse::virtual_service
               ? snapshot.virtual_services[underlay->index]->pool.get()
               : nullptr;
  }
  const bool is_there = owner < snapshot.interfaces.size() && snapshot.interfaces[owner];
  return is_there ? snapshot.interfaces[owner]->nat_pool.get() : nullptr;
}

void Worker::track(Connection& connection, Direction direction, const Work& work) noexcept {
  auto& state = connection.state;
  TcpTracking tracking(state.tcp);
  tracking.see(direction, work.headers.tcp_flags);
  if (tracking.state() == state.tcp) return;
  state.tcp = tracking.state();
  flows_.set_timeout(connection, state.is_one_sided ? tracking.one_sided_timeout(options_.timeouts)
                                                    : tracking.timeout(options_.timeouts));
}

// ---- carrying out ----------------------------------------------------------------------------------------------------

Drop Worker::execute(const Snapshot& snapshot, const Action& action, const FlowKey& opposite, std::uint32_t owner,
                     Work& work) noexcept {
  if (action.verdict == Verdict::drop) return static_cast<Drop>(action.out);
  if (work.is_from_machine) {
    const std::uint32_t sender = work.key.scope().interface();
    if (snapshot.attachments[sender].is_limited &&
        !is_within_rates(*snapshot.interfaces[sender], Way::egress, action, work))
      return Drop::rate;
  }
  if (action.translates_family) [[unlikely]]
    return execute_translated(snapshot, action, opposite, owner, work);
  if (action.rewrites && !rewrite({*work.packet, work.ip, work.headers}, action, opposite)) return Drop::translation;
  return pass_on(snapshot, action, owner, work);
}

[[gnu::noinline]] bool Worker::is_within_rates(const InterfaceView& interface, Way way, const Action& action,
                                               Work& work) const noexcept {
  if (!interface.meters) return true;
  const auto color = interface.meters->mark(way, action.is_public, now_ns_, work.headers.length);
  if (is_explaining_ && interface.meters->is_limited(way, action.is_public))
    work.colors[static_cast<std::size_t>(way)] = color;
  return color != Color::red;
}

/// As a router does it; the other one that a packet from the wire has passed did so there.
Drop Worker::pass_on(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept {
  const Drop drop = carry(snapshot, action, owner, work);
  if (drop == Drop::none && work.is_from_machine) count_down(inner_of(*work.packet, work.ip), work.headers.is_v6);
  return drop;
}

Drop Worker::carry(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept {
  switch (action.verdict) {
    case Verdict::machine:
      return to_machine(snapshot, action, work);
    case Verdict::underlay:
    case Verdict::here:
      return to_underlay(snapshot, action, owner, work);
    case Verdict::plain:
      return to_service(snapshot, action, work);
    case Verdict::drop:
      break;
  }
  return static_cast<Drop>(action.out);
}

/// Of a load balancer or NAT, whose address nobody has: the request becomes the reply.
Drop Worker::answer_echo(Work& work) noexcept {
  const Headers& headers = work.headers;
  if (headers.is_fragment) return Drop::local;
  std::uint8_t* ip = inner_of(*work.packet, work.ip);
  // It sets out from here: what was left to the request is not its own. Counted down when it leaves.
  if (!work.is_from_machine) *(ip - outer_bytes + 7) = outer_hop_limit + 1;
  const std::uint32_t from = headers.is_v6 ? 8 : 12;
  const std::uint32_t bytes = headers.is_v6 ? 16 : 4;
  std::swap_ranges(ip + from, ip + from + bytes, ip + from + bytes);
  constexpr std::uint8_t hop_limit = 64;
  constexpr std::uint8_t reply_v6 = 129;
  std::uint8_t* icmp = ip + headers.transport;
  ChecksumDelta message;
  const std::uint16_t before = load16(icmp);
  icmp[0] = headers.is_v6 ? reply_v6 : std::uint8_t{0};
  message.replace16(before, load16(icmp));
  store16(icmp + 2, message.apply(load16(icmp + 2)));
  if (headers.is_v6) {
    ip[7] = hop_limit;
    return Drop::none;
  }
  ChecksumDelta header;
  const std::uint16_t old = load16(ip + 8);
  ip[8] = hop_limit;
  header.replace16(old, load16(ip + 8));
  store16(ip + 10, header.apply(load16(ip + 10)));
  return Drop::none;
}

Drop Worker::to_machine(const Snapshot& snapshot, const Action& action, Work& work) const noexcept {
  const Attachment& receiver = snapshot.attachments[action.out];
  if (receiver.port == no_port) return Drop::port_gone;
  if (!receiver.has_mac) return Drop::neighbour;
  if (receiver.is_limited && !is_within_rates(*snapshot.interfaces[action.out], Way::ingress, action, work))
    return Drop::rate;
  Packet& packet = *work.packet;
  if (work.ip != ethernet_bytes) packet.move_front(static_cast<std::int32_t>(work.ip - ethernet_bytes));
  work.ip = ethernet_bytes;
  packet.port = receiver.port;
  std::memcpy(packet.frame, receiver.addresses.data(), receiver.addresses.size());
  store16(packet.frame + 12, work.headers.is_v6 ? ethertype_ipv6 : ethertype_ipv4);
  return Drop::none;
}

/// The service knows nothing of outer headers.
Drop Worker::to_service(const Snapshot& snapshot, const Action& action, Work& work) noexcept {
  const UplinkView* uplink = snapshot.uplink_for(action.entropy);
  if (uplink == nullptr) return Drop::uplink;
  Packet& packet = *work.packet;
  packet.move_front(static_cast<std::int32_t>(work.ip - ethernet_bytes));
  work.ip = ethernet_bytes;
  packet.port = uplink->port;
  write_mac(packet.frame, uplink->neighbour);
  write_mac(packet.frame + 6, snapshot.ports[uplink->port].mac);
  store16(packet.frame + 12, ethertype_ipv6);
  return Drop::none;
}

Drop Worker::to_underlay(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept {
  const UplinkView* uplink = nullptr;
  if (action.verdict == Verdict::underlay) {
    uplink = snapshot.uplink_for(action.entropy);
    if (uplink == nullptr) return Drop::uplink;
  }
  Packet& packet = *work.packet;
  // What was sent to an address of ours leaves from there; what a machine sent, from its own.
  UnderlayBytes source;
  std::uint8_t hop_limit = outer_hop_limit;
  if (work.is_from_machine) {
    source = snapshot.attachments[owner].underlay;
  } else {
    const std::uint8_t* came = inner_of(packet, work.ip) - outer_bytes;
    std::memcpy(source.data(), came + 24, source.size());
    // Two hosts may each take the other one for the right one.
    if (came[7] <= 1) return Drop::hop_limit;
    hop_limit = static_cast<std::uint8_t>(came[7] - 1);
  }
  const auto by = static_cast<std::int32_t>(work.ip) - static_cast<std::int32_t>(ethernet_bytes + outer_bytes);
  if (by < 0 && packet.headroom < static_cast<std::uint32_t>(-by)) return Drop::headroom;
  packet.move_front(by);
  work.ip = ethernet_bytes + outer_bytes;
  std::uint8_t* frame = packet.frame;
  if (uplink != nullptr) {
    packet.port = uplink->port;
    write_mac(frame, uplink->neighbour);
    write_mac(frame + 6, snapshot.ports[uplink->port].mac);
  } else {
    work.goes_round = true;
  }
  packet.is_from_here = work.goes_round;
  packet.is_placed = false;
  store16(frame + 12, ethertype_ipv6);
  std::uint8_t* outer = frame + ethernet_bytes;
  store32(outer, 0x6000'0000 | action.entropy);
  store16(outer + 4, static_cast<std::uint16_t>(work.headers.length));
  outer[6] = work.headers.is_v6 ? next_header_ipv6 : next_header_ipv4;
  outer[7] = hop_limit;
  std::memcpy(outer + 8, source.data(), source.size());
  std::memcpy(outer + 24, snapshot.next_hops[action.out].data(), 16);
  return Drop::none;
}

}  // namespace ironcore::network::dataplane
