// SPDX-License-Identifier: Apache-2.0
// The seam between the packet engine and hardware that forwards known flows by itself: the switch in a network card, a DPU.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"

namespace ironcore::network {

// Not to be mixed up with `PacketOffload`: that is about checksums and cutting of one packet, this about whole flows that software sees no more.

/// Packets of one direction of a connection. Only plain ones are hits: whole datagrams without IPv4 options and IPv6 extension headers, TCP without SYN,
/// FIN and RST, a hop limit of more than 1 where it is counted down, not longer than the MTU of the port that they leave by. All else is the engine's.
struct FlowMatch {
  std::uint32_t port = 0;                ///< where they come from, as in `Packet::port`
  std::optional<MacAddress> source_mac;  ///< of the machine behind that port
  /// From the wire: IP in IPv6 (RFC 2473) to this address, and what follows is of the inner packet. None = there is no outer header.
  std::optional<IpAddress> underlay;
  IpAddress source;
  IpAddress destination;      ///< of the same family
  std::uint8_t protocol = 0;  ///< TCP or UDP
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  friend bool operator==(const FlowMatch&, const FlowMatch&) = default;
};

/// What becomes of them. An outer header that they came with is taken off; checksums are put right.
struct FlowChange {
  /// A new outer header, with the hop limit 64.
  struct Encapsulation {
    IpAddress source;
    IpAddress destination;
    std::uint32_t flow_label = 0;
    friend bool operator==(const Encapsulation&, const Encapsulation&) = default;
  };
  std::uint32_t port = 0;  ///< where they leave
  MacAddress source_mac;
  MacAddress destination_mac;
  IpAddress source;  ///< as it is afterwards, and so are the next ones: what is as in the match stays
  IpAddress destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  bool counts_down = false;  ///< the (inner) hop limit, by one
  std::optional<Encapsulation> encapsulation;
  friend bool operator==(const FlowChange&, const FlowChange&) = default;
};

struct OffloadedFlow {
  std::uint64_t id =
      0;  ///< the caller's choice; free again after `refused`, `removed` or `reset`; if its removal was asked for, not before `removed`
  FlowMatch match;
  FlowChange change;
  std::chrono::seconds idle{0};  ///< `FlowEvent::Kind::idle` after so long without a hit; 0 = never
  friend bool operator==(const OffloadedFlow&, const OffloadedFlow&) = default;
};

/// Since it was installed.
struct FlowHits {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;  ///< of (inner) IP packets
  friend bool operator==(const FlowHits&, const FlowHits&) = default;
};

struct FlowEvent {
  enum class Kind : std::uint8_t {
    installed,
    refused,  ///< `refusal` is why; it was never there
    removed,  ///< `hits` are the last word
    idle,     ///< once for each silence; it stays until it is removed
    reset,    ///< the device has lost everything of this queue, also what was not answered yet; `id` means nothing
  };
  enum class Refusal : std::uint8_t {
    none,
    full,         ///< later perhaps
    taken,        ///< another flow has this match
    unsupported,  ///< never
    failed,       ///< the device says no
  };
  Kind kind = Kind::installed;
  std::uint64_t id = 0;
  Refusal refusal = Refusal::none;
  FlowHits hits;
};
std::string_view name(FlowEvent::Refusal refusal) noexcept;
inline constexpr std::size_t flow_refusals = static_cast<std::size_t>(FlowEvent::Refusal::failed) + 1;

/// The device takes commands and tells later what came of them, so that nobody waits for it. Each queue has flows and ids of its own; commands of one
/// queue are carried out in their order. Nothing here waits or throws. Thread: one for each queue.
class FlowOffload {
 public:
  virtual ~FlowOffload() = default;
  /// As many as workers.
  virtual std::size_t queues() const noexcept = 0;
  /// False: the queue takes no commands now; nothing was done.
  virtual bool install(std::size_t queue, const OffloadedFlow& flow) noexcept = 0;
  /// Likewise. From `removed` on no packet is a hit. An id that is not there is told as removed, without hits.
  virtual bool remove(std::size_t queue, std::uint64_t id) noexcept = 0;
  /// The oldest ones first; a queue keeps them until they are taken, and takes commands only as long as there is room for their events.
  virtual std::size_t poll(std::size_t queue, std::span<FlowEvent> into) noexcept = 0;
  /// Of installed flows, as many in `into` as in `ids`, in their order; at most a second old. What is not there has none.
  virtual void hits(std::size_t queue, std::span<const std::uint64_t> ids, std::span<FlowHits> into) noexcept = 0;
};

}  // namespace ironcore::network
