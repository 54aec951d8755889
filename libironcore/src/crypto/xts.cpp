// SPDX-License-Identifier: Apache-2.0
// AES-256-XTS over libcrypto.
#include "ironcore/crypto/xts.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "evp.hpp"

namespace ironcore::crypto {

namespace {

constexpr std::size_t tweak_unit = 512;

CipherContext context_of(BytesView key, int encrypts) {
  auto context = allocated<CipherContext>(EVP_CIPHER_CTX_new());
  require(EVP_CipherInit_ex(context.get(), EVP_aes_256_xts(), nullptr,
                            reinterpret_cast<const unsigned char*>(key.data()), nullptr, encrypts) == 1,
          "AES-256-XTS");
  return context;
}

}  // namespace

struct XtsCipher::Body {
  CipherContext encrypts, decrypts;  ///< with the key; copied for each use, which sets tweaks
  std::size_t sector_size;

  void run(const CipherContext& prepared, std::uint64_t offset, std::span<std::byte> sectors) const {
    const auto context = allocated<CipherContext>(EVP_CIPHER_CTX_new());
    bool is_done = EVP_CIPHER_CTX_copy(context.get(), prepared.get()) == 1;
    for (; is_done && sectors.size() >= sector_size; sectors = sectors.subspan(sector_size), offset += sector_size) {
      std::array<unsigned char, 16> tweak{};
      std::uint64_t number = offset / tweak_unit;
      for (auto& byte : std::span(tweak).first(sizeof number)) {
        byte = static_cast<unsigned char>(number);
        number >>= 8;
      }
      auto* const bytes = reinterpret_cast<unsigned char*>(sectors.data());
      int count = 0;
      is_done = EVP_CipherInit_ex(context.get(), nullptr, nullptr, nullptr, tweak.data(), -1) == 1 &&
                EVP_CipherUpdate(context.get(), bytes, &count, bytes, static_cast<int>(sector_size)) == 1;
    }
    require(is_done && sectors.empty(), "AES-256-XTS of whole sectors");
  }
};

Result<XtsCipher> XtsCipher::create(BytesView key, std::size_t sector_size) {
  if (key.size() != key_size)
    return Error(ErrorCode::invalid, "a key of AES-256-XTS has 64 bytes, not " + std::to_string(key.size()));
  if (std::ranges::equal(key.first(key_size / 2), key.last(key_size / 2)))
    return Error(ErrorCode::invalid, "the two halves of a key of AES-256-XTS must differ");
  if (sector_size < tweak_unit || sector_size > 4096 || !std::has_single_bit(sector_size))
    return Error(ErrorCode::invalid,
                 "a sector has 512 to 4096 bytes, a power of 2, not " + std::to_string(sector_size));
  return XtsCipher(std::make_unique<Body>(Body{context_of(key, 1), context_of(key, 0), sector_size}));
}

XtsCipher::XtsCipher(std::unique_ptr<Body> body) noexcept : body_(std::move(body)) {}
XtsCipher::XtsCipher(XtsCipher&&) noexcept = default;
XtsCipher& XtsCipher::operator=(XtsCipher&&) noexcept = default;
XtsCipher::~XtsCipher() = default;  // libcrypto wipes its contexts

std::size_t XtsCipher::sector_size() const noexcept {
  return body_->sector_size;
}
void XtsCipher::encrypt(std::uint64_t offset, std::span<std::byte> sectors) const {
  body_->run(body_->encrypts, offset, sectors);
}
void XtsCipher::decrypt(std::uint64_t offset, std::span<std::byte> sectors) const {
  body_->run(body_->decrypts, offset, sectors);
}

}  // namespace ironcore::crypto
