// SPDX-License-Identifier: Apache-2.0
// HttpServer: where Prometheus fetches what a program tells.
#pragma once

#include <prometheus/collectable.h>

#include <cstdint>
#include <memory>
#include <string>

#include "ironcore/base/result.hpp"

namespace ironcore::prometheus {

/// Answers `GET /metrics` from creation to destruction, on two threads of the foreign library; each answer asks `told` anew. Thread: any.
class HttpServer {
 public:
  /// `address` is `127.0.0.1:9090`, `[::1]:9090`. `unavailable` if it cannot be listened on.
  static Result<std::unique_ptr<HttpServer>> create(const std::string& address,
                                                    std::shared_ptr<::prometheus::Collectable> told);
  virtual ~HttpServer() = default;
  virtual std::uint16_t port() const = 0;
};

}  // namespace ironcore::prometheus
