// SPDX-License-Identifier: Apache-2.0
// AES-256-GCM over libcrypto, with a versioned header.
#include "ironcore/crypto/aead.hpp"

#include <algorithm>
#include <climits>

#include "evp.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::crypto {

namespace {

constexpr std::array<std::byte, 4> header{std::byte{'I'}, std::byte{'C'}, std::byte{1}, std::byte{1}};
constexpr std::size_t nonce_size = 12, tag_size = 16;
static_assert(header.size() + nonce_size + tag_size == seal_overhead);

const unsigned char* raw(BytesView bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* room(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

/// libcrypto counts in int.
int length(std::size_t size) {
  require(size <= INT_MAX - seal_overhead, "sealing more than 2 GiB at once");
  return static_cast<int>(size);
}

}  // namespace

SealKey SealKey::random() {
  SealKey key;
  SystemRandom().fill(key.bytes_);
  return key;
}

Result<SealKey> SealKey::from_bytes(BytesView bytes) {
  if (bytes.size() != size)
    return Error(ErrorCode::invalid, "a key must have 32 bytes, not " + std::to_string(bytes.size()));
  SealKey key;
  std::copy(bytes.begin(), bytes.end(), key.bytes_.begin());
  return key;
}

SealKey::~SealKey() {
  wipe(bytes_);
}

Bytes seal(const SealKey& key, BytesView plain, BytesView associated) {
  Bytes sealed(plain.size() + seal_overhead);
  std::copy(header.begin(), header.end(), sealed.begin());
  const auto nonce = std::span(sealed).subspan(header.size(), nonce_size);
  SystemRandom().fill(nonce);
  const auto body = std::span(sealed).subspan(header.size() + nonce_size, plain.size());
  const auto tag = std::span(sealed).last(tag_size);

  const auto context = allocated<CipherContext>(EVP_CIPHER_CTX_new());
  int count = 0;
  require(EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(key.bytes()), raw(nonce)) == 1 &&
              EVP_EncryptUpdate(context.get(), nullptr, &count, raw(header), length(header.size())) == 1 &&
              (associated.empty() ||
               EVP_EncryptUpdate(context.get(), nullptr, &count, raw(associated), length(associated.size())) == 1) &&
              (plain.empty() ||
               EVP_EncryptUpdate(context.get(), room(body), &count, raw(plain), length(plain.size())) == 1) &&
              EVP_EncryptFinal_ex(context.get(), room(tag), &count) == 1 &&
              EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, tag_size, tag.data()) == 1,
          "AES-256-GCM");
  return sealed;
}

Result<Bytes> unseal(const SealKey& key, BytesView sealed, BytesView associated) {
  if (sealed.size() < seal_overhead || sealed.size() > INT_MAX ||
      !std::equal(header.begin(), header.begin() + 2, sealed.begin()))
    return Error(ErrorCode::corrupt, "this is not a sealed secret, or a part of one");
  if (!std::equal(header.begin(), header.end(), sealed.begin()))
    return Error(ErrorCode::unsupported, "this secret was sealed by a newer version (format " +
                                             std::to_string(std::to_integer<int>(sealed[2])) + "." +
                                             std::to_string(std::to_integer<int>(sealed[3])) + ", known is 1.1)");
  const auto nonce = sealed.subspan(header.size(), nonce_size);
  const auto body = sealed.subspan(header.size() + nonce_size, sealed.size() - seal_overhead);
  Bytes tag(sealed.end() - tag_size, sealed.end());  // libcrypto wants it writable

  Bytes plain(body.size());
  const auto context = allocated<CipherContext>(EVP_CIPHER_CTX_new());
  int count = 0;
  require(EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(key.bytes()), raw(nonce)) == 1 &&
              EVP_DecryptUpdate(context.get(), nullptr, &count, raw(header), length(header.size())) == 1 &&
              (associated.empty() ||
               EVP_DecryptUpdate(context.get(), nullptr, &count, raw(associated), length(associated.size())) == 1) &&
              (body.empty() ||
               EVP_DecryptUpdate(context.get(), room(plain), &count, raw(body), length(body.size())) == 1) &&
              EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, tag_size, tag.data()) == 1,
          "AES-256-GCM");
  unsigned char nothing = 0;
  if (EVP_DecryptFinal_ex(context.get(), &nothing, &count) != 1) {
    wipe(plain);
    return Error(ErrorCode::corrupt,
                 "the secret does not open: it is damaged, belongs elsewhere or was sealed with another key");
  }
  return plain;
}

}  // namespace ironcore::crypto
