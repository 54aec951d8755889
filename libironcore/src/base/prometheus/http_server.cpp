// SPDX-License-Identifier: Apache-2.0
// The server of prometheus-cpp, and what each process tells of itself.
#include "http_server.hpp"

#include <arpa/inet.h>
#include <prometheus/exposer.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <exception>
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>

#include "family.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::prometheus {

namespace {

/// The names are those that all programs use.
class Process final : public ::prometheus::Collectable {
 public:
  std::vector<MetricFamily> Collect() const override {
    std::vector<MetricFamily> out;
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
      Family(out, MetricType::Gauge, "process_", "max_fds", "File descriptors that the process may have.")
          .add(static_cast<double>(limit.rlim_cur));
    std::error_code failed;
    const std::filesystem::directory_iterator open("/proc/self/fd", failed);
    if (!failed)
      Family(out, MetricType::Gauge, "process_", "open_fds", "File descriptors that it has, the one to count them too.")
          .add(static_cast<double>(std::distance(begin(open), end(open))));
    return out;
  }
};

class ExposerServer final : public HttpServer {
 public:
  ExposerServer(const std::string& address, std::shared_ptr<::prometheus::Collectable> told)
      : exposer_(address, 2), told_(std::move(told)), process_(std::make_shared<Process>()) {
    exposer_.RegisterCollectable(told_);
    exposer_.RegisterCollectable(process_);
  }
  std::uint16_t port() const override { return static_cast<std::uint16_t>(exposer_.GetListeningPorts().front()); }

 private:
  ::prometheus::Exposer exposer_;
  // The exposer only looks at them.
  std::shared_ptr<::prometheus::Collectable> told_;
  std::shared_ptr<::prometheus::Collectable> process_;
};

/// Why this address cannot be listened on, as the kernel says it; 0 if it can, or is no number.
int obstacle_at(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return 0;
  std::uint16_t port = 0;
  std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
  auto host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  sockaddr_in6 v6{
      .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_flowinfo = 0, .sin6_addr = {}, .sin6_scope_id = 0};
  const bool is_v4 = ::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1;
  if (!is_v4 && ::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return 0;
  const UniqueFd probe(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);  // as the foreign library does
  const auto* const where = is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
  const socklen_t size = is_v4 ? sizeof v4 : sizeof v6;
  return ::bind(probe.get(), where, size) == 0 && ::listen(probe.get(), 1) == 0 ? 0 : errno;
}

/// The foreign library does not say it.
std::string remedy(const std::string& address, const char* said) {
  switch (obstacle_at(address)) {
    case EADDRINUSE:
      return "the port is in use by another program: choose another one, or stop that program";
    case EADDRNOTAVAIL:
      return "that is no address of this host: choose one of its own, or 127.0.0.1";
    case EACCES:
      return "this user may not use that port: choose one from 1024 on";
    default:
      return std::string(said) + ": is it an address of this host, and is the port free?";
  }
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::create(const std::string& address,
                                                       std::shared_ptr<::prometheus::Collectable> told) {
  try {
    return std::unique_ptr<HttpServer>(std::make_unique<ExposerServer>(address, std::move(told)));
  } catch (const std::exception& failed) {
    return Error(ErrorCode::unavailable, "listen on " + address + ": " + remedy(address, failed.what()));
  }
}

}  // namespace ironcore::prometheus
