// SPDX-License-Identifier: Apache-2.0
// Filling the table.
#include "maglev.hpp"

#include <algorithm>

#include "hash.hpp"

namespace ironcore::network::dataplane {

namespace {

/// A target's places in the order in which it wants them: `next`, and then always `skip` further.
struct Preference {
  std::uint16_t target;
  std::uint32_t weight;
  std::uint32_t next;
  std::uint32_t skip;
  std::uint64_t turns = 0;  ///< taken, in units of the largest weight
};

}  // namespace

Maglev::Maglev(std::span<const Target> targets, std::uint32_t size) {
  std::vector<Preference> preferences;
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto& target = targets[i];
    if (target.weight == 0) continue;
    const std::uint64_t word[] = {target.id};
    preferences.push_back({.target = static_cast<std::uint16_t>(i),
                           .weight = target.weight,
                           .next = reduce(hash_words(word, 1), size),
                           .skip = reduce(hash_words(word, 2), size - 1) + 1});
    largest = std::max(largest, target.weight);
  }
  if (preferences.empty()) return;
  // Who comes first takes more of what is left over; that must not depend on the order of the configuration.
  std::sort(preferences.begin(), preferences.end(),
            [&](const Preference& a, const Preference& b) { return targets[a.target].id < targets[b.target].id; });

  places_.assign(size, nobody);
  std::uint32_t taken = 0;
  // In each round the heaviest take one place; the others sit out as many rounds as their weight is less.
  for (std::uint64_t round = 1;; ++round) {
    for (auto& wants : preferences) {
      if (round * wants.weight <= wants.turns) continue;
      wants.turns += largest;
      while (places_[wants.next] != nobody) wants.next = (wants.next + wants.skip) % size;
      places_[wants.next] = wants.target;
      if (++taken == size) return;
    }
  }
}

std::uint16_t Maglev::pick(std::uint64_t hash) const noexcept {
  return places_.empty() ? nobody : places_[reduce(hash, static_cast<std::uint32_t>(places_.size()))];
}

bool is_prime(std::uint32_t number) noexcept {
  if (number < 2) return false;
  for (std::uint64_t divisor = 2; divisor * divisor <= number; ++divisor)
    if (number % divisor == 0) return false;
  return true;
}

}  // namespace ironcore::network::dataplane
