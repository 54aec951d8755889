// SPDX-License-Identifier: Apache-2.0
// The loop of a worker: a burst from each port, what becomes of it, sleep when there is nothing.
#include <bit>
#include <new>
#include <utility>

#include "dataplane_state.hpp"

namespace ironcore::network {

namespace {

/// Without a packet, before a worker goes to sleep.
constexpr int idle_rounds = 256;
/// Connections die of age while nothing comes, too.
constexpr std::uint64_t longest_sleep_ns = 100'000'000;

}  // namespace

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
  const auto& counters = offloaded.counters();
  tallies.offloaded.set(counters.connections);
  tallies.offload_installed.set(counters.installed);
  for (std::size_t i = 0; i < flow_refusals; ++i) tallies.offload_refused[i].set(counters.refused[i]);
  tallies.offload_packets.set(counters.packets);
  tallies.offload_resets.set(counters.resets);
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
