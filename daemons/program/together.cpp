// SPDX-License-Identifier: Apache-2.0
// One thread for each part.
#include "program/together.hpp"

#include <mutex>
#include <optional>
#include <thread>

namespace ironcore::program {

Result<void> run_together(Signals& signals, std::vector<Part> parts, const std::function<Result<void>()>& started) {
  std::mutex mutex;
  std::optional<Error> first_error;
  const auto fail = [&](Error error) {
    {
      const std::lock_guard lock(mutex);
      if (!first_error) first_error = std::move(error);
    }
    signals.request_stop();
  };
  {
    std::vector<std::jthread> threads;
    for (const Part& part : parts) {
      threads.emplace_back([&signals, &part, fail] {
        const auto done = part.run(signals.stop());
        if (!done) {
          fail(done.error().within(part.name));
        } else if (!signals.stop().stop_requested()) {
          fail(Error(ErrorCode::internal, part.name + " ended by itself"));
        }
      });
    }
    if (const auto done = started(); !done) fail(done.error());
  }
  if (first_error) return *first_error;
  return {};
}

}  // namespace ironcore::program
