// SPDX-License-Identifier: Apache-2.0
// A program whose work hangs ends itself, so that whoever looks after it starts it again.
#pragma once

#include <functional>
#include <stop_token>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"

namespace ironcore::program {

struct Standstill {
  std::function<Duration()> length;  ///< for how long nothing has moved; zero if something does
  Duration patience{};               ///< how long that may be
  Duration pause{};                  ///< between two looks
};

/// Looks until a stop is requested. Too long twice in a row ends the process with `exit_hanging`, without an orderly end: threads that hang would keep it waiting.
void watch(const Standstill& standstill, Clock& clock, Log& log, std::stop_token stop);

}  // namespace ironcore::program
