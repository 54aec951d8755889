// SPDX-License-Identifier: Apache-2.0
// Randomness as a parameter: the operating system's, or a seeded one for tests and simulations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>

namespace ironcore {

/// Where random bytes come from. Thread: any for SystemRandom, one for SeededRandom.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::byte> bytes) = 0;
  /// Evenly distributed in [0, bound); 0 if bound is 0.
  std::uint32_t below(std::uint32_t bound);
};

/// The kernel's generator, fit for keys.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::byte> bytes) override;
};

/// The same bytes for the same seed. Never for secrets.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::byte> bytes) override;

 private:
  std::mt19937_64 engine_;
};

/// `length` characters of the alphabet that Kubernetes uses for generateName: no vowels, no look-alikes, so that no
/// word appears by accident.
std::string random_suffix(std::size_t length, Random& random);
/// From the kernel's generator.
std::string random_suffix(std::size_t length);

}  // namespace ironcore
