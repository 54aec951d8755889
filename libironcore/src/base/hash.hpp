// SPDX-License-Identifier: Apache-2.0
// A fast hash for keys of whole words. Same on every host and in every release: hosts compare what it gives, and a load balancer's choice depends on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ironcore {

/// Both halves of the product together depend on every bit of both numbers.
inline std::uint64_t fold_product(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const auto product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// Odd numbers without a pattern: digits of pi.
inline constexpr std::uint64_t hash_seeds[] = {0x243f6a8885a308d3, 0x13198a2e03707345, 0xa4093822299f31d1,
                                               0x082efa98ec4e6c89};

/// Not for keys that an attacker may choose without `secret`: with a random one, colliding keys cannot be found by trying.
inline std::uint64_t hash_words(std::span<const std::uint64_t> words, std::uint64_t secret = 0) noexcept {
  std::uint64_t state = hash_seeds[3] ^ secret;
  std::size_t i = 0;
  // Two words for each multiplication; a word that is zero must not swallow its partner, hence the seeds.
  for (; i + 1 < words.size(); i += 2)
    state = fold_product(words[i] ^ hash_seeds[0] ^ state, words[i + 1] ^ hash_seeds[1]);
  if (i < words.size()) state = fold_product(words[i] ^ hash_seeds[2] ^ state, hash_seeds[1]);
  return fold_product(state ^ words.size(), hash_seeds[0]);
}

}  // namespace ironcore
