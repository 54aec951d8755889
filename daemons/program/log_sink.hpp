// SPDX-License-Identifier: Apache-2.0
// The programs' log: structured lines on standard error.
#pragma once

#include <memory>

#include "ironcore/base/log.hpp"

namespace ironcore::program {

enum class LogFormat {
  text,  ///< logfmt: `time=… level=info msg="machine started" machine=default/web-1`; coloured on a terminal
  json,  ///< one object a line
};

struct LogOptions {
  LogFormat format = LogFormat::text;
  LogLevel level = LogLevel::info;  ///< lines below it are dropped
  bool use_colour = false;
};

/// Lines on standard error, each written at once. Thread: any.
std::unique_ptr<Log> make_log(LogOptions options);

/// The part of a line after time and level; exposed because other programs parse it.
std::string logfmt_text(std::string_view message, std::initializer_list<LogField> fields);
std::string json_text(std::string_view message, std::initializer_list<LogField> fields);

}  // namespace ironcore::program
