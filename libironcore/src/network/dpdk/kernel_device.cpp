// SPDX-License-Identifier: Apache-2.0
// Interfaces of the kernel, read and written directly: a tap, or a packet socket beside the kernel's own use of any interface. DPDK's own drivers for
// them wake nobody; the one for taps installs signal handlers and makes the kernel finish each checksum and cut each packet; the one for packet
// sockets takes unfinished checksums for right ones.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "device.hpp"
#include "errors.hpp"
#include "interface_link.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "offload.hpp"

namespace ironcore::network::dpdk {

namespace {

constexpr std::size_t longest_frame = 65536 + 14;
constexpr std::size_t most_pieces = 64;
constexpr int socket_bytes = 8 * 1024 * 1024;  // what waits in the kernel

/// Buffers for one frame of any length, made ready before it comes.
struct alignas(64) KernelQueue {
  UniqueFd fd;
  std::vector<rte_mbuf*> pieces;  ///< null where one has to be taken
};

std::uint16_t capped(std::size_t value) {
  return static_cast<std::uint16_t>(std::min<std::size_t>(value, 65535));
}

class KernelDevice final : public Device {
 public:
  KernelDevice(std::vector<KernelQueue> queues, InterfaceLink link, std::optional<MacAddress> mac,
               const DeviceOptions& options)
      : queues_(std::move(queues)), link_(std::move(link)), mac_(mac), pool_(options.pool) {
    const std::size_t count = (longest_frame + options.buffer_bytes - 1) / options.buffer_bytes;
    for (auto& queue : queues_) {
      queue.pieces.assign(std::min(count, most_pieces), nullptr);
      fill(queue);
    }
  }
  ~KernelDevice() override {
    for (auto& queue : queues_)
      for (auto* piece : queue.pieces) rte_pktmbuf_free(piece);
  }

  Abilities abilities() const noexcept override {
    const auto count = static_cast<std::uint16_t>(queues_.size());
    return {.receive_queues = count, .send_queues = count};
  }
  Offloads offloads() const noexcept override { return {.checksums = true, .cuts_tcp = true}; }
  std::optional<MacAddress> mac() const noexcept override { return mac_; }

  std::uint16_t receive(std::uint16_t number, rte_mbuf** into, std::uint16_t most) noexcept override {
    auto& queue = queues_[number];
    std::uint16_t count = 0;
    while (count < most) {
      if (!fill(queue)) break;
      VirtioHeader header{};
      std::array<iovec, most_pieces + 1> parts;
      parts[0] = {&header, sizeof header};
      for (std::size_t i = 0; i < queue.pieces.size(); ++i) {
        auto* piece = queue.pieces[i];
        parts[i + 1] = {rte_pktmbuf_mtod(piece, void*), rte_pktmbuf_tailroom(piece)};
      }
      const auto bytes = ::readv(queue.fd.get(), parts.data(), static_cast<int>(queue.pieces.size() + 1));
      if (bytes < 0 && errno == EINVAL)  // of a kind that the header cannot tell; it is gone
        errors_.fetch_add(1, std::memory_order_relaxed);
      if (bytes <= 0) break;  // nothing there, or the interface is down
      auto* frame = bytes > static_cast<ssize_t>(sizeof header)
                        ? take(queue, static_cast<std::size_t>(bytes) - sizeof header)
                        : nullptr;
      fill(queue);
      if (frame == nullptr || !note_offload(*frame, header)) {
        rte_pktmbuf_free(frame);
        errors_.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      into[count++] = frame;
    }
    return count;
  }

  std::uint16_t send(std::uint16_t number, rte_mbuf** from, std::uint16_t count) noexcept override {
    auto& queue = queues_[number];
    for (std::uint16_t i = 0; i < count; ++i) {
      auto header = wanted_offload(*from[i]);
      std::array<iovec, most_pieces + 1> parts;
      parts[0] = {&header, sizeof header};
      std::size_t used = 1;
      const rte_mbuf* piece = from[i];
      for (; piece != nullptr && used < parts.size(); piece = piece->next)
        parts[used++] = {rte_pktmbuf_mtod(piece, void*), piece->data_len};
      if (piece != nullptr || ::writev(queue.fd.get(), parts.data(), static_cast<int>(used)) < 0) return i;
      rte_pktmbuf_free(from[i]);
    }
    return count;
  }

  bool is_up() const noexcept override { return link_.is_up(); }
  int wake_fd(std::uint16_t number) const noexcept override { return queues_[number].fd.get(); }
  DeviceCounters counters() const noexcept override {
    for (const auto& queue : queues_) {
      tpacket_stats stats{};  // since the last time; a tap has none
      socklen_t bytes = sizeof stats;
      if (mac_ && ::getsockopt(queue.fd.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0)
        missed_.fetch_add(stats.tp_drops, std::memory_order_relaxed);
    }
    return {.missed = missed_.load(std::memory_order_relaxed), .errors = errors_.load(std::memory_order_relaxed)};
  }

 private:
  bool fill(KernelQueue& queue) noexcept {
    for (auto*& piece : queue.pieces) {
      if (piece == nullptr) piece = rte_pktmbuf_alloc(pool_);
      if (piece == nullptr) return false;
    }
    return true;
  }
  static rte_mbuf* take(KernelQueue& queue, std::size_t bytes) noexcept {
    auto* first = queue.pieces[0];
    first->pkt_len = static_cast<std::uint32_t>(bytes);
    rte_mbuf* last = nullptr;
    for (auto*& piece : queue.pieces) {
      const auto part = std::min<std::size_t>(bytes, rte_pktmbuf_tailroom(piece));
      piece->data_len = capped(part);
      bytes -= part;
      if (last != nullptr) {
        last->next = piece;
        ++first->nb_segs;
      }
      last = std::exchange(piece, nullptr);
      if (bytes == 0) break;
    }
    return first;
  }

  std::vector<KernelQueue> queues_;
  const InterfaceLink link_;
  const std::optional<MacAddress> mac_;  ///< not of a tap: that one is the other end's
  rte_mempool* const pool_;
  std::atomic<std::uint64_t> errors_ = 0;
  mutable std::atomic<std::uint64_t> missed_ = 0;
};

}  // namespace

Result<std::unique_ptr<Device>> open_tap(const DeviceWords& words, const DeviceOptions& options) {
  const auto doing = "open tap interface " + words.name;
  IRONCORE_TRY(auto link, within(InterfaceLink::open(words.name), doing));
  std::vector<KernelQueue> queues(options.queues);
  ifreq request{};
  words.name.copy(request.ifr_name, IFNAMSIZ - 1);
  for (auto& queue : queues) {
    queue.fd.reset(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!queue.fd) return errno_error(errno, doing + ": /dev/net/tun");
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (options.queues > 1) request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_MULTI_QUEUE);
    if (::ioctl(queue.fd.get(), TUNSETIFF, &request) != 0) {
      if (errno == EINVAL || errno == EBUSY)
        return Error(ErrorCode::unavailable,
                     doing + ": it is in use, or no tap interface with " +
                         (options.queues > 1 ? "several queues (ip tuntap add … multi_queue)" : "one queue"));
      return errno_error(errno, doing);
    }
    constexpr unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    constexpr int header_bytes = sizeof(VirtioHeader);
    if (::ioctl(queue.fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0 ||
        ::ioctl(queue.fd.get(), TUNSETOFFLOAD, static_cast<unsigned long>(offloads)) != 0)
      return errno_error(errno, doing);
  }
  request.ifr_mtu = options.mtu;
  if (::ioctl(link.socket(), SIOCSIFMTU, &request) != 0) return errno_error(errno, doing + ": set its MTU");
  if (::ioctl(link.socket(), SIOCGIFFLAGS, &request) != 0) return errno_error(errno, doing);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(link.socket(), SIOCSIFFLAGS, &request) != 0) return errno_error(errno, doing + ": set it up");
  return std::unique_ptr<Device>(
      std::make_unique<KernelDevice>(std::move(queues), std::move(link), std::nullopt, options));
}

Result<std::unique_ptr<Device>> open_packet_socket(const DeviceWords& words, const DeviceOptions& options) {
  const auto doing = "open interface " + words.name;
  IRONCORE_TRY(auto link, within(InterfaceLink::open(words.name), doing));
  ifreq request{};
  words.name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(link.socket(), SIOCGIFINDEX, &request) != 0) return errno_error(errno, doing);
  const int index = request.ifr_ifindex;
  if (::ioctl(link.socket(), SIOCGIFHWADDR, &request) != 0) return errno_error(errno, doing);
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER && request.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK)
    return Error(ErrorCode::unavailable, doing + ": its frames are not those of Ethernet");
  std::array<std::uint8_t, 6> address{};
  std::memcpy(address.data(), request.ifr_hwaddr.sa_data, address.size());
  if (::ioctl(link.socket(), SIOCGIFMTU, &request) != 0) return errno_error(errno, doing);
  if (request.ifr_mtu < options.mtu)
    return Error(ErrorCode::unavailable, doing + ": its MTU is " + std::to_string(request.ifr_mtu) + "; set it to " +
                                             std::to_string(options.mtu) + " (ip link set) or ask for less");
  std::vector<KernelQueue> queues(options.queues);
  for (auto& queue : queues) {
    const auto set = [&](int level, int name, const auto& value) {
      return ::setsockopt(queue.fd.get(), level, name, &value, sizeof value) == 0;
    };
    // Of no protocol, so that nothing comes before all is set.
    queue.fd.reset(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!queue.fd) return errno_error(errno, doing);
    const packet_mreq all{.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC, .mr_alen = 0, .mr_address = {}};
    sockaddr_ll place{};
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(ETH_P_ALL);
    place.sll_ifindex = index;
    if (!set(SOL_PACKET, PACKET_VNET_HDR, 1) || !set(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1) ||
        !set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, all) ||
        ::bind(queue.fd.get(), reinterpret_cast<const sockaddr*>(&place), sizeof place) != 0)
      return errno_error(errno, doing);
    set(SOL_SOCKET, SO_RCVBUFFORCE, socket_bytes);  // as much as there may be
    set(SOL_SOCKET, SO_SNDBUFFORCE, socket_bytes);
    // Packets of a flow come to one of them.
    constexpr int by_hash = PACKET_FANOUT_HASH << 16;
    constexpr int new_group = PACKET_FANOUT_FLAG_UNIQUEID << 16;
    if (options.queues == 1) continue;
    if (&queue == &queues[0]) {
      if (!set(SOL_PACKET, PACKET_FANOUT, by_hash | new_group)) return errno_error(errno, doing);
    } else {
      int joined = 0;
      socklen_t bytes = sizeof joined;
      if (::getsockopt(queues[0].fd.get(), SOL_PACKET, PACKET_FANOUT, &joined, &bytes) != 0 ||
          !set(SOL_PACKET, PACKET_FANOUT, (joined & 0xffff) | by_hash))
        return errno_error(errno, doing);
    }
  }
  return std::unique_ptr<Device>(
      std::make_unique<KernelDevice>(std::move(queues), std::move(link), MacAddress(address), options));
}

}  // namespace ironcore::network::dpdk
