// SPDX-License-Identifier: Apache-2.0
// Counters as families of metrics, made when they are asked for.
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "../../base/prometheus/family.hpp"
#include "../../base/prometheus/http_server.hpp"
#include "ironcore/network/prometheus.hpp"

namespace ironcore::network::prometheus {

namespace {

using ironcore::prometheus::MetricFamily;
using ironcore::prometheus::MetricType;

class Family : public ironcore::prometheus::Family {
 public:
  Family(std::vector<MetricFamily>& into, MetricType type, std::string_view name, std::string_view help)
      : ironcore::prometheus::Family(into, type, "ironcore_dataplane_", name, help) {}
  void add(std::uint64_t value, std::vector<ironcore::prometheus::ClientMetric::Label> labels = {}) {
    ironcore::prometheus::Family::add(static_cast<double>(value), std::move(labels));
  }
  void add(const BurstTimes& times) {
    constexpr double second = 1e9;
    auto& histogram = family_.metric.emplace_back().histogram;
    for (std::size_t i = 0; i < BurstTimes::buckets; ++i) {
      histogram.sample_count += times.count[i];
      const bool has_bound = i + 1 < BurstTimes::buckets;
      histogram.bucket.push_back({histogram.sample_count, has_bound
                                                              ? static_cast<double>(BurstTimes::bound_ns(i)) / second
                                                              : std::numeric_limits<double>::infinity()});
    }
    histogram.sample_sum = static_cast<double>(times.sum_ns) / second;
  }
};

/// One family for each counter of a struct, one metric in it for each element of a list.
template <class Element>
struct Column {
  std::string_view name;
  std::string_view help;
  std::uint64_t Element::*value;
};

class Reader final : public ::prometheus::Collectable {
 public:
  Reader(const Dataplane& dataplane, const Ports& ports) : dataplane_(dataplane), ports_(ports) {}

  std::vector<MetricFamily> Collect() const override {
    std::vector<MetricFamily> out;
    add_dataplane(out);
    add_interfaces(out);
    add_usage(out);
    add_ports(out);
    add_captures(out);
    return out;
  }

 private:
  void add_dataplane(std::vector<MetricFamily>& out) const {
    const auto counters = dataplane_.counters();
    Family(out, MetricType::Counter, "forwarded_packets_total", "Packets that went on.").add(counters.packets[0]);
    {
      Family dropped(out, MetricType::Counter, "dropped_packets_total", "Packets that went no further, by reason.");
      for (std::size_t i = 1; i < counters.packets.size(); ++i) {
        if (static_cast<Drop>(i) == Drop::elsewhere) continue;  // it was not dropped
        dropped.add(counters.packets[i], {{"reason", std::string(name(static_cast<Drop>(i)))}});
      }
    }
    Family(out, MetricType::Counter, "fast_path_packets_total", "Packets of flows that were known.")
        .add(counters.fast_path);
    Family(out, MetricType::Counter, "slow_path_total", "How often the configuration was asked.")
        .add(counters.slow_path);
    add_stages(out, counters);
    {
      Family rechecks(out, MetricType::Counter, "rechecks_total",
                      "Flows that were looked at again after a change of the configuration.");
      rechecks.add(counters.rechecks_kept, {{"result", "kept"}});
      rechecks.add(counters.rechecks_ended, {{"result", "ended"}});
    }
    {
      Family answers(out, MetricType::Counter, "gateway_answers_total", "Answers to machines.");
      for (std::size_t i = 0; i < gateway_services; ++i) {
        answers.add(counters.answers_by_service[i], {{"service", std::string(name(static_cast<GatewayService>(i)))}});
      }
    }
    Family(out, MetricType::Counter, "icmp_errors_total", "ICMP errors told to machines.").add(counters.icmp_errors);
    Family(out, MetricType::Counter, "connections_opened_total", "Flows that became known.")
        .add(counters.connections_opened);
    Family(out, MetricType::Counter, "connections_expired_total", "Flows that were forgotten because of their age.")
        .add(counters.connections_expired);
    Family(out, MetricType::Gauge, "connections", "Connections now.").add(counters.connections);
    Family(out, MetricType::Gauge, "connection_room", "Most connections that there can be.")
        .add(counters.connection_room);
    Family(out, MetricType::Gauge, "most_connections", "Connections of the worker that has most.")
        .add(counters.most_connections);
    Family(out, MetricType::Histogram, "burst_seconds",
           "From when a worker began to look for packets until these were sent.")
        .add(counters.bursts);
    add_offload(out, counters.offload);
    Family(out, MetricType::Gauge, "revision", "Of the configuration.").add(dataplane_.revision());
    Family(out, MetricType::Gauge, "workers", "That forward packets.").add(dataplane_.workers());
  }

  static void add_stages(std::vector<MetricFamily>& out, const DataplaneCounters& counters) {
    constexpr Column<StageCounters> columns[] = {
        {"stage_reached_total", "Decisions of the slow path, by the stages that they met.", &StageCounters::reached},
        {"stage_refused_total", "Of those: the stage refused.", &StageCounters::refused}};
    for (const auto& column : columns) {
      Family family(out, MetricType::Counter, column.name, column.help);
      for (std::size_t i = 0; i < stages; ++i)
        family.add(counters.by_stage[i].*column.value, {{"stage", std::string(name(static_cast<Stage>(i)))}});
    }
  }

  /// Without hardware for flows there is only the word that there is none.
  static void add_offload(std::vector<MetricFamily>& out, const std::optional<OffloadCounters>& counters) {
    Family(out, MetricType::Gauge, "offload_there", "Whether hardware forwards flows by itself.").add(counters ? 1 : 0);
    if (!counters) return;
    Family(out, MetricType::Gauge, "offload_connections", "Connections that hardware forwards now.")
        .add(counters->connections);
    Family(out, MetricType::Counter, "offload_installed_total", "Connections that it took.").add(counters->installed);
    {
      Family refused(out, MetricType::Counter, "offload_refused_total", "Flows that it did not take, by why.");
      for (std::size_t i = 1; i < flow_refusals; ++i)
        refused.add(counters->refused[i], {{"why", std::string(name(static_cast<FlowEvent::Refusal>(i)))}});
    }
    Family(out, MetricType::Counter, "offload_packets_total", "Packets that it forwarded.").add(counters->packets);
    Family(out, MetricType::Counter, "offload_resets_total", "How often it lost all flows.").add(counters->resets);
  }

  void add_interfaces(std::vector<MetricFamily>& out) const {
    using C = InterfaceCounters;
    constexpr Column<C> columns[] = {
        {"interface_sent_packets_total", "Frames that a machine sent.", &C::sent_packets},
        {"interface_sent_bytes_total", "Bytes of them.", &C::sent_bytes},
        {"interface_received_packets_total", "Frames that a machine got.", &C::received_packets},
        {"interface_received_bytes_total", "Bytes of them.", &C::received_bytes},
        {"interface_dropped_packets_total", "Of those that it sent, without a word.", &C::dropped},
        {"interface_icmp_errors_total", "Told it about what it sent.", &C::icmp_errors}};
    const auto interfaces = dataplane_.interface_counters();
    for (const auto& column : columns) {
      Family family(out, MetricType::Counter, column.name, column.help);
      for (const auto& interface : interfaces) family.add(interface.*column.value, {{"interface", interface.id}});
    }
    Family port(out, MetricType::Gauge, "interface_has_port", "Whether the port that it names is there.");
    for (const auto& interface : interfaces) port.add(interface.has_port ? 1 : 0, {{"interface", interface.id}});
  }

  void add_usage(std::vector<MetricFamily>& out) const {
    const auto usage = dataplane_.usage();
    const auto add_parts = [&](std::string_view family_name, std::string_view help,
                               std::uint64_t ResourceUse::Part::*member) {
      Family family(out, MetricType::Gauge, family_name, help);
      for (const auto& use : usage.resources)
        for (std::size_t i = 0; i < use.workers.size(); ++i)
          family.add(use.workers[i].*member,
                     {{"resource", std::string(name(use.what))}, {"of", use.of}, {"worker", std::to_string(i)}});
    };
    add_parts("resource_used", "Of what there is only so much of, now.", &ResourceUse::Part::used);
    add_parts("resource_room", "Most that can be used.", &ResourceUse::Part::room);
    {
      Family objects(out, MetricType::Gauge, "objects", "Of the configuration.");
      for (const auto& one : usage.objects) objects.add(one.count, {{"kind", one.kind}});
    }
    const auto add_colors = [&](std::string_view family_name, std::string_view help, auto member) {
      Family family(out, MetricType::Counter, family_name, help);
      for (const auto& one : usage.meters) {
        const auto add = [&](const char* direction, const char* traffic, const MeterCounters& counters) {
          for (std::size_t i = 0; i < colors; ++i)
            family.add((counters.*member)[i], {{"interface", one.interface},
                                               {"direction", direction},
                                               {"traffic", traffic},
                                               {"color", std::string(name(static_cast<Color>(i)))}});
        };
        add("egress", "total", one.total_egress);
        add("ingress", "total", one.total_ingress);
        add("egress", "public", one.public_egress);
        add("ingress", "public", one.public_ingress);
      }
    };
    add_colors("meter_packets_total", "What the meters of interfaces with rates said; red ones were dropped.",
               &MeterCounters::packets);
    add_colors("meter_bytes_total", "Bytes of them.", &MeterCounters::bytes);
  }

  void add_ports(std::vector<MetricFamily>& out) const {
    using C = PortCounters;
    constexpr Column<C> columns[] = {
        {"port_received_packets_total", "Frames that came.", &C::received_packets},
        {"port_received_bytes_total", "Bytes of them.", &C::received_bytes},
        {"port_sent_packets_total", "Frames that left.", &C::sent_packets},
        {"port_sent_bytes_total", "Bytes of them.", &C::sent_bytes},
        {"port_missed_packets_total", "Came without a buffer or room for them.", &C::missed},
        {"port_unsent_packets_total", "Could not be sent.", &C::unsent},
        {"port_errors_total", "What the device says is broken.", &C::errors}};
    const auto states = ports_.list();
    std::vector<std::pair<std::string, PortCounters>> all;
    for (const auto& state : states)
      if (const auto counters = ports_.counters(state.spec.name)) all.emplace_back(state.spec.name, *counters);
    for (const auto& column : columns) {
      Family family(out, MetricType::Counter, column.name, column.help);
      for (const auto& [name, counters] : all) family.add(counters.*column.value, {{"port", name}});
    }
    Family up(out, MetricType::Gauge, "port_up", "Whether the link is up, or a guest is there.");
    for (const auto& state : states) up.add(state.is_up ? 1 : 0, {{"port", state.spec.name}});
  }

  void add_captures(std::vector<MetricFamily>& out) const {
    using C = CaptureState;
    constexpr Column<C> columns[] = {
        {"capture_seen_packets_total", "Frames that matched.", &C::seen},
        {"capture_written_packets_total", "Of these, written.", &C::written},
        {"capture_lost_packets_total", "Of these, lost: no room, or the sink did not take them.", &C::lost},
        {"capture_written_bytes_total", "Written, with headers of the format.", &C::bytes}};
    const auto captures = dataplane_.captures();
    for (const auto& column : columns) {
      Family family(out, MetricType::Counter, column.name, column.help);
      for (const auto& capture : captures) family.add(capture.*column.value, {{"capture", capture.spec.id}});
    }
    Family running(out, MetricType::Gauge, "capture_running",
                   "Whether it runs; one that has ended waits to be stopped.");
    for (const auto& capture : captures)
      running.add(capture.phase == CaptureState::Phase::running ? 1 : 0, {{"capture", capture.spec.id}});
  }

  const Dataplane& dataplane_;
  const Ports& ports_;
};

}  // namespace

Result<std::unique_ptr<Exporter>> Exporter::create(const std::string& address, const Dataplane& dataplane,
                                                   const Ports& ports) {
  return ironcore::prometheus::export_at<Exporter>(address, std::make_shared<Reader>(dataplane, ports));
}

}  // namespace ironcore::network::prometheus
