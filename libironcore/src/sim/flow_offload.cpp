// SPDX-License-Identifier: Apache-2.0
// Packets are read and written by plain code of its own, with whole checksums, so that it can be compared with the engine's.
#include "ironcore/sim/flow_offload.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>

#include "ironcore/network/protocols.hpp"

namespace ironcore::sim {

using network::FlowChange;
using network::FlowEvent;
using network::FlowHits;
using network::FlowMatch;
using network::OffloadedFlow;

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::size_t ethernet_bytes = 14;
constexpr std::size_t outer_bytes = 40;

std::uint16_t get16(const Bytes& bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}
void put16(Bytes& bytes, std::size_t at, std::size_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}
IpAddress address_at(const Bytes& bytes, std::size_t at, std::size_t count) {
  return IpAddress::from_bytes(std::span(bytes).subspan(at, count)).value();
}
MacAddress mac_at(const Bytes& bytes, std::size_t at) {
  std::array<std::uint8_t, 6> mac{};
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), mac.size(), mac.begin());
  return MacAddress(mac);
}
template <class Value>
void put(Bytes& bytes, std::size_t at, const Value& value) {
  std::copy(value.bytes().begin(), value.bytes().end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

/// RFC 1071.
std::uint32_t sum_of(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/// A plain packet, and where its parts are.
struct Parsed {
  FlowMatch match;  ///< without the port
  std::size_t ip = 0;
  std::size_t transport = 0;
  std::size_t end = 0;  ///< of the packet; the frame may be longer
  std::uint8_t hop_limit = 0;
};

/// The inner packet, from `ip` on.
bool read_ip(const Bytes& frame, Parsed& out) {
  const std::size_t here = frame.size() - out.ip;
  const bool is_v6 = here > 0 && frame[out.ip] >> 4 == 6;
  const std::size_t header = is_v6 ? 40 : 20;
  if (here < header || (!is_v6 && frame[out.ip] != 0x45)) return false;
  const std::size_t length = is_v6 ? header + get16(frame, out.ip + 4) : get16(frame, out.ip + 2);
  if (length > here || (!is_v6 && (get16(frame, out.ip + 6) & 0x3fff) != 0)) return false;
  auto& match = out.match;
  match.protocol = frame[out.ip + (is_v6 ? 6 : 9)];
  out.hop_limit = frame[out.ip + (is_v6 ? 7 : 8)];
  match.source = address_at(frame, out.ip + (is_v6 ? 8 : 12), is_v6 ? 16 : 4);
  match.destination = address_at(frame, out.ip + (is_v6 ? 24 : 16), is_v6 ? 16 : 4);
  out.transport = out.ip + header;
  out.end = out.ip + length;
  const bool is_tcp = match.protocol == network::protocol_tcp;
  if (!is_tcp && match.protocol != network::protocol_udp) return false;
  if (length < header + (is_tcp ? 20 : 8)) return false;
  constexpr std::uint8_t syn_fin_rst = 0x07;
  if (is_tcp && (frame[out.transport + 13] & syn_fin_rst) != 0) return false;
  match.source_port = get16(frame, out.transport);
  match.destination_port = get16(frame, out.transport + 2);
  return true;
}

/// With an outer header, or without one.
std::optional<Parsed> read_frame(const Bytes& frame, bool has_outer) {
  Parsed out;
  if (frame.size() < ethernet_bytes) return std::nullopt;
  const auto type = get16(frame, 12);
  out.ip = ethernet_bytes;
  if (has_outer) {
    if (type != 0x86dd || frame.size() < ethernet_bytes + outer_bytes) return std::nullopt;
    const auto next = frame[ethernet_bytes + 6];
    if (next != 4 && next != 41) return std::nullopt;
    out.match.underlay = address_at(frame, ethernet_bytes + 24, 16);
    out.ip += outer_bytes;
    if (!read_ip(frame, out) || out.match.source.is_v6() != (next == 41)) return std::nullopt;
    return out;
  }
  out.match.source_mac = mac_at(frame, 6);
  if (!read_ip(frame, out) || type != (out.match.source.is_v6() ? 0x86dd : 0x0800)) return std::nullopt;
  return out;
}

void put_checksums(Bytes& ip, bool is_v6, std::size_t transport, std::uint8_t protocol) {
  if (!is_v6) {
    put16(ip, 10, 0);
    put16(ip, 10, ~sum_of(std::span(ip).first(20)) & 0xffff);
  }
  const std::size_t at = transport + (protocol == network::protocol_tcp ? 16 : 6);
  if (protocol == network::protocol_udp && !is_v6 && get16(ip, at) == 0) return;  // it had none
  put16(ip, at, 0);
  const auto segment = std::span(ip).subspan(transport);
  const auto ends = is_v6 ? std::span(ip).subspan(8, 32) : std::span(ip).subspan(12, 8);
  const auto sum = sum_of(segment, sum_of(ends, static_cast<std::uint32_t>(protocol + segment.size())));
  const auto checksum = ~sum & 0xffff;
  put16(ip, at, checksum == 0 && protocol == network::protocol_udp ? 0xffff : checksum);
}

Bytes changed(const Bytes& frame, const Parsed& parsed, const FlowChange& change) {
  Bytes ip(frame.begin() + static_cast<std::ptrdiff_t>(parsed.ip),
           frame.begin() + static_cast<std::ptrdiff_t>(parsed.end));
  const bool is_v6 = parsed.match.source.is_v6();
  const std::size_t transport = parsed.transport - parsed.ip;
  put(ip, is_v6 ? 8 : 12, change.source);
  put(ip, is_v6 ? 24 : 16, change.destination);
  put16(ip, transport, change.source_port);
  put16(ip, transport + 2, change.destination_port);
  if (change.counts_down) --ip[is_v6 ? 7 : 8];
  put_checksums(ip, is_v6, transport, parsed.match.protocol);
  Bytes out(ethernet_bytes);
  put(out, 0, change.destination_mac);
  put(out, 6, change.source_mac);
  put16(out, 12, is_v6 || change.encapsulation ? 0x86dd : 0x0800);
  if (change.encapsulation) {
    Bytes outer(outer_bytes);
    put16(outer, 0, 0x6000 | change.encapsulation->flow_label >> 16);
    put16(outer, 2, change.encapsulation->flow_label & 0xffff);
    put16(outer, 4, ip.size());
    outer[6] = is_v6 ? 41 : 4;
    outer[7] = 64;
    put(outer, 8, change.encapsulation->source);
    put(outer, 24, change.encapsulation->destination);
    out.insert(out.end(), outer.begin(), outer.end());
  }
  out.insert(out.end(), ip.begin(), ip.end());
  return out;
}

bool is_possible(const OffloadedFlow& flow) {
  const auto& match = flow.match;
  const auto& change = flow.change;
  const bool is_v6 = match.source.is_v6();
  if (match.destination.is_v6() != is_v6 || change.source.is_v6() != is_v6 || change.destination.is_v6() != is_v6)
    return false;
  if (match.underlay && match.underlay->is_v4()) return false;
  if (change.encapsulation && (change.encapsulation->source.is_v4() || change.encapsulation->destination.is_v4()))
    return false;
  return match.protocol == network::protocol_tcp || match.protocol == network::protocol_udp;
}

}  // namespace

struct FlowOffload::State {
  struct Command {
    bool is_install = false;
    OffloadedFlow flow;  ///< of a removal only the id
    Instant due;
  };
  struct Installed {
    OffloadedFlow flow;
    FlowHits hits;
    Instant seen;
    bool is_told_idle = false;
  };
  struct Queue {
    std::deque<Command> commands;
    std::deque<FlowEvent> events;
    std::vector<Installed> flows;
  };

  State(Clock& its_clock, Options with) : clock(its_clock), options(with), queues(with.queues) {}

  std::size_t count() const {
    std::size_t out = 0;
    for (const auto& queue : queues) out += queue.flows.size();
    return out;
  }
  bool is_taken(const FlowMatch& match) const {
    return std::any_of(queues.begin(), queues.end(), [&](const Queue& queue) {
      return std::any_of(queue.flows.begin(), queue.flows.end(),
                         [&](const Installed& one) { return one.flow.match == match; });
    });
  }
  static auto find(Queue& queue, std::uint64_t id) {
    return std::find_if(queue.flows.begin(), queue.flows.end(),
                        [&](const Installed& one) { return one.flow.id == id; });
  }

  FlowEvent install(Queue& queue, const OffloadedFlow& flow, Instant now) {
    using Refusal = FlowEvent::Refusal;
    FlowEvent event{.kind = FlowEvent::Kind::refused, .id = flow.id};
    if (fault == Fault::fails)
      event.refusal = Refusal::failed;
    else if (!is_possible(flow))
      event.refusal = Refusal::unsupported;
    else if (is_taken(flow.match) || find(queue, flow.id) != queue.flows.end())
      event.refusal = Refusal::taken;
    else if (fault == Fault::full || count() >= options.capacity)
      event.refusal = Refusal::full;
    if (event.refusal != Refusal::none) return event;
    queue.flows.push_back({flow, {}, now});
    event.kind = FlowEvent::Kind::installed;
    return event;
  }
  static FlowEvent remove(Queue& queue, std::uint64_t id) {
    FlowEvent event{.kind = FlowEvent::Kind::removed, .id = id};
    if (const auto found = find(queue, id); found != queue.flows.end()) {
      event.hits = found->hits;
      queue.flows.erase(found);
    }
    return event;
  }

  /// What is due by now.
  void settle() {
    if (fault == Fault::stuck) return;
    const auto now = clock.now();
    for (auto& queue : queues) {
      for (; !queue.commands.empty() && queue.commands.front().due <= now; queue.commands.pop_front()) {
        const auto& command = queue.commands.front();
        queue.events.push_back(command.is_install ? install(queue, command.flow, now) : remove(queue, command.flow.id));
      }
      for (auto& one : queue.flows) {
        if (one.flow.idle == std::chrono::seconds(0) || one.is_told_idle || now - one.seen < one.flow.idle) continue;
        one.is_told_idle = true;
        queue.events.push_back({.kind = FlowEvent::Kind::idle, .id = one.flow.id});
      }
    }
  }

  bool command(std::size_t number, Command what) {
    auto& queue = queues[number];
    settle();
    if (queue.commands.size() + queue.events.size() >= options.room) return false;
    what.due = clock.now() + options.delay;
    queue.commands.push_back(std::move(what));
    return true;
  }

  Clock& clock;
  const Options options;
  std::mutex mutex;
  Fault fault = Fault::none;
  std::vector<Queue> queues;
};

FlowOffload::FlowOffload(Clock& clock) : FlowOffload(clock, Options()) {}
FlowOffload::FlowOffload(Clock& clock, Options options) : state_(std::make_unique<State>(clock, options)) {}
FlowOffload::~FlowOffload() = default;

std::size_t FlowOffload::queues() const noexcept {
  return state_->options.queues;
}

bool FlowOffload::install(std::size_t queue, const OffloadedFlow& flow) noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->command(queue, {.is_install = true, .flow = flow});
}

bool FlowOffload::remove(std::size_t queue, std::uint64_t id) noexcept {
  const std::lock_guard lock(state_->mutex);
  OffloadedFlow flow;
  flow.id = id;
  return state_->command(queue, {.is_install = false, .flow = flow});
}

std::size_t FlowOffload::poll(std::size_t queue, std::span<FlowEvent> into) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->settle();
  auto& events = state_->queues[queue].events;
  const auto count = std::min(events.size(), into.size());
  std::copy_n(events.begin(), count, into.begin());
  events.erase(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(count));
  return count;
}

void FlowOffload::hits(std::size_t queue, std::span<const std::uint64_t> ids, std::span<FlowHits> into) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->settle();
  auto& its = state_->queues[queue];
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto found = State::find(its, ids[i]);
    into[i] = found == its.flows.end() ? FlowHits() : found->hits;
  }
}

std::optional<FlowOffload::Passed> FlowOffload::pass(std::uint32_t port, std::span<const std::uint8_t> frame) {
  const std::lock_guard lock(state_->mutex);
  state_->settle();
  const Bytes bytes(frame.begin(), frame.end());
  for (const bool has_outer : {true, false}) {
    auto parsed = read_frame(bytes, has_outer);
    if (!parsed) continue;
    parsed->match.port = port;
    for (auto& queue : state_->queues) {
      for (auto& one : queue.flows) {
        auto match = parsed->match;
        if (!one.flow.match.source_mac) match.source_mac.reset();
        if (!(match == one.flow.match) || (one.flow.change.counts_down && parsed->hop_limit <= 1)) continue;
        ++one.hits.packets;
        one.hits.bytes += parsed->end - parsed->ip;
        one.seen = state_->clock.now();
        one.is_told_idle = false;
        return Passed{one.flow.change.port, changed(bytes, *parsed, one.flow.change)};
      }
    }
  }
  return std::nullopt;
}

void FlowOffload::set(Fault fault) {
  const std::lock_guard lock(state_->mutex);
  state_->settle();
  state_->fault = fault;
}

void FlowOffload::reset() {
  const std::lock_guard lock(state_->mutex);
  for (auto& queue : state_->queues) {
    queue.commands.clear();
    queue.flows.clear();
    queue.events.clear();
    queue.events.push_back({.kind = FlowEvent::Kind::reset});
  }
}

std::vector<OffloadedFlow> FlowOffload::flows() {
  const std::lock_guard lock(state_->mutex);
  state_->settle();
  std::vector<OffloadedFlow> out;
  for (const auto& queue : state_->queues)
    for (const auto& one : queue.flows) out.push_back(one.flow);
  return out;
}

}  // namespace ironcore::sim
