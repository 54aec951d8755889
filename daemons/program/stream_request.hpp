// SPDX-License-Identifier: Apache-2.0
// What a client asks for on a machine's streams: the words that ironcorectl and libvirt-providerd agree on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore::program {

inline constexpr std::string_view console_stream = "console";
inline constexpr std::string_view log_stream = "log";

/// The first line that the client sends on a log stream; the log follows. The provider closes the stream at
/// its end, or, when following, when the machine is gone.
struct LogRequest {
  std::uint64_t tail = 0;  ///< lines from the end; 0 = everything that is kept
  bool is_follow = false;
};

/// One line of at most 100 bytes, with its line break.
std::string to_text(const LogRequest& request);
Result<LogRequest> parse_log_request(std::string_view line);

}  // namespace ironcore::program
