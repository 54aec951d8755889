// SPDX-License-Identifier: Apache-2.0
// The ports of one NAT, shared out among the workers.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "ironcore/network/configuration.hpp"
#include "ironcore/network/counters.hpp"
#include "nat_peers.hpp"
#include "nat_ports.hpp"

namespace ironcore::network::dataplane {

/// Who has sent the first packet of a flow.
enum class Opener : std::uint8_t { inside, outside };

/// The number of the configuration up to which each worker has told the pools that took the place of others of all its flows. Thread: each worker
/// sets its own, any reads.
class FollowedNats {
 public:
  explicit FollowedNats(std::size_t workers) : numbers_(workers) {}

  void set(std::size_t worker, std::uint64_t number) noexcept {
    numbers_[worker].store(number, std::memory_order_release);
  }
  std::uint64_t get(std::size_t worker) const noexcept { return numbers_[worker].load(std::memory_order_acquire); }
  /// Of the worker that is furthest behind.
  std::uint64_t least() const noexcept {
    std::uint64_t out = UINT64_MAX;
    for (std::size_t worker = 0; worker < numbers_.size(); ++worker) out = std::min(out, get(worker));
    return out;
  }

 private:
  std::vector<std::atomic<std::uint64_t>> numbers_;
};

/// Each worker has every n-th port of the range, whatever the range is: what comes back to a port belongs to the worker whose it is, also after the range has
/// changed.
///
/// When a NAT is told anew, its next pool begins empty, and awaits the flows of the former one: each claims its port at its next packet, or when the
/// worker comes by, which looks at a few of its connections with each burst. A flow has its port of the pool that was there when the flow was checked last, and of no
/// other. Until a worker has been at all its connections, this pool gives away no port that a flow may have of the former one. That one knows once all its own
/// flows have followed it; if it is replaced before that, the next pool gives none away at all until all flows have followed.
/// Thread: each slice that of its worker; `succeed` and `let_go` control; everything else any (immutable, or atomic).
class NatPool {
 public:
  /// `born`: the number of the first configuration since which the NAT has had its address without a break. Up to 64 workers.
  NatPool(const Nat& told, std::uint64_t born, std::size_t workers, std::uint32_t max_flows, std::uint64_t secret);

  /// It takes the place of this one, and the flows that were checked before the configuration `since` are to follow. Before it is published.
  void succeed(std::shared_ptr<NatPool> former, std::uint64_t since, std::shared_ptr<const FollowedNats> followed);
  /// Forgets the former one, if no worker needs it any more. False: one does.
  bool let_go() noexcept;

  std::uint64_t born() const noexcept { return born_; }
  /// Flows that were checked before that have no port of this pool yet.
  std::uint64_t since() const noexcept { return since_; }
  bool contains(std::uint16_t port) const noexcept { return port >= range_.first && port <= range_.last; }
  /// Of any port.
  std::size_t worker_of(std::uint16_t port) const noexcept { return port % slices_.size(); }
  /// Flows of the worker may still have ports of the former pool.
  bool is_awaiting(std::size_t worker) const noexcept { return followed_ && followed_->get(worker) < since_; }

  std::optional<std::uint16_t> take(std::size_t worker, const Inside& inside, const Outside& outside,
                                    Opener opener) noexcept;
  /// For a flow that has the port already. False: it cannot keep it.
  bool claim(std::size_t worker, std::uint16_t port, const Inside& inside, const Outside& outside,
             Opener opener) noexcept;
  /// The same for one that was checked with the configuration `valid_at`, before `since`, and gives back its port of the former pool.
  bool follow(std::size_t worker, std::uint16_t port, const Inside& inside, const Outside& outside, Opener opener,
              std::uint64_t valid_at) noexcept;
  /// Of a flow that was checked with the configuration `valid_at`: here, or in the former pool.
  void release(std::size_t worker, std::uint16_t port, const Outside& outside, Opener opener,
               std::uint64_t valid_at) noexcept;
  /// Whose port it is, for packets from anybody; nothing if ports are shared.
  std::optional<Inside> find(std::size_t worker, PortSpace space, std::uint16_t port) const noexcept;
  /// Whether a flow that began inside is between the port and the address, for address-dependent filtering; else never.
  bool knows(std::size_t worker, std::uint16_t port, const Outside& outside) const noexcept;

  static constexpr std::array<Resource, 6> resources{Resource::nat_tcp,  Resource::nat_udp,   Resource::nat_icmp,
                                                     Resource::nat_sctp, Resource::nat_flows, Resource::nat_peers};
  /// How full the worker's slice is; no room = it has no such thing. Thread: any.
  ResourceUse::Part use(std::size_t worker, Resource what) const noexcept;

 private:
  /// By numbers: a worker's n-th port of all there are has number n.
  struct Slice {
    std::variant<std::monostate, NatPorts, SharedNatPorts> ports;
    std::optional<NatPeers> peers;
  };

  /// What readers see of a slice, apart from what its worker reads.
  struct alignas(64) Noted {
    std::array<std::atomic<std::uint32_t>, resources.size()> used{};
    std::array<std::uint32_t, resources.size()> room{};
  };
  static constexpr std::size_t place_of(Resource what) noexcept {
    return static_cast<std::size_t>(what) - static_cast<std::size_t>(resources.front());
  }

  /// That flows of the worker may still have ports of; null = there is none, or no more.
  NatPool* former(std::size_t worker) const noexcept { return is_awaiting(worker) ? former_.get() : nullptr; }
  /// Nobody can say which ports the worker's flows have.
  bool is_closed(std::size_t worker) const noexcept {
    return is_awaiting(worker) && (former_ == nullptr || former_->is_awaiting(worker));
  }
  /// No flows of another inside have the port, or may have it.
  bool is_free_for(std::size_t worker, const Inside& inside, std::uint16_t number) const noexcept;
  std::optional<std::uint16_t> take_own(std::size_t worker, NatPorts& own, const Inside& inside) noexcept;
  std::optional<std::uint16_t> take_shared(std::size_t worker, SharedNatPorts& shared, const Inside& inside,
                                           const Outside& outside) noexcept;
  void note(std::size_t worker, PortSpace space) noexcept;
  std::uint16_t number_of(std::uint16_t port) const noexcept {
    return static_cast<std::uint16_t>(port / slices_.size());
  }
  std::uint16_t port_of(std::size_t worker, std::uint16_t number) const noexcept {
    return static_cast<std::uint16_t>(number * slices_.size() + worker);
  }

  PortRange range_;
  std::uint64_t born_;
  std::uint64_t since_;
  std::shared_ptr<const FollowedNats> followed_;  ///< null = it took nobody's place
  std::shared_ptr<NatPool> former_;               ///< has no former one itself; null = gone, or it cannot be asked
  std::vector<Slice> slices_;
  std::vector<Noted> noted_;  ///< by worker
};

}  // namespace ironcore::network::dataplane
