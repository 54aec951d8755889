// SPDX-License-Identifier: Apache-2.0
// Words for log levels.
#include "ironcore/base/log.hpp"

namespace ironcore {

std::string_view name(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

}  // namespace ironcore
