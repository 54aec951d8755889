// SPDX-License-Identifier: Apache-2.0
// Read a burst, find its flows, carry out what they say.
#include "worker.hpp"

#include <algorithm>
#include <cstring>

#include "bytes.hpp"
#include "local_frames.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint32_t outer_bytes = 40;
constexpr std::uint8_t next_header_ipv4 = 4;   // RFC 2003
constexpr std::uint8_t next_header_ipv6 = 41;  // RFC 2473
constexpr std::uint8_t outer_hop_limit = 64;
constexpr std::size_t host_bytes = 8;
/// Dead connections that a burst looks for, beside one for each of its packets: those that come must not outrun those that go.
constexpr std::uint32_t least_expired = 8;

/// Echoes and what has ports; all other ICMP is of no flow: each message is decided on by itself.
bool is_flow(const Headers& headers) noexcept {
  const bool is_icmp = headers.protocol == protocol_icmp || headers.protocol == protocol_icmpv6;
  return !is_icmp || is_echo(headers);
}

std::uint8_t* inner_of(const Packet& packet, std::uint32_t ip) noexcept {
  return packet.frame + ip;
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

void write_mac(std::uint8_t* at, const MacAddress& mac) noexcept {
  std::memcpy(at, mac.bytes().data(), mac.bytes().size());
}

}  // namespace

Worker::Worker(Published<Snapshot>& snapshots, std::size_t reader, const Generations& generations,
               const WorkerOptions& options)
    : snapshots_(snapshots),
      reader_(reader),
      generations_(generations),
      options_(options),
      flows_(options.connections, options.secret),
      fragments_(options.fragments, options.secret) {}

void Worker::process(std::span<Packet> packets, std::uint64_t now_ns) noexcept {
  constexpr std::uint64_t second = 1'000'000'000;
  now_ = static_cast<Tick>(now_ns / second);
  const Snapshot& snapshot = snapshots_.enter(reader_);
  const auto count = static_cast<std::uint32_t>(packets.size());
  while (!packets.empty()) {
    const auto some = packets.first(std::min(packets.size(), most_at_once));
    process_some(snapshot, some);
    packets = packets.subspan(some.size());
  }
  flows_.expire(
      now_, least_expired + count, [](void*, Connection&) noexcept {}, nullptr);
}

void Worker::process_some(const Snapshot& snapshot, std::span<Packet> packets) noexcept {
  std::array<Work, most_at_once> works;
  std::size_t count = 0;
  for (auto& packet : packets) {
    Work& work = works[count];
    work.packet = &packet;
    packet.drop = read(snapshot, packet, work);
    if (packet.drop != Drop::none) {
      ++packets_[static_cast<std::size_t>(packet.drop)];
      continue;
    }
    work.hash = flows_.hash(work.key);
    flows_.prefetch(work.hash);
    ++count;
  }
  for (std::size_t i = 0; i < count; ++i) works[i].guess = flows_.candidate(works[i].hash);
  for (std::size_t i = 0; i < count; ++i) {
    Packet& packet = *works[i].packet;
    packet.drop = forward(snapshot, works[i]);
    ++packets_[static_cast<std::size_t>(packet.drop)];
  }
}

// ---- reading ---------------------------------------------------------------------------------------------------------

Drop Worker::read(const Snapshot& snapshot, Packet& packet, Work& work) noexcept {
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
  const auto& mac = snapshot.interfaces[interface]->mac;
  if (mac && std::memcmp(packet.frame + 6, mac->bytes().data(), 6) != 0) return Drop::source_mac;
  const std::uint16_t type = load16(packet.frame + 12);
  if (type != ethertype_ipv4 && type != ethertype_ipv6) return Drop::ethertype;
  work.ip = ethernet_bytes;
  const Drop drop =
      read_inner(FlowScope::machine(interface), type == ethertype_ipv6, packet.frame_bytes - work.ip, work);
  if (drop != Drop::none) return drop;
  return work.headers.hop_limit <= 1 ? Drop::hop_limit : Drop::none;
}

/// RFC 2473. What is for this host, but for nothing on it, may be somebody's probe; it is not answered.
Drop Worker::read_wire(const Snapshot& snapshot, Packet& packet, Work& work) noexcept {
  if (packet.bytes < ethernet_bytes + outer_bytes) return Drop::malformed;
  if (load16(packet.frame + 12) != ethertype_ipv6) return Drop::ethertype;
  const std::uint8_t* outer = packet.frame + ethernet_bytes;
  if (outer[0] >> 4 != 6) return Drop::malformed;
  const std::uint8_t next = outer[6];
  if (next != next_header_ipv4 && next != next_header_ipv6) return Drop::outer;
  if (std::memcmp(outer + 24, snapshot.host.data(), host_bytes) != 0) return Drop::outer;
  const std::uint8_t* source = outer + 8;
  const bool is_from_group = source[0] == 0xff;
  const bool is_from_us = std::memcmp(source, snapshot.host.data(), host_bytes) == 0;
  if (is_from_group || is_from_us) return Drop::outer;
  work.ip = ethernet_bytes + outer_bytes;
  const std::uint32_t length = load16(outer + 4);
  if (length > packet.frame_bytes - work.ip) return Drop::malformed;
  return read_inner(FlowScope::wire(outer + 32), next == next_header_ipv6, length, work);
}

Drop Worker::read_inner(FlowScope scope, bool is_v6, std::uint32_t length, Work& work) noexcept {
  const Packet& packet = *work.packet;
  const std::uint8_t* ip = inner_of(packet, work.ip);
  const auto here = std::min(packet.bytes - work.ip, length);
  Headers& headers = work.headers;
  headers = {};
  if (parse({ip, here}, length, headers) != Malformed::none || headers.is_v6 != is_v6) return Drop::malformed;
  if (headers.is_fragment && !fragments_.track(scope, ip, headers, now_)) return Drop::fragment;
  if (headers.length > options_.mtu) return Drop::too_big;
  work.key = FlowKey(scope, ip, headers);
  return Drop::none;
}

// ---- forwarding ------------------------------------------------------------------------------------------------------

Drop Worker::forward(const Snapshot& snapshot, Work& work) noexcept {
  FlowTable::Reference found;
  if (is_flow(work.headers)) found = flows_.find(work.key, work.hash, work.guess);
  if (found) {
    Connection& connection = flows_[found.connection()];
    if (!generations_.is_unchanged(connection.state.slots, connection.state.valid_at) &&
        !check_again(snapshot, connection))
      found = {};
  }
  if (!found) {
    const Drop drop = open(snapshot, work, found);
    if (drop != Drop::none || !found) return drop;
  }
  Connection& connection = flows_[found.connection()];
  auto& state = connection.state;
  const auto direction = found.direction();
  state.seen = now_;
  ++state.packets[static_cast<std::size_t>(direction)];
  state.bytes[static_cast<std::size_t>(direction)] += work.headers.length;
  if (work.headers.protocol == protocol_tcp && work.headers.has_transport) track(connection, direction, work);
  return execute(snapshot, connection.side(direction).action, state.owner, work);
}

/// A new connection; or, for what is of no flow, what happens to this one packet: then `found` stays empty.
Drop Worker::open(const Snapshot& snapshot, Work& work, FlowTable::Reference& found) noexcept {
  ++slow_path_;
  const Question question{work.key, work.hash, work.headers.icmp_type, work.headers.icmp_code, nullptr};
  const Decision decision = decide(snapshot, question, options_.has_firewall);
  if (decision.drop != Drop::none) return decision.drop;
  if (!is_flow(work.headers)) return execute(snapshot, decision.forward, decision.owner, work);

  const bool is_tcp = work.headers.protocol == protocol_tcp;
  const Tick timeout = is_tcp ? options_.timeouts.tcp_transitory : timeout_of(work.headers.protocol, options_.timeouts);
  const auto inserted = flows_.insert(work.key, decision.reverse_key, now_, timeout);
  if (inserted.connection == nullptr) {
    // Somebody else's answers look like this one's: of both only the older one is known. It goes, but is not remembered.
    if (inserted.refusal == FlowTable::Refusal::taken) return execute(snapshot, decision.forward, decision.owner, work);
    return Drop::table_full;
  }
  Connection& connection = *inserted.connection;
  connection.side(Direction::forward).action = decision.forward;
  connection.side(Direction::reverse).action = decision.reverse;
  connection.state.owner = decision.owner;
  connection.state.slots = decision.slots;
  connection.state.valid_at = snapshot.number;
  if (is_echo(work.headers)) connection.state.tcp = work.headers.icmp_type;
  found = flows_.find(work.key, work.hash);
  return Drop::none;
}

/// What the configuration says now, with the choices of before where these are still legal. False: the connection is no more.
bool Worker::check_again(const Snapshot& snapshot, Connection& connection) noexcept {
  ++slow_path_;
  const FlowKey& key = connection.side(Direction::forward).key;
  const bool is_icmp = key.protocol() == protocol_icmp || key.protocol() == protocol_icmpv6;
  const Question question{key, flows_.hash(key), is_icmp ? connection.state.tcp : std::uint8_t{0}, 0, &connection};
  const Decision decision = decide(snapshot, question, options_.has_firewall);
  const bool stays = decision.drop == Drop::none && decision.reverse_key == connection.side(Direction::reverse).key;
  if (!stays) {
    flows_.erase(connection);
    return false;
  }
  connection.side(Direction::forward).action = decision.forward;
  connection.side(Direction::reverse).action = decision.reverse;
  connection.state.owner = decision.owner;
  connection.state.slots = decision.slots;
  connection.state.valid_at = snapshot.number;
  return true;
}

void Worker::track(Connection& connection, Direction direction, const Work& work) noexcept {
  TcpTracking tracking(connection.state.tcp);
  tracking.see(direction, work.headers.tcp_flags);
  if (tracking.state() == connection.state.tcp) return;
  connection.state.tcp = tracking.state();
  flows_.set_timeout(connection, tracking.timeout(options_.timeouts));
}

// ---- carrying out ----------------------------------------------------------------------------------------------------

Drop Worker::execute(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept {
  const bool is_from_machine = work.ip == ethernet_bytes;
  Drop drop = Drop::none;
  switch (action.verdict) {
    case Verdict::drop:
      return static_cast<Drop>(action.out);
    case Verdict::machine:
      drop = to_machine(snapshot, action.out, work);
      break;
    case Verdict::underlay:
      drop = to_underlay(snapshot, action, owner, work);
      break;
  }
  if (drop == Drop::none && is_from_machine) count_down(inner_of(*work.packet, work.ip), work.headers.is_v6);
  return drop;
}

Drop Worker::to_machine(const Snapshot& snapshot, std::uint32_t interface, Work& work) noexcept {
  const std::uint32_t port = snapshot.interface_ports[interface];
  if (port == no_port) return Drop::port_gone;
  const auto& mac = snapshot.interfaces[interface]->mac;
  if (!mac) return Drop::neighbour;
  Packet& packet = *work.packet;
  packet.move_front(static_cast<std::int32_t>(work.ip - ethernet_bytes));
  work.ip = ethernet_bytes;
  packet.port = port;
  write_mac(packet.frame, *mac);
  write_mac(packet.frame + 6, snapshot.ports[port].mac);
  store16(packet.frame + 12, work.headers.is_v6 ? ethertype_ipv6 : ethertype_ipv4);
  return Drop::none;
}

Drop Worker::to_underlay(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept {
  const UplinkView* uplink = nullptr;
  std::uint32_t sum = 0;
  for (const auto& one : snapshot.uplinks) sum += one.is_up ? one.weight : 0U;
  std::uint32_t point = sum == 0 ? 0 : action.entropy % sum;
  for (const auto& one : snapshot.uplinks) {
    if (!one.is_up || one.weight == 0) continue;
    uplink = &one;
    if (point < one.weight) break;
    point -= one.weight;
  }
  if (uplink == nullptr) return Drop::uplink;

  Packet& packet = *work.packet;
  const auto by = static_cast<std::int32_t>(work.ip) - static_cast<std::int32_t>(ethernet_bytes + outer_bytes);
  if (by < 0 && packet.headroom < static_cast<std::uint32_t>(-by)) return Drop::headroom;
  packet.move_front(by);
  work.ip = ethernet_bytes + outer_bytes;
  packet.port = uplink->port;
  std::uint8_t* frame = packet.frame;
  write_mac(frame, uplink->neighbour);
  write_mac(frame + 6, snapshot.ports[uplink->port].mac);
  store16(frame + 12, ethertype_ipv6);
  std::uint8_t* outer = frame + ethernet_bytes;
  store32(outer, 0x6000'0000 | action.entropy);
  store16(outer + 4, static_cast<std::uint16_t>(work.headers.length));
  outer[6] = work.headers.is_v6 ? next_header_ipv6 : next_header_ipv4;
  outer[7] = outer_hop_limit;
  std::memcpy(outer + 8, snapshot.interfaces[owner]->underlay.data(), 16);
  std::memcpy(outer + 24, snapshot.next_hops[action.out].data(), 16);
  return Drop::none;
}

}  // namespace ironcore::network::dataplane
