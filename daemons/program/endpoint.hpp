// SPDX-License-Identifier: Apache-2.0
// Endpoints as people write them, checked before anything is opened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::program {

struct TcpAddress {
  std::string address;  ///< `10.0.0.1`, `[::1]`, `host-1`
  std::uint16_t port = 0;
};

/// Either of them; what a server listens on may be both.
struct Endpoint {
  std::string path;  ///< of `ipc:///run/ironcore/api.sock`
  std::optional<TcpAddress> tcp;
};

/// `ipc:///path` or `tcp://address:port`. `invalid` says what was expected. The two ports above may belong to it too.
Result<Endpoint> parse_endpoint(const std::string& text);

/// `127.0.0.1:9464`, `[::1]:9464`, for what speaks something else than ZeroMQ; not port 0.
Result<TcpAddress> parse_tcp_address(const std::string& text);

/// All that a server listens on as one: at most one path and one address.
Result<Endpoint> parse_endpoints(const std::vector<std::string>& texts);

}  // namespace ironcore::program
