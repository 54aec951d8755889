// SPDX-License-Identifier: Apache-2.0
// The guest's side of a vhost-user socket: DPDK's virtio-user, listening as QEMU does.
#pragma once

#include <doctest/doctest.h>
#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "../packets.hpp"
#include "../ports_conformance.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::tests {

/// A frame as the guest has it.
struct GuestFrame {
  Bytes bytes;
  bool needs_checksum = false;
  std::uint16_t segment_bytes = 0;
};

struct VirtioUserOptions {
  std::uint16_t queues = 1;
  std::string features = "mrg_rxbuf=1";  ///< in the words of the driver
  std::uint64_t receive_offloads = RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
                                   RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_LRO;
  std::uint64_t send_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
                                RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO;
};

/// Needs DPDK's environment. The driver waits in its start until somebody connects: on a thread of this object, and until that is done nothing is sent
/// and nothing comes. One thread at a time. Gone with its socket in the destructor.
class VirtioUser {
 public:
  explicit VirtioUser(std::string path, VirtioUserOptions options = {})
      : path_(std::move(path)), options_(std::move(options)) {
    static int number = 0;
    ++number;
    name_ = "net_virtio_user" + std::to_string(number);
    const auto pool_name = "guest." + std::to_string(number);
    pool_ = rte_pktmbuf_pool_create(pool_name.c_str(), 2048, 0, 0, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
    REQUIRE(pool_ != nullptr);
    starter_ = std::jthread([this] {
      is_there_ = start();
      is_done_ = true;
    });
    // It listens now, unless somebody has been quick.
    REQUIRE(wait_until([&] { return is_done_ || std::filesystem::exists(path_); }));
  }
  ~VirtioUser() {
    while (!is_done_) {
      // Somebody who hangs up at once ends the waiting.
      const UniqueFd caller(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path_.copy(address.sun_path, sizeof address.sun_path - 1);
      static_cast<void>(::connect(caller.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    starter_.join();
    // The driver learns on DPDK's thread for interrupts that the other end has hung up, and must not be gone by then.
    std::atomic<bool> has_passed = false;
    const auto pass = [](void* flag) { *static_cast<std::atomic<bool>*>(flag) = true; };
    if (rte_eal_alarm_set(20'000, pass, &has_passed) == 0)
      while (!has_passed) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (is_there_) rte_eth_dev_stop(port_);
    rte_eal_hotplug_remove("vdev", name_.c_str());
    rte_mempool_free(pool_);
    std::filesystem::remove(path_);
  }
  VirtioUser(const VirtioUser&) = delete;
  VirtioUser& operator=(const VirtioUser&) = delete;

  bool is_started() const { return is_done_; }
  /// Looks for somebody who connects, too.
  bool is_up() const {
    rte_eth_link link{};
    return is_done_ && is_there_ && rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  }
  /// `ask` may set offloads in the first buffer.
  template <class Ask>
  bool send(const Bytes& frame, std::uint16_t queue, Ask ask) {
    REQUIRE((is_done_ && is_there_));
    constexpr std::size_t piece_bytes = 1800;
    rte_mbuf* first = nullptr;
    for (std::size_t at = 0; at < frame.size(); at += piece_bytes) {
      auto* piece = rte_pktmbuf_alloc(pool_);
      REQUIRE(piece != nullptr);
      const auto some = std::min(piece_bytes, frame.size() - at);
      std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), some, rte_pktmbuf_mtod(piece, std::uint8_t*));
      piece->data_len = static_cast<std::uint16_t>(some);
      piece->pkt_len = static_cast<std::uint32_t>(some);
      if (first == nullptr)
        first = piece;
      else
        REQUIRE(rte_pktmbuf_chain(first, piece) == 0);
    }
    ask(*first);
    if (rte_eth_tx_prepare(port_, queue, &first, 1) == 1 && rte_eth_tx_burst(port_, queue, &first, 1) == 1) return true;
    rte_pktmbuf_free(first);
    return false;
  }
  bool send(const Bytes& frame, std::uint16_t queue = 0) {
    return send(frame, queue, [](rte_mbuf&) {});
  }
  /// What has come to a queue; does not wait.
  std::vector<GuestFrame> take(std::uint16_t queue) {
    std::vector<GuestFrame> out;
    if (!is_done_ || !is_there_) return out;
    std::array<rte_mbuf*, 32> frames;
    while (const auto count = rte_eth_rx_burst(port_, queue, frames.data(), frames.size())) {
      for (std::uint16_t i = 0; i < count; ++i) {
        GuestFrame frame;
        const auto flags = frames[i]->ol_flags;
        frame.needs_checksum = (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
        if ((flags & RTE_MBUF_F_RX_LRO) != 0) frame.segment_bytes = frames[i]->tso_segsz;
        for (const auto* piece = frames[i]; piece != nullptr; piece = piece->next) {
          const auto* bytes = rte_pktmbuf_mtod(piece, const std::uint8_t*);
          frame.bytes.insert(frame.bytes.end(), bytes, bytes + piece->data_len);
        }
        rte_pktmbuf_free(frames[i]);
        out.push_back(std::move(frame));
      }
    }
    return out;
  }
  bool take_one(GuestFrame& frame) {
    if (kept_.empty()) kept_ = take();
    if (kept_.empty()) return false;
    frame = std::move(kept_.front());
    kept_.erase(kept_.begin());
    return true;
  }
  std::vector<GuestFrame> take() {
    std::vector<GuestFrame> out;
    for (std::uint16_t queue = 0; queue < options_.queues; ++queue)
      for (auto& frame : take(queue)) out.push_back(std::move(frame));
    return out;
  }

 private:
  bool start() {
    const auto queues = options_.queues;
    const auto arguments = "path=" + path_ + ",server=1,queues=" + std::to_string(queues) +
                           ",queue_size=256,in_order=0" + (options_.features.empty() ? "" : "," + options_.features);
    if (rte_eal_hotplug_add("vdev", name_.c_str(), arguments.c_str()) != 0) return false;
    if (rte_eth_dev_get_port_by_name(name_.c_str(), &port_) != 0) return false;
    rte_eth_conf conf{};
    conf.rxmode.mtu = 9000;
    conf.rxmode.offloads = options_.receive_offloads;
    conf.txmode.offloads = options_.send_offloads;
    if (rte_eth_dev_configure(port_, queues, queues, &conf) != 0) return false;
    for (std::uint16_t i = 0; i < queues; ++i) {
      if (rte_eth_rx_queue_setup(port_, i, 256, SOCKET_ID_ANY, nullptr, pool_) != 0 ||
          rte_eth_tx_queue_setup(port_, i, 256, SOCKET_ID_ANY, nullptr) != 0)
        return false;
    }
    return rte_eth_dev_start(port_) == 0;
  }

  const std::string path_;
  const VirtioUserOptions options_;
  std::string name_;
  rte_mempool* pool_ = nullptr;
  std::uint16_t port_ = 0;
  bool is_there_ = false;  ///< once done
  std::vector<GuestFrame> kept_;
  std::atomic<bool> is_done_ = false;
  std::jthread starter_;
};

}  // namespace ironcore::tests
