// SPDX-License-Identifier: Apache-2.0
// What the sources of this folder share of libcrypto: ownership and the one translation of its failures.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "ironcore/base/error.hpp"

namespace ironcore::crypto {

struct FreeDigestContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeDigestContext>;

struct FreeCipherContext {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipherContext>;

/// For calls that fail only if libcrypto lacks a basic algorithm (a provider configured away) or is misused by us.
inline void require(bool done, std::string_view what) {
  if (!done)
    throw Failure(Error(ErrorCode::internal, "libcrypto refuses " + std::string(what) +
                                                 ": check that its default provider is not disabled"));
}

template <class Owner, class Raw>
Owner allocated(Raw* raw) {
  if (raw == nullptr) throw std::bad_alloc();
  return Owner(raw);
}

}  // namespace ironcore::crypto
