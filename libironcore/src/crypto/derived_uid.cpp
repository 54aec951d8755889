// SPDX-License-Identifier: Apache-2.0
// Version 5 UUIDs over libcrypto's SHA-1.
#include "ironcore/crypto/derived_uid.hpp"

#include <algorithm>

#include "evp.hpp"

namespace ironcore::crypto {

Uid derived_uid(const Uid& space, std::string_view name) {
  const auto context = allocated<DigestContext>(EVP_MD_CTX_new());
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  require(EVP_DigestInit_ex(context.get(), EVP_sha1(), nullptr) == 1 &&
              EVP_DigestUpdate(context.get(), space.bytes().data(), space.bytes().size()) == 1 &&
              EVP_DigestUpdate(context.get(), name.data(), name.size()) == 1 &&
              EVP_DigestFinal_ex(context.get(), digest.data(), &size) == 1,
          "SHA-1");
  std::array<std::uint8_t, 16> bytes{};
  std::copy_n(digest.begin(), bytes.size(), bytes.begin());
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0fU) | 0x50U);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3fU) | 0x80U);
  return Uid(bytes);
}

}  // namespace ironcore::crypto
