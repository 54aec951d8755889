// SPDX-License-Identifier: Apache-2.0
// The messages of a dataplane. Configuration travels as JSON.
#pragma once

#include <cstdint>
#include <vector>

#include "../../base/wire/envelope.hpp"

namespace ironcore::network::zmq {

using ironcore::wire::MessageType;
using ironcore::wire::reply_to;
using ironcore::wire::Text;

/// Largest message that a server reads.
inline constexpr std::size_t max_request_bytes = 16 * 1024 * 1024;

struct CountRecord {
  static constexpr std::size_t least_bytes = 4 + 8;
  Text what;
  std::uint64_t count = 0;
};

struct HelloRequest {
  static constexpr MessageType type = MessageType::dataplane_hello;
};
struct HelloReply {
  static constexpr MessageType type = reply_to(MessageType::dataplane_hello);
  Text program;
  std::uint64_t instance = 0;
  std::uint64_t revision = 0;
  std::uint32_t workers = 0;
};

struct ApplyRequest {
  static constexpr MessageType type = MessageType::apply_changes;
  Text changes;  ///< a list
};
struct ApplyReply {
  static constexpr MessageType type = reply_to(MessageType::apply_changes);
  std::uint64_t revision = 0;
};

struct ListRequest {
  static constexpr MessageType type = MessageType::list_objects;
  Text kind;
  std::uint32_t limit = 0;
  Text after;             ///< a key; empty = from the first one
  bool is_exact = false;  ///< only the object of this key
};
struct ListReply {
  static constexpr MessageType type = reply_to(MessageType::list_objects);
  std::uint64_t revision = 0;
  bool has_more = false;
  Text objects;  ///< a list
};

struct VnisRequest {
  static constexpr MessageType type = MessageType::list_vnis;
  std::uint32_t limit = 0;
  bool is_first = false;    ///< page; else …
  std::uint32_t after = 0;  ///< … behind this VNI
};
struct VniRecord {
  static constexpr std::size_t least_bytes = 2 * 4;
  std::uint32_t vni = 0;
  std::vector<CountRecord> counts;  ///< of what names it
};
/// By name: who does not know a name leaves it out.
struct VnisReply {
  static constexpr MessageType type = reply_to(MessageType::list_vnis);
  std::uint64_t revision = 0;
  bool has_more = false;
  std::vector<VniRecord> vnis;
};

struct WatchRequest {
  static constexpr MessageType type = MessageType::watch_batches;
  std::uint64_t after = 0;
  std::uint32_t limit = 0;
};
struct BatchRecord {
  static constexpr std::size_t least_bytes = 8 + 4;
  std::uint64_t revision = 0;
  Text changes;  ///< a list
};
struct WatchReply {
  static constexpr MessageType type = reply_to(MessageType::watch_batches);
  std::vector<BatchRecord> batches;
};

struct CountersRequest {
  static constexpr MessageType type = MessageType::dataplane_counters;
};
struct StageRecord {
  static constexpr std::size_t least_bytes = 4 + 2 * 8;
  Text stage;
  std::uint64_t reached = 0;
  std::uint64_t refused = 0;
};
struct InterfaceRecord {
  static constexpr std::size_t least_bytes = 4 + 6 * 8 + 4 + 1;
  Text id;
  std::uint64_t sent_packets = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_packets = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t dropped = 0;
  std::uint64_t icmp_errors = 0;
  Text heard_mac;  ///< empty = none
  bool has_port = false;
};
/// What is counted by name: who does not know a name leaves it out.
struct CountersReply {
  static constexpr MessageType type = reply_to(MessageType::dataplane_counters);
  std::vector<CountRecord> packets;  ///< by reason of their drop
  std::uint64_t fast_path = 0;
  std::uint64_t slow_path = 0;
  std::vector<StageRecord> stages;
  std::uint64_t rechecks_kept = 0;
  std::uint64_t rechecks_ended = 0;
  std::uint64_t answers = 0;
  std::vector<CountRecord> services;
  std::uint64_t icmp_errors = 0;
  std::uint64_t connections_opened = 0;
  std::uint64_t connections_expired = 0;
  std::uint64_t connections = 0;
  std::uint64_t connection_room = 0;
  std::uint64_t most_connections = 0;
  std::uint64_t least_burst_ns = 0;  ///< bound of the first one of …
  std::vector<std::uint64_t>
      bursts;  ///< … by how long they took: each bound is twice the one before, the last one has none
  std::uint64_t bursts_ns = 0;  ///< all together
  std::vector<InterfaceRecord> interfaces;
};

struct OffloadRequest {
  static constexpr MessageType type = MessageType::dataplane_offload;
};
/// Of hardware that forwards flows, if there is some: by name, as above.
struct OffloadReply {
  static constexpr MessageType type = reply_to(MessageType::dataplane_offload);
  bool is_there = false;
  std::vector<CountRecord> counts;
  std::vector<CountRecord> refused;  ///< flows, by why
};

struct UsageRequest {
  static constexpr MessageType type = MessageType::dataplane_usage;
};
struct UsedRecord {
  static constexpr std::size_t least_bytes = 2 * 8;
  std::uint64_t used = 0;
  std::uint64_t room = 0;
};
struct ResourceRecord {
  static constexpr std::size_t least_bytes = 3 * 4;
  Text what;
  Text of;  ///< interface or virtual service; empty = of all
  std::vector<UsedRecord> workers;
};
struct ColorRecord {
  static constexpr std::size_t least_bytes = 2 * 4 + 2 * 8;
  Text meter;  ///< `egress`, `ingress`, `public egress`, `public ingress`
  Text color;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};
struct MetersRecord {
  static constexpr std::size_t least_bytes = 2 * 4;
  Text id;
  std::vector<ColorRecord> meters;
};
/// By name, as counters.
struct UsageReply {
  static constexpr MessageType type = reply_to(MessageType::dataplane_usage);
  std::vector<ResourceRecord> resources;
  std::vector<MetersRecord> interfaces;
  std::vector<CountRecord> objects;  ///< by kind
};

struct PortSpecRecord {
  Text name;
  Text device;
  std::uint16_t mtu = 0;
  Text mac;  ///< empty = none
};
struct PortRecord {
  static constexpr std::size_t least_bytes = 3 * 4 + 2 + 4 + 4 + 1 + 7 * 8;
  PortSpecRecord spec;
  std::uint32_t number = 0;
  Text mac;
  bool is_up = false;
  std::uint64_t received_packets = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_packets = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t missed = 0;
  std::uint64_t unsent = 0;
  std::uint64_t errors = 0;
};
struct OpenPortRequest {
  static constexpr MessageType type = MessageType::open_port;
  PortSpecRecord spec;
};
struct OpenPortReply {
  static constexpr MessageType type = reply_to(MessageType::open_port);
  PortRecord port;
};
struct ClosePortRequest {
  static constexpr MessageType type = MessageType::close_port;
  Text name;
};
struct ClosePortReply {
  static constexpr MessageType type = reply_to(MessageType::close_port);
};
struct PortsRequest {
  static constexpr MessageType type = MessageType::list_ports;
};
struct PortsReply {
  static constexpr MessageType type = reply_to(MessageType::list_ports);
  std::vector<PortRecord> ports;
};

struct ExplainRequest {
  static constexpr MessageType type = MessageType::explain_packet;
  Text port;
  std::uint32_t worker = 0;
  Text frame;
};
struct StepRecord {
  static constexpr std::size_t least_bytes = 4 + 4;
  Text stage;
  Text text;
};
struct ExplainReply {
  static constexpr MessageType type = reply_to(MessageType::explain_packet);
  std::vector<StepRecord> steps;
  Text drop;
  std::uint32_t port = 0;
  Text frame;
};

struct CaptureSpecRecord {
  Text id;
  std::vector<Text> ports;
  Text direction;  ///< `in`, `out`, `both`
  Text filter;
  std::uint32_t snap_length = 0;
  Text sink;    ///< `file`, `udp`, `stream`
  Text format;  ///< `pcapng`, `pcap`; of udp `vxlan`, `plain`
  Text target;  ///< name of the file; address of udp
  bool replaces = false;
  std::uint16_t port = 0;
  std::uint32_t vni = 0;
  std::uint64_t most_packets = 0;
  std::uint64_t most_bytes = 0;
};
struct CaptureRecord {
  static constexpr std::size_t least_bytes = 9 * 4 + 4 + 1 + 2 + 4 + 6 * 8;
  CaptureSpecRecord spec;
  Text phase;  ///< `running`, `ended`, `failed`
  Text reason;
  std::uint64_t seen = 0;
  std::uint64_t written = 0;
  std::uint64_t lost = 0;
  std::uint64_t bytes = 0;
};
struct StartCaptureRequest {
  static constexpr MessageType type = MessageType::start_capture;
  CaptureSpecRecord spec;
};
struct StartCaptureReply {
  static constexpr MessageType type = reply_to(MessageType::start_capture);
  CaptureRecord capture;
};
struct StopCaptureRequest {
  static constexpr MessageType type = MessageType::stop_capture;
  Text id;
};
struct StopCaptureReply {
  static constexpr MessageType type = reply_to(MessageType::stop_capture);
  CaptureRecord capture;
};
struct CapturesRequest {
  static constexpr MessageType type = MessageType::list_captures;
};
struct CapturesReply {
  static constexpr MessageType type = reply_to(MessageType::list_captures);
  std::vector<CaptureRecord> captures;
};
struct ReadCaptureRequest {
  static constexpr MessageType type = MessageType::read_capture;
  Text id;
  std::uint64_t offset = 0;
};
struct ReadCaptureReply {
  static constexpr MessageType type = reply_to(MessageType::read_capture);
  Text bytes;
  bool is_last = false;
};

}  // namespace ironcore::network::zmq
