// SPDX-License-Identifier: Apache-2.0
// What every body of the KeyManagement seam must do, as one suite: each body's test instantiates it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ironcore/crypto/key_management.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::crypto::testing {

/// A body with one version of its key, and what somebody does to it from outside.
struct KeyManagementFixture {
  std::function<KeyManagement&()> keys;
  std::function<void()> add_version;
  std::function<void(std::uint32_t)> lose;
  std::function<void(std::uint32_t)> bring_back;
};

inline bool is_same(const Result<SealKey>& found, const SealKey& wanted) {
  return found && constant_time_equal(found->bytes(), wanted.bytes());
}

inline void test_key_management(const KeyManagementFixture& fixture) {
  auto& keys = fixture.keys();
  const auto secret = SealKey::random();
  const auto place = as_bytes("volume default/1");

  SUBCASE("a key that was wrapped opens again, however often it is asked, also after it was written as text") {
    const auto wrapped = keys.wrap(secret, place).value();
    for (int i = 0; i < 3; ++i) CHECK(is_same(keys.unwrap(wrapped, place), secret));
    const auto read = WrappedKey::parse(wrapped.to_text()).value();
    CHECK(read == wrapped);
    CHECK(is_same(keys.unwrap(read, place), secret));
    CHECK(KeyVersion::parse(wrapped.by.to_text()).value() == wrapped.by);
    const auto empty = keys.wrap(secret, {}).value();
    CHECK(is_same(keys.unwrap(empty, {}), secret));
  }
  SUBCASE("nothing of the key is in what wraps it, and no two wraps are alike") {
    const auto one = keys.wrap(secret, place).value();
    const auto other = keys.wrap(secret, place).value();
    CHECK(one.bytes != other.bytes);
    CHECK(std::search(one.bytes.begin(), one.bytes.end(), secret.bytes().begin(), secret.bytes().begin() + 8) ==
          one.bytes.end());
  }
  SUBCASE("a changed byte, another place or another version opens nothing") {
    const auto wrapped = keys.wrap(secret, place).value();
    CHECK(keys.unwrap(wrapped, as_bytes("volume default/2")).error().code() == ErrorCode::corrupt);
    for (std::size_t at = 0; at < wrapped.bytes.size(); ++at) {
      auto changed = wrapped;
      changed.bytes[at] ^= std::byte{1};
      CAPTURE(at);
      CHECK(keys.unwrap(changed, place).has_error());
    }
    auto cut = wrapped;
    cut.bytes.pop_back();
    CHECK(keys.unwrap(cut, place).error().code() == ErrorCode::corrupt);
    fixture.add_version();
    auto moved = wrapped;
    moved.by = keys.versions().value().back();
    CHECK(keys.unwrap(moved, place).error().code() == ErrorCode::corrupt);
    auto unknown = wrapped;
    unknown.by.version += 1000;
    CHECK(keys.unwrap(unknown, place).error().code() == ErrorCode::not_found);
    auto foreign = wrapped;
    foreign.by.id += "-other";
    CHECK(keys.unwrap(foreign, place).error().code() == ErrorCode::not_found);
  }
  SUBCASE("the newest version wraps, older ones still open") {
    const auto old = keys.wrap(secret, place).value();
    REQUIRE(keys.versions().value() == std::vector<KeyVersion>{old.by});
    fixture.add_version();
    const auto versions = keys.versions().value();
    REQUIRE(versions.size() == 2);
    CHECK(versions.front() == old.by);
    CHECK(versions.front() < versions.back());
    const auto fresh = keys.wrap(secret, place).value();
    CHECK(fresh.by == versions.back());
    CHECK(is_same(keys.unwrap(old, place), secret));
    CHECK(is_same(keys.unwrap(fresh, place), secret));
  }
  SUBCASE("a version that is lost opens nothing, says its name, and opens again when it is back") {
    const auto old = keys.wrap(secret, place).value();
    fixture.add_version();
    fixture.lose(old.by.version);
    const auto lost = keys.unwrap(old, place);
    REQUIRE(lost.has_error());
    CHECK(lost.error().code() == ErrorCode::not_found);
    CHECK(lost.error().message().find(old.by.to_text()) != std::string::npos);
    CHECK(keys.versions().value().size() == 1);
    CHECK(is_same(keys.unwrap(keys.wrap(secret, place).value(), place), secret));
    fixture.bring_back(old.by.version);
    CHECK(is_same(keys.unwrap(old, place), secret));
  }
  SUBCASE("several threads wrap and unwrap while a version is added") {
    std::vector<std::thread> threads;
    std::atomic<int> opened{0};
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) {
          const auto wrapped = keys.wrap(secret, place);
          if (wrapped && is_same(keys.unwrap(*wrapped, place), secret)) ++opened;
        }
      });
    fixture.add_version();
    for (auto& thread : threads) thread.join();
    CHECK(opened == 200);
  }
}

}  // namespace ironcore::crypto::testing
