// SPDX-License-Identifier: Apache-2.0
// The frame of a simulation program: runs seeds, and for one that fails prints the command that runs it
// again.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace ironcore::test {

/// `PROGRAM [SEEDS [FIRST_SEED]]`; without arguments as many seeds as IRONCORE_SIM_SEEDS says, or `usual`.
/// `run(seed)` throws what went wrong.
template <class F>
int simulate(int argc, char** argv, std::uint64_t usual, F&& run) {
  const char* wanted = argc > 1 ? argv[1] : std::getenv("IRONCORE_SIM_SEEDS");
  const auto count = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : usual;
  const auto first = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  for (auto seed = first; seed < first + count; ++seed) {
    try {
      run(seed);
    } catch (const std::exception& failure) {
      std::fprintf(stderr, "seed %llu: %s\nagain: %s 1 %llu\n", static_cast<unsigned long long>(seed), failure.what(),
                   argv[0], static_cast<unsigned long long>(seed));
      return 1;
    }
  }
  std::printf("%llu seeds from %llu: as promised\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(first));
  return 0;
}

}  // namespace ironcore::test
