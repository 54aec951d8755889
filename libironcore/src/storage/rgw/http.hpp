// SPDX-License-Identifier: Apache-2.0
// HTTP to one server: connections that are kept, time-outs everywhere, TLS that is verified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "sigv4.hpp"

namespace ironcore::storage::rgw {

struct Endpoint {
  bool is_secure = false;
  std::string host;  ///< a name or an address, without brackets
  std::string port;
  std::string authority;  ///< as the header `host` says it

  /// `http://host`, `https://[::1]:8443`; without user, path or query.
  static Result<Endpoint> parse(std::string_view text);
};

struct Answer {
  unsigned status = 0;
  std::string body;
  bool is_good() const { return status >= 200 && status < 300; }
};

/// Thread: any.
class HttpClient {
 public:
  /// `invalid` if `ca_file` cannot be read as certificates.
  static Result<std::unique_ptr<HttpClient>> create(Endpoint endpoint, const std::filesystem::path& ca_file,
                                                    Duration connect_patience);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  const Endpoint& endpoint() const noexcept { return endpoint_; }
  /// Sends the request with the headers that it has. When a kept connection turns out to be closed, it is sent again over a new one, unless the request is not repeatable. `unavailable`, `timeout`, `cancelled` (stopped; what was sent may take effect), `forbidden` (a certificate that is not trusted), `corrupt` (no HTTP, or
  /// more than `most_body`).
  Result<Answer> exchange(const Request& request, Duration patience, const std::stop_token& stop);

  static constexpr std::size_t most_body = std::size_t{1} << 20;

 private:
  class Connection;
  struct Shared;
  HttpClient(Endpoint endpoint, Duration connect_patience);

  Endpoint endpoint_;
  Duration connect_patience_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace ironcore::storage::rgw
