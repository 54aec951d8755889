// SPDX-License-Identifier: Apache-2.0
// HttpServer: where Prometheus fetches what a program tells.
#pragma once

#include <prometheus/collectable.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "ironcore/base/result.hpp"

namespace ironcore::prometheus {

/// Answers `GET /metrics` from creation to destruction, on two threads of the foreign library; each answer asks `told` anew, and says
/// how many descriptors the process has (`process_open_fds`) and may have (`process_max_fds`). Thread: any.
class HttpServer {
 public:
  /// `address` is `127.0.0.1:9090`, `[::1]:9090`. `unavailable` if it cannot be listened on.
  static Result<std::unique_ptr<HttpServer>> create(const std::string& address,
                                                    std::shared_ptr<::prometheus::Collectable> told);
  virtual ~HttpServer() = default;
  virtual std::uint16_t port() const = 0;
};

/// Makes an adapter's Exporter of it.
template <class Exporter>
Result<std::unique_ptr<Exporter>> export_at(const std::string& address,
                                            std::shared_ptr<::prometheus::Collectable> told) {
  class Served final : public Exporter {
   public:
    explicit Served(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}
    std::uint16_t port() const override { return server_->port(); }

   private:
    std::unique_ptr<HttpServer> server_;
  };
  IRONCORE_TRY(auto server, HttpServer::create(address, std::move(told)));
  return std::unique_ptr<Exporter>(std::make_unique<Served>(std::move(server)));
}

}  // namespace ironcore::prometheus
