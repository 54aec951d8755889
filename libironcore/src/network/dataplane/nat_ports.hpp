// SPDX-License-Identifier: Apache-2.0
// Which ports of a NAT's address are whose.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "prefix_map.hpp"

namespace ironcore::network::dataplane {

/// Each of these has all ports for itself; a port of ICMP is the identifier of an echo.
enum class PortSpace : std::uint8_t { tcp, udp, icmp, sctp };
inline constexpr std::size_t port_spaces = 4;
/// Nothing for protocols without ports. Both ICMPs have the same space: NAT64 makes one of them the other.
std::optional<PortSpace> port_space(std::uint8_t protocol) noexcept;

/// The first and the last one, not less.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;

  std::uint32_t size() const noexcept { return last - first + 1U; }
};

/// A socket of a machine behind a NAT.
struct Inside {
  PrefixBits address;
  std::uint32_t vni = 0;
  std::uint16_t port = 0;
  PortSpace space = PortSpace::tcp;
  bool is_v6 = false;
  friend bool operator==(const Inside&, const Inside&) = default;
};

/// One that machines talk to.
struct Outside {
  PrefixBits address;
  std::uint16_t port = 0;  ///< of an echo 0: its identifier is the inside's port
  PortSpace space = PortSpace::tcp;
  friend bool operator==(const Outside&, const Outside&) = default;
};

/// One worker's slice of the ports of one NAT, each mapped to one inside whatever it talks to: the endpoint-independent mapping of RFC 4787
/// §4.1. A port that becomes free is the last of all free ones to be taken again. Taking, finding and releasing take a constant time (a short
/// chain of a hash table), and so does a refusal.
///
/// Memory: 168 bytes a port, whoever uses it, made at construction; indices instead of pointers, so that a copy of the bytes is a snapshot.
/// Thread: one.
class NatPorts {
 public:
  /// `secret`: a random number, so that nobody can guess ports or choose colliding keys.
  NatPorts(PortRange range, std::uint64_t secret);

  /// The inside's port, for one flow more; a free one if it has none yet, or nothing if there is none.
  std::optional<std::uint16_t> take(const Inside& inside) noexcept;
  /// One flow more that has this port already. If another inside has it too, it is with the flows that have it until these end, but of no inside:
  /// no further flow gets it.
  void claim(const Inside& inside, std::uint16_t port) noexcept;
  /// One flow less of a port that was taken; the last one frees it.
  void release(PortSpace space, std::uint16_t port) noexcept;
  /// The port that `take` would give to an inside that has one already.
  std::optional<std::uint16_t> port_of(const Inside& inside) const noexcept;
  /// The one that `take` would give to an inside that has none; `put_off`: another one comes before it.
  std::optional<std::uint16_t> next_free(PortSpace space) const noexcept;
  void put_off(PortSpace space) noexcept;
  bool is_taken(PortSpace space, std::uint16_t port) const noexcept;
  /// Whose it is: where packets to it go, from anybody (endpoint-independent filtering) or from another machine (hairpin).
  std::optional<Inside> find(PortSpace space, std::uint16_t port) const noexcept;

  /// Whoever has no port yet gets none.
  bool is_exhausted(PortSpace space) const noexcept { return queue(space).free == 0; }
  /// Ports, not flows.
  std::uint32_t used(PortSpace space) const noexcept { return range_.size() - queue(space).free; }
  std::size_t bytes() const noexcept;

 private:
  struct Entry {
    Inside inside;
    std::uint32_t flows = 0;
    std::uint32_t next = 0;    ///< of its chain, or of the free ones
    std::uint32_t before = 0;  ///< of the free ones
  };

  /// The free ones of a space.
  struct Queue {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    std::uint32_t free = 0;
  };

  const Queue& queue(PortSpace space) const noexcept { return queues_[static_cast<std::size_t>(space)]; }
  std::uint32_t index(PortSpace space, std::uint16_t port) const noexcept;
  std::uint16_t port_at(PortSpace space, std::uint32_t index) const noexcept;
  std::uint32_t chain(const Inside& inside) const noexcept;  ///< its number
  void append(Queue& queue, std::uint32_t index) noexcept;
  void remove(Queue& queue, std::uint32_t index) noexcept;
  void put_into_chain(std::uint32_t index) noexcept;
  void remove_from_chain(std::uint32_t index) noexcept;

  PortRange range_;
  std::uint64_t secret_;
  std::array<Queue, port_spaces> queues_;
  std::vector<Entry> entries_;         ///< of the spaces in turn
  std::vector<std::uint32_t> chains_;  ///< first entries, by hash
};

/// The same with ports that several insides share as long as they talk to different outsides: a port is taken for a flow, and a packet that
/// comes back finds its flow by port and outside together. An inside has the same port towards all outsides, unless another one already has
/// that port towards the same outside, or (1 flow in 100,000 or so) seems to.
///
/// The ports of an outside are looked at in groups of 16, each within one cache line: the group of the inside's port and up to `max_tries` - 1
/// others, so a range of up to 16 * `max_tries` ports is searched whole. Of a larger one few flows are refused before all ports are taken towards
/// one outside: of 64,512 the first when 90 % are, and 0.6 % of them in all.
///
/// Only tags of the outsides are kept. Two with the same tag count as one, which costs them some free ports but never gives one port to both.
/// Memory: 8 bytes for each of `max_flows`, made at construction, without pointers. Thread: one.
class SharedNatPorts {
 public:
  static constexpr std::uint32_t max_tries = 16;

  SharedNatPorts(PortRange range, std::uint32_t max_flows, std::uint64_t secret);

  /// Ports that somebody else may have towards the outside, though they are free here.
  struct Elsewhere {
    bool (*is_taken)(const void* context, std::uint16_t port, const Outside& outside) noexcept;
    const void* context;
  };
  /// A port for a new flow; nothing if `max_flows` have one, or if those that were looked at are taken. Both are of the same space.
  std::optional<std::uint16_t> take(const Inside& inside, const Outside& outside,
                                    const Elsewhere* elsewhere = nullptr) noexcept;
  /// For a flow that has the port already. False, and it is not noted: `max_flows` have one, or (1 flow in 100,000 or so) it looks as if another one
  /// had it towards that outside.
  bool claim(std::uint16_t port, const Outside& outside) noexcept;
  /// The end of a flow that took the port.
  void release(std::uint16_t port, const Outside& outside) noexcept;
  /// By a flow towards the outside, or (see above) by one that looks so.
  bool is_taken(std::uint16_t port, const Outside& outside) const noexcept;

  /// Every flow is refused.
  bool is_exhausted() const noexcept { return used_ == max_flows_; }
  std::uint32_t used() const noexcept { return used_; }
  std::uint32_t capacity() const noexcept { return max_flows_; }
  std::size_t bytes() const noexcept;

 private:
  static constexpr std::uint32_t group_size = 16;

  /// Of an outside and a group of ports: a place where `ports` is 0 is free.
  struct alignas(64) Line {
    static constexpr std::size_t places = 16;
    std::array<std::uint16_t, places> tags{};
    std::array<std::uint16_t, places> ports{};

    std::uint32_t find(std::uint16_t tag) const noexcept;
    std::uint32_t find_free() const noexcept;
  };

  std::uint64_t hash(const Outside& outside) const noexcept;
  Line& line(std::uint64_t hash) noexcept;
  const Line& line(std::uint64_t hash) const noexcept;

  PortRange range_;
  std::uint32_t groups_;
  std::uint32_t max_flows_;
  std::uint32_t used_ = 0;
  std::uint64_t secret_;
  std::vector<Line> lines_;
};

}  // namespace ironcore::network::dataplane
