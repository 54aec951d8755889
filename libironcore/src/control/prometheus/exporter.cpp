// SPDX-License-Identifier: Apache-2.0
// Counts as families of metrics, made when they are asked for.
#include "ironcore/control/prometheus.hpp"

#include <optional>
#include <utility>

#include "../../base/prometheus/family.hpp"
#include "../../base/prometheus/http_server.hpp"

namespace ironcore::control::prometheus {

namespace {

using ironcore::prometheus::ClientMetric;
using ironcore::prometheus::Family;
using ironcore::prometheus::MetricFamily;
using ironcore::prometheus::MetricType;

class Reader final : public ::prometheus::Collectable {
 public:
  explicit Reader(std::function<std::vector<ProviderCount>()> counts) : counts_(std::move(counts)) {}

  std::vector<MetricFamily> Collect() const override {
    std::vector<MetricFamily> out;
    std::optional<Family> family;
    std::string name;
    for (const auto& count : counts_()) {
      const bool is_counter = count.kind == ProviderCount::Kind::counter;
      if (!family || name != count.name) {
        name = count.name;
        family.emplace(out, is_counter ? MetricType::Counter : MetricType::Gauge, "ironcore_provider_",
                       name + (is_counter ? "_total" : ""), count.help);
      }
      std::vector<ClientMetric::Label> labels;
      for (const auto& [key, value] : count.labels) labels.push_back({key, value});
      family->add(count.value, std::move(labels));
    }
    return out;
  }

 private:
  const std::function<std::vector<ProviderCount>()> counts_;
};

}  // namespace

Result<std::unique_ptr<Exporter>> Exporter::create(const std::string& address,
                                                   std::function<std::vector<ProviderCount>()> counts) {
  return ironcore::prometheus::export_at<Exporter>(address, std::make_shared<Reader>(std::move(counts)));
}

}  // namespace ironcore::control::prometheus
