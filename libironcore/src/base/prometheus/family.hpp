// SPDX-License-Identifier: Apache-2.0
// Family: metrics of one name, for those who tell Prometheus something.
#pragma once

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ironcore::prometheus {

using ::prometheus::ClientMetric;
using ::prometheus::MetricFamily;
using ::prometheus::MetricType;

/// The latest one of a list; its name is `prefix` and `name`. Thread: one.
class Family {
 public:
  Family(std::vector<MetricFamily>& into, MetricType type, std::string_view prefix, std::string_view name,
         std::string_view help)
      : family_(into.emplace_back()) {
    family_.name = prefix;
    family_.name += name;
    family_.help = help;
    family_.type = type;
  }
  /// Of a counter or a gauge.
  void add(double value, std::vector<ClientMetric::Label> labels = {}) {
    auto& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter)
      metric.counter.value = value;
    else
      metric.gauge.value = value;
  }

 protected:
  MetricFamily& family_;
};

}  // namespace ironcore::prometheus
