// SPDX-License-Identifier: Apache-2.0
// Keys that wrap keys: in memory and in a file, and what may be wrong with one.
#include "ironcore/crypto/key_management.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <map>
#include <string>

#include "../compute/temporary_directory.hpp"
#include "ironcore/base/base64.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/crypto/key_file.hpp"
#include "ironcore/sim/key_management.hpp"
#include "key_management_suite.hpp"

using namespace ironcore;
using namespace ironcore::crypto;

namespace {

std::string key_of(char letter) {
  return base64_encode(std::string(32, letter));
}

struct FileWorld {
  tests::TemporaryDirectory directory;
  std::filesystem::path path = directory.path() / "keys";
  std::string id = "rack-1";
  std::map<std::uint32_t, std::string> lines{{1, key_of('a')}};
  std::unique_ptr<KeyFile> keys;

  void write(const std::string& text, mode_t mode = 0600) { REQUIRE(atomic_write_file(path, text, mode)); }
  void write() {
    std::string text = "# of the tests\nid " + id + "\n";
    for (const auto& [version, key] : lines) text += std::to_string(version) + "\t" + key + "  # made by hand\n";
    write(text);
  }
  Error refusal(const std::string& text) {
    write(text);
    const auto opened = KeyFile::open(path);
    REQUIRE(opened.has_error());
    return opened.error();
  }
};

}  // namespace

TEST_CASE("key management in memory") {
  sim::KeyManagement keys;
  testing::test_key_management({.keys = [&]() -> KeyManagement& { return keys; },
                                .add_version = [&] { keys.add_version(); },
                                .lose = [&](std::uint32_t version) { keys.lose(version); },
                                .bring_back = [&](std::uint32_t version) { keys.bring_back(version); }});
}

TEST_CASE("key management in a file") {
  FileWorld world;
  world.write();
  world.keys = KeyFile::open(world.path).value();
  const auto all = [](std::uint32_t version) { return key_of(static_cast<char>('a' + version - 1)); };
  const auto change = [&] {
    world.write();
    REQUIRE(world.keys->reload());
  };
  testing::test_key_management({.keys = [&]() -> KeyManagement& { return *world.keys; },
                                .add_version =
                                    [&] {
                                      const auto next = world.lines.rbegin()->first + 1;
                                      world.lines[next] = all(next);
                                      change();
                                    },
                                .lose =
                                    [&](std::uint32_t version) {
                                      world.lines.erase(version);
                                      change();
                                    },
                                .bring_back =
                                    [&](std::uint32_t version) {
                                      world.lines[version] = all(version);
                                      change();
                                    }});
}

TEST_CASE("what was wrapped with a file opens with the same file after a restart") {
  FileWorld world;
  world.write();
  const auto secret = SealKey::random();
  const auto text = KeyFile::open(world.path).value()->wrap(secret, as_bytes("x")).value().to_text();
  CHECK(text.starts_with("rack-1/1:"));
  world.lines[7] = key_of('g');
  world.write();
  const auto again = KeyFile::open(world.path).value();
  CHECK(testing::is_same(again->unwrap(WrappedKey::parse(text).value(), as_bytes("x")), secret));
  CHECK(again->versions().value() == std::vector<KeyVersion>{{"rack-1", 1}, {"rack-1", 7}});
}

TEST_CASE("a file of keys that others may open is refused") {
  FileWorld world;
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0610, 0601}) {
    CAPTURE(mode);
    world.write("id a\n1 " + key_of('a') + "\n", mode);
    const auto opened = KeyFile::open(world.path);
    REQUIRE(opened.has_error());
    CHECK(opened.error().code() == ErrorCode::forbidden);
    CHECK(opened.error().message().find("chmod 600") != std::string::npos);
  }
  for (const mode_t mode : {0600, 0400}) {
    CAPTURE(mode);
    world.write("id a\n1 " + key_of('a') + "\n", mode);
    CHECK(KeyFile::open(world.path).has_value());
  }
  CHECK(KeyFile::open(world.directory.path() / "none").error().code() == ErrorCode::not_found);
  CHECK(KeyFile::open(world.directory.path()).error().code() == ErrorCode::invalid);
}

TEST_CASE("a file that is no file of keys is refused by the number of its line, and nothing of a key is told") {
  FileWorld world;
  const auto good = key_of('a');
  const std::map<std::string, std::string> wrong{
      {"", "there is no key"},
      {"# nothing\n\n", "there is no key"},
      {"id rack-1\n", "there is no key"},
      {"1 " + good + "\n", "line 1: the line `id NAME` must come first"},
      {"id rack 1\n1 " + good + "\n", "line 1: must be"},
      {"id a/b\n1 " + good + "\n", "line 1: a version of a key is its id"},
      {"id " + std::string(65, 'a') + "\n1 " + good + "\n", "line 1: a version of a key is its id"},
      {"id a\nid b\n1 " + good + "\n", "line 2: the name is there already"},
      {"id a\n0 " + good + "\n", "line 2: must begin with"},
      {"id a\n01 " + good + "\n", "line 2: must begin with"},
      {"id a\n4294967296 " + good + "\n", "line 2: must begin with"},
      {"id a\n" + good + " 1\n", "line 2: must begin with"},
      {"id a\n1 " + good + " x\n", "line 2: must be"},
      {"id a\n1\n", "line 2: must be"},
      {"id a\n\n1 " + good.substr(0, 43) + "\n", "line 3: the key must be 32 bytes"},
      {"id a\n1 " + base64_encode(std::string(31, 'a')) + "\n", "line 2: the key must be 32 bytes"},
      {"id a\n2 " + good + "\n1 " + good + "\n", "line 3: numbers of versions must grow"},
      {"id a\n1 " + good + "\n1 " + good + "\n", "line 3: numbers of versions must grow"},
  };
  for (const auto& [text, why] : wrong) {
    CAPTURE(text);
    const auto error = world.refusal(text);
    CHECK(error.code() == ErrorCode::invalid);
    CHECK_MESSAGE(error.message().find(why) != std::string::npos, error.message());
    CHECK(error.message().find(good.substr(0, 12)) == std::string::npos);
  }
}

TEST_CASE(
    "a file that is bad when it is read again changes nothing, and neither does one that would lose what was wrapped") {
  FileWorld world;
  world.write();
  const auto keys = KeyFile::open(world.path).value();
  const auto secret = SealKey::random();
  const auto wrapped = keys->wrap(secret, {}).value();
  const auto check = [&](ErrorCode code) {
    const auto again = keys->reload();
    REQUIRE(again.has_error());
    CHECK(again.error().code() == code);
    CHECK(testing::is_same(keys->unwrap(wrapped, {}), secret));
  };
  world.write("id rack-1\n1 nonsense\n");
  check(ErrorCode::invalid);
  world.write("id rack-2\n1 " + key_of('a') + "\n");
  check(ErrorCode::wrong_state);
  world.write("id rack-1\n1 " + key_of('b') + "\n");
  check(ErrorCode::wrong_state);
  world.write("id rack-1\n1 " + key_of('a') + "\n", 0644);
  check(ErrorCode::forbidden);
  REQUIRE(std::filesystem::remove(world.path));
  check(ErrorCode::not_found);
  world.write();
  CHECK(keys->reload());
}

TEST_CASE("text that is no wrapped key is refused") {
  for (const auto* text : {"", ":", "a/1", "a/1:", "a/1:?", "a/0:AAAA", "a/x:AAAA", "/1:AAAA", "a:AAAA", "a b/1:AAAA",
                           "a/-1:AAAA", "a/1:AAA", "a/99999999999:AAAA"}) {
    CAPTURE(text);
    CHECK(WrappedKey::parse(text).error().code() == ErrorCode::corrupt);
  }
  CHECK(WrappedKey::parse("a/1:" + base64_encode(std::string(64 * 1024 + 1, 'x'))).has_error());
  CHECK(WrappedKey::parse("a/1:" + base64_encode(std::string(64 * 1024, 'x'))).has_value());
}
