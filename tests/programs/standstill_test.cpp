// SPDX-License-Identifier: Apache-2.0
// A program that stands still for too long ends itself.
#include "program/standstill.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <stop_token>

#include "program/command_line.hpp"

using namespace ironcore;
using namespace ironcore::program;
using namespace std::chrono_literals;

namespace {

/// How a process ends that looks every millisecond.
int status_of(const std::function<Duration(int look)>& length) {
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    SystemClock clock;
    NullLog log;
    std::stop_source stop;
    int looks = 0;
    const auto look = [&] {
      if (++looks == 50) stop.request_stop();
      return length(looks);
    };
    watch({.length = look, .patience = 10min, .pause = 1ms}, clock, log, stop.get_token());
    std::_Exit(exit_ok);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("a standstill that lasts ends the process with a status of its own") {
  CHECK(status_of([](int) { return Duration(10min); }) == exit_hanging);
  CHECK(status_of([](int look) { return look < 20 ? Duration(1h) : Duration::zero(); }) == exit_hanging);
}

TEST_CASE("one that is short, or over at the second look, ends nothing") {
  CHECK(status_of([](int) { return Duration(9min); }) == exit_ok);
  CHECK(status_of([](int look) { return look % 2 == 0 ? Duration(1h) : Duration::zero(); }) == exit_ok);
}
