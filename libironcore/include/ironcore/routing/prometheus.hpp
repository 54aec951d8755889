// SPDX-License-Identifier: Apache-2.0
// What a reflector counts, for Prometheus to fetch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/routing/reflector.hpp"

namespace ironcore::routing::prometheus {

/// What is told. Both are called on threads of the foreign library.
struct Source {
  /// Calls its argument with the reflector while nobody else uses it.
  std::function<void(const std::function<void(const Reflector&)>&)> with;
  /// What is counted around it, by further names; may be empty.
  std::function<std::vector<ReflectorCount>()> counts;
};

/// Nodes that have metrics of their own: those with most to read, and those that were silent for longest.
inline constexpr std::size_t most_labels = 100;

/// Answers `GET /metrics` from creation to destruction, on two threads of the foreign library; each answer asks anew. Names are
/// `ironcore_routing_…`; labels `node` (of at most `most_labels` nodes) and `peer`. Whoever can reach the address can read: there is no other protection. Thread: any.
class Exporter {
 public:
  /// `address` is `127.0.0.1:9090`, `[::1]:9090`. `unavailable` if it cannot be listened on. What `source` uses must outlive it.
  static Result<std::unique_ptr<Exporter>> create(const std::string& address, Source source);
  virtual ~Exporter() = default;
  /// That it listens on.
  virtual std::uint16_t port() const = 0;
};

}  // namespace ironcore::routing::prometheus
