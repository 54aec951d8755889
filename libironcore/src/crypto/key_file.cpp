// SPDX-License-Identifier: Apache-2.0
// Lines of a file as versions of one key.
#include "ironcore/crypto/key_file.hpp"

#include <algorithm>
#include <mutex>

#include "ironcore/base/base64.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/crypto/secret.hpp"
#include "key_lines.hpp"

namespace ironcore::crypto {

namespace {

constexpr std::size_t largest_file = 1024 * 1024;

std::string_view next_word(std::string_view& line) {
  constexpr std::string_view blanks = " \t\r";
  const auto begin = std::min(line.find_first_not_of(blanks), line.size());
  const auto end = std::min(line.find_first_of(blanks, begin), line.size());
  const auto word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

/// What is wrong, without a word of what is there: it may be a key in the wrong place.
Result<void> add_line(std::string_view line, KeyLines& keys) {
  const auto first = next_word(line);
  if (first.empty()) return {};
  const auto second = next_word(line);
  if (second.empty() || !next_word(line).empty())
    return Error(ErrorCode::invalid, "must be `id NAME`, or a number and a key");
  if (first == "id") {
    if (!keys.id.empty()) return Error(ErrorCode::invalid, "the name is there already: one file is one key");
    IRONCORE_TRY(const auto named, KeyVersion::parse(std::string(second) + "/1"));
    keys.id = named.id;
    return {};
  }
  if (keys.id.empty()) return Error(ErrorCode::invalid, "the line `id NAME` must come first");
  const auto version = KeyVersion::parse(keys.id + "/" + std::string(first));
  if (!version) return Error(ErrorCode::invalid, "must begin with `id`, or with the number of a version, from 1");
  if (!keys.versions.empty() && version->version <= keys.versions.rbegin()->first)
    return Error(ErrorCode::invalid, "numbers of versions must grow from line to line");
  auto decoded = base64_decode(second);
  if (!decoded || decoded->size() != SealKey::size) {
    if (decoded) wipe(*decoded);
    return Error(ErrorCode::invalid, "the key must be 32 bytes in base64, 44 characters: openssl rand -base64 32");
  }
  const auto key = SealKey::from_bytes(as_bytes(*decoded));
  wipe(*decoded);
  if (!key) return key.error();
  keys.versions.emplace(version->version, *key);
  return {};
}

}  // namespace

Result<KeyLines> parse_key_lines(std::string_view text) {
  KeyLines keys;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    if (const auto added = add_line(line, keys); !added) return added.error().within("line " + std::to_string(number));
  }
  if (keys.versions.empty()) return Error(ErrorCode::invalid, "there is no key; add a line: 1 and 32 bytes in base64");
  return keys;
}

namespace {

Result<KeyLines> load(const std::filesystem::path& path) {
  auto text = read_private_file(path, largest_file);
  if (!text) return text.error().within("keys");
  auto keys = parse_key_lines(*text);
  wipe(*text);
  if (!keys) return keys.error().within("keys in " + path.string());
  return keys;
}

}  // namespace

struct KeyFile::State {
  const std::filesystem::path path;
  std::mutex mutex;
  KeyLines keys;
};

KeyFile::KeyFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
KeyFile::~KeyFile() = default;

Result<std::unique_ptr<KeyFile>> KeyFile::open(std::filesystem::path path) {
  IRONCORE_TRY(auto keys, load(path));
  auto state = std::unique_ptr<State>(new State{.path = std::move(path), .mutex = {}, .keys = std::move(keys)});
  return std::unique_ptr<KeyFile>(new KeyFile(std::move(state)));
}

Result<void> KeyFile::reload() {
  IRONCORE_TRY(auto fresh, load(state_->path));
  const std::lock_guard lock(state_->mutex);
  const auto refuse = [this](const std::string& why) {
    return Error(ErrorCode::wrong_state, "keys in " + state_->path.string() + ": " + why);
  };
  if (fresh.id != state_->keys.id)
    return refuse("the key was " + state_->keys.id + " and is " + fresh.id + " now; what " + state_->keys.id +
                  " wrapped would be lost: add a version to it instead");
  for (const auto& [version, key] : fresh.versions) {
    const auto known = state_->keys.versions.find(version);
    if (known != state_->keys.versions.end() && !constant_time_equal(known->second.bytes(), key.bytes()))
      return refuse("version " + std::to_string(version) + " is another key now; give a new key a new number");
  }
  state_->keys = std::move(fresh);
  return {};
}

Result<std::vector<KeyVersion>> KeyFile::versions() {
  const std::lock_guard lock(state_->mutex);
  std::vector<KeyVersion> all;
  for (const auto& [version, key] : state_->keys.versions) all.push_back({state_->keys.id, version});
  return all;
}

Result<WrappedKey> KeyFile::wrap(const SealKey& key, BytesView context) {
  const std::lock_guard lock(state_->mutex);
  const auto& [version, with] = *state_->keys.versions.rbegin();
  return WrappedKey{{state_->keys.id, version}, seal(with, key.bytes(), context)};
}

Result<SealKey> KeyFile::unwrap(const WrappedKey& wrapped, BytesView context) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->keys.versions.find(wrapped.by.version);
  if (wrapped.by.id != state_->keys.id || found == state_->keys.versions.end())
    return Error(ErrorCode::not_found,
                 "key " + wrapped.by.to_text() + " is not in " + state_->path.string() + ": bring its line back");
  IRONCORE_TRY(auto plain, unseal(found->second, wrapped.bytes, context));
  auto key = SealKey::from_bytes(plain);
  wipe(plain);
  if (!key) return Error(ErrorCode::corrupt, "what is wrapped is no key");
  return key;
}

}  // namespace ironcore::crypto
