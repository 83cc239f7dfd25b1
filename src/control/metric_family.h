// One family being filled: its name, kind and HELP from the table, then values with their labels.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "control/metric_table.h"
#include "control/metrics.h"
#include "fabric/latency.h"

namespace sluice::control {

using Labels = std::initializer_list<std::pair<const char*, std::string>>;

class Family {
 public:
  Family(MetricFamilies& out, std::string name, MetricKind kind, std::string text)
      : family_(out.emplace_back()), kind_(kind) {
    family_.name = std::move(name);
    family_.help = std::move(text);
    family_.type = kind == MetricKind::kCounter ? prometheus::MetricType::Counter
                   : kind == MetricKind::kGauge ? prometheus::MetricType::Gauge
                                                : prometheus::MetricType::Histogram;
  }
  Family(MetricFamilies& out, Metric metric)
      : Family(out, kMetricTable[size_t(metric)].name, kMetricTable[size_t(metric)].kind,
               kMetricTable[size_t(metric)].text) {}

  void reserve(size_t n) { family_.metric.reserve(n); }
  void add(double value, Labels labels = {}) {
    prometheus::ClientMetric& m = labelled(labels);
    (kind_ == MetricKind::kCounter ? m.counter.value : m.gauge.value) = value;
  }
  // The sum of some histograms.
  void add(std::span<const fabric::LatencyHistogram* const> of, Labels labels);

 private:
  prometheus::ClientMetric& labelled(Labels labels) {
    prometheus::ClientMetric& m = family_.metric.emplace_back();
    m.label.reserve(labels.size());
    for (const auto& [name, value] : labels) m.label.push_back({name, value});
    return m;
  }

  prometheus::MetricFamily& family_;
  const MetricKind kind_;
};

}  // namespace sluice::control
