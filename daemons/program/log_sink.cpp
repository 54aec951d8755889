// SPDX-License-Identifier: Apache-2.0
// Log on spdlog: it adds time, level and colour, and writes each line at once; the fields are quoted here.
#include "program/log_sink.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>

#include <string>

namespace ironcore::program {
namespace {

void add_escaped(std::string& line, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      line += "\\u00";
      line += hex[byte >> 4];
      line += hex[byte & 15];
    } else {
      line += c;
    }
  }
}

void add_quoted(std::string& line, std::string_view text) {
  line += '"';
  add_escaped(line, text);
  line += '"';
}

bool is_plain(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '=' || c == '\\' || c == 0x7f) return false;
  }
  return true;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

class SpdlogLog final : public Log {
 public:
  explicit SpdlogLog(LogOptions options)
      : format_(options.format),
        logger_("", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>(
                        options.use_colour ? spdlog::color_mode::always : spdlog::color_mode::never)) {
    logger_.set_level(level_of(options.level));
    logger_.set_pattern(options.format == LogFormat::json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                                                          : "time=%Y-%m-%dT%H:%M:%S.%eZ level=%^%l%$ %v",
                        spdlog::pattern_time_type::utc);
  }

  void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) override {
    const auto at = level_of(level);
    if (!logger_.should_log(at)) return;
    const std::string line = format_ == LogFormat::json ? json_text(message, fields) : logfmt_text(message, fields);
    logger_.log(at, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  LogFormat format_;
  spdlog::logger logger_;
};

}  // namespace

std::string logfmt_text(std::string_view message, std::initializer_list<LogField> fields) {
  std::string line = "msg=";
  add_quoted(line, message);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    if (is_plain(field.value)) {
      line += field.value;
    } else {
      add_quoted(line, field.value);
    }
  }
  return line;
}

std::string json_text(std::string_view message, std::initializer_list<LogField> fields) {
  std::string line = "\"msg\":";
  add_quoted(line, message);
  for (const LogField& field : fields) {
    line += ',';
    add_quoted(line, field.key);
    line += ':';
    add_quoted(line, field.value);
  }
  return line;
}

std::unique_ptr<Log> make_log(LogOptions options) {
  return std::make_unique<SpdlogLog>(options);
}

}  // namespace ironcore::program
