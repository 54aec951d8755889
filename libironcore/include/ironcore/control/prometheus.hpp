// SPDX-License-Identifier: Apache-2.0
// What providers count, for Prometheus to fetch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/control/provider_counts.hpp"

namespace ironcore::control::prometheus {

/// Answers `GET /metrics` from creation to destruction, on two threads of the foreign library; each answer asks `counts` anew, there. Names are
/// `ironcore_provider_…`, those of counters end with `_total`. Whoever can reach the address can read: there is no other protection. Thread: any.
class Exporter {
 public:
  /// `address` is `127.0.0.1:9090`, `[::1]:9090`. `unavailable` if it cannot be listened on. What `counts` uses must outlive it.
  static Result<std::unique_ptr<Exporter>> create(const std::string& address,
                                                  std::function<std::vector<ProviderCount>()> counts);
  virtual ~Exporter() = default;
  /// That it listens on.
  virtual std::uint16_t port() const = 0;
};

}  // namespace ironcore::control::prometheus
