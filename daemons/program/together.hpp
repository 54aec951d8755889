// SPDX-License-Identifier: Apache-2.0
// Together: the parts of a daemon run side by side and stop together.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/base/result.hpp"
#include "program/signals.hpp"

namespace ironcore::program {

struct Part {
  std::string name;                                       ///< `scheduler`; for errors
  std::function<Result<void>(std::stop_token stop)> run;  ///< returns when told to stop, or with an error
};

/// A part that cannot fail: `run` returns nothing.
template <class Run>
Part endless(std::string name, Run run) {
  return {std::move(name), [run](std::stop_token stop) -> Result<void> {
            run(std::move(stop));
            return {};
          }};
}

/// Gives each part a thread, calls `started` when all have one, and returns when all have ended. A part that
/// ends before it was told to takes the others with it; the first error is returned.
Result<void> run_together(Signals& signals, std::vector<Part> parts, const std::function<Result<void>()>& started);

}  // namespace ironcore::program
