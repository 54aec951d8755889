// SPDX-License-Identifier: Apache-2.0
// Counters of a dataplane and of its ports, for Prometheus to fetch.
#pragma once

#include <memory>
#include <string>

#include "ironcore/base/result.hpp"
#include "ironcore/network/dataplane.hpp"

namespace ironcore::network::prometheus {

/// Answers `GET /metrics` from creation to destruction, on two threads of the foreign library; each answer reads the counters anew. Names are
/// `ironcore_dataplane_…`; labels `reason`, `interface`, `port`, `capture`. Whoever can reach the address can read: there is no other protection. Thread: any.
class Exporter {
 public:
  /// `address` is `127.0.0.1:9090`, `[::1]:9090`. `unavailable` if it cannot be listened on. Dataplane and ports must outlive it.
  static Result<std::unique_ptr<Exporter>> create(const std::string& address, const Dataplane& dataplane,
                                                  const Ports& ports);
  virtual ~Exporter() = default;
  /// That it listens on.
  virtual std::uint16_t port() const = 0;
};

}  // namespace ironcore::network::prometheus
