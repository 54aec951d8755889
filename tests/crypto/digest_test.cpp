// SPDX-License-Identifier: Apache-2.0
// Digests, HMAC and derived UUIDs against published examples.
#include "ironcore/crypto/digest.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <unordered_set>

#include "ironcore/base/random.hpp"
#include "ironcore/crypto/derived_uid.hpp"
#include "ironcore/crypto/hmac.hpp"

using namespace ironcore;
using namespace ironcore::crypto;

namespace {

Bytes repeated(std::size_t count, unsigned value) {
  return Bytes(count, static_cast<std::byte>(value));
}

std::string hmac(BytesView key, std::string_view message) {
  return hex(hmac_sha256(key, as_bytes(message)));
}

}  // namespace

TEST_CASE("SHA-256 agrees with the examples of NIST") {
  CHECK(sha256("").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex() ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1'000'000, 'a')).hex() ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-512 agrees with the examples of NIST") {
  CHECK(sha512("abc").hex() ==
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
  CHECK(sha512("").hex() ==
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
}

TEST_CASE("HMAC-SHA256 agrees with RFC 4231") {
  CHECK(hmac(repeated(20, 0x0b), "Hi There") == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hmac(as_bytes("Jefe"), "what do ya want for nothing?") ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hex(hmac_sha256(repeated(20, 0xaa), repeated(50, 0xdd))) ==
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  CHECK(hmac(repeated(131, 0xaa), "Test Using Larger Than Block-Size Key - Hash Key First") ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  CHECK(hmac({}, "") == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST_CASE("hashing piece by piece gives the same digest, and the hasher can be used again") {
  SeededRandom random(2);
  Bytes bytes(100'000);
  random.fill(bytes);
  for (const auto algorithm : {HashAlgorithm::sha256, HashAlgorithm::sha512}) {
    Hasher hasher(algorithm);
    for (int round = 0; round < 3; ++round) {
      for (std::size_t at = 0; at < bytes.size();) {
        const auto count = std::min<std::size_t>(random.below(5000), bytes.size() - at);
        hasher.update(BytesView(bytes).subspan(at, count));
        at += count;
      }
      CHECK(hasher.finish() == crypto::hash(algorithm, bytes));
    }
    CHECK(hasher.finish() == crypto::hash(algorithm, {}));
  }
}

TEST_CASE("a digest is read and written as OCI does") {
  const auto digest = sha256("abc");
  CHECK(digest.to_text() == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(Digest::parse(digest.to_text()).value() == digest);
  CHECK(Digest::parse(sha512("abc").to_text()).value() == sha512("abc"));
  CHECK(Digest::from_bytes(HashAlgorithm::sha256, digest.bytes()).value() == digest);
  CHECK(Digest::from_bytes(HashAlgorithm::sha512, digest.bytes()).has_error());
  std::unordered_set<Digest> seen;
  for (int i = 0; i < 100; ++i) seen.insert(sha256(std::to_string(i)));
  CHECK(seen.size() == 100);
}

TEST_CASE("a digest that could leave its directory, or has two spellings, is refused") {
  const auto good = sha256("abc").hex();
  std::string upper = good;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' ? static_cast<char>(c - 32) : c; });
  for (const auto& text : {std::string(), good, "sha256:" + upper, "sha256:" + good + "0", "sha256:" + good.substr(1),
                           "sha1:" + good.substr(0, 40), "sha512:" + good, "SHA256:" + good,
                           "sha256:../../../../etc/passwd" + good.substr(21), "sha256:" + std::string(64, '/'),
                           "sha256:" + good + "\n", "sha256: " + good.substr(1)}) {
    CAPTURE(text);
    const auto digest = Digest::parse(text);
    REQUIRE(digest.has_error());
    CHECK(digest.error().code() == ErrorCode::invalid);
  }
}

TEST_CASE("a derived UUID agrees with Python's uuid5") {
  const auto dns = Uid::parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8").value();
  CHECK(derived_uid(dns, "www.example.com").to_text() == "2ed6657d-e927-568b-95e1-2665a8aea6a2");
  CHECK(derived_uid(dns, "python.org").to_text() == "886313e1-3b8a-5372-9b90-0c9aee199e5d");
  CHECK(derived_uid(dns, "").version() == 5);
  CHECK(derived_uid(dns, "a") != derived_uid(dns, "b"));
  CHECK(derived_uid(Uid(), "a") != derived_uid(dns, "a"));
}
