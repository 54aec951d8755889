// SPDX-License-Identifier: Apache-2.0
// The dataplane of one host: told what shall be, it forwards packets between its ports.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/network/capture.hpp"
#include "ironcore/network/configuration.hpp"
#include "ironcore/network/counters.hpp"
#include "ironcore/network/explanation.hpp"
#include "ironcore/network/flow_offload.hpp"
#include "ironcore/network/packet.hpp"
#include "ironcore/network/ports.hpp"

namespace ironcore::network {

/// A port towards other hosts. It may come and go as others do.
struct Uplink {
  std::string port;
  MacAddress router;         ///< where everything is sent to; zeros if it is to be asked for
  std::uint16_t weight = 1;  ///< of the flows that it gets; 0 = none
  /// An IPv6 address of the router, whose MAC is asked for (RFC 4861) from our link-local address, and watched: an uplink whose router does not answer
  /// is not used. `tend` does it.
  std::optional<IpAddress> router_address;
};

/// Of silence, after which a connection is forgotten. Whole seconds.
struct ConnectionTimeouts {
  std::chrono::seconds tcp_established{86'400};  ///< as the original; RFC 5382 REQ-5 asks for 2 h 4 min at least
  std::chrono::seconds tcp_transitory{240};      ///< while it is opened or closed (RFC 5382 REQ-5)
  std::chrono::seconds tcp_closed{120};          ///< both sides have said that they are through
  std::chrono::seconds tcp_reset{10};            ///< one side has reset it
  std::chrono::seconds tcp_one_sided{7440};      ///< open as far as is seen, but the answers go another way
  std::chrono::seconds udp{120};                 ///< RFC 4787 REQ-5
  std::chrono::seconds icmp{60};                 ///< RFC 5508 REQ-2
  std::chrono::seconds other{120};
};

struct DataplaneOptions {
  Prefix underlay;                        ///< the host's IPv6 /64: what other hosts send to
  std::vector<Uplink> uplinks;            ///< none = only machines of this host reach each other
  std::uint16_t mtu = 1500;               ///< of the machines' packets; an uplink needs 40 bytes more
  bool has_firewall = true;               ///< without it everything may come in and go out
  std::uint32_t connections = 1'000'000;  ///< room of each worker, about 214 bytes each
  std::uint32_t fragments = 16'384;       ///< datagrams in pieces that each worker remembers
  ConnectionTimeouts timeouts;
  std::uint32_t maglev_size =
      65'537;  ///< entries of a load balancer's table, two bytes each; a prime, at best 100 times as many as targets
  std::uint32_t lease_seconds = 0xffffffff;  ///< of addresses told by DHCP; this value is for ever
  std::vector<IpAddress> dns_v4;             ///< told to machines, the best one first
  std::vector<IpAddress> dns_v6;
  bool announces = true;                 ///< the gateway tells machines by itself that it is there (ARP, ND)
  std::size_t watched_changes = 16'384;  ///< so many are remembered for those who watch
  /// What is applied is kept there, on disk before `apply` returns, and is there again after the next `create`; empty = nowhere. The directory
  /// exists, and nobody else writes in it. Only one dataplane uses it at a time.
  std::filesystem::path configuration_directory;
  /// Another one, on tmpfs or hugetlbfs, where connections and the ports of NATs outlive the process, however it ends: they go on after the next
  /// `create` if underlay, workers and `connections` are the same. A restart of the host must empty it. 192 bytes for each connection there is room
  /// for, taken when it is made; empty = nowhere.
  std::filesystem::path flow_directory;
  CaptureSettings captures;
  /// Hardware that forwards busy connections by itself; with a queue for each worker, it outlives the dataplane.
  FlowOffload* flow_offload = nullptr;
  std::uint32_t offload_packets_per_second = 1000;  ///< of a connection, from which on the hardware gets it
  std::uint32_t offload_connections = 16'384;       ///< of each worker, at most
  std::optional<std::uint64_t> seed;  ///< of everything random, for simulations; from the system if it is not given
};

/// `invalid` with a field error for each option that cannot be, as far as it can be told without ports and directories.
Result<void> check(const DataplaneOptions& options);

/// Some objects of a kind, in the order of their keys.
template <class Object>
struct ConfigurationPage {
  std::vector<Object> objects;
  std::uint64_t revision = 0;  ///< of all of them
  bool has_more = false;       ///< behind the last one
};

/// A network, which is there as long as an interface, a route, a load balancer or a neighbour's NAT names it; and how many do.
struct VniUse {
  Vni vni;
  std::uint64_t interfaces = 0;
  std::uint64_t routes_v4 = 0;
  std::uint64_t routes_v6 = 0;
  std::uint64_t load_balancers = 0;
  std::uint64_t nats = 0;  ///< of its interfaces
  std::uint64_t neighbour_nats = 0;
  friend bool operator==(const VniUse&, const VniUse&) = default;
};

/// What one batch made different: objects as they are now, keys of those that are gone, also if they went with what they belonged to. In
/// an order in which it can be applied.
struct AppliedBatch {
  std::uint64_t revision = 0;
  std::shared_ptr<const std::vector<Change>> changes;
};

/// Of hardware that forwards flows by itself.
struct OffloadCounters {
  std::uint64_t connections = 0;                       ///< that it forwards, now
  std::uint64_t installed = 0;                         ///< connections that it ever took
  std::array<std::uint64_t, flow_refusals> refused{};  ///< flows that it did not take, by why
  std::uint64_t packets = 0;  ///< that it forwarded; those of interfaces have them, the others do not
  std::uint64_t resets = 0;   ///< how often it lost everything
  friend bool operator==(const OffloadCounters&, const OffloadCounters&) = default;
};

struct DataplaneCounters {
  std::array<std::uint64_t, drop_reasons> packets{};  ///< by reason; `none` are those that went on
  std::uint64_t fast_path = 0;  ///< packets of flows that were known; what goes round on this host counts each time
  std::uint64_t slow_path = 0;  ///< how often the configuration was asked
  std::array<StageCounters, stages> by_stage{};  ///< of the slow path
  std::uint64_t rechecks_kept = 0;               ///< flows that were looked at again after a change, and go on
  std::uint64_t rechecks_ended = 0;              ///< likewise, but they may not, or go another way now
  std::uint64_t answers = 0;                     ///< of the gateway to machines: ARP, DHCP and the like
  std::array<std::uint64_t, gateway_services> answers_by_service{};
  std::uint64_t icmp_errors = 0;          ///< told to machines
  std::uint64_t connections_opened = 0;   ///< refusals that are remembered for a moment too
  std::uint64_t connections_expired = 0;  ///< of age
  std::uint64_t connections = 0;          ///< now
  std::uint64_t connection_room = 0;
  std::uint64_t most_connections = 0;      ///< of one worker, now: each has the same part of the room
  BurstTimes bursts;                       ///< of all workers
  std::optional<OffloadCounters> offload;  ///< none = no hardware forwards flows here
};

/// Seen from the machine, whole frames, since the interface or its port came.
struct InterfaceCounters {
  std::string id;
  std::uint64_t sent_packets = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_packets = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t dropped = 0;      ///< of those that it sent, without an ICMP error that told it so
  std::uint64_t icmp_errors = 0;  ///< that told it so; received ones too
  std::optional<MacAddress>
      heard_mac;          ///< now, if the configuration does not say its MAC and the machine has been heard
  bool has_port = false;  ///< now: the port that it names is there; without it nothing reaches the machine
  friend bool operator==(const InterfaceCounters&, const InterfaceCounters&) = default;
};

struct PortUse {
  PortState state;
  PortCounters counters;
  bool is_uplink = false;
  std::string interface;  ///< that uses it; empty = none does
};

/// One worker for each queue of the ports, on threads of the embedder: control never stops them, nor do they wait for each other. Thread: any for
/// control; `run` and `step`: one for each worker. Destroy it when no worker runs any more, and before the ports.
class Dataplane {
 public:
  /// `invalid` names the options that cannot be. The ports are its own from now on as far as workers and `on_change` go; opening and closing them
  /// stays with the embedder.
  static Result<std::unique_ptr<Dataplane>> create(DataplaneOptions options, Ports& ports, Clock& clock, Log& log);
  ~Dataplane();
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  // ---- control ----

  /// All of the batch or nothing: see `Change`. Workers follow at their next burst. Gives the revision, which is a new one only if something became
  /// different. What is there already, or gone already, is no change; an object without an underlay address gets one, and keeps it. `invalid` with a
  /// field error for each thing that is wrong (`changes[3].prefix`).
  Result<std::uint64_t> apply(std::span<const Change> batch);

  /// Objects of a kind of `Change` behind a key, in their order, with underlay addresses filled in. A page is exact at its revision; over several
  /// pages, watch from the revision of the first one.
  template <class Object, class Key = decltype(key_of(std::declval<Object>()))>
  ConfigurationPage<Object> list(std::size_t limit = SIZE_MAX, const std::optional<Key>& after = std::nullopt) const;
  /// `not_found`.
  template <class Object, class Key = decltype(key_of(std::declval<Object>()))>
  Result<Object> get(const Key& key) const;

  /// In their order, behind `after`. Nobody tells a network: it comes and goes with what names it, so watch and list again.
  ConfigurationPage<VniUse> vnis(std::size_t limit = SIZE_MAX, std::optional<Vni> after = std::nullopt) const;

  /// The batches after this revision, none left out, at most `limit` of them; waits until there is one. Empty: the deadline has passed, or stop was
  /// requested. `gone`: they are not remembered any more, or the revision is of another start: list, and go on from there.
  Result<std::vector<AppliedBatch>> watch(std::uint64_t after, Instant deadline, std::stop_token stop = {},
                                          std::size_t limit = 1000) const;
  /// Grows over all starts of a host whose wall clock does not go back.
  std::uint64_t revision() const;

  DataplaneCounters counters() const;
  /// In the order of their ids.
  std::vector<InterfaceCounters> interface_counters() const;
  /// How full it is, what meters said, and how much there is of each kind. No worker is stopped or asked for it.
  DataplaneUsage usage() const;
  /// In the order of their numbers.
  std::vector<PortUse> ports() const;

  /// What this worker would do with a frame that came from this port now, and why; each knows only its own connections. It is found out by the worker
  /// between two bursts; nothing changes by it, except that rates count the packet. `not_found`: there is no such port, or worker. `invalid`: too
  /// long for a frame. `timeout`: the worker does not run; `cancelled`: stopped.
  Result<Explanation> explain(const std::string& port, std::span<const std::uint8_t> frame, Instant deadline,
                              std::stop_token stop = {}, std::size_t worker = 0) const;

  /// Frames are copied from now on. A worker never waits: what finds no room is lost and counted. The same spec again is no change. `invalid` names the
  /// fields that are wrong; `already_exists`: the id, or the file; `not_found`: a port; `exhausted`: there are `most_captures`; `unsupported`: files or
  /// filters without the settings for them; else why the file or the socket cannot be had. What machines' offloads left undone (checksums, cutting) is
  /// undone in what is captured, and of a frame in several pieces there is only the first one.
  Result<CaptureState> start_capture(const CaptureSpec& spec);
  /// Whatever is on its way is written first. The id is free again, the file stays. `not_found`.
  Result<CaptureState> stop_capture(const std::string& id);
  /// In the order of their ids; also those that have ended and were not stopped.
  std::vector<CaptureState> captures() const;
  /// Of a `CaptureStream`: what follows on so many bytes, at most 1 MiB of it, and perhaps nothing; what is before is forgotten. `not_found`; `wrong_state`:
  /// it has another sink; `gone`: forgotten already.
  Result<CaptureChunk> read_capture(const std::string& id, std::uint64_t offset);
  /// Writes what was captured; gives how many frames it found.
  std::size_t write_captures();
  /// Does so until stopped, on a thread of its own.
  void run_captures(std::stop_token stop);

  /// Takes up what workers have found out, and lets go of configurations that none of them uses. Every `apply` does it too.
  void tend();
  /// Tends until stopped: needs a thread of its own if machines' MACs are to be learned in time.
  void run_control(std::stop_token stop);

  // ---- workers ----

  std::size_t workers() const noexcept;
  /// Until stopped; sleeps while there is nothing to do.
  void run(std::size_t worker, std::stop_token stop) noexcept;
  /// One round over all ports; gives how many packets came.
  std::size_t step(std::size_t worker) noexcept;

 private:
  struct State;
  explicit Dataplane(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ironcore::network
