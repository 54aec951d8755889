// SPDX-License-Identifier: Apache-2.0
// Ports over devices. Workers see a table of atomic pointers; who takes one out waits until each worker has passed `quiesce` or is away, as in RCU
// (McKenney and Slingwine 1998, quiescent-state-based reclamation).
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>
#include <rte_spinlock.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>

#include "device.hpp"
#include "errors.hpp"
#include "frames.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/network/dpdk.hpp"
#include "offload.hpp"

namespace ironcore::network::dpdk {

namespace {

constexpr std::uint32_t most_ports = 4096;
constexpr std::size_t burst = 64;
constexpr std::uint32_t longest_header = 18;  // Ethernet with one tag
constexpr std::uint32_t cached_buffers = 256;
constexpr std::uint32_t headroom = RTE_PKTMBUF_HEADROOM;
static_assert(headroom >= 128);
constexpr std::uint64_t shortest_pause_ns = 10'000;
constexpr std::uint64_t longest_pause_ns = 150'000;
constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr auto link_interval = std::chrono::milliseconds(100);
constexpr std::uint16_t none = 0xffff;

std::atomic<std::uint32_t> next_pool = 0;  // pools have names of the whole process

void sleep_ns(std::uint64_t ns) {
  const timespec span{static_cast<time_t>(ns / second_ns), static_cast<long>(ns % second_ns)};
  ::nanosleep(&span, nullptr);
}

/// Gives this thread a number of DPDK's for as long as it lives: with it the pool keeps some buffers at hand.
class Registered {
 public:
  Registered() noexcept : is_mine_(rte_thread_register() == 0) {}
  ~Registered() {
    if (is_mine_) rte_thread_unregister();
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  const bool is_mine_;
};

void register_thread() noexcept {
  if (rte_lcore_id() != LCORE_ID_ANY) return;
  thread_local const Registered registered;
  static_cast<void>(registered);
}

/// Written by one worker, read by any thread.
struct alignas(64) QueueCounters {
  std::atomic<std::uint64_t> received_packets = 0;
  std::atomic<std::uint64_t> received_bytes = 0;
  std::atomic<std::uint64_t> sent_packets = 0;
  std::atomic<std::uint64_t> sent_bytes = 0;
  std::atomic<std::uint64_t> unsent = 0;
  std::atomic<std::uint64_t> errors = 0;
};
void add(std::atomic<std::uint64_t>& counter, std::uint64_t count) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

struct alignas(64) SendLock {
  rte_spinlock_t lock = RTE_SPINLOCK_INITIALIZER;
};

struct Port {
  Port(PortSpec told, std::uint32_t its_number, std::unique_ptr<Device> with, std::size_t workers)
      : spec(std::move(told)),
        number(its_number),
        device(std::move(with)),
        abilities(device->abilities()),
        mac(spec.mac ? *spec.mac : device->mac().value_or(mac_of_port(spec.name))),
        longest_frame(spec.mtu + longest_header),
        is_shared(abilities.send_queues < workers),
        is_up(device->is_up()),
        counters(workers),
        locks(abilities.send_queues) {}

  const PortSpec spec;
  const std::uint32_t number;
  std::unique_ptr<Device> device;
  const Abilities abilities;
  const MacAddress mac;
  const std::uint32_t longest_frame;
  const bool is_shared;  ///< sending queues are
  std::atomic<bool> is_up;
  std::vector<QueueCounters> counters;  ///< one for each worker
  std::vector<SendLock> locks;

  PortState state() const { return {spec, number, mac, is_up}; }
  /// Which queue of the device this worker receives from, if any: devices with few queues begin with different workers.
  std::uint16_t receive_queue(std::size_t worker) const noexcept {
    const std::size_t workers = counters.size();
    const auto queue = (worker + workers - number % workers) % workers;
    return queue < abilities.receive_queues ? static_cast<std::uint16_t>(queue) : none;
  }
};

/// A worker's place.
struct alignas(64) Queue {
  std::atomic<std::uint64_t> seen = 0;  ///< the epoch of its last `quiesce`; 0 = it is away
  std::vector<std::uint32_t> polled;    ///< of the worker alone, as all below
  std::uint64_t polled_at = 0;          ///< the epoch that it was made in
  bool has_silent = false;              ///< a polled port cannot wake anybody
  std::uint64_t pause_ns = shortest_pause_ns;
  // While packets are sorted by port:
  std::vector<std::uint16_t> first;  ///< by port: the index of its first packet
  std::vector<std::uint16_t> last;
  UniqueFd waking;  ///< eventfd
  UniqueFd poller;  ///< epoll
};

struct PoolFree {
  void operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }
};
using Pool = std::unique_ptr<rte_mempool, PoolFree>;

class DpdkPorts final : public Ports {
 public:
  DpdkPorts(const PortsOptions& options, Pool pool, Log& log)
      : options_(options),
        log_(log),
        pool_(std::move(pool)),
        table_(std::make_unique<std::atomic<Port*>[]>(most_ports)),
        queues_(options.queues) {}

  Result<void> start() {
    for (auto& queue : queues_) {
      queue.polled.reserve(most_ports);
      queue.first.assign(most_ports, none);
      queue.last.assign(most_ports, none);
      queue.waking.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
      queue.poller.reset(::epoll_create1(EPOLL_CLOEXEC));
      if (!queue.waking || !queue.poller || !watch(queue, queue.waking.get()))
        return errno_error(errno, "make what workers sleep on");
    }
    watcher_ = std::jthread([this](std::stop_token stop) { watch_links(std::move(stop)); });
    return {};
  }
  ~DpdkPorts() override {
    watcher_ = {};
    ports_.clear();
  }

  Result<PortState> open(const PortSpec& spec) override;
  Result<void> close(const std::string& name) override;
  std::vector<PortState> list() const override;
  Result<PortCounters> counters(const std::string& name) const override;
  void on_change(std::function<void()> changed) override {
    std::lock_guard guard(change_mutex_);
    changed_ = std::move(changed);
  }
  void wake(std::size_t queue) noexcept override {
    const std::uint64_t one = 1;
    static_cast<void>(::write(queues_[queue].waking.get(), &one, sizeof one));
  }

  std::size_t queues() const noexcept override { return queues_.size(); }
  std::span<const std::uint32_t> polled(std::size_t queue) const noexcept override { return queues_[queue].polled; }
  std::size_t receive(std::uint32_t number, std::size_t queue, std::span<Packet> into) noexcept override;
  void send(std::size_t queue, std::span<const Packet> packets) noexcept override;
  void release(std::span<const Packet> packets) noexcept override;
  std::optional<Packet> allocate(std::size_t queue) noexcept override;
  void quiesce(std::size_t queue) noexcept override;
  void leave(std::size_t queue) noexcept override;
  void wait(std::size_t queue, std::uint64_t most_ns) noexcept override;

 private:
  /// What leaves by one port at once.
  struct Batch {
    Port& port;
    std::size_t worker;
    Offloads offloads;
    std::array<rte_mbuf*, burst> frames;
    std::uint16_t count = 0;
  };
  void tell() {
    std::lock_guard guard(change_mutex_);
    if (changed_) changed_();
  }
  static bool watch(const Queue& queue, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    return ::epoll_ctl(queue.poller.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  void watch_links(std::stop_token stop);
  Port* find(std::uint32_t number) const noexcept { return number < most_ports ? table_[number].load() : nullptr; }
  template <class PacketAt>
  void send_to(std::uint32_t number, std::size_t worker, std::size_t count, PacketAt packet_at) noexcept;
  void send_one(Batch& batch, const Packet& packet) noexcept;
  void cut(Batch& batch, const rte_mbuf& frame, const Transport& transport, std::uint32_t segment_bytes) noexcept;
  static void put(Batch& batch, rte_mbuf* frame) noexcept {
    batch.frames[batch.count++] = frame;
    if (batch.count == burst) flush(batch);
  }
  static void flush(Batch& batch) noexcept;

  const PortsOptions options_;
  Log& log_;
  const Pool pool_;
  const std::unique_ptr<std::atomic<Port*>[]> table_;
  std::atomic<std::uint64_t> epoch_ = 1;  ///< grows when a port comes or goes
  std::vector<Queue> queues_;

  std::mutex control_mutex_;         ///< one opens or closes at a time
  mutable std::mutex device_mutex_;  ///< held while a device is asked for its state, or goes
  mutable std::mutex mutex_;         ///< of `ports_`
  std::map<std::string, std::shared_ptr<Port>> ports_;
  std::mutex change_mutex_;  ///< held while `changed_` is called
  std::function<void()> changed_;
  std::mutex watcher_mutex_;
  std::condition_variable_any watcher_condition_;
  std::jthread watcher_;
};

// ---- control -----------------------------------------------------------------------------------------------------------

Result<PortState> DpdkPorts::open(const PortSpec& spec) {
  IRONCORE_CHECK(check(spec));
  IRONCORE_TRY(const auto words, parse_device(spec.device));
  std::lock_guard control(control_mutex_);
  std::uint32_t number = 0;
  {
    std::lock_guard guard(mutex_);
    if (const auto known = ports_.find(spec.name); known != ports_.end()) {
      if (known->second->spec == spec) return known->second->state();
      return Error(ErrorCode::already_exists,
                   "port " + spec.name + " is open with device " + known->second->spec.device + "; close it first");
    }
    const bool is_free = words.kind == Kind::null || words.kind == Kind::pcap;
    for (const auto& [name, port] : ports_) {
      if (!is_free && port->spec.device == spec.device)
        return Error(ErrorCode::unavailable, "device " + spec.device + " is in use by port " + name);
    }
    while (number < most_ports && table_[number].load() != nullptr) ++number;
    if (number == most_ports)
      return Error(ErrorCode::exhausted, std::to_string(most_ports) + " ports are open; there cannot be more");
  }
  const DeviceOptions wanted{.queues = static_cast<std::uint16_t>(options_.queues),
                             .mtu = spec.mtu,
                             .buffer_bytes = static_cast<std::uint32_t>(options_.buffer_bytes),
                             .mac = spec.mac,
                             .pool = pool_.get()};
  auto* make = open_ethdev;
  if (words.kind == Kind::ring) make = open_ring;
  if (words.kind == Kind::tap) make = open_tap;
  if (words.kind == Kind::af_packet) make = open_packet_socket;
  if (words.kind == Kind::vhost) make = open_vhost;
  auto device = make(words, wanted);
  if (!device) return std::move(device).error().within("open device " + spec.device);
  auto port = std::make_shared<Port>(spec, number, *std::move(device), queues_.size());
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const auto queue = port->receive_queue(i);
    if (queue == none) continue;
    if (const int fd = port->device->wake_fd(queue); fd >= 0 && !watch(queues_[i], fd))
      return errno_error(errno, "watch device " + spec.device);
  }
  {
    std::lock_guard guard(mutex_);
    ports_[spec.name] = port;
    table_[number].store(port.get());
    ++epoch_;
  }
  for (std::size_t i = 0; i < queues_.size(); ++i) wake(i);
  tell();
  return port->state();
}

Result<void> DpdkPorts::close(const std::string& name) {
  std::lock_guard control(control_mutex_);
  std::shared_ptr<Port> port;
  {
    std::lock_guard guard(mutex_);
    const auto found = ports_.find(name);
    if (found == ports_.end()) return {};
    port = std::move(found->second);
    ports_.erase(found);
  }
  tell();
  // After that: a worker that has passed since reads what was changed, and does not find the port.
  auto& place = table_[port->number];
  place.store(nullptr);
  const std::uint64_t target = ++epoch_;
  for (std::size_t i = 0; i < queues_.size(); ++i) wake(i);
  for (const auto& queue : queues_) {
    for (std::uint64_t pause = 1000;; pause = std::min(pause * 2, longest_pause_ns)) {
      const auto seen = queue.seen.load();
      if (seen == 0 || seen >= target) break;
      sleep_ns(pause);
    }
  }
  std::lock_guard guard(device_mutex_);
  port->device.reset();
  return {};
}

std::vector<PortState> DpdkPorts::list() const {
  std::vector<PortState> out;
  std::lock_guard guard(mutex_);
  out.reserve(ports_.size());
  for (const auto& [name, port] : ports_) out.push_back(port->state());
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  return out;
}

Result<PortCounters> DpdkPorts::counters(const std::string& name) const {
  std::shared_ptr<Port> port;
  {
    std::lock_guard guard(mutex_);
    if (const auto found = ports_.find(name); found != ports_.end()) port = found->second;
  }
  std::lock_guard guard(device_mutex_);
  if (port == nullptr || port->device == nullptr) return Error(ErrorCode::not_found, "no port is called " + name);
  const auto of_device = port->device->counters();
  PortCounters out{.missed = of_device.missed, .errors = of_device.errors};
  for (const auto& of_worker : port->counters) {
    out.received_packets += of_worker.received_packets;
    out.received_bytes += of_worker.received_bytes;
    out.sent_packets += of_worker.sent_packets;
    out.sent_bytes += of_worker.sent_bytes;
    out.unsent += of_worker.unsent;
    out.errors += of_worker.errors;
  }
  return out;
}

void DpdkPorts::watch_links(std::stop_token stop) {
  std::unique_lock lock(watcher_mutex_);
  while (!watcher_condition_.wait_for(lock, stop, link_interval, [&] { return stop.stop_requested(); })) {
    if (stop.stop_requested()) return;
    std::vector<std::shared_ptr<Port>> all;
    {
      std::lock_guard guard(mutex_);
      for (const auto& [name, port] : ports_) all.push_back(port);
    }
    bool is_changed = false;
    {
      std::lock_guard guard(device_mutex_);
      for (const auto& port : all) {
        if (port->device == nullptr) continue;
        port->device->tend();
        const bool is_up = port->device->is_up();
        if (port->is_up.exchange(is_up) == is_up) continue;
        is_changed = true;
        log_.info(is_up ? "link is up" : "link is down", {{"port", port->spec.name}});
      }
    }
    all.clear();
    if (is_changed) tell();
  }
}

// ---- workers -----------------------------------------------------------------------------------------------------------

std::size_t DpdkPorts::receive(std::uint32_t number, std::size_t worker, std::span<Packet> into) noexcept {
  Port* port = find(number);
  if (port == nullptr) return 0;
  const auto queue = port->receive_queue(worker);
  if (queue == none) return 0;
  std::array<rte_mbuf*, burst> frames;
  std::size_t count = 0;
  std::uint64_t bytes = 0;
  std::uint64_t errors = 0;
  while (count < into.size()) {
    const auto most = static_cast<std::uint16_t>(std::min(burst, into.size() - count));
    const auto came = port->device->receive(queue, frames.data(), most);
    for (std::uint16_t i = 0; i < came; ++i) {
      Packet& packet = into[count];
      if (!describe(*frames[i], packet)) {
        rte_pktmbuf_free(frames[i]);
        ++errors;
        continue;
      }
      rte_prefetch0(packet.frame);
      packet.port = number;
      bytes += packet.frame_bytes;
      ++count;
    }
    if (came < most) break;
  }
  auto& counters = port->counters[worker];
  if (errors != 0) add(counters.errors, errors);
  if (count == 0) return 0;
  add(counters.received_packets, count);
  add(counters.received_bytes, bytes);
  queues_[worker].pause_ns = shortest_pause_ns;
  return count;
}

void DpdkPorts::send(std::size_t worker, std::span<const Packet> packets) noexcept {
  auto& mine = queues_[worker];
  while (!packets.empty()) {
    const auto some = packets.first(std::min(packets.size(), burst));
    packets = packets.subspan(some.size());
    const auto first = some.front().port;
    if (std::all_of(some.begin(), some.end(), [&](const Packet& packet) { return packet.port == first; })) {
      send_to(first, worker, some.size(), [&](std::size_t i) -> const Packet& { return some[i]; });
      continue;
    }
    // A list for each port, in the order of the packets.
    std::array<std::uint16_t, burst> next;
    std::array<std::uint32_t, burst> numbers;
    std::size_t ports = 0;
    const auto count = static_cast<std::uint16_t>(some.size());
    for (std::uint16_t i = 0; i < count; ++i) {
      const auto number = some[i].port;
      next[i] = none;
      if (number >= most_ports) {
        rte_pktmbuf_free(buffer_of(some[i]));
      } else if (mine.first[number] == none) {
        numbers[ports++] = number;
        mine.first[number] = mine.last[number] = i;
      } else {
        next[mine.last[number]] = i;
        mine.last[number] = i;
      }
    }
    for (std::size_t each = 0; each < ports; ++each) {
      const auto number = numbers[each];
      auto index = std::exchange(mine.first[number], none);
      std::array<std::uint16_t, burst> order;
      std::size_t length = 0;
      for (; index != none; index = next[index]) order[length++] = index;
      send_to(number, worker, length, [&](std::size_t i) -> const Packet& { return some[order[i]]; });
    }
  }
}

/// What leaves by one port; no more than a burst.
template <class PacketAt>
void DpdkPorts::send_to(std::uint32_t number, std::size_t worker, std::size_t count, PacketAt packet_at) noexcept {
  Port* port = find(number);
  if (port == nullptr) {
    for (std::size_t i = 0; i < count; ++i) rte_pktmbuf_free(buffer_of(packet_at(i)));
    return;
  }
  Batch batch{*port, worker, port->device->offloads(), {}, 0};
  const bool is_up = port->is_up.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < count; ++i) {
    const Packet& packet = packet_at(i);
    const bool is_plain = is_up && !packet.offload.needs_checksum && packet.offload.segment_bytes == 0 &&
                          packet.frame_bytes == packet.bytes && packet.bytes <= port->longest_frame;
    if (is_plain && restore(packet)) [[likely]]
      put(batch, buffer_of(packet));
    else
      send_one(batch, packet);
  }
  if (batch.count != 0) flush(batch);
}

[[gnu::noinline]] void DpdkPorts::send_one(Batch& batch, const Packet& packet) noexcept {
  rte_mbuf* frame = buffer_of(packet);
  const auto& port = batch.port;
  const auto refuse = [&] {
    add(batch.port.counters[batch.worker].unsent, 1);
    rte_pktmbuf_free(frame);
  };
  if (!port.is_up.load(std::memory_order_relaxed) || !restore(packet)) return refuse();
  const auto segment_bytes = packet.offload.segment_bytes;
  if (packet.frame_bytes > port.longest_frame && segment_bytes == 0) return refuse();
  if (packet.offload.needs_checksum || segment_bytes != 0) {
    Transport transport;
    if (!find_transport(*frame, transport)) return refuse();
    const auto headers = transport.start + transport.header_bytes;
    const bool is_long = segment_bytes != 0 && transport.end - headers > segment_bytes;
    const bool is_plain = transport.tunnel_ip == 0;
    if (!is_long && packet.frame_bytes > port.longest_frame) return refuse();
    if (is_long) {
      if (headers + segment_bytes > port.longest_frame) return refuse();
      const bool does_device = batch.offloads.cuts_tcp && transport.is_tcp && is_plain && packet.offload.needs_checksum;
      if (!does_device) {
        cut(batch, *frame, transport, segment_bytes);
        rte_pktmbuf_free(frame);
        return;
      }
      frame->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    }
    if (batch.offloads.checksums && is_plain && packet.offload.needs_checksum) {
      frame->tx_offload = rte_mbuf_tx_offload(transport.ip, transport.start - transport.ip, transport.header_bytes,
                                              is_long ? segment_bytes : 0U, 0, 0, 0);
      frame->ol_flags |= transport.is_tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
      frame->ol_flags |= transport.is_v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
      if (is_long && !transport.is_v6) frame->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
    } else if (packet.offload.needs_checksum) {
      finish_checksum(*frame, transport);
    }
  }
  if (frame->next != nullptr && !port.abilities.takes_pieces && rte_pktmbuf_linearize(frame) != 0) return refuse();
  put(batch, frame);
}

void DpdkPorts::cut(Batch& batch, const rte_mbuf& frame, const Transport& transport,
                    std::uint32_t segment_bytes) noexcept {
  Segmenter segmenter(frame, transport, segment_bytes);
  if (!segmenter.is_possible()) return add(batch.port.counters[batch.worker].unsent, 1);
  for (std::uint32_t i = 0; i < segmenter.count(); ++i) {
    auto* segment = segmenter.next(pool_.get());
    if (segment == nullptr) return add(batch.port.counters[batch.worker].unsent, segmenter.count() - i);
    put(batch, segment);
  }
}

void DpdkPorts::flush(Batch& batch) noexcept {
  auto& port = batch.port;
  auto& counters = port.counters[batch.worker];
  std::uint64_t bytes = 0;
  for (std::uint16_t i = 0; i < batch.count; ++i) bytes += batch.frames[i]->pkt_len;
  const auto queue = static_cast<std::uint16_t>(batch.worker % port.abilities.send_queues);
  if (port.is_shared) rte_spinlock_lock(&port.locks[queue].lock);
  const auto sent = port.device->send(queue, batch.frames.data(), batch.count);
  if (port.is_shared) rte_spinlock_unlock(&port.locks[queue].lock);
  if (sent < batch.count) {
    for (std::uint16_t i = sent; i < batch.count; ++i) {
      bytes -= batch.frames[i]->pkt_len;
      rte_pktmbuf_free(batch.frames[i]);
    }
    add(counters.unsent, std::uint64_t{batch.count} - sent);
  }
  add(counters.sent_packets, sent);
  add(counters.sent_bytes, bytes);
  batch.count = 0;
}

void DpdkPorts::release(std::span<const Packet> packets) noexcept {
  for (const auto& packet : packets) rte_pktmbuf_free(buffer_of(packet));
}

std::optional<Packet> DpdkPorts::allocate(std::size_t) noexcept {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_.get());
  if (frame == nullptr) return std::nullopt;
  Packet packet;
  packet.frame = rte_pktmbuf_mtod(frame, std::uint8_t*);
  packet.headroom = frame->data_off;
  packet.room = std::uint32_t{frame->buf_len} - frame->data_off;
  packet.buffer = frame;
  return packet;
}

void DpdkPorts::quiesce(std::size_t worker) noexcept {
  auto& mine = queues_[worker];
  const std::uint64_t epoch = epoch_.load();
  if (mine.seen.load(std::memory_order_relaxed) == epoch) return;
  mine.seen.store(epoch);
  register_thread();
  if (mine.polled_at == epoch) return;
  mine.polled_at = epoch;
  mine.polled.clear();
  mine.has_silent = false;
  for (std::uint32_t number = 0; number < most_ports; ++number) {
    const Port* port = table_[number].load();
    if (port == nullptr) continue;
    const auto queue = port->receive_queue(worker);
    if (queue == none) continue;
    mine.polled.push_back(number);
    if (port->device->wake_fd(queue) < 0) mine.has_silent = true;
  }
}

void DpdkPorts::leave(std::size_t worker) noexcept {
  // What it kept at hand is for everybody.
  if (auto* kept = rte_mempool_default_cache(pool_.get(), rte_lcore_id()); kept != nullptr)
    rte_mempool_cache_flush(kept, pool_.get());
  queues_[worker].seen.store(0);
}

void DpdkPorts::wait(std::size_t worker, std::uint64_t most_ns) noexcept {
  auto& mine = queues_[worker];
  // A guest that shall wake this worker is told so before the worker lets go of the ports.
  bool may_sleep = true;
  if (!mine.has_silent && mine.seen.load(std::memory_order_relaxed) != 0) {
    for (const auto number : mine.polled) {
      const Port* port = find(number);
      if (port != nullptr && !port->device->may_sleep(port->receive_queue(worker))) may_sleep = false;
    }
  }
  mine.seen.store(0);
  if (mine.polled_at != epoch_.load()) return;
  std::uint64_t span_ns = most_ns;
  if (mine.has_silent || !may_sleep) {
    span_ns = std::min(span_ns, mine.pause_ns);
    mine.pause_ns = std::min(mine.pause_ns * 2, longest_pause_ns);
    // What is there is taken at once, unless it could not be taken just now.
    if (!may_sleep && span_ns == shortest_pause_ns) return;
  }
  const timespec span{static_cast<time_t>(span_ns / second_ns), static_cast<long>(span_ns % second_ns)};
  epoll_event event{};
  if (::epoll_pwait2(mine.poller.get(), &event, 1, &span, nullptr) != 1 || event.data.fd != mine.waking.get()) return;
  std::uint64_t count = 0;
  static_cast<void>(::read(mine.waking.get(), &count, sizeof count));
}

}  // namespace

Result<std::unique_ptr<Ports>> create_ports(Eal&, const PortsOptions& options, Log& log) {
  IRONCORE_CHECK(check(options));
  const auto name = "buffers." + std::to_string(next_pool++);
  Pool pool(rte_pktmbuf_pool_create(name.c_str(), static_cast<unsigned>(options.buffers), cached_buffers, 0,
                                    static_cast<std::uint16_t>(options.buffer_bytes + headroom), SOCKET_ID_ANY));
  if (pool == nullptr)
    return errno_error(rte_errno, "make " + std::to_string(options.buffers) + " buffers of " +
                                      std::to_string(options.buffer_bytes) +
                                      " bytes; take fewer, or more EalOptions::memory_mib");
  auto ports = std::make_unique<DpdkPorts>(options, std::move(pool), log);
  IRONCORE_CHECK(ports->start());
  return std::unique_ptr<Ports>(std::move(ports));
}

}  // namespace ironcore::network::dpdk
