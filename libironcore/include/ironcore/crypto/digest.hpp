// SPDX-License-Identifier: Apache-2.0
// SHA-256 and SHA-512 digests, at once or piece by piece.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::crypto {

enum class HashAlgorithm : std::uint8_t { sha256, sha512 };
/// `sha256`, `sha512`.
std::string_view name(HashAlgorithm algorithm) noexcept;
constexpr std::size_t digest_size(HashAlgorithm algorithm) noexcept {
  return algorithm == HashAlgorithm::sha256 ? 32 : 64;
}

/// A digest with its algorithm, as OCI writes it: `sha256:` and lower-case hexadecimal digits. The default is
/// `sha256:` and zeros, which is the digest of nothing known.
class Digest {
 public:
  constexpr Digest() noexcept = default;
  /// Strict: known algorithm, exact length, lower case; so the text is safe as a file name.
  static Result<Digest> parse(std::string_view text);
  /// `invalid` if the number of bytes does not fit the algorithm.
  static Result<Digest> from_bytes(HashAlgorithm algorithm, BytesView bytes);

  constexpr HashAlgorithm algorithm() const noexcept { return algorithm_; }
  constexpr BytesView bytes() const noexcept { return {bytes_.data(), digest_size(algorithm_)}; }
  std::string hex() const;
  std::string to_text() const;

  friend constexpr bool operator==(const Digest&, const Digest&) noexcept = default;
  friend constexpr auto operator<=>(const Digest&, const Digest&) noexcept = default;

 private:
  HashAlgorithm algorithm_ = HashAlgorithm::sha256;
  std::array<std::byte, 64> bytes_{};
};

/// Hashes a stream. Thread: one.
class Hasher {
 public:
  explicit Hasher(HashAlgorithm algorithm = HashAlgorithm::sha256);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();

  void update(BytesView bytes);
  void update(std::string_view text) { update(as_bytes(text)); }
  /// The digest of all bytes since the start or the last `finish`; the hasher is then empty and ready again.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest hash(HashAlgorithm algorithm, BytesView bytes);
inline Digest sha256(BytesView bytes) {
  return hash(HashAlgorithm::sha256, bytes);
}
inline Digest sha256(std::string_view text) {
  return sha256(as_bytes(text));
}
inline Digest sha512(BytesView bytes) {
  return hash(HashAlgorithm::sha512, bytes);
}
inline Digest sha512(std::string_view text) {
  return sha512(as_bytes(text));
}

/// Lower-case hexadecimal digits of any bytes.
std::string hex(BytesView bytes);

}  // namespace ironcore::crypto

template <>
struct std::hash<ironcore::crypto::Digest> {
  std::size_t operator()(const ironcore::crypto::Digest& digest) const noexcept;
};
