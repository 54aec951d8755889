// SPDX-License-Identifier: Apache-2.0
// Structured log lines: a message and named values, handed to a sink that the embedder chose.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace ironcore {

/// debug: for the developer of this code. info: a state changed. warning: somebody should look, nothing is lost.
/// error: something that was asked for is not being done.
enum class LogLevel { debug, info, warning, error };
std::string_view name(LogLevel level) noexcept;

/// One named value of a log line. Never put a secret here.
struct LogField {
  std::string_view key;
  std::string value;
};

/// Where log lines go. The library writes nothing anywhere else. Thread: any.
class Log {
 public:
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) = 0;

  void debug(std::string_view message, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::debug, message, fields);
  }
  void info(std::string_view message, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::info, message, fields);
  }
  void warning(std::string_view message, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::warning, message, fields);
  }
  void error(std::string_view message, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::error, message, fields);
  }
};

/// Drops everything.
class NullLog final : public Log {
 public:
  void write(LogLevel, std::string_view, std::initializer_list<LogField>) override {}
};

}  // namespace ironcore
