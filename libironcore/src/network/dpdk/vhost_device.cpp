// SPDX-License-Identifier: Apache-2.0
// The network interface of a guest: vhost-user over a socket on which the guest's emulator listens.
#include <fcntl.h>
#include <rte_vhost.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "device.hpp"
#include "errors.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "offload.hpp"

namespace ironcore::network::dpdk {

namespace {

constexpr std::size_t most_pairs = 128;     // of rte_vhost
constexpr std::size_t most_sockets = 1024;  // likewise
constexpr std::uint16_t most_at_once = 32;  // likewise: it takes no more in one call
constexpr std::uint32_t ethernet_bytes = 14;
constexpr std::uint32_t ipv6_bytes = 40;
constexpr int no_guest = -1;
constexpr int tends_between_calls = 3;

// Feature bits of virtio 1.2 §5.1.3 and §6.
constexpr std::uint64_t bit(unsigned number) {
  return std::uint64_t{1} << number;
}
constexpr std::uint64_t guest_checksum = bit(1);
constexpr std::uint64_t guest_tso = bit(7) | bit(8);  // of IPv4 and of IPv6
constexpr std::uint64_t ecn = bit(9) | bit(13);
constexpr std::uint64_t ufo = bit(10) | bit(14);
constexpr std::uint64_t legacy_gso = bit(6);
constexpr std::uint64_t several_queues = bit(22);
// What waits can be counted in split rings only.
constexpr std::uint64_t packed_rings = bit(34);

/// Rings are numbered by the guest's view: even ones receive, odd ones send.
constexpr std::uint16_t ring_to_guest(std::size_t pair) {
  return static_cast<std::uint16_t>(2 * pair);
}
constexpr std::uint16_t ring_from_guest(std::size_t pair) {
  return static_cast<std::uint16_t>(2 * pair + 1);
}

/// One of our queues: the guest's rings `queue`, `queue + queues` … are its own.
struct alignas(64) VhostQueue {
  std::atomic<bool> is_receiving = false;  ///< a worker is inside rte_vhost
  std::atomic<bool> is_sending = false;    ///< likewise
  std::atomic<bool> is_listening = true;   ///< the guest may have been asked to wake us
  std::size_t turn = 0;                    ///< of the worker: which ring is first
  UniqueFd poller;                         ///< epoll over the kicks of its rings and `changed`
  UniqueFd changed;                        ///< eventfd: rings came or went
};

/// Keeps the guest here while a worker is at it. DPDK frees it after `destroy_device`, which waits for this.
class Visit {
 public:
  Visit(std::atomic<bool>& place, const std::atomic<int>& guest) noexcept : place_(place) {
    place_.store(true);
    guest_ = guest.load();
  }
  ~Visit() { place_.store(false, std::memory_order_release); }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  int guest() const noexcept { return guest_; }

 private:
  std::atomic<bool>& place_;
  int guest_ = no_guest;
};

/// A socket and the guest behind it. Its `on_…` functions run on DPDK's vhost thread, or on the one that connects or closes the port; with rings locked,
/// so that only `on_gone` may wait for workers.
class Guest {
 public:
  explicit Guest(std::size_t queues) : queues_(queues) {}

  Result<void> prepare() {
    for (auto& queue : queues_) {
      queue.poller.reset(::epoll_create1(EPOLL_CLOEXEC));
      queue.changed.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
      if (!queue.poller || !queue.changed || !watch(queue, queue.changed.get()))
        return errno_error(errno, "make what workers sleep on");
    }
    return {};
  }

  void on_connection() {
    forget_rings();
    is_connected_ = true;
  }
  void on_hang_up() {
    forget_rings();
    is_connected_ = false;
  }
  void on_come(int id) {
    std::uint64_t features = 0;
    if (rte_vhost_get_negotiated_features(id, &features) != 0) features = 0;
    features_ = features;
    {
      std::lock_guard guard(mutex_);
      count_rings();
    }
    id_ = id;
    tell_all();
  }
  void on_gone() {
    id_ = no_guest;
    for (const auto& queue : queues_)
      while (queue.is_receiving || queue.is_sending) std::this_thread::yield();
    features_ = 0;
  }
  void on_ring(int id, std::uint16_t ring, bool is_on) {
    const std::size_t pair = ring / 2U;
    if (pair >= most_pairs) return;
    {
      std::lock_guard guard(mutex_);
      if (ring == ring_to_guest(pair)) {
        to_guest_[pair] = is_on;
      } else {
        from_guest_[pair] = is_on;
        forget_kick(pair);
        if (is_on) watch_kick(id, pair);
      }
      count_rings();
    }
    tell(queues_[pair % queues_.size()]);
  }

  std::vector<VhostQueue>& queues() noexcept { return queues_; }
  bool is_connected() const noexcept { return is_connected_; }
  const std::atomic<int>& id() const noexcept { return id_; }
  std::uint64_t features() const noexcept { return features_.load(std::memory_order_relaxed); }
  std::size_t pairs_to_guest() const noexcept { return pairs_to_guest_.load(std::memory_order_relaxed); }
  bool is_from_guest(std::size_t pair) const noexcept { return from_guest_[pair].load(std::memory_order_relaxed); }
  std::size_t pairs_from_guest() const noexcept { return pairs_from_guest_.load(std::memory_order_relaxed); }

 private:
  /// At each edge only: who has passed the descriptor may be hostile, so it is never read.
  static bool watch(const VhostQueue& queue, int fd) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    return ::epoll_ctl(queue.poller.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  static void tell(VhostQueue& queue) {
    queue.is_listening = true;
    const std::uint64_t one = 1;
    static_cast<void>(::write(queue.changed.get(), &one, sizeof one));
  }
  void tell_all() {
    for (auto& queue : queues_) tell(queue);
  }
  void watch_kick(int id, std::size_t pair) {
    rte_vhost_vring ring{};
    if (rte_vhost_get_vhost_vring(id, ring_from_guest(pair), &ring) != 0 || ring.kickfd < 0) return;
    // Our own, because DPDK closes its one when it likes.
    kicks_[pair].reset(::fcntl(ring.kickfd, F_DUPFD_CLOEXEC, 0));
    // What cannot be watched wakes nobody: the guest waits for its packets until something else wakes the worker.
    if (kicks_[pair] && !watch(queues_[pair % queues_.size()], kicks_[pair].get())) kicks_[pair].reset();
  }
  void forget_kick(std::size_t pair) {
    if (!kicks_[pair]) return;
    ::epoll_ctl(queues_[pair % queues_.size()].poller.get(), EPOLL_CTL_DEL, kicks_[pair].get(), nullptr);
    kicks_[pair].reset();
  }
  void forget_rings() {
    std::lock_guard guard(mutex_);
    for (std::size_t pair = 0; pair < most_pairs; ++pair) forget_kick(pair);
    to_guest_.fill(false);
    for (auto& is_on : from_guest_) is_on = false;
    count_rings();
  }
  void count_rings() {
    // Further ones of a guest that did not agree to have them may be freed under a worker.
    const std::size_t most = (features_ & several_queues) != 0 ? most_pairs : 1;
    const auto* const leading = std::find(to_guest_.begin(), to_guest_.begin() + most, false);
    pairs_to_guest_ = static_cast<std::size_t>(leading - to_guest_.begin());
    std::size_t pairs = most;
    while (pairs > 0 && !from_guest_[pairs - 1]) --pairs;
    pairs_from_guest_ = pairs;
  }

  std::vector<VhostQueue> queues_;
  std::atomic<bool> is_connected_ = false;
  std::atomic<int> id_ = no_guest;
  std::atomic<std::uint64_t> features_ = 0;        ///< that it agreed to
  std::atomic<std::size_t> pairs_to_guest_ = 0;    ///< the first ones, up to one that is off
  std::atomic<std::size_t> pairs_from_guest_ = 0;  ///< up to the last one that is on
  std::array<std::atomic<bool>, most_pairs> from_guest_{};
  std::mutex mutex_;  ///< of changes above, and of all below
  std::array<bool, most_pairs> to_guest_{};
  std::array<UniqueFd, most_pairs> kicks_;
};

// rte_vhost knows sockets of the whole process by their paths, and its callbacks know nothing else.
std::mutex guests_mutex;
std::map<std::string, std::shared_ptr<Guest>>& guests() {
  static std::map<std::string, std::shared_ptr<Guest>> all;
  return all;
}
std::shared_ptr<Guest> guest_of(int id) {
  std::array<char, PATH_MAX> path{};
  if (rte_vhost_get_ifname(id, path.data(), path.size()) != 0) return nullptr;
  std::lock_guard guard(guests_mutex);
  const auto found = guests().find(path.data());
  return found == guests().end() ? nullptr : found->second;
}

constexpr rte_vhost_device_ops callbacks = {
    .new_device =
        [](int id) {
          if (const auto guest = guest_of(id)) guest->on_come(id);
          return 0;
        },
    .destroy_device =
        [](int id) {
          if (const auto guest = guest_of(id)) guest->on_gone();
        },
    .vring_state_changed =
        [](int id, std::uint16_t ring, int is_on) {
          if (const auto guest = guest_of(id)) guest->on_ring(id, ring, is_on != 0);
          return 0;
        },
    .features_changed = nullptr,
    .new_connection =
        [](int id) {
          if (const auto guest = guest_of(id)) guest->on_connection();
          return 0;
        },
    .destroy_connection =
        [](int id) {
          if (const auto guest = guest_of(id)) guest->on_hang_up();
        },
    .guest_notified = nullptr,
    .reserved = {},
};

/// Whether somebody has a stream socket there, who does not notice that he is asked: one of another kind is refused by its kind.
bool is_somebody_at(const std::string& path) noexcept {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
         errno == EPROTOTYPE;
}

/// rte_vhost would connect anew by itself, but a socket that is given up in the moment in which the guest hangs up stays on its list of those that
/// it still calls for, and is freed. So each connection has a registration of its own.
class VhostDevice final : public Device {
 public:
  VhostDevice(std::string path, std::shared_ptr<Guest> guest, rte_mempool* pool)
      : path_(std::move(path)), guest_(std::move(guest)), pool_(pool) {}
  ~VhostDevice() override {
    hang_up();
    std::lock_guard guard(guests_mutex);
    guests().erase(path_);
  }

  void tend() override {
    if (guest_->is_connected()) {
      tends_ = 0;
    } else if (++tends_ >= tends_between_calls) {
      tends_ = 0;
      call();
    }
  }
  void call() {
    hang_up();
    if (!is_somebody_at(path_)) return;
    constexpr std::uint64_t flags =
        RTE_VHOST_USER_CLIENT | RTE_VHOST_USER_NO_RECONNECT | RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS;
    is_registered_ = rte_vhost_driver_register(path_.c_str(), flags) == 0;
    if (!is_registered_) return;
    if (rte_vhost_driver_disable_features(path_.c_str(), ecn | ufo | legacy_gso | packed_rings) != 0 ||
        rte_vhost_driver_callback_register(path_.c_str(), &callbacks) != 0 ||
        rte_vhost_driver_start(path_.c_str()) != 0)
      hang_up();
  }

  Abilities abilities() const noexcept override {
    const auto count = static_cast<std::uint16_t>(guest_->queues().size());
    return {.receive_queues = count, .send_queues = count};
  }
  Offloads offloads() const noexcept override {
    const auto features = guest_->features();
    const bool checksums = (features & guest_checksum) != 0;
    return {.checksums = checksums, .cuts_tcp = checksums && (features & guest_tso) == guest_tso};
  }
  std::optional<MacAddress> mac() const noexcept override { return std::nullopt; }

  std::uint16_t receive(std::uint16_t number, rte_mbuf** into, std::uint16_t most) noexcept override {
    auto& queue = guest_->queues()[number];
    const auto step = guest_->queues().size();
    const auto pairs = guest_->pairs_from_guest();
    if (number >= pairs) return 0;
    const Visit visit(queue.is_receiving, guest_->id());
    if (visit.guest() == no_guest) return 0;
    // Nobody needs to wake who is awake.
    if (queue.is_listening.load(std::memory_order_relaxed)) listen(queue, number, visit.guest(), 0);
    const auto rings = (pairs - number + step - 1) / step;
    const auto first = queue.turn++;
    std::uint16_t count = 0;
    for (std::size_t i = 0; i < rings && count < most; ++i) {
      const auto ring = ring_from_guest(number + (first + i) % rings * step);
      while (count < most) {
        const auto some = std::min<std::uint16_t>(most_at_once, static_cast<std::uint16_t>(most - count));
        const auto came = rte_vhost_dequeue_burst(visit.guest(), ring, pool_, into + count, some);
        count = static_cast<std::uint16_t>(count + keep_good(into + count, came));
        if (came < some) break;
      }
    }
    return count;
  }

  std::uint16_t send(std::uint16_t number, rte_mbuf** from, std::uint16_t count) noexcept override {
    const Visit visit(guest_->queues()[number].is_sending, guest_->id());
    const auto pairs = guest_->pairs_to_guest();
    if (visit.guest() == no_guest || pairs == 0) return 0;
    std::uint16_t ready = 0;
    while (ready < count && make_ready(from[ready])) ++ready;
    // Rings that several workers use are locked by rte_vhost.
    const auto ring = ring_to_guest(number % pairs);
    std::uint16_t sent = 0;
    while (sent < ready) {
      const auto some = std::min<std::uint16_t>(most_at_once, static_cast<std::uint16_t>(ready - sent));
      const auto went = rte_vhost_enqueue_burst(visit.guest(), ring, from + sent, some);
      rte_pktmbuf_free_bulk(from + sent, went);
      sent = static_cast<std::uint16_t>(sent + went);
      if (went < some) break;
    }
    return sent;
  }

  bool is_up() const noexcept override { return guest_->id() != no_guest && guest_->pairs_to_guest() != 0; }
  int wake_fd(std::uint16_t number) const noexcept override { return guest_->queues()[number].poller.get(); }
  bool may_sleep(std::uint16_t number) noexcept override {
    auto& queue = guest_->queues()[number];
    // The edges until now are done with: what came with them is looked for below.
    std::array<epoll_event, 16> events;
    while (::epoll_wait(queue.poller.get(), events.data(), events.size(), 0) == static_cast<int>(events.size())) {
    }
    const Visit visit(queue.is_receiving, guest_->id());
    if (visit.guest() == no_guest) return true;
    listen(queue, number, visit.guest(), 1);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const auto pairs = guest_->pairs_from_guest();
    for (std::size_t pair = number; pair < pairs; pair += guest_->queues().size())
      if (rte_vhost_rx_queue_count(visit.guest(), ring_from_guest(pair)) != 0) return false;
    return true;
  }
  DeviceCounters counters() const noexcept override { return {.errors = errors_.load(std::memory_order_relaxed)}; }

 private:
  /// Waits until DPDK is through with who hung up by himself.
  void hang_up() {
    if (std::exchange(is_registered_, false)) rte_vhost_driver_unregister(path_.c_str());
  }
  void listen(VhostQueue& queue, std::size_t number, int guest, int is_on) noexcept {
    queue.is_listening = is_on != 0;
    const auto pairs = guest_->pairs_from_guest();
    for (std::size_t pair = number; pair < pairs; pair += guest_->queues().size())
      if (guest_->is_from_guest(pair)) rte_vhost_enable_guest_notification(guest, ring_from_guest(pair), is_on);
  }

  /// DPDK says of what a guest wants to have finished no more than that it is TCP, UDP or SCTP.
  std::uint16_t keep_good(rte_mbuf** frames, std::uint16_t count) noexcept {
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
      auto* frame = frames[i];
      const bool is_cut = (frame->ol_flags & RTE_MBUF_F_RX_LRO) != 0;
      const bool is_unfinished = (frame->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
      Transport transport;
      if ((is_cut || is_unfinished) && (!find_transport(*frame, transport) || (is_cut && !transport.is_tcp))) {
        rte_pktmbuf_free(frame);
        errors_.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      frames[kept++] = frame;
    }
    return kept;
  }

  /// rte_vhost writes the sum of the pseudo header anew, as cards want it: without the length if the frame is to be cut, and as if IPv6 had no
  /// extension headers. The frame already has it as virtio wants it, and rte_vhost leaves it alone if the headers are not in the first piece.
  bool make_ready(rte_mbuf*& frame) noexcept {
    frame->ol_flags &= ~RTE_MBUF_F_TX_IP_CKSUM;
    const bool has_extensions = (frame->ol_flags & RTE_MBUF_F_TX_IPV6) != 0 && frame->l3_len != ipv6_bytes;
    const bool asks = (frame->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0;
    if (!asks || ((frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG) == 0 && !has_extensions)) return true;
    auto* head = rte_pktmbuf_alloc(pool_);
    if (head == nullptr) return false;
    std::memcpy(rte_pktmbuf_mtod(head, char*), rte_pktmbuf_mtod(frame, const char*), ethernet_bytes);
    head->data_len = ethernet_bytes;
    head->pkt_len = frame->pkt_len;
    head->nb_segs = static_cast<std::uint16_t>(frame->nb_segs + 1);
    head->ol_flags = frame->ol_flags;
    head->tx_offload = frame->tx_offload;
    frame->data_off = static_cast<std::uint16_t>(frame->data_off + ethernet_bytes);
    frame->data_len = static_cast<std::uint16_t>(frame->data_len - ethernet_bytes);
    head->next = frame;
    frame = head;
    return true;
  }

  const std::string path_;
  const std::shared_ptr<Guest> guest_;
  rte_mempool* const pool_;
  bool is_registered_ = false;
  int tends_ = 0;
  std::atomic<std::uint64_t> errors_ = 0;
};

}  // namespace

Result<std::unique_ptr<Device>> open_vhost(const DeviceWords& words, const DeviceOptions& options) {
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(words.name, failed);
  const auto path = failed ? words.name : absolute.lexically_normal().string();
  if (path.size() > longest_socket_path)
    return Error({{"device", FieldError::Reason::invalid,
                   "the path of a socket has up to " + std::to_string(longest_socket_path) + " bytes, and " + path +
                       " has " + std::to_string(path.size())}});
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return Error(ErrorCode::unavailable, path + " is no socket");
  } else if (errno != ENOENT) {
    return errno_error(errno, "look at " + path);
  }
  auto guest = std::make_shared<Guest>(options.queues);
  IRONCORE_CHECK(guest->prepare());
  {
    std::lock_guard guard(guests_mutex);
    if (guests().size() >= most_sockets)
      return Error(ErrorCode::exhausted, "DPDK takes no more than " + std::to_string(most_sockets) +
                                             " sockets of guests: close a port first");
    if (!guests().try_emplace(path, guest).second)
      return Error(ErrorCode::unavailable, "socket " + path + " is in use by another port");
  }
  auto device = std::make_unique<VhostDevice>(path, std::move(guest), options.pool);
  device->call();
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace ironcore::network::dpdk
