// SPDX-License-Identifier: Apache-2.0
// Reads and writes the first line of a log stream: `tail=20 follow=1`.
#include "program/stream_request.hpp"

#include <charconv>

namespace ironcore::program {

std::string to_text(const LogRequest& request) {
  return "tail=" + std::to_string(request.tail) + " follow=" + (request.is_follow ? "1" : "0") + '\n';
}

Result<LogRequest> parse_log_request(std::string_view line) {
  LogRequest request;
  if (line.ends_with('\n')) line.remove_suffix(1);
  while (!line.empty()) {
    const auto blank = line.find(' ');
    const auto word = line.substr(0, blank);
    const auto equals = word.find('=');
    const auto name = word.substr(0, equals);
    std::uint64_t number = 0;
    const auto digits = equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      return Error(ErrorCode::invalid, "the log request cannot be read: update ironcorectl");
    }
    if (name == "tail") request.tail = number;
    if (name == "follow") request.is_follow = number != 0;
    line = blank == std::string_view::npos ? std::string_view() : line.substr(blank + 1);
  }
  return request;
}

}  // namespace ironcore::program
