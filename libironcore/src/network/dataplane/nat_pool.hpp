// SPDX-License-Identifier: Apache-2.0
// The ports of one NAT, shared out among the workers.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
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

/// Each worker has every n-th port of the range, whatever the range is: what comes back to a port belongs to the worker whose it is, also after the range has
/// changed. When a NAT is told anew, its next pool is empty until each worker has claimed the ports of its flows; it does so before it gives
/// any away. Thread: each slice that of its worker; everything else any (immutable, or atomic).
class NatPool {
 public:
  /// `born`: the number of the first configuration since which the NAT has had its address without a break. Up to 64 workers.
  NatPool(const Nat& told, std::uint64_t born, std::size_t workers, std::uint32_t max_flows, std::uint64_t secret);

  std::uint64_t born() const noexcept { return born_; }
  bool contains(std::uint16_t port) const noexcept { return port >= range_.first && port <= range_.last; }
  /// Of any port.
  std::size_t worker_of(std::uint16_t port) const noexcept { return port % slices_.size(); }

  /// For a pool that takes the place of another one: before it is published.
  void await_flows() noexcept;
  bool is_awaiting() const noexcept { return awaiting_.load(std::memory_order_acquire) != 0; }
  bool is_awaiting(std::size_t worker) const noexcept {
    return (awaiting_.load(std::memory_order_relaxed) >> worker & 1) != 0;
  }
  /// The worker's flows have been claimed.
  void set_followed(std::size_t worker) noexcept;

  std::optional<std::uint16_t> take(std::size_t worker, const Inside& inside, const Outside& outside,
                                    Opener opener) noexcept;
  /// For a flow that has the port already. False: it cannot keep it.
  bool claim(std::size_t worker, std::uint16_t port, const Inside& inside, const Outside& outside,
             Opener opener) noexcept;
  void release(std::size_t worker, std::uint16_t port, const Outside& outside, Opener opener) noexcept;
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

  void note(std::size_t worker, PortSpace space) noexcept;
  std::uint16_t number_of(std::uint16_t port) const noexcept {
    return static_cast<std::uint16_t>(port / slices_.size());
  }
  std::uint16_t port_of(std::size_t worker, std::uint16_t number) const noexcept {
    return static_cast<std::uint16_t>(number * slices_.size() + worker);
  }

  PortRange range_;
  std::uint64_t born_;
  std::vector<Slice> slices_;
  std::vector<Noted> noted_;                 ///< by worker
  std::atomic<std::uint64_t> awaiting_ = 0;  ///< a bit for each worker
};

}  // namespace ironcore::network::dataplane
