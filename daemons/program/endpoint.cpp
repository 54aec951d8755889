// SPDX-License-Identifier: Apache-2.0
// Reads endpoints.
#include "program/endpoint.hpp"

#include <charconv>

namespace ironcore::program {
namespace {

constexpr std::string_view ipc_scheme = "ipc://";
constexpr std::string_view tcp_scheme = "tcp://";
constexpr std::size_t longest_path = 95;    // what a socket address holds, with the suffixes of its neighbours
constexpr std::uint16_t last_port = 65533;  // changes and streams use the two above

Error expected(std::string_view what, const std::string& given) {
  return {ErrorCode::invalid, "expected " + std::string(what) + ", not \"" + given + '"'};
}

struct Parts {
  std::string address;                ///< empty = there is no colon behind one
  std::optional<std::uint16_t> port;  ///< empty = that is no port
};

Parts split_port(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return {};
  Parts parts{.address = text.substr(0, colon), .port = std::nullopt};
  std::uint16_t port = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data() + colon + 1, last, port);
  if (error == std::errc() && end == last) parts.port = port;
  return parts;
}

}  // namespace

Result<Endpoint> parse_endpoint(const std::string& text) {
  if (text.starts_with(ipc_scheme)) {
    Endpoint endpoint{.path = text.substr(ipc_scheme.size()), .tcp = std::nullopt};
    if (endpoint.path.size() < 2 || endpoint.path[0] != '/' || endpoint.path.back() == '/') {
      return expected("ipc:// and the absolute path of a socket", text);
    }
    if (endpoint.path.size() > longest_path) {
      return expected("a path of at most " + std::to_string(longest_path) + " bytes", text);
    }
    return endpoint;
  }
  if (!text.starts_with(tcp_scheme)) return expected("ipc:///path or tcp://address:port", text);
  auto tcp = split_port(text.substr(tcp_scheme.size()));
  if (tcp.address.empty()) return expected("ipc:///path or tcp://address:port", text);
  if (!tcp.port || *tcp.port > last_port) {
    return expected("a port up to " + std::to_string(last_port) + " (the two above it are used too)", text);
  }
  return Endpoint{.path = "", .tcp = TcpAddress{std::move(tcp.address), *tcp.port}};
}

Result<TcpAddress> parse_tcp_address(const std::string& text) {
  auto parts = split_port(text);
  const bool has_colons = parts.address.find(':') != std::string::npos;
  if (parts.address.empty() || !parts.port || *parts.port == 0 ||
      has_colons != (parts.address.front() == '[' && parts.address.back() == ']'))
    return expected("address:port such as 127.0.0.1:9464 or [::1]:9464", text);
  return TcpAddress{std::move(parts.address), *parts.port};
}

Result<Endpoint> parse_endpoints(const std::vector<std::string>& texts) {
  Endpoint all;
  for (const std::string& text : texts) {
    IRONCORE_TRY(auto endpoint, parse_endpoint(text));
    if (endpoint.tcp ? all.tcp.has_value() : !all.path.empty())
      return Error(ErrorCode::invalid, "two endpoints of one kind are one too many: \"" + text + '"');
    if (endpoint.tcp) all.tcp = std::move(endpoint.tcp);
    if (!endpoint.path.empty()) all.path = std::move(endpoint.path);
  }
  return all;
}

}  // namespace ironcore::program
