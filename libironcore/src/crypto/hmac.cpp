// SPDX-License-Identifier: Apache-2.0
// HMAC over libcrypto.
#include "ironcore/crypto/hmac.hpp"

#include <openssl/hmac.h>

#include <climits>

#include "evp.hpp"

namespace ironcore::crypto {

std::array<std::byte, 32> hmac_sha256(BytesView key, BytesView message) {
  require(key.size() <= INT_MAX, "a key of more than 2 GiB");
  std::array<std::byte, 32> tag{};
  unsigned size = 0;
  // A null key means "the one of before" to HMAC(): give an empty one an address.
  static constexpr unsigned char nothing = 0;
  const auto* key_data = key.empty() ? &nothing : reinterpret_cast<const unsigned char*>(key.data());
  require(
      HMAC(EVP_sha256(), key_data, static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(message.data()),
           message.size(), reinterpret_cast<unsigned char*>(tag.data()), &size) != nullptr,
      "HMAC-SHA256");
  return tag;
}

}  // namespace ironcore::crypto
