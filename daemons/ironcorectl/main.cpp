// SPDX-License-Identifier: Apache-2.0
// ironcorectl: reads its environment and its command line, runs one command, says how it went.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "ironcorectl/commands.hpp"
#include "program/daemon.hpp"

namespace {

using namespace ironcore;

std::string variable(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? value : std::move(otherwise);
}

ctl::Terminal look_at_terminal() {
  ctl::Terminal terminal{.is_terminal = ::isatty(STDOUT_FILENO) == 1,
                         .has_progress = ::isatty(STDERR_FILENO) == 1,
                         .is_answered = ::isatty(STDIN_FILENO) == 1};
  winsize size{};
  const int fd = terminal.is_terminal ? STDOUT_FILENO : STDERR_FILENO;
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) terminal.width = size.ws_col;
  return terminal;
}

int run_tool(int argc, char** argv, program::StandardOutput& output) {
  const auto environment = program::Environment::read();
  ctl::Options options;
  options.session.server = variable("IRONCORE_SERVER", program::default_endpoint(environment));
  options.session.dataplane = variable("IRONCORE_DATAPLANE", program::default_dataplane_endpoint(environment));
  options.session.reflector = variable("IRONCORE_REFLECTOR", program::default_reflector_endpoint(environment));
  if (const auto file = variable("IRONCORE_KEY_FILE", ""); !file.empty()) options.session.key_file = file;
  if (const auto key = variable("IRONCORE_SERVER_KEY", ""); !key.empty()) options.session.server_key = key;
  if (const auto key = variable("IRONCORE_DATAPLANE_KEY", ""); !key.empty()) options.session.dataplane_key = key;
  if (const auto key = variable("IRONCORE_REFLECTOR_KEY", ""); !key.empty()) options.session.reflector_key = key;
  options.session.namespace_ = variable("IRONCORE_NAMESPACE", "default");
  options.session.editor = variable("VISUAL", variable("EDITOR", "vi"));
  options.session.scratch_directory = variable("TMPDIR", "/tmp");
  options.session.terminal = look_at_terminal();

  const auto run = [&options, &output](const std::function<Result<void>(ctl::Session&)>& command) {
    program::Signals signals;
    SystemClock clock;
    ctl::Session session(options.session, std::cin, output, std::cerr, clock, signals.stop());
    const auto done = command(session);
    if (done) return static_cast<int>(program::exit_ok);
    const auto printed = output.flush();
    // Whoever stopped reading has seen enough; another failure is told all the same.
    if (done.error().code() == ErrorCode::cancelled && output.is_reader_gone())
      return static_cast<int>(program::exit_ok);
    return program::report(printed || output.is_reader_gone() ? done.error() : printed.error());
  };
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    std::cout << "ironcorectl " << program::version() << '\n';
    return program::exit_ok;
  }
  const auto grammar = ctl::commands(options, run);
  const auto reading = program::read_command_line(grammar, argc, argv, std::cout, std::cerr);
  return reading.command ? reading.command->run() : reading.exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  return program::run_guarded([&] {
    program::StandardOutput output;
    return program::finish_output(output, run_tool(argc, argv, output));
  });
}
