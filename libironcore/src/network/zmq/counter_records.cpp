// SPDX-License-Identifier: Apache-2.0
// Counters by name, so that either side may know more of them.
#include "counter_records.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace ironcore::network::zmq {

namespace {

/// The one of this name, of those that are counted from 0.
template <class What, std::size_t count>
std::optional<std::size_t> find(Text word) {
  for (std::size_t i = 0; i < count; ++i)
    if (name(static_cast<What>(i)) == word) return i;
  return std::nullopt;
}

struct OffloadCount {
  Text what;
  std::uint64_t OffloadCounters::*count;
};
constexpr OffloadCount offload_counts[] = {{"connections", &OffloadCounters::connections},
                                           {"installed", &OffloadCounters::installed},
                                           {"packets", &OffloadCounters::packets},
                                           {"resets", &OffloadCounters::resets}};

}  // namespace

EncodedCounters::EncodedCounters(const DataplaneCounters& all, std::vector<InterfaceCounters> of_interfaces)
    : interfaces(std::move(of_interfaces)) {
  for (std::size_t i = 0; i < drop_reasons; ++i) reply.packets.push_back({name(static_cast<Drop>(i)), all.packets[i]});
  reply.fast_path = all.fast_path;
  reply.slow_path = all.slow_path;
  for (std::size_t i = 0; i < stages; ++i)
    reply.stages.push_back({name(static_cast<Stage>(i)), all.by_stage[i].reached, all.by_stage[i].refused});
  reply.rechecks_kept = all.rechecks_kept;
  reply.rechecks_ended = all.rechecks_ended;
  reply.answers = all.answers;
  for (std::size_t i = 0; i < gateway_services; ++i)
    reply.services.push_back({name(static_cast<GatewayService>(i)), all.answers_by_service[i]});
  reply.icmp_errors = all.icmp_errors;
  reply.connections_opened = all.connections_opened;
  reply.connections_expired = all.connections_expired;
  reply.connections = all.connections;
  reply.connection_room = all.connection_room;
  reply.most_connections = all.most_connections;
  reply.least_burst_ns = BurstTimes::bound_ns(0);
  reply.bursts.assign(all.bursts.count.begin(), all.bursts.count.end());
  reply.bursts_ns = all.bursts.sum_ns;
  for (const auto& one : interfaces) {
    const Text mac = one.heard_mac ? Text(macs.emplace_back(one.heard_mac->to_text())) : Text();
    reply.interfaces.push_back({one.id, one.sent_packets, one.sent_bytes, one.received_packets, one.received_bytes,
                                one.dropped, one.icmp_errors, mac, one.has_port});
  }
}

Result<AllCounters> counters_of(const CountersReply& record) {
  AllCounters counters;
  auto& all = counters.dataplane;
  for (const auto& one : record.packets)
    if (const auto at = find<Drop, drop_reasons>(one.what)) all.packets[*at] = one.count;
  all.fast_path = record.fast_path;
  all.slow_path = record.slow_path;
  for (const auto& one : record.stages)
    if (const auto at = find<Stage, stages>(one.stage)) all.by_stage[*at] = {one.reached, one.refused};
  all.rechecks_kept = record.rechecks_kept;
  all.rechecks_ended = record.rechecks_ended;
  all.answers = record.answers;
  for (const auto& one : record.services)
    if (const auto at = find<GatewayService, gateway_services>(one.what)) all.answers_by_service[*at] = one.count;
  all.icmp_errors = record.icmp_errors;
  all.connections_opened = record.connections_opened;
  all.connections_expired = record.connections_expired;
  all.connections = record.connections;
  all.connection_room = record.connection_room;
  all.most_connections = record.most_connections;
  if (record.least_burst_ns != BurstTimes::bound_ns(0) || record.bursts.size() != BurstTimes::buckets) {
    return Error(ErrorCode::unsupported,
                 "the server divides the times of bursts in another way: install the same release on both sides");
  }
  std::copy(record.bursts.begin(), record.bursts.end(), all.bursts.count.begin());
  all.bursts.sum_ns = record.bursts_ns;
  for (const auto& one : record.interfaces) {
    auto& to = counters.interfaces.emplace_back();
    to = {std::string(one.id), one.sent_packets, one.sent_bytes,  one.received_packets,
          one.received_bytes,  one.dropped,      one.icmp_errors, {},
          one.has_port};
    if (one.heard_mac.empty()) continue;
    IRONCORE_TRY(to.heard_mac, MacAddress::parse(one.heard_mac));
  }
  return counters;
}

OffloadReply to_record(const std::optional<OffloadCounters>& counters) {
  OffloadReply reply{.is_there = counters.has_value(), .counts = {}, .refused = {}};
  if (!counters) return reply;
  for (const auto& [what, count] : offload_counts) reply.counts.push_back({what, (*counters).*count});
  for (std::size_t i = 1; i < flow_refusals; ++i)
    reply.refused.push_back({name(static_cast<FlowEvent::Refusal>(i)), counters->refused[i]});
  return reply;
}

std::optional<OffloadCounters> offload_of(const OffloadReply& record) {
  if (!record.is_there) return std::nullopt;
  OffloadCounters counters;
  for (const auto& one : record.counts)
    for (const auto& [what, count] : offload_counts)
      if (what == one.what) counters.*count = one.count;
  for (const auto& one : record.refused)
    if (const auto at = find<FlowEvent::Refusal, flow_refusals>(one.what)) counters.refused[*at] = one.count;
  return counters;
}

}  // namespace ironcore::network::zmq
