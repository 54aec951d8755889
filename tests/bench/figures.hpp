// SPDX-License-Identifier: Apache-2.0
// What every benchmark does: print figures as JSON lines, and end when something fails.
#pragma once

#include <errno.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "ironcore/base/result.hpp"

namespace ironcore::bench {

/// `params`: members of a JSON object, without its braces.
inline void print(const char* name, double value, const char* unit, const std::string& params = "") {
  std::printf(R"({"bench":"%s","value":%.6g,"unit":"%s","params":{%s}})"
              "\n",
              name, value, unit, params.c_str());
  std::fflush(stdout);
}

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
  std::exit(1);
}

/// Of this process, in MiB.
inline double resident_mb() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) fail("cannot read /proc/self/statm");
  long all = 0, resident = 0;
  const int read = std::fscanf(file, "%ld %ld", &all, &resident);
  std::fclose(file);
  if (read != 2) fail("cannot read /proc/self/statm");
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

/// The value, or the end of the program.
template <class T>
T must(Result<T> result, const char* doing = "failed") {
  if (!result) fail(std::string(doing) + ": " + result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace ironcore::bench
