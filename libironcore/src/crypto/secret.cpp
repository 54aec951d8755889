// SPDX-License-Identifier: Apache-2.0
// Secret bytes through libcrypto and the kernel.
#include "ironcore/crypto/secret.hpp"

#include <openssl/crypto.h>

#include "ironcore/base/random.hpp"

namespace ironcore::crypto {

bool constant_time_equal(BytesView a, BytesView b) noexcept {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

Bytes random_bytes(std::size_t count) {
  Bytes bytes(count);
  SystemRandom().fill(bytes);
  return bytes;
}

void wipe(std::span<std::byte> bytes) noexcept {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

void wipe(std::string& text) noexcept {
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace ironcore::crypto
