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
  const std::string rest = text.substr(tcp_scheme.size());
  const auto colon = rest.rfind(':');
  if (colon == std::string::npos || colon == 0) return expected("ipc:///path or tcp://address:port", text);
  TcpAddress tcp{.address = rest.substr(0, colon)};
  const std::string port = rest.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), tcp.port);
  if (error != std::errc() || end != port.data() + port.size() || tcp.port > last_port) {
    return expected("a port up to " + std::to_string(last_port) + " (ironcored uses the two above it too)", text);
  }
  return Endpoint{.path = "", .tcp = std::move(tcp)};
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
