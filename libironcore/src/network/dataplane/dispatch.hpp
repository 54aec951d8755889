// SPDX-License-Identifier: Apache-2.0
// Which worker a packet belongs to, when there are several.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "fragments.hpp"
#include "ironcore/network/packet.hpp"
#include "snapshot.hpp"

namespace ironcore::network::dataplane {

/// Both directions of a flow meet on the worker of its machine, which is the one that polls the machine's port if that has one queue; of two
/// machines of this host, on that of the lower address. What comes back to a NAT meets there too: a machine's flows have ports of the slice of their
/// worker. Asked only of packets whose flow a worker does not know: what it knows is its own, and is asked again when the configuration changes. Pieces of a
/// datagram for a NAT first gather on one worker, which knows their ports from the first one.
struct Place {
  std::size_t worker = 0;
  bool is_final = true;  ///< that worker need not ask again
};

class Dispatch {
 public:
  /// Does not change; `fragments` of the worker that asks.
  Dispatch(const Snapshot& snapshot, std::size_t workers, std::size_t here, Fragments& fragments, Tick now) noexcept
      : snapshot_(snapshot), workers_(workers), here_(here), fragments_(fragments), now_(now) {}

  /// What is for nobody in particular stays here.
  Place of(const Packet& packet) noexcept;
  /// Of a packet that is neither a fragment nor an ICMP error, from its key alone.
  Place of(const FlowKey& key) const noexcept;

 private:
  struct Inner {
    const std::uint8_t* ip = nullptr;
    std::uint32_t bytes = 0;   ///< that are there
    std::uint32_t length = 0;  ///< of the packet
    bool is_v6 = false;
    const std::uint8_t* source() const noexcept { return ip + (is_v6 ? 8 : 12); }
    const std::uint8_t* destination() const noexcept { return ip + (is_v6 ? 24 : 16); }
  };
  static std::optional<Inner> inner_of(const Packet& packet, std::uint32_t at, bool is_v6) noexcept;

  Place stay() const noexcept { return {here_, true}; }
  Place from_wire(const Packet& packet) noexcept;
  Place to_ports(const NatPool& pool, FlowScope scope, const Inner& inner) noexcept;
  Place of_ends(std::uint32_t interface, bool is_v6, const std::uint8_t* own, const std::uint8_t* other) const noexcept;
  Place of_balanced(const std::uint8_t* source, bool is_v6) const noexcept;
  Place of_port(const NatPool& pool, std::uint16_t port) const noexcept;
  static const std::uint8_t* own_address(const UnderlayView& underlay, const InterfaceView& owner, bool is_v6,
                                         const std::uint8_t* destination) noexcept;
  std::size_t home_of(std::uint32_t interface) const noexcept;
  std::size_t hashed(std::uint64_t a, std::uint64_t b) const noexcept;

  const Snapshot& snapshot_;
  const std::size_t workers_;
  const std::size_t here_;
  Fragments& fragments_;
  const Tick now_;
};

}  // namespace ironcore::network::dataplane
