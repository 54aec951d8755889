// SPDX-License-Identifier: Apache-2.0
// Objects of any kind: read a manifest, patch, compare, look at one field.
#include "ironcore/api/object.hpp"

#include "ironcore/base/names.hpp"
#include "json_decode.hpp"

namespace ironcore::api {

namespace {

/// The two words that choose the kind. Programs write them first, so that this looks at a few bytes only.
struct Words {
  std::string api_version;
  std::string kind;
};

/// Members among which a misspelt word is looked for: no kind has as many.
constexpr std::size_t max_others = 32;

/// A word that is not there, or that is there under a similar name.
FieldError missing_word(std::string_view word, const std::vector<std::string>& others) {
  const auto words = std::span(&word, 1);
  for (const auto& other : others)
    if (nearest(other, words))
      return {other, FieldError::Reason::unknown, "unknown field" + did_you_mean(other, words)};
  return {std::string(word), FieldError::Reason::required, "is required"};
}

Result<Words> read_words(std::string_view text) {
  json::Reader reader(text);
  if (reader.peek() != json::Type::object) {
    if (reader.has_failed()) return reader.error();
    return Error(ErrorCode::invalid, "a manifest is an object with apiVersion, kind and metadata");
  }
  Words words;
  bool has_version = false, has_kind = false;
  std::vector<std::string> others;
  std::string_view key, value;
  reader.begin_object();
  while (!(has_version && has_kind) && reader.next_member(key)) {
    const bool is_version = key == "apiVersion", is_kind = key == "kind";
    if ((is_version || is_kind) && reader.peek() == json::Type::string) {
      if (!reader.read_string(value)) break;
      (is_version ? words.api_version : words.kind) = value;
      (is_version ? has_version : has_kind) = true;
    } else if (is_version || is_kind) {
      return Error({{is_version ? "apiVersion" : "kind", FieldError::Reason::invalid, "must be a string"}});
    } else {
      if (others.size() < max_others) others.emplace_back(key.substr(0, 64));
      reader.skip();
    }
  }
  if (reader.has_failed()) return reader.error();
  if (has_version && has_kind) return words;
  std::vector<FieldError> missing;
  if (!has_version) missing.push_back(missing_word("apiVersion", others));
  if (!has_kind) missing.push_back(missing_word("kind", others));
  return Error(std::move(missing));
}

}  // namespace

Result<Object> Object::decode(std::string_view json, UnknownFields unknown) {
  IRONCORE_CHECK(check_size(json));
  IRONCORE_TRY(const auto words, read_words(json));
  const auto kind = find_kind(words.api_version, words.kind);
  if (!kind) return Error({{"kind", FieldError::Reason::not_supported, kind.error().message()}});
  return (*kind)->decode(json, unknown);
}

Result<Object> decode_change(std::string_view json, const FindStored& find_stored) {
  auto refused = Object::decode(json, UnknownFields::refuse);
  if (refused) return refused;
  const auto meant = Object::decode(json, UnknownFields::keep);
  if (!meant) return refused;
  const auto stored = find_stored(*meant);
  if (!stored) return refused;
  return meant->kind().decode_onto(json, *stored);
}

Result<Object> apply_merge_patch(const Object& object, std::string_view patch) {
  return object.kind().merge(object.value(), patch);
}

std::string merge_patch(const Object& from, const Object& to) {
  if (&from.kind() != &to.kind()) return to.json();
  return from.kind().difference(from.value(), to.value());
}

std::optional<std::string> field_text(const Object& object, std::string_view path) {
  const auto some = [](const std::string& text) { return text.empty() ? std::nullopt : std::optional(text); };
  if (path == "metadata.name") return some(object.metadata().name);
  if (path == "metadata.namespace") return some(object.metadata().namespace_);
  return object.kind().field_text(object.value(), path);
}

}  // namespace ironcore::api
