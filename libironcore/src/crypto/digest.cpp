// SPDX-License-Identifier: Apache-2.0
// Digests over libcrypto's EVP interface.
#include "ironcore/crypto/digest.hpp"

#include <algorithm>
#include <cstring>

#include "evp.hpp"

namespace ironcore::crypto {

namespace {

const EVP_MD* message_digest(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::sha256 ? EVP_sha256() : EVP_sha512();
}

/// Lower case only: one digest has one text.
int lower_hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::string_view name(HashAlgorithm algorithm) noexcept {
  return algorithm == HashAlgorithm::sha256 ? "sha256" : "sha512";
}

Result<Digest> Digest::parse(std::string_view text) {
  Digest digest;
  if (text.starts_with("sha256:")) {
    digest.algorithm_ = HashAlgorithm::sha256;
  } else if (text.starts_with("sha512:")) {
    digest.algorithm_ = HashAlgorithm::sha512;
  } else {
    return Error(ErrorCode::invalid, "a digest must start with sha256: or sha512:");
  }
  text.remove_prefix(7);
  const auto size = digest_size(digest.algorithm_);
  const Error wrong(ErrorCode::invalid, "a " + std::string(name(digest.algorithm_)) + " digest must have " +
                                            std::to_string(2 * size) + " lower-case hexadecimal digits");
  if (text.size() != 2 * size) return wrong;
  for (std::size_t i = 0; i < size; ++i) {
    const int high = lower_hex_digit(text[2 * i]), low = lower_hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return wrong;
    digest.bytes_[i] = static_cast<std::byte>(high << 4 | low);
  }
  return digest;
}

Result<Digest> Digest::from_bytes(HashAlgorithm algorithm, BytesView bytes) {
  if (bytes.size() != digest_size(algorithm))
    return Error(ErrorCode::invalid, "a " + std::string(crypto::name(algorithm)) + " digest has " +
                                         std::to_string(digest_size(algorithm)) + " bytes, not " +
                                         std::to_string(bytes.size()));
  Digest digest;
  digest.algorithm_ = algorithm;
  std::copy(bytes.begin(), bytes.end(), digest.bytes_.begin());
  return digest;
}

std::string Digest::hex() const {
  return crypto::hex(bytes());
}

std::string Digest::to_text() const {
  std::string text(crypto::name(algorithm_));
  text += ':';
  text += hex();
  return text;
}

std::string hex(BytesView bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const auto byte : bytes) {
    text += digits[std::to_integer<unsigned>(byte >> 4)];
    text += digits[std::to_integer<unsigned>(byte & std::byte{15})];
  }
  return text;
}

struct Hasher::State {
  HashAlgorithm algorithm;
  DigestContext context = allocated<DigestContext>(EVP_MD_CTX_new());

  void start() { require(EVP_DigestInit_ex(context.get(), message_digest(algorithm), nullptr) == 1, name(algorithm)); }
};

Hasher::Hasher(HashAlgorithm algorithm) : state_(new State{algorithm}) {
  state_->start();
}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::update(BytesView bytes) {
  require(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1, "hashing");
}

Digest Hasher::finish() {
  std::array<std::byte, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  require(EVP_DigestFinal_ex(state_->context.get(), reinterpret_cast<unsigned char*>(bytes.data()), &size) == 1,
          "hashing");
  state_->start();
  return Digest::from_bytes(state_->algorithm, BytesView(bytes.data(), size)).value();
}

Digest hash(HashAlgorithm algorithm, BytesView bytes) {
  std::array<std::byte, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  require(EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()), &size,
                     message_digest(algorithm), nullptr) == 1,
          name(algorithm));
  return Digest::from_bytes(algorithm, BytesView(out.data(), size)).value();
}

}  // namespace ironcore::crypto

std::size_t std::hash<ironcore::crypto::Digest>::operator()(const ironcore::crypto::Digest& digest) const noexcept {
  // The bytes are evenly spread already.
  std::size_t value = 0;
  std::memcpy(&value, digest.bytes().data(), sizeof value);
  return value;
}
