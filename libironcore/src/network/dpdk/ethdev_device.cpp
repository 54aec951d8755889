// SPDX-License-Identifier: Apache-2.0
// Devices of DPDK's drivers.
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_net.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "device.hpp"
#include "errors.hpp"

namespace ironcore::network::dpdk {

namespace {

constexpr std::uint16_t receive_places = 1024;
constexpr std::uint16_t send_places = 1024;
constexpr std::uint32_t header_bytes = 18;  // Ethernet with one tag

/// Drivers' devices need names; a number is never used twice, because a driver may still be at it.
std::atomic<std::uint32_t> next_number = 0;

struct Driver {
  std::string bus;
  std::string name;
  std::string arguments;
};

Result<Driver> driver_of(const DeviceWords& words, const DeviceOptions& options) {
  if (words.kind == Kind::pci) return Driver{"pci", words.name, ""};
  Driver out{"vdev", "", ""};
  const auto number = std::to_string(next_number++);
  switch (words.kind) {
    case Kind::memif:
      out.name = "net_memif" + number;
      out.arguments = "role=" + words.role + ",id=" + std::to_string(words.id) + ",socket=" + words.socket +
                      ",socket-abstract=no,bsize=" + std::to_string(options.buffer_bytes);
      break;
    case Kind::pcap: {
      out.name = "net_pcap" + number;
      if (!words.rx.empty()) out.arguments += ",rx_pcap=" + words.rx;
      if (!words.tx.empty()) out.arguments += ",tx_pcap=" + words.tx;
      if (words.is_infinite) out.arguments += ",infinite_rx=1";
      out.arguments.erase(0, 1);
      break;
    }
    default:
      out.name = "net_null" + number;
      out.arguments = "no-rx=1";
      break;
  }
  return out;
}

class EthdevDevice final : public Device {
 public:
  EthdevDevice(Driver driver, std::uint16_t port) : driver_(std::move(driver)), port_(port) {}
  ~EthdevDevice() override {
    if (is_started_) rte_eth_dev_stop(port_);
    rte_eal_hotplug_remove(driver_.bus.c_str(), driver_.name.c_str());
  }

  Result<void> start(const DeviceOptions& options) {
    rte_eth_dev_info info{};
    if (const int failed = rte_eth_dev_info_get(port_, &info); failed != 0)
      return errno_error(failed, "read what it can do");
    abilities_.receive_queues = std::min(options.queues, info.max_rx_queues);
    abilities_.send_queues = std::min(options.queues, info.max_tx_queues);

    rte_eth_conf conf{};
    const bool is_card = driver_.bus == "pci";
    if (is_card && (options.mtu < info.min_mtu || options.mtu > info.max_mtu))
      return Error(ErrorCode::unsupported, "its MTU must be " + std::to_string(info.min_mtu) + " to " +
                                               std::to_string(info.max_mtu) + ", and shall be " +
                                               std::to_string(options.mtu));
    // The others carry what fits into buffers, whatever they say.
    conf.rxmode.mtu = is_card ? options.mtu : std::uint16_t{0};
    const auto may_receive = [&](std::uint64_t offload) { return (info.rx_offload_capa & offload) == offload; };
    const auto may_send = [&](std::uint64_t offload) { return (info.tx_offload_capa & offload) == offload; };
    if (options.mtu + header_bytes > options.buffer_bytes && may_receive(RTE_ETH_RX_OFFLOAD_SCATTER))
      conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
    constexpr auto read_sums =
        RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    if (may_receive(read_sums)) conf.rxmode.offloads |= read_sums;
    constexpr auto write_sums = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    offloads_.checksums = may_send(write_sums);
    if (offloads_.checksums) conf.txmode.offloads |= write_sums;
    constexpr auto cut = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    offloads_.cuts_tcp = offloads_.checksums && may_send(cut);
    if (offloads_.cuts_tcp) conf.txmode.offloads |= cut;
    // Drivers of files and of the kernel take pieces without saying so.
    if (may_send(RTE_ETH_TX_OFFLOAD_MULTI_SEGS))
      conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    else
      abilities_.takes_pieces = !is_card;
    if (abilities_.receive_queues > 1 && info.flow_type_rss_offloads != 0) {
      conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
      conf.rx_adv_conf.rss_conf.rss_hf =
          info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
    }
    int failed = rte_eth_dev_configure(port_, abilities_.receive_queues, abilities_.send_queues, &conf);
    if (failed != 0) return errno_error(failed, "configure it");
    auto receive = receive_places;
    auto send = send_places;
    failed = rte_eth_dev_adjust_nb_rx_tx_desc(port_, &receive, &send);
    if (failed != 0) return errno_error(failed, "choose the size of its queues");
    const auto socket = rte_eth_dev_socket_id(port_);
    const auto node = static_cast<unsigned>(socket < 0 ? SOCKET_ID_ANY : socket);
    for (std::uint16_t i = 0; i < abilities_.receive_queues; ++i) {
      failed = rte_eth_rx_queue_setup(port_, i, receive, node, nullptr, options.pool);
      if (failed != 0) return errno_error(failed, "make a receiving queue; are there too few buffers?");
    }
    for (std::uint16_t i = 0; i < abilities_.send_queues; ++i) {
      failed = rte_eth_tx_queue_setup(port_, i, send, node, nullptr);
      if (failed != 0) return errno_error(failed, "make a sending queue");
    }
    rte_ether_addr address{};
    if (rte_eth_macaddr_get(port_, &address) == 0 && rte_is_valid_assigned_ether_addr(&address) != 0)
      mac_ = MacAddress(std::to_array(address.addr_bytes));
    // Software devices forward for addresses of the overlay's own making; a card is told its address.
    bool takes_all = !is_card;
    if (options.mac && is_card) {
      std::copy(options.mac->bytes().begin(), options.mac->bytes().end(), address.addr_bytes);
      takes_all = rte_eth_dev_default_mac_addr_set(port_, &address) != 0;
    }
    failed = rte_eth_dev_start(port_);
    if (failed != 0) return errno_error(failed, "start it");
    is_started_ = true;
    // Not all drivers can, and those that cannot take everything anyway.
    if (takes_all) rte_eth_promiscuous_enable(port_);
    rte_eth_allmulticast_enable(port_);
    rte_eth_stats_reset(port_);
    return {};
  }

  Abilities abilities() const noexcept override { return abilities_; }
  Offloads offloads() const noexcept override { return offloads_; }
  std::optional<MacAddress> mac() const noexcept override { return mac_; }
  std::uint16_t receive(std::uint16_t queue, rte_mbuf** into, std::uint16_t most) noexcept override {
    return rte_eth_rx_burst(port_, queue, into, most);
  }
  std::uint16_t send(std::uint16_t queue, rte_mbuf** from, std::uint16_t count) noexcept override {
    if (offloads_.checksums) {
      for (std::uint16_t i = 0; i < count; ++i)
        if (from[i]->ol_flags != 0) rte_net_intel_cksum_prepare(from[i]);
      count = rte_eth_tx_prepare(port_, queue, from, count);
    }
    return rte_eth_tx_burst(port_, queue, from, count);
  }
  bool is_up() const noexcept override {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  }
  DeviceCounters counters() const noexcept override {
    rte_eth_stats stats{};
    if (rte_eth_stats_get(port_, &stats) != 0) return {};
    return {.missed = stats.imissed + stats.rx_nombuf, .errors = stats.ierrors + stats.oerrors};
  }

 private:
  const Driver driver_;
  const std::uint16_t port_;
  Abilities abilities_;
  Offloads offloads_;
  std::optional<MacAddress> mac_;
  bool is_started_ = false;
};

}  // namespace

Result<std::unique_ptr<Device>> open_ethdev(const DeviceWords& words, const DeviceOptions& options) {
  if (rte_eth_dev_count_avail() + 1 >= RTE_MAX_ETHPORTS)
    return Error(ErrorCode::exhausted, "this DPDK has room for " + std::to_string(RTE_MAX_ETHPORTS - 1) +
                                           " devices of its drivers in a process: close one first");
  IRONCORE_TRY(auto driver, driver_of(words, options));
  std::uint16_t port = 0;
  // A card of EalOptions::cards may have been taken at the start.
  const bool is_there = rte_eth_dev_get_port_by_name(driver.name.c_str(), &port) == 0;
  if (!is_there) {
    const int failed = rte_eal_hotplug_add(driver.bus.c_str(), driver.name.c_str(), driver.arguments.c_str());
    if (failed != 0) {
      // Drivers say EINVAL or ENOMEM or nothing for a file or an interface that is not there; their words are in the log.
      const std::string card =
          words.kind == Kind::pci ? ", is it one of the cards that were named at the start (EalOptions::cards)" : "";
      return Error(ErrorCode::unavailable,
                   "the driver refuses it: is it there, free" + card + ", and may this process use it?");
    }
    if (rte_eth_dev_get_port_by_name(driver.name.c_str(), &port) != 0) {
      rte_eal_hotplug_remove(driver.bus.c_str(), driver.name.c_str());
      return Error(ErrorCode::unavailable, "no driver takes it; see DPDK's log");
    }
  }
  auto device = std::make_unique<EthdevDevice>(std::move(driver), port);
  IRONCORE_CHECK(device->start(options));
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace ironcore::network::dpdk
