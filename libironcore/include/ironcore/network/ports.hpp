// SPDX-License-Identifier: Apache-2.0
// The seam between the packet engine and what carries frames: network cards, guests, files, memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/network/packet.hpp"

namespace ironcore::network {

/// What a port shall be.
struct PortSpec {
  std::string name;  ///< 1 to 63 letters, digits, `-` and `_`; the configuration calls it so (`Interface::port`)
  std::string
      device;  ///< what carries its frames, in the words of the adapter: `tap:NAME`, `vhost:PATH`, `pci:0000:01:00.0` …
  std::uint16_t mtu = 1500;  ///< of the IP packets in its frames; 68 to 9,000
  std::optional<MacAddress>
      mac;  ///< of our side; the device's own, or one that is made from the name, if it is not given
  friend bool operator==(const PortSpec&, const PortSpec&) = default;
};

struct PortState {
  PortSpec spec;
  std::uint32_t number = 0;  ///< small; as in `Packet::port`; used again only after the port was closed
  MacAddress mac;
  bool is_up = false;  ///< the link is, or a guest is there
  friend bool operator==(const PortState&, const PortState&) = default;
};

struct PortCounters {
  std::uint64_t received_packets = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_packets = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t missed = 0;  ///< came, but there was no buffer or no room for them
  std::uint64_t unsent =
      0;  ///< could not be sent: the device was full, or down, or the frame longer than its MTU lets it be
  std::uint64_t errors = 0;  ///< what the device says is broken
  friend bool operator==(const PortCounters&, const PortCounters&) = default;
};

/// What is wrong with the name or the MTU, for all adapters alike; the device is theirs to check.
Result<void> check(const PortSpec& spec);
/// A locally administered address made from a port's name: the same on each start, another one for each name.
MacAddress mac_of_port(std::string_view name) noexcept;

/// All ports of one adapter: a buffer that came in at one of them can leave by any other. Each has as many queues in each direction as there are
/// workers; a device with less shares them out or takes turns behind this. Thread: `open`, `close`, `list`, `counters`, `on_change`, `queues` and `wake`:
/// any. The others: one for each queue, between its `quiesce` and its `leave`.
class Ports {
 public:
  virtual ~Ports() = default;

  /// `invalid` names what is wrong with the spec; `already_exists` if the name is taken by another spec (the same spec is no change); `unavailable`
  /// if the device is not there or busy; `exhausted` if there are as many ports as can be.
  virtual Result<PortState> open(const PortSpec& spec) = 0;
  /// The port leaves the list, `changed` is called, then each worker has to pass `quiesce` or to be away: only after that is the port's number
  /// free. So whoever takes it out of what workers read before `changed` returns can be sure that nobody mistakes another port for it. A port that is not
  /// there is no error.
  virtual Result<void> close(const std::string& name) = 0;
  /// In the order of their numbers.
  virtual std::vector<PortState> list() const = 0;
  /// Since it was opened; `not_found`.
  virtual Result<PortCounters> counters(const std::string& name) const = 0;
  /// Called on a thread of the adapter, or that of `open` and `close`, after a port came, went, or changed its link; never twice at once. It may call
  /// `list` and `counters`, nothing else here. Replaces what was set before; returns when the old one is not being called any more.
  virtual void on_change(std::function<void()> changed) = 0;
  /// Makes the queue's `wait` return, or its next one if it does not wait now.
  virtual void wake(std::size_t queue) noexcept = 0;

  /// How many workers, and so queues, there are.
  virtual std::size_t queues() const noexcept = 0;
  /// The numbers of the ports at which this queue may find something; changes only in `quiesce`. A port with one queue in each direction is best
  /// polled by the queue `number % queues()`: there the engine keeps what is its.
  virtual std::span<const std::uint32_t> polled(std::size_t queue) const noexcept = 0;
  /// No more than there is room for. All fields of the packets are set, `port` to where they came from; they belong to the caller until they are
  /// given to `send` or `release`.
  virtual std::size_t receive(std::uint32_t port, std::size_t queue, std::span<Packet> into) noexcept = 0;
  /// Takes packets, each of them to leave by its own `port`; those that cannot leave are counted, if there is such a port, and released. Does the
  /// `offload` that they ask for.
  virtual void send(std::size_t queue, std::span<const Packet> packets) noexcept = 0;
  /// Of whatever port.
  virtual void release(std::span<const Packet> packets) noexcept = 0;
  /// An empty packet with room for a frame of 2,048 bytes and 128 bytes before it; nothing if there is no buffer.
  virtual std::optional<Packet> allocate(std::size_t queue) noexcept = 0;
  /// The worker holds no packet and no port now, and is about to work. Call it first, and then often: between bursts.
  virtual void quiesce(std::size_t queue) noexcept = 0;
  /// It holds none, and touches nothing before its next `quiesce`: nobody waits for it. All begin so.
  virtual void leave(std::size_t queue) noexcept = 0;
  /// Leaves, and sleeps until something may have come to one of the polled ports, or for `most_ns`. May return early. Ports that cannot wake anybody
  /// make it return after a time in which few packets come.
  virtual void wait(std::size_t queue, std::uint64_t most_ns) noexcept = 0;
};

}  // namespace ironcore::network
