// SPDX-License-Identifier: Apache-2.0
// Reads the identities file.
#include "ironcore/base/zmq_identities.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "ironcore/base/file.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::wire {

namespace json = boost::json;

namespace {

constexpr std::size_t max_file_bytes = 4 * 1024 * 1024;

/// Collects what is wrong instead of stopping at the first thing.
class Reader {
 public:
  explicit Reader(const RuleWords& words) : words_(words) {}

  std::vector<FieldError> errors;

  void wrong(const std::string& path, std::string message, FieldError::Reason reason = FieldError::Reason::invalid) {
    errors.push_back({path, reason, std::move(message)});
  }
  const json::object* object(const json::value& value, const std::string& path) {
    const auto* object = value.if_object();
    if (object == nullptr) wrong(path, "must be an object");
    return object;
  }
  void only(const json::object& object, const std::string& path, const std::vector<std::string_view>& known) {
    for (const auto& member : object) {
      const std::string_view name(member.key().data(), member.key().size());
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      std::string names;
      for (const auto word : known) names += (names.empty() ? "" : ", ") + std::string(word);
      wrong(path.empty() ? std::string(name) : path + "." + std::string(name), "is not known; known here: " + names,
            FieldError::Reason::unknown);
    }
  }
  std::vector<std::string> texts(const json::object& object, std::string_view name, const std::string& path) {
    std::vector<std::string> texts;
    const auto* value = object.if_contains(json::string_view(name.data(), name.size()));
    if (value == nullptr) return texts;
    const auto* array = value->if_array();
    if (array == nullptr) {
      wrong(path + "." + std::string(name), "must be a list of texts");
      return texts;
    }
    for (const auto& element : *array) {
      const auto* text = element.if_string();
      if (text == nullptr || text->empty())
        wrong(path + "." + std::string(name), "must hold texts that are not empty");
      else
        texts.emplace_back(text->data(), text->size());
    }
    // An empty list would match everything, which nobody means who wrote it down.
    if (array->empty()) {
      const auto all = words_.everything.find(name);
      wrong(path + "." + std::string(name), all == words_.everything.end()
                                                ? "is empty: leave it out to match everything"
                                                : "is empty: name some; " + std::string(all->second) + " are all");
    }
    return texts;
  }

  Rule rule(const json::value& value, const std::string& path) {
    Rule rule;
    const auto* members = object(value, path);
    if (members == nullptr) return rule;
    std::vector<std::string_view> known{"verbs", "resources"};
    known.insert(known.end(), words_.narrowers.begin(), words_.narrowers.end());
    only(*members, path, known);
    const auto verbs = texts(*members, "verbs", path);
    for (const auto& word : verbs) {
      if (word == "*") {
        rule.verbs = words_.verbs;
        continue;
      }
      const auto at =
          std::find_if(words_.verbs.begin(), words_.verbs.end(), [&](Verb verb) { return name(verb) == word; });
      if (at != words_.verbs.end()) {
        rule.verbs.push_back(*at);
        continue;
      }
      std::string all = "*";
      for (const auto verb : words_.verbs) all += ", " + std::string(name(verb));
      wrong(path + ".verbs", "'" + word + "' is no verb; there are " + all, FieldError::Reason::not_supported);
    }
    if (members->if_contains("verbs") == nullptr) wrong(path + ".verbs", "is required", FieldError::Reason::required);
    rule.resources = texts(*members, "resources", path);
    for (const auto& resource : rule.resources) {
      if (!words_.is_resource(resource))
        wrong(path + ".resources",
              "'" + resource + "' is no resource; write for example " + std::string(words_.example),
              FieldError::Reason::not_supported);
    }
    for (const auto verb : words_.verbs) {
      const bool is_named = std::find(verbs.begin(), verbs.end(), name(verb)) != verbs.end();
      if (!is_named || !words_.has_verb || rule.resources.empty()) continue;
      const auto has_verb = [&](const auto& resource) { return words_.has_verb(resource, verb); };
      if (std::none_of(rule.resources.begin(), rule.resources.end(), has_verb))
        wrong(path + ".verbs",
              "'" + std::string(name(verb)) + "' means nothing for " + list_of(rule.resources) + ": leave it out");
    }
    rule.namespaces = texts(*members, "namespaces", path);
    rule.pools = texts(*members, "pools", path);
    rule.names = texts(*members, "names", path);
    rule.vnis = texts(*members, "vnis", path);
    rule.prefixes = texts(*members, "prefixes", path);
    return rule;
  }

  static std::string list_of(const std::vector<std::string>& words) {
    std::string list;
    for (const auto& word : words) list += (list.empty() ? "" : ", ") + word;
    return list;
  }

  /// Of an identity: it stands in logs and errors.
  void check_name(const std::string& name, const std::string& path) {
    if (name.size() > max_identity_name_bytes)
      wrong(path + ".name", "has more than " + std::to_string(max_identity_name_bytes) + " bytes");
    const auto is_odd = [](char c) { return c <= ' ' || c > '~' || c == '"' || c == '\'' || c == '\\'; };
    if (std::any_of(name.begin(), name.end(), is_odd))
      wrong(path + ".name", "has blanks, quotes, or what is no ASCII: " + in_quotes(name));
  }

  std::vector<Rule> rules(const json::value& value, const std::string& path) {
    std::vector<Rule> list;
    const auto* array = value.if_array();
    if (array == nullptr) {
      wrong(path, "must be a list of rules");
      return list;
    }
    for (std::size_t i = 0; i < array->size(); ++i)
      list.push_back(rule((*array)[i], path + "[" + std::to_string(i) + "]"));
    return list;
  }

  std::string text(const json::object& object, std::string_view name, const std::string& path) {
    const auto* value = object.if_contains(json::string_view(name.data(), name.size()));
    const auto* text = value == nullptr ? nullptr : value->if_string();
    if (text != nullptr && !text->empty()) return std::string(text->data(), text->size());
    wrong(path + "." + std::string(name), "is required and must be a text", FieldError::Reason::required);
    return {};
  }

 private:
  const RuleWords& words_;
};

}  // namespace

std::string_view name(Verb verb) noexcept {
  switch (verb) {
    case Verb::read:
      return "read";
    case Verb::create:
      return "create";
    case Verb::update:
      return "update";
    case Verb::update_status:
      return "update_status";
    case Verb::remove:
      return "remove";
    case Verb::open:
      return "open";
    case Verb::serve:
      return "serve";
    case Verb::lease:
      return "lease";
  }
  return "unknown";
}

Result<Identities> Identities::parse(std::string_view text, const RuleWords& words) {
  json::error_code failed;
  json::parse_options options;
  options.max_depth = 16;
  const auto value = json::parse(json::string_view(text.data(), text.size()), failed, {}, options);
  if (failed) return Error(ErrorCode::invalid, "identities are not JSON: " + failed.message());
  Reader reader(words);
  Identities identities;
  std::map<std::string, std::vector<Rule>, std::less<>> roles;
  const auto* root = reader.object(value, "identities");
  if (root != nullptr) {
    reader.only(*root, "", {"roles", "identities"});
    if (const auto* list = root->if_contains("roles")) {
      if (const auto* members = reader.object(*list, "roles")) {
        for (const auto& role : *members) {
          const std::string role_name(role.key().data(), role.key().size());
          roles.emplace(role_name, reader.rules(role.value(), "roles." + role_name));
        }
      }
    }
    const auto* list = root->if_contains("identities");
    const auto* array = list == nullptr ? nullptr : list->if_array();
    if (array == nullptr) reader.wrong("identities", "is required and must be a list", FieldError::Reason::required);
    for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
      const auto path = "identities[" + std::to_string(i) + "]";
      const auto* members = reader.object((*array)[i], path);
      if (members == nullptr) continue;
      reader.only(*members, path, {"name", "publicKey", "roles", "rules"});
      Identity identity;
      identity.name = reader.text(*members, "name", path);
      reader.check_name(identity.name, path);
      const auto key = reader.text(*members, "publicKey", path);
      if (!key.empty() && key.size() != 40)
        reader.wrong(path + ".publicKey", "must be 40 Z85 characters, as keygen prints them");
      for (const auto& word : reader.texts(*members, "roles", path)) {
        const auto role = roles.find(word);
        if (role == roles.end())
          reader.wrong(path + ".roles", "there is no role '" + word + "'", FieldError::Reason::not_supported);
        else
          identity.rules.insert(identity.rules.end(), role->second.begin(), role->second.end());
      }
      if (const auto* own = members->if_contains("rules")) {
        auto rules = reader.rules(*own, path + ".rules");
        identity.rules.insert(identity.rules.end(), rules.begin(), rules.end());
      }
      if (!identities.by_key_.emplace(key, std::move(identity)).second)
        reader.wrong(path + ".publicKey", "stands there twice", FieldError::Reason::duplicate);
    }
  }
  if (!reader.errors.empty()) return Error(std::move(reader.errors));
  return identities;
}

Result<Identities> Identities::load(const std::filesystem::path& file, const RuleWords& words) {
  IRONCORE_TRY(auto text, read_file(file, max_file_bytes));
  return within(parse(text, words), file.string());
}

const Identity* Identities::find(std::string_view public_key) const {
  const auto at = by_key_.find(public_key);
  return at == by_key_.end() ? nullptr : &at->second;
}

}  // namespace ironcore::wire
