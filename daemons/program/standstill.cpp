// SPDX-License-Identifier: Apache-2.0
// Looking now and then.
#include "program/standstill.hpp"

#include <cstdlib>

#include "program/command_line.hpp"

namespace ironcore::program {

void watch(const Standstill& standstill, Clock& clock, Log& log, std::stop_token stop) {
  bool was_too_long = false;
  while (sleep_for(clock, standstill.pause, stop)) {
    const auto length = standstill.length();
    const bool is_too_long = length >= standstill.patience;
    if (is_too_long && was_too_long) std::_Exit(exit_hanging);
    if (is_too_long)
      log.error(
          "all workers hang, so this process ends: have it started again (systemd: Restart=on-failure); it goes on "
          "where it was",
          {{"since", to_text(length)}, {"status", std::to_string(exit_hanging)}});
    was_too_long = is_too_long;
  }
}

}  // namespace ironcore::program
