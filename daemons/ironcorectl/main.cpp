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
  ctl::Terminal terminal{.is_terminal = ::isatty(STDOUT_FILENO) == 1, .has_progress = ::isatty(STDERR_FILENO) == 1};
  winsize size{};
  const int fd = terminal.is_terminal ? STDOUT_FILENO : STDERR_FILENO;
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) terminal.width = size.ws_col;
  return terminal;
}

}  // namespace

int main(int argc, char** argv) {
  const auto environment = program::Environment::read();
  ctl::Options options;
  options.session.server = variable("IRONCORE_SERVER", program::default_endpoint(environment));
  options.session.namespace_ = variable("IRONCORE_NAMESPACE", "default");
  options.session.editor = variable("VISUAL", variable("EDITOR", "vi"));
  options.session.scratch_directory = variable("TMPDIR", "/tmp");
  options.session.terminal = look_at_terminal();

  const auto run = [&options](const std::function<Result<void>(ctl::Session&)>& command) {
    program::Signals signals;
    SystemClock clock;
    ctl::Session session(options.session, std::cin, std::cout, std::cerr, clock, signals.stop());
    const auto done = command(session);
    std::cout.flush();
    return done ? program::exit_ok : program::report(done.error());
  };
  const auto grammar = ctl::commands(options, run);
  const auto reading = program::read_command_line(grammar, argc, argv, std::cout, std::cerr);
  return reading.command ? reading.command->run() : reading.exit_code;
}
