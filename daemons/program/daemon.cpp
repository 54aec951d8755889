// SPDX-License-Identifier: Apache-2.0
// The life of a daemon: settings, log, signals, serve, report.
#include "program/daemon.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <exception>
#include <filesystem>
#include <iostream>

#include "program/config_file.hpp"
#include "program/log_sink.hpp"

namespace ironcore::program {

std::string_view version() noexcept {
  return IRONCORE_VERSION;
}

namespace {

int exit_code(const Error& error) {
  return error.code() == ErrorCode::invalid ? exit_usage : exit_failure;
}

}  // namespace

int report(const Error& error) {
  std::string_view text = error.message();
  while (true) {
    const auto end = text.find('\n');
    std::cerr << "error: " << text.substr(0, end) << '\n';
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return exit_code(error);
}

namespace {

/// What is closed would be the next file or socket, and text would be written into that. What it is instead can be neither read nor written.
void hold_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // The lowest number that is free, which is this one.
    [[maybe_unused]] const int held = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

int run_guarded(const std::function<int()>& program) {
  hold_standard_descriptors();
  try {
    return program();
  } catch (const std::exception& exception) {
    report(Error(ErrorCode::internal, std::string("internal: ") + exception.what()));
    return exit_failure;
  }
}

namespace {

Result<void> check_ready_file(const std::filesystem::path& file) {
  std::error_code ignored;
  if (file.empty()) return {};
  const auto directory = std::filesystem::absolute(file).parent_path();
  if (std::filesystem::is_directory(directory, ignored)) return {};
  return Error(ErrorCode::invalid, "ready-file: " + directory.string() + " is no directory: make it");
}

int run_unguarded(Command program, int argc, const char* const* argv, const Environment& environment,
                  const std::function<Result<void>()>& check, const std::function<Result<void>(Daemon&)>& serve) {
  LogOptions log_options{.use_colour = environment.has_colour};
  ReadinessOptions readiness_options{.notify_socket = environment.notify_socket};
  std::filesystem::path config_file;
  bool is_check = false, is_print = false, is_version = false;

  // These are keys of the config file too; the ones after them only make sense as flags.
  program.settings.push_back(choice<LogLevel>("log-level", log_options.level,
                                              {{"debug", LogLevel::debug},
                                               {"info", LogLevel::info},
                                               {"warning", LogLevel::warning},
                                               {"error", LogLevel::error}},
                                              "drop log lines below this"));
  program.settings.push_back(choice<LogFormat>(
      "log-format", log_options.format, {{"text", LogFormat::text}, {"json", LogFormat::json}}, "how log lines look"));
  program.settings.push_back(
      path("ready-file", readiness_options.ready_file, "this file appears when the program serves"));
  const std::size_t config_keys = program.settings.size();
  program.settings.push_back(path("config", config_file, "read settings from this YAML file; flags win"));
  program.settings.push_back(toggle("check-config", is_check, "only say whether the settings are right"));
  program.settings.push_back(toggle("print-config", is_print, "only print the settings as a config file"));
  program.settings.push_back(toggle("version", is_version, "only print the version"));
  program.run = [] { return exit_ok; };

  const Reading reading = read_command_line(program, argc, argv, std::cout, std::cerr);
  if (!reading.command) return reading.exit_code;
  if (is_version) {
    std::cout << program.name << ' ' << version() << '\n';
    return exit_ok;
  }
  std::vector<const Setting*> keys;
  for (std::size_t i = 0; i < config_keys; ++i) keys.push_back(&program.settings[i]);
  if (!config_file.empty()) {
    if (const auto read = read_config_file(config_file, keys, reading.given); !read) {
      report(read.error());
      return exit_usage;
    }
  }
  if (is_print) std::cout << config_text(keys);
  if (is_print && !is_check) return exit_ok;
  const auto check_all = [&]() -> Result<void> {
    IRONCORE_CHECK(check());
    return check_ready_file(readiness_options.ready_file);
  };
  if (const auto checked = check_all(); !checked) {
    report(checked.error());
    return exit_usage;
  }
  if (is_check) std::cout << "the settings are right\n";
  if (is_check) return exit_ok;
  if (reading.command != &program) return reading.command->run();

  Signals signals;
  const auto log = make_log(log_options);
  const DescriptorGuard descriptors(*log);
  SystemClock clock;
  Readiness readiness({readiness_options}, *log);
  Daemon daemon{clock, *log, signals, readiness, descriptors};
  log->info("starting", {{"program", program.name}, {"version", std::string(version())}});
  const auto served = [&] {
    const std::stop_callback tell(signals.stop(), [&] { readiness.stopping(); });
    return serve(daemon);
  }();
  const bool was_told = !served && served.error().code() == ErrorCode::cancelled && signals.stop().stop_requested();
  if (!served && !was_told) {
    // Who reads JSON lines gets nothing else.
    if (log_options.format == LogFormat::text) return report(served.error());
    log->error("stopped by an error", {{"error", served.error().message()}});
    return exit_code(served.error());
  }
  log->info("stopped");
  return exit_ok;
}

}  // namespace

int run_daemon(Command program, int argc, const char* const* argv, const Environment& environment,
               const std::function<Result<void>()>& check, const std::function<Result<void>(Daemon&)>& serve) {
  return run_guarded([&] {
    StandardOutput output;
    return finish_output(output, run_unguarded(std::move(program), argc, argv, environment, check, serve));
  });
}

}  // namespace ironcore::program
