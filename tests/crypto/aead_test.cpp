// SPDX-License-Identifier: Apache-2.0
// Sealed bytes open only unchanged, with the same key and in the same place.
#include "ironcore/crypto/aead.hpp"

#include <doctest/doctest.h>

#include <set>

#include "ironcore/base/random.hpp"

using namespace ironcore;
using namespace ironcore::crypto;

namespace {

/// Bytes from hexadecimal digits.
Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  return bytes;
}

}  // namespace

TEST_CASE("what was sealed opens again, whatever its size") {
  SeededRandom random(4);
  const auto key = SealKey::random();
  for (const auto size : std::initializer_list<std::size_t>{0, 1, 15, 16, 17, 1000, 100'000}) {
    Bytes plain(size);
    random.fill(plain);
    for (const auto* place : {"", "secret/default/db"}) {
      const auto sealed = seal(key, plain, as_bytes(place));
      CHECK(sealed.size() == size + seal_overhead);
      CHECK(unseal(key, sealed, as_bytes(place)).value() == plain);
    }
  }
}

TEST_CASE("a secret sealed earlier or elsewhere opens: the format is fixed") {
  // Made with another implementation of AES-256-GCM: key 00..1f, nonce a0..ab, header 49430101 and "place" as
  // associated data, plain text "attack at dawn".
  Bytes key_bytes;
  for (unsigned i = 0; i < 32; ++i) key_bytes.push_back(static_cast<std::byte>(i));
  const auto key = SealKey::from_bytes(key_bytes).value();
  const auto sealed =
      from_hex("49430101a0a1a2a3a4a5a6a7a8a9aaab876c084c26a022de1645e3b2701409d40943e436f4bc39076f446c87c9a0");
  CHECK(as_text(unseal(key, sealed, as_bytes("place")).value()) == "attack at dawn");
}

TEST_CASE("every changed bit is noticed") {
  const auto key = SealKey::random();
  const auto sealed = seal(key, as_bytes("attack at dawn"), as_bytes("place"));
  for (std::size_t i = 0; i < sealed.size() * 8; ++i) {
    auto changed = sealed;
    changed[i / 8] ^= static_cast<std::byte>(1U << (i % 8));
    const auto result = unseal(key, changed, as_bytes("place"));
    REQUIRE(result.has_error());
    const bool in_version = i / 8 == 2 || i / 8 == 3;
    CHECK(result.error().code() == (in_version ? ErrorCode::unsupported : ErrorCode::corrupt));
  }
}

TEST_CASE("another key, another place or a missing part does not open") {
  const auto key = SealKey::random();
  const auto sealed = seal(key, as_bytes("attack at dawn"), as_bytes("place"));
  CHECK(unseal(SealKey::random(), sealed, as_bytes("place")).error().code() == ErrorCode::corrupt);
  CHECK(unseal(key, sealed, as_bytes("other")).error().code() == ErrorCode::corrupt);
  CHECK(unseal(key, sealed, {}).error().code() == ErrorCode::corrupt);
  for (std::size_t size = 0; size < sealed.size(); ++size)
    CHECK(unseal(key, BytesView(sealed).first(size), as_bytes("place")).error().code() == ErrorCode::corrupt);
}

TEST_CASE("the same bytes are never sealed to the same result") {
  const auto key = SealKey::random();
  std::set<Bytes> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(seal(key, as_bytes("x"), {}));
  CHECK(seen.size() == 1000);
}

TEST_CASE("a key has exactly 32 bytes") {
  CHECK(SealKey::from_bytes(Bytes(31)).error().code() == ErrorCode::invalid);
  CHECK(SealKey::from_bytes(Bytes(33)).error().code() == ErrorCode::invalid);
  CHECK(SealKey::from_bytes(Bytes(32)).has_value());
}
