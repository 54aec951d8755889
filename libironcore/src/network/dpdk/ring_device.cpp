// SPDX-License-Identifier: Apache-2.0
// A wire in this process: a ring for each direction.
#include <rte_errno.h>
#include <rte_ring.h>

#include <array>
#include <atomic>
#include <map>
#include <mutex>

#include "device.hpp"
#include "errors.hpp"

namespace ironcore::network::dpdk {

namespace {

constexpr unsigned places = 1024;

struct RingFree {
  void operator()(rte_ring* ring) const noexcept {
    void* frame = nullptr;
    while (rte_ring_dequeue(ring, &frame) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(frame));
    rte_ring_free(ring);
  }
};

struct Wire {
  std::array<std::unique_ptr<rte_ring, RingFree>, 2> to_end;
  std::array<std::atomic<bool>, 2> has_end{};
};

// Rings have names of the whole process, as everything of DPDK has.
std::mutex wires_mutex;
std::map<std::string, std::shared_ptr<Wire>>& wires() {
  static std::map<std::string, std::shared_ptr<Wire>> all;
  return all;
}

class RingDevice final : public Device {
 public:
  RingDevice(std::string name, std::shared_ptr<Wire> wire, std::size_t end, const DeviceOptions& options)
      : name_(std::move(name)), wire_(std::move(wire)), end_(end), queues_(options.queues), pool_(options.pool) {}
  ~RingDevice() override {
    std::lock_guard guard(wires_mutex);
    wire_->has_end[end_] = false;
    // What was for us and what we sent belongs to nobody now: buffers of ours must not stay with the other end's owner.
    for (const auto& ring : wire_->to_end) {
      void* frame = nullptr;
      while (rte_ring_dequeue(ring.get(), &frame) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(frame));
    }
    if (!wire_->has_end[1 - end_]) wires().erase(name_);
  }

  Abilities abilities() const noexcept override { return {.receive_queues = 1, .send_queues = queues_}; }
  std::optional<MacAddress> mac() const noexcept override { return std::nullopt; }
  std::uint16_t receive(std::uint16_t, rte_mbuf** into, std::uint16_t most) noexcept override {
    const auto came = rte_ring_dequeue_burst(wire_->to_end[end_].get(), reinterpret_cast<void**>(into), most, nullptr);
    std::uint16_t count = 0;
    for (unsigned i = 0; i < came; ++i) {
      // The buffer is of the other end's pool, which may go before we do.
      rte_mbuf* copy = rte_pktmbuf_copy(into[i], pool_, 0, UINT32_MAX);
      rte_pktmbuf_free(into[i]);
      if (copy == nullptr) {
        missed_.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      copy->ol_flags = 0;
      into[count++] = copy;
    }
    return count;
  }
  std::uint16_t send(std::uint16_t, rte_mbuf** from, std::uint16_t count) noexcept override {
    if (!wire_->has_end[1 - end_]) return 0;
    return static_cast<std::uint16_t>(
        rte_ring_enqueue_burst(wire_->to_end[1 - end_].get(), reinterpret_cast<void**>(from), count, nullptr));
  }
  bool is_up() const noexcept override { return wire_->has_end[1 - end_]; }
  DeviceCounters counters() const noexcept override { return {.missed = missed_.load(std::memory_order_relaxed)}; }

 private:
  const std::string name_;
  const std::shared_ptr<Wire> wire_;
  const std::size_t end_;
  const std::uint16_t queues_;
  rte_mempool* const pool_;
  std::atomic<std::uint64_t> missed_ = 0;
};

}  // namespace

Result<std::unique_ptr<Device>> open_ring(const DeviceWords& words, const DeviceOptions& options) {
  std::lock_guard guard(wires_mutex);
  auto& wire = wires()[words.name];
  if (wire == nullptr) {
    auto made = std::make_shared<Wire>();
    for (std::size_t end = 0; end < 2; ++end) {
      const auto name = "wire." + words.name + (end == 0 ? ".0" : ".1");
      made->to_end[end].reset(rte_ring_create(name.c_str(), places, SOCKET_ID_ANY, 0));
      if (made->to_end[end] == nullptr) {
        wires().erase(words.name);
        return errno_error(rte_errno, "make ring " + words.name);
      }
    }
    wire = std::move(made);
  }
  for (std::size_t end = 0; end < 2; ++end) {
    if (!wire->has_end[end].exchange(true))
      return std::unique_ptr<Device>(std::make_unique<RingDevice>(words.name, wire, end, options));
  }
  return Error(ErrorCode::unavailable, "both ends of ring " + words.name + " are in use");
}

}  // namespace ironcore::network::dpdk
