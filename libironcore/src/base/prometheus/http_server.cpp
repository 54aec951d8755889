// SPDX-License-Identifier: Apache-2.0
// The server of prometheus-cpp.
#include "http_server.hpp"

#include <prometheus/exposer.h>

#include <exception>
#include <utility>

namespace ironcore::prometheus {

namespace {

class ExposerServer final : public HttpServer {
 public:
  ExposerServer(const std::string& address, std::shared_ptr<::prometheus::Collectable> told)
      : exposer_(address, 2), told_(std::move(told)) {
    exposer_.RegisterCollectable(told_);
  }
  std::uint16_t port() const override { return static_cast<std::uint16_t>(exposer_.GetListeningPorts().front()); }

 private:
  ::prometheus::Exposer exposer_;
  std::shared_ptr<::prometheus::Collectable> told_;  // the exposer only looks at it
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::create(const std::string& address,
                                                       std::shared_ptr<::prometheus::Collectable> told) {
  try {
    return std::unique_ptr<HttpServer>(std::make_unique<ExposerServer>(address, std::move(told)));
  } catch (const std::exception& failed) {
    return Error(ErrorCode::unavailable, "listen on " + address + ": " + failed.what() +
                                             ": is it an address of this host, and is the port free?");
  }
}

}  // namespace ironcore::prometheus
