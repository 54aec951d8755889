// SPDX-License-Identifier: Apache-2.0
// Frames are chains of buffers; each queue of a port is a list of them, with a lock of its own.
#include "ironcore/sim/ports.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace ironcore::sim {

using network::Packet;
using network::PacketOffload;
using network::PortCounters;
using network::PortSpec;
using network::PortState;

namespace {

constexpr std::size_t headroom = 128;
constexpr std::string_view device_scheme = "memory:";
constexpr std::size_t longest_header = 18;  // Ethernet with one tag
constexpr std::uint64_t longest_wait_ns = 3'600'000'000'000;

/// One piece of a frame.
struct Buffer {
  std::uint8_t* memory = nullptr;
  std::uint8_t* at = nullptr;
  std::uint32_t bytes = 0;
  Buffer* next_piece = nullptr;
  bool is_free = true;
  // Of the whole frame, in its first piece:
  std::uint32_t frame_bytes = 0;
  PacketOffload offload;
  Buffer* next_frame = nullptr;
};

class Pool {
 public:
  Pool(std::size_t buffers, std::size_t bytes)
      : bytes_(bytes), memory_(buffers * (headroom + bytes)), buffers_(buffers), free_count_(buffers) {
    for (std::size_t i = 0; i < buffers; ++i) {
      buffers_[i].memory = &memory_[i * (headroom + bytes)];
      buffers_[i].next_piece = i + 1 < buffers ? &buffers_[i + 1] : nullptr;
    }
    free_ = buffers == 0 ? nullptr : buffers_.data();
  }

  Buffer* take() noexcept {
    std::lock_guard guard(mutex_);
    if (free_ == nullptr) return nullptr;
    Buffer* buffer = free_;
    free_ = buffer->next_piece;
    --free_count_;
    buffer->at = buffer->memory + headroom;
    buffer->bytes = 0;
    buffer->next_piece = nullptr;
    buffer->is_free = false;
    buffer->frame_bytes = 0;
    buffer->offload = {};
    buffer->next_frame = nullptr;
    return buffer;
  }
  /// It and all pieces behind it.
  void give_back(Buffer* buffer) noexcept {
    std::lock_guard guard(mutex_);
    while (buffer != nullptr) {
      assert(!buffer->is_free);
      buffer->is_free = true;
      Buffer* next = std::exchange(buffer->next_piece, free_);
      free_ = buffer;
      ++free_count_;
      buffer = next;
    }
  }
  std::size_t in_use() const noexcept {
    std::lock_guard guard(mutex_);
    return buffers_.size() - free_count_;
  }
  std::size_t bytes() const noexcept { return bytes_; }
  /// From where the packet is to the end of its piece.
  std::uint32_t room(const Buffer& buffer, const std::uint8_t* at) const noexcept {
    return static_cast<std::uint32_t>(buffer.memory + headroom + bytes_ - at);
  }

 private:
  const std::size_t bytes_;
  std::vector<std::uint8_t> memory_;
  std::vector<Buffer> buffers_;
  mutable std::mutex mutex_;
  Buffer* free_ = nullptr;
  std::size_t free_count_;
};

/// Frames in their order. Whoever uses it has a lock; the count may be looked at without.
class Fifo {
 public:
  std::size_t count() const noexcept { return count_.load(std::memory_order_acquire); }
  void push(Buffer* frame) noexcept {
    (last_ == nullptr ? first_ : last_->next_frame) = frame;
    last_ = frame;
    count_.fetch_add(1, std::memory_order_release);
  }
  Buffer* pop() noexcept {
    Buffer* frame = first_;
    if (frame == nullptr) return nullptr;
    first_ = std::exchange(frame->next_frame, nullptr);
    if (first_ == nullptr) last_ = nullptr;
    count_.fetch_sub(1, std::memory_order_release);
    return frame;
  }

 private:
  Buffer* first_ = nullptr;
  Buffer* last_ = nullptr;
  std::atomic<std::size_t> count_ = 0;
};

struct Counters {
  std::atomic<std::uint64_t> received_packets = 0;
  std::atomic<std::uint64_t> received_bytes = 0;
  std::atomic<std::uint64_t> sent_packets = 0;
  std::atomic<std::uint64_t> sent_bytes = 0;
  std::atomic<std::uint64_t> missed = 0;
  std::atomic<std::uint64_t> unsent = 0;
};

/// A worker's place.
struct alignas(64) Queue {
  std::atomic<std::uint64_t> seen = 0;   ///< the epoch of its last `quiesce`; 0 = it is away
  std::atomic<std::size_t> waiting = 0;  ///< frames, at all ports
  std::atomic<bool> sleeps = false;
  std::mutex mutex;
  std::condition_variable_any condition;
  bool is_woken = false;
  std::vector<std::uint32_t> polled;  ///< of the worker alone, as the next one
  std::uint64_t polled_at = 0;        ///< the epoch that it was made in

  /// Whether it sleeps is asked after what it waits for has come; it asks the other way round.
  void notify() noexcept {
    if (!sleeps.load()) return;
    { std::lock_guard guard(mutex); }
    condition.notify_all();
  }
};

/// What the end of a wire may need although its host has just gone.
struct Core {
  explicit Core(Ports::Options with)
      : options(std::move(with)), pool(options.buffers, options.buffer_bytes), queues(options.queues) {}
  const Ports::Options options;
  Pool pool;
  std::vector<Queue> queues;
};

struct Port {
  Port(std::shared_ptr<Core> with, PortSpec told, std::uint32_t its_number)
      : core(std::move(with)),
        spec(std::move(told)),
        number(its_number),
        mac(spec.mac.value_or(network::mac_of_port(spec.name))),
        in(core->options.queues) {}

  struct In {
    std::mutex mutex;
    Fifo frames;
  };

  const std::shared_ptr<Core> core;
  const PortSpec spec;
  const std::uint32_t number;
  const MacAddress mac;
  std::atomic<bool> is_up = true;
  std::atomic<bool> is_open = true;
  Counters counters;
  std::vector<In> in;
  std::mutex out_mutex;  ///< of all below
  Fifo out;
  std::shared_ptr<Port> peer;

  PortState state() const { return {spec, number, mac, is_up}; }

  /// A copy of what `each` hands to what it is called with, piece by piece. False if it is lost.
  template <class Each>
  bool deliver(const PacketOffload& offload, std::optional<std::size_t> queue, Each each) {
    if (!is_open || !is_up) return false;
    Pool& pool = core->pool;
    Buffer* first = pool.take();
    Buffer* last = first;
    bool is_whole = first != nullptr;
    std::uint32_t bytes = 0;
    each([&](std::span<const std::uint8_t> piece) {
      while (is_whole && !piece.empty()) {
        if (last->bytes == pool.bytes()) {
          last->next_piece = pool.take();
          is_whole = last->next_piece != nullptr;
          if (!is_whole) return;
          last = last->next_piece;
        }
        const auto some = piece.first(std::min(piece.size(), pool.bytes() - last->bytes));
        std::memcpy(last->at + last->bytes, some.data(), some.size());
        last->bytes += static_cast<std::uint32_t>(some.size());
        bytes += static_cast<std::uint32_t>(some.size());
        piece = piece.subspan(some.size());
      }
    });
    if (!is_whole) {
      pool.give_back(first);
      ++counters.missed;
      return false;
    }
    first->frame_bytes = bytes;
    first->offload = offload;
    const auto& steer = core->options.steer;
    const std::size_t steered = steer && !queue ? steer({first->at, first->bytes}) : 0;
    const std::size_t index = queue.value_or(steered) % in.size();
    {
      std::lock_guard guard(in[index].mutex);
      const bool is_full = in[index].frames.count() >= core->options.waiting_frames;
      if (is_full || !is_open) {
        pool.give_back(first);
        if (is_full) ++counters.missed;
        return false;
      }
      // Before it can be received: what is subtracted then has been added.
      core->queues[index].waiting.fetch_add(1);
      in[index].frames.push(first);
    }
    core->queues[index].notify();
    return true;
  }

  /// Nobody receives or sends here any more.
  void empty() {
    is_open = false;
    std::shared_ptr<Port> other;
    {
      std::lock_guard guard(out_mutex);
      other = std::exchange(peer, nullptr);
      while (Buffer* frame = out.pop()) core->pool.give_back(frame);
    }
    if (other != nullptr) {
      std::lock_guard guard(other->out_mutex);
      if (other->peer.get() == this) other->peer = nullptr;
    }
    for (std::size_t i = 0; i < in.size(); ++i) {
      std::lock_guard guard(in[i].mutex);
      while (Buffer* frame = in[i].frames.pop()) {
        core->queues[i].waiting.fetch_sub(1);
        core->pool.give_back(frame);
      }
    }
  }
};

Error no_port(const std::string& name) {
  return {ErrorCode::not_found, "no port is called " + name};
}

}  // namespace

struct Ports::State {
  State(Clock& with, Options options)
      : clock(with),
        core(std::make_shared<Core>(std::move(options))),
        table(std::make_unique<std::atomic<Port*>[]>(core->options.most_ports)) {
    for (auto& queue : core->queues) queue.polled.reserve(core->options.most_ports);
  }

  Clock& clock;
  const std::shared_ptr<Core> core;
  /// What workers see; a port that is taken out lives until they have passed `quiesce`.
  const std::unique_ptr<std::atomic<Port*>[]> table;
  std::atomic<std::uint64_t> epoch = 1;  ///< grows when a port comes or goes

  std::mutex control_mutex;  ///< one opens or closes at a time
  mutable std::mutex
      mutex;  ///< of `ports` and `devices`; and of `passed`, for those who wait until workers have passed
  std::condition_variable passed;
  std::map<std::string, std::shared_ptr<Port>> ports;
  std::map<std::string, std::string> devices;  ///< → port
  std::mutex change_mutex;                     ///< held while `changed` is called
  std::function<void()> changed;

  std::shared_ptr<Port> find(const std::string& name) const {
    std::lock_guard guard(mutex);
    const auto found = ports.find(name);
    return found == ports.end() ? nullptr : found->second;
  }
  void tell() {
    std::lock_guard guard(change_mutex);
    if (changed) changed();
  }
  void wake_all() {
    for (auto& queue : core->queues) queue.notify();
  }
};

Ports::Ports(Clock& clock) : Ports(clock, Options()) {}
Ports::Ports(Clock& clock, Options options) : state_(std::make_unique<State>(clock, std::move(options))) {}
Ports::~Ports() {
  for (const auto& [name, port] : state_->ports) port->empty();
}

// ---- control -----------------------------------------------------------------------------------------------------------

Result<PortState> Ports::open(const PortSpec& spec) {
  IRONCORE_CHECK(network::check(spec));
  if (spec.device.size() <= device_scheme.size() || !spec.device.starts_with(device_scheme))
    return Error({{"device", FieldError::Reason::invalid, "must be memory:NAME, and is " + spec.device}});
  auto& state = *state_;
  std::lock_guard control(state.control_mutex);
  std::shared_ptr<Port> port;
  {
    std::lock_guard guard(state.mutex);
    if (const auto known = state.ports.find(spec.name); known != state.ports.end()) {
      if (known->second->spec == spec) return known->second->state();
      return Error(ErrorCode::already_exists,
                   "port " + spec.name + " is open with device " + known->second->spec.device + "; close it first");
    }
    if (const auto user = state.devices.find(spec.device); user != state.devices.end())
      return Error(ErrorCode::unavailable, "device " + spec.device + " is in use by port " + user->second);
    const auto most = state.core->options.most_ports;
    std::uint32_t number = 0;
    while (number < most && state.table[number].load() != nullptr) ++number;
    if (number == most)
      return Error(ErrorCode::exhausted, std::to_string(most) + " ports are open; there cannot be more");
    port = std::make_shared<Port>(state.core, spec, number);
    state.ports[spec.name] = port;
    state.devices[spec.device] = spec.name;
    state.table[number].store(port.get());
    ++state.epoch;
  }
  state.wake_all();
  state.tell();
  return port->state();
}

Result<void> Ports::close(const std::string& name) {
  auto& state = *state_;
  std::lock_guard control(state.control_mutex);
  std::shared_ptr<Port> port;
  {
    std::lock_guard guard(state.mutex);
    const auto found = state.ports.find(name);
    if (found == state.ports.end()) return {};
    port = std::move(found->second);
    state.ports.erase(found);
    state.devices.erase(port->spec.device);
    state.table[port->number].store(nullptr);
    ++state.epoch;
  }
  port->is_open = false;
  state.tell();
  // Once more: what they read now is of after the change.
  const std::uint64_t target = ++state.epoch;
  state.wake_all();
  std::unique_lock lock(state.mutex);
  state.passed.wait(lock, [&] {
    return std::all_of(state.core->queues.begin(), state.core->queues.end(), [&](const Queue& queue) {
      const auto seen = queue.seen.load();
      return seen == 0 || seen >= target;
    });
  });
  lock.unlock();
  port->empty();
  return {};
}

std::vector<PortState> Ports::list() const {
  std::vector<PortState> out;
  std::lock_guard guard(state_->mutex);
  out.reserve(state_->ports.size());
  for (std::uint32_t number = 0; out.size() < state_->ports.size(); ++number)
    if (const Port* port = state_->table[number].load(); port != nullptr) out.push_back(port->state());
  return out;
}

Result<PortCounters> Ports::counters(const std::string& name) const {
  const auto port = state_->find(name);
  if (port == nullptr) return no_port(name);
  const auto& counters = port->counters;
  return PortCounters{counters.received_packets,
                      counters.received_bytes,
                      counters.sent_packets,
                      counters.sent_bytes,
                      counters.missed,
                      counters.unsent,
                      0};
}

void Ports::on_change(std::function<void()> changed) {
  std::lock_guard guard(state_->change_mutex);
  state_->changed = std::move(changed);
}

void Ports::wake(std::size_t queue) noexcept {
  auto& mine = state_->core->queues[queue];
  {
    std::lock_guard guard(mine.mutex);
    mine.is_woken = true;
  }
  mine.condition.notify_all();
}

// ---- workers -----------------------------------------------------------------------------------------------------------

std::size_t Ports::queues() const noexcept {
  return state_->core->queues.size();
}

std::span<const std::uint32_t> Ports::polled(std::size_t queue) const noexcept {
  return state_->core->queues[queue].polled;
}

std::size_t Ports::receive(std::uint32_t number, std::size_t queue, std::span<Packet> into) noexcept {
  Port* port = number < state_->core->options.most_ports ? state_->table[number].load() : nullptr;
  if (port == nullptr) return 0;
  auto& in = port->in[queue];
  if (in.frames.count() == 0) return 0;
  std::size_t count = 0;
  std::uint64_t bytes = 0;
  {
    std::lock_guard guard(in.mutex);
    while (count < into.size()) {
      Buffer* frame = in.frames.pop();
      if (frame == nullptr) break;
      Packet& packet = into[count++];
      packet = {};
      packet.frame = frame->at;
      packet.bytes = frame->bytes;
      packet.frame_bytes = frame->frame_bytes;
      packet.headroom = headroom;
      packet.room = state_->core->pool.room(*frame, frame->at);
      packet.port = number;
      packet.offload = frame->offload;
      packet.buffer = frame;
      bytes += frame->frame_bytes;
    }
  }
  state_->core->queues[queue].waiting.fetch_sub(count);
  port->counters.received_packets += count;
  port->counters.received_bytes += bytes;
  return count;
}

void Ports::send(std::size_t, std::span<const Packet> packets) noexcept {
  Pool& pool = state_->core->pool;
  for (const auto& packet : packets) {
    auto* frame = static_cast<Buffer*>(packet.buffer);
    frame->at = packet.frame;
    frame->bytes = packet.bytes;
    frame->frame_bytes = packet.frame_bytes;
    frame->offload = packet.offload;
    if (packet.frame_bytes == packet.bytes)
      if (Buffer* rest = std::exchange(frame->next_piece, nullptr); rest != nullptr) pool.give_back(rest);

    Port* port = packet.port < state_->core->options.most_ports ? state_->table[packet.port].load() : nullptr;
    if (port == nullptr) {
      pool.give_back(frame);
      continue;
    }
    const bool is_too_long = packet.offload.segment_bytes == 0 && packet.frame_bytes > port->spec.mtu + longest_header;
    std::shared_ptr<Port> peer;
    bool is_sent = port->is_up && !is_too_long;
    if (is_sent) {
      std::lock_guard guard(port->out_mutex);
      peer = port->peer;
      if (peer == nullptr) {
        is_sent = port->is_open && port->out.count() < state_->core->options.waiting_frames;
        if (is_sent) port->out.push(frame);
      }
    }
    if (is_sent) {
      ++port->counters.sent_packets;
      port->counters.sent_bytes += packet.frame_bytes;
    } else {
      ++port->counters.unsent;
    }
    if (peer != nullptr) {
      // Whatever is lost from here on is lost on the wire.
      peer->deliver(packet.offload, std::nullopt, [&](auto&& write) {
        for (const Buffer* piece = frame; piece != nullptr; piece = piece->next_piece) write({piece->at, piece->bytes});
      });
    }
    if (peer != nullptr || !is_sent) pool.give_back(frame);
  }
}

void Ports::release(std::span<const Packet> packets) noexcept {
  for (const auto& packet : packets) state_->core->pool.give_back(static_cast<Buffer*>(packet.buffer));
}

std::optional<Packet> Ports::allocate(std::size_t) noexcept {
  Buffer* buffer = state_->core->pool.take();
  if (buffer == nullptr) return std::nullopt;
  Packet packet;
  packet.frame = buffer->at;
  packet.headroom = headroom;
  packet.room = state_->core->pool.room(*buffer, buffer->at);
  packet.buffer = buffer;
  return packet;
}

void Ports::quiesce(std::size_t queue) noexcept {
  auto& state = *state_;
  auto& mine = state.core->queues[queue];
  const std::uint64_t epoch = state.epoch.load();
  if (mine.seen.load(std::memory_order_relaxed) == epoch) return;
  mine.seen.store(epoch);
  std::lock_guard guard(state.mutex);
  state.passed.notify_all();
  if (mine.polled_at == epoch) return;
  mine.polled_at = epoch;
  mine.polled.clear();
  for (std::uint32_t number = 0; number < state.core->options.most_ports; ++number)
    if (state.table[number].load() != nullptr) mine.polled.push_back(number);
}

void Ports::leave(std::size_t queue) noexcept {
  state_->core->queues[queue].seen.store(0);
  std::lock_guard guard(state_->mutex);
  state_->passed.notify_all();
}

void Ports::wait(std::size_t queue, std::uint64_t most_ns) noexcept {
  leave(queue);
  auto& mine = state_->core->queues[queue];
  const Instant deadline = state_->clock.now() + Duration(std::min(most_ns, longest_wait_ns));
  std::unique_lock lock(mine.mutex);
  mine.sleeps.store(true);
  state_->clock.wait(lock, mine.condition, {}, deadline,
                     [&] { return mine.is_woken || mine.waiting.load() != 0 || mine.polled_at != state_->epoch; });
  mine.sleeps.store(false);
  mine.is_woken = false;
}

// ---- what tests make happen --------------------------------------------------------------------------------------------

bool Ports::inject(const std::string& name, std::span<const std::uint8_t> frame, std::optional<std::size_t> queue) {
  const auto port = state_->find(name);
  return port != nullptr && port->deliver({}, queue, [&](auto&& write) { write(frame); });
}

bool Ports::inject(const std::string& name, const Frame& frame, std::optional<std::size_t> queue) {
  const auto port = state_->find(name);
  return port != nullptr && port->deliver(frame.offload, queue, [&](auto&& write) { write(frame.bytes); });
}

std::vector<Frame> Ports::take(const std::string& name, std::size_t most) {
  std::vector<Frame> out;
  const auto port = state_->find(name);
  if (port == nullptr) return out;
  while (out.size() < most) {
    Buffer* frame = nullptr;
    {
      std::lock_guard guard(port->out_mutex);
      frame = port->out.pop();
    }
    if (frame == nullptr) break;
    auto& taken = out.emplace_back();
    taken.offload = frame->offload;
    taken.bytes.reserve(frame->frame_bytes);
    for (const Buffer* piece = frame; piece != nullptr; piece = piece->next_piece)
      taken.bytes.insert(taken.bytes.end(), piece->at, piece->at + piece->bytes);
    state_->core->pool.give_back(frame);
  }
  return out;
}

Result<void> Ports::wire(Ports& one, const std::string& one_port, Ports& other, const std::string& other_port) {
  const auto first = one.state_->find(one_port);
  if (first == nullptr) return no_port(one_port);
  const auto second = other.state_->find(other_port);
  if (second == nullptr) return no_port(other_port);
  for (const auto& [end, far] : {std::pair(first, second), std::pair(second, first)}) {
    std::lock_guard guard(end->out_mutex);
    if (end->is_open) end->peer = far;
  }
  return {};
}

Result<void> Ports::set_link(const std::string& name, Link link) {
  const auto port = state_->find(name);
  if (port == nullptr) return no_port(name);
  const bool is_up = link == Link::up;
  if (port->is_up.exchange(is_up) != is_up) state_->tell();
  return {};
}

std::size_t Ports::buffers_in_use() const noexcept {
  return state_->core->pool.in_use();
}

}  // namespace ironcore::sim
