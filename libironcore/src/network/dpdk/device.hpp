// SPDX-License-Identifier: Apache-2.0
// What carries the frames of one port, in DPDK's buffers.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "device_words.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::network::dpdk {

/// How a device was made.
struct Abilities {
  std::uint16_t receive_queues = 1;  ///< each used by one thread at a time
  std::uint16_t send_queues = 1;     ///< likewise
  bool takes_pieces = true;
};

/// What it finishes of a frame that is sent.
struct Offloads {
  bool checksums = false;  ///< of TCP and UDP; asked for as DPDK does: `RTE_MBUF_F_TX_TCP_CKSUM` …
  bool cuts_tcp = false;   ///< `RTE_MBUF_F_TX_TCP_SEG`
};

struct DeviceCounters {
  std::uint64_t missed = 0;
  std::uint64_t errors = 0;
};

/// Is given up in the destructor, when no worker is in it any more.
class Device {
 public:
  virtual ~Device() = default;
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual Abilities abilities() const noexcept = 0;
  /// May change with what is behind the device.
  virtual Offloads offloads() const noexcept { return {}; }
  /// Its own address, if it has one.
  virtual std::optional<MacAddress> mac() const noexcept = 0;
  /// Checksums and sizes are told as DPDK does: `RTE_MBUF_F_RX_L4_CKSUM_NONE` for one that is not finished, `RTE_MBUF_F_RX_LRO` with `tso_segsz`.
  virtual std::uint16_t receive(std::uint16_t queue, rte_mbuf** into, std::uint16_t most) noexcept = 0;
  /// Takes the first ones, and says how many.
  virtual std::uint16_t send(std::uint16_t queue, rte_mbuf** from, std::uint16_t count) noexcept = 0;
  /// Thread: any.
  virtual bool is_up() const noexcept = 0;
  /// Called ten times a second, by one thread.
  virtual void tend() {}
  /// Becomes readable when something has come to this queue; -1: there is no such thing.
  virtual int wake_fd(std::uint16_t) const noexcept { return -1; }
  /// Called by the queue's worker before it sleeps on `wake_fd`. False if something is there already.
  virtual bool may_sleep(std::uint16_t) noexcept { return true; }
  /// Thread: any.
  virtual DeviceCounters counters() const noexcept = 0;
};

struct DeviceOptions {
  std::uint16_t queues = 1;  ///< as many as there are workers
  std::uint16_t mtu = 1500;
  std::uint32_t buffer_bytes = 2048;
  std::optional<MacAddress> mac;
  rte_mempool* pool = nullptr;
};

/// `unavailable` if it is not there or busy.
Result<std::unique_ptr<Device>> open_ring(const DeviceWords& words, const DeviceOptions& options);
Result<std::unique_ptr<Device>> open_tap(const DeviceWords& words, const DeviceOptions& options);
Result<std::unique_ptr<Device>> open_packet_socket(const DeviceWords& words, const DeviceOptions& options);
Result<std::unique_ptr<Device>> open_vhost(const DeviceWords& words, const DeviceOptions& options);
Result<std::unique_ptr<Device>> open_ethdev(const DeviceWords& words, const DeviceOptions& options);

}  // namespace ironcore::network::dpdk
