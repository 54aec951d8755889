// SPDX-License-Identifier: Apache-2.0
// Counts as families of metrics, made when they are asked for.
#include "ironcore/routing/prometheus.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "../../base/prometheus/family.hpp"
#include "../../base/prometheus/http_server.hpp"

namespace ironcore::routing::prometheus {

namespace {

using ironcore::prometheus::MetricFamily;
using ironcore::prometheus::MetricType;

class Family : public ironcore::prometheus::Family {
 public:
  Family(std::vector<MetricFamily>& into, MetricType type, std::string_view name, std::string_view help)
      : ironcore::prometheus::Family(into, type, "ironcore_routing_", name, help) {}
};

/// A node on ipc may call itself anything; Prometheus refuses a whole answer for one byte that is no UTF-8.
std::string label(std::string_view name) {
  std::string text(name);
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

double seconds(Duration span) {
  return std::chrono::duration<double>(span).count();
}

/// The nodes with the highest values come first, and no others but those.
template <class Value>
void keep_highest(std::vector<NodeStatus>& nodes, Value value) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(nodes.size(), most_labels));
  std::ranges::partial_sort(nodes, nodes.begin() + count, std::ranges::greater(), value);
  nodes.resize(static_cast<std::size_t>(count));
}

class Reader final : public ::prometheus::Collectable {
 public:
  explicit Reader(Source source) : source_(std::move(source)) {}

  std::vector<MetricFamily> Collect() const override {
    ReflectorStatus status;
    std::vector<NodeStatus> nodes;
    source_.with([&](const Reflector& reflector) {
      status = reflector.status();
      nodes = reflector.nodes();
    });
    std::vector<MetricFamily> out;
    Family(out, MetricType::Gauge, "ready", "Whether the deferral after the start is over.").add(status.is_ready);
    Family(out, MetricType::Gauge, "epoch", "Of this life of the reflector; another one after each start.")
        .add(static_cast<double>(status.epoch));
    Family(out, MetricType::Gauge, "lease_seconds", "A node that is silent for longer is dead.")
        .add(seconds(status.lease));
    add_counts(out, counts(status));
    if (source_.counts) add_counts(out, source_.counts());
    add_nodes(out, std::move(nodes));
    add_peers(out, status.peers.reflectors);
    return out;
  }

 private:
  static void add_counts(std::vector<MetricFamily>& out, const std::vector<ReflectorCount>& counts) {
    for (const auto& count : counts) {
      const bool is_counter = count.kind == ReflectorCount::Kind::counter;
      Family(out, is_counter ? MetricType::Counter : MetricType::Gauge,
             std::string(count.name) + (is_counter ? "_total" : ""), count.help)
          .add(static_cast<double>(count.value));
    }
  }

  static void add_nodes(std::vector<MetricFamily>& out, std::vector<NodeStatus> nodes) {
    std::uint64_t behind = 0, refused = 0;
    std::size_t readers = 0, away = 0;
    Duration longest{};
    for (const auto& node : nodes) {
      behind += node.behind;
      refused += node.refused;
      readers += node.streams > 0 ? 1 : 0;
      away += node.is_connected ? 0 : 1;
      longest = std::max(longest, node.silent);
    }
    const auto gauge = [&out](std::string_view name, std::string_view help, double value) {
      Family(out, MetricType::Gauge, name, help).add(value);
    };
    gauge("subscribers", "Nodes that read something.", static_cast<double>(readers));
    gauge("nodes_away", "Nodes that said they come back.", static_cast<double>(away));
    gauge("behind_changes", "Changes that nodes have not read, as of their last heartbeats.",
          static_cast<double>(behind));
    gauge("refused_routes", "Routes of the present sessions that their nodes may not announce.",
          static_cast<double>(refused));
    gauge("most_lease_age_seconds", "Since the node was heard that is silent for longest.", seconds(longest));

    std::erase_if(nodes, [](const NodeStatus& node) { return !node.is_connected; });
    auto late = nodes;
    std::erase_if(late, [](const NodeStatus& node) { return node.streams == 0; });
    keep_highest(late, &NodeStatus::behind);
    {
      Family lag(out, MetricType::Gauge, "node_behind_changes",
                 "Changes that a node has not read; the 100 connected ones that have most.");
      for (const auto& node : late) lag.add(static_cast<double>(node.behind), {{"node", label(node.name)}});
    }
    keep_highest(nodes, &NodeStatus::silent);
    Family ages(out, MetricType::Gauge, "node_lease_age_seconds",
                "Since a node was heard; the 100 connected ones that are silent for longest.");
    for (const auto& node : nodes) ages.add(seconds(node.silent), {{"node", label(node.name)}});
  }

  static void add_peers(std::vector<MetricFamily>& out, const std::vector<ReflectorSession>& peers) {
    Family connected(out, MetricType::Gauge, "peer_connected", "Whether a reflector of another site is read.");
    for (std::size_t i = 0; i < peers.size(); ++i)
      connected.add(peers[i].phase == ReflectorSession::Phase::connected, {{"peer", std::to_string(i)}});
  }

  const Source source_;
};

}  // namespace

Result<std::unique_ptr<Exporter>> Exporter::create(const std::string& address, Source source) {
  return ironcore::prometheus::export_at<Exporter>(address, std::make_shared<Reader>(std::move(source)));
}

}  // namespace ironcore::routing::prometheus
