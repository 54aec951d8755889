// SPDX-License-Identifier: Apache-2.0
// Random bytes from the kernel or from a seed.
#include "ironcore/base/random.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "ironcore/base/error.hpp"

namespace ironcore {

std::uint32_t Random::below(std::uint32_t bound) {
  if (bound == 0) return 0;
  // Values from the incomplete last stretch would make small results likelier: draw again.
  const std::uint32_t limit = UINT32_MAX - UINT32_MAX % bound;
  for (;;) {
    std::uint32_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    if (value < limit) return value % bound;
  }
}

void SystemRandom::fill(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const auto count = getrandom(bytes.data(), bytes.size(), 0);
    if (count < 0) {
      if (errno == EINTR) continue;
      // Only a kernel without the call or a filter against it comes here; going on without randomness is not an option.
      throw Failure(Error(ErrorCode::internal, "the kernel gives no random bytes: allow the getrandom system call"));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void SeededRandom::fill(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const std::uint64_t value = engine_();
    const auto count = std::min(bytes.size(), sizeof value);
    for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
    bytes = bytes.subspan(count);
  }
}

std::string random_suffix(std::size_t length, Random& random) {
  static constexpr std::string_view alphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string text(length, ' ');
  for (auto& c : text) c = alphabet[random.below(alphabet.size())];
  return text;
}

std::string random_suffix(std::size_t length) {
  SystemRandom random;
  return random_suffix(length, random);
}

}  // namespace ironcore
