// SPDX-License-Identifier: Apache-2.0
// Sectors of disks: the published vectors, sectors one by one, and what is refused.
#include "ironcore/crypto/xts.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "ironcore/base/random.hpp"
#include "ironcore/crypto/digest.hpp"

using namespace ironcore;
using namespace ironcore::crypto;

namespace {

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  return bytes;
}

/// The key of IEEE 1619-2018, vector 10.
Bytes vector_key() {
  return from_hex(
      "2718281828459045235360287471352662497757247093699959574966967627"
      "3141592653589793238462643383279502884197169399375105820974944592");
}

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

}  // namespace

TEST_CASE("IEEE 1619-2018, vector 10: sector 255 of 512 bytes") {
  const auto cipher = XtsCipher::create(vector_key(), 512).value();
  auto bytes = counting(512);
  cipher.encrypt(255 * 512, bytes);
  const auto begin = from_hex("1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b");
  CHECK(std::ranges::equal(std::span(bytes).first(begin.size()), begin));
  CHECK(sha256(bytes).hex() == "e97e974fa393af794f7a4684395814cf820de60a01eaec677d87b452e316b364");
  cipher.decrypt(255 * 512, bytes);
  CHECK(bytes == counting(512));
}

TEST_CASE("large sectors are counted in units of 512 bytes, as dm-crypt's plain64 does") {
  const auto cipher = XtsCipher::create(vector_key(), 4096).value();
  auto bytes = counting(4096);
  cipher.encrypt(std::uint64_t{0xff8} * 512, bytes);
  CHECK(std::ranges::equal(std::span(bytes).first(16), from_hex("31022560812178675a0cb1fef6150547")));
  CHECK(std::ranges::equal(std::span(bytes).last(16), from_hex("d53fbef464f44b0751dadec4d8d68978")));
}

TEST_CASE("many sectors at once are the same as one after the other") {
  SeededRandom random(7);
  Bytes key(XtsCipher::key_size);
  random.fill(key);
  const auto cipher = XtsCipher::create(key, 4096).value();
  Bytes plain(16 * 4096);
  random.fill(plain);
  auto together = plain, apart = plain;
  const std::uint64_t far = std::uint64_t{5} << 40;
  cipher.encrypt(far, together);
  for (std::size_t at = 0; at < apart.size(); at += 4096) cipher.encrypt(far + at, std::span(apart).subspan(at, 4096));
  CHECK(together == apart);
  CHECK(together != plain);
  CHECK_FALSE(std::ranges::equal(std::span(together).first(4096), std::span(together).last(4096)));
  cipher.decrypt(far, together);
  CHECK(together == plain);
  cipher.encrypt(0, {});
}

TEST_CASE("keys and sectors that cannot be are refused") {
  const Bytes key = vector_key();
  CHECK(XtsCipher::create(BytesView(key).first(32), 512).error().code() == ErrorCode::invalid);
  CHECK(XtsCipher::create({}, 512).error().code() == ErrorCode::invalid);
  CHECK(XtsCipher::create(Bytes(64), 512).error().code() == ErrorCode::invalid);  // equal halves
  for (const std::size_t size : {0, 256, 513, 3000, 8192})
    CHECK(XtsCipher::create(key, size).error().code() == ErrorCode::invalid);
}
