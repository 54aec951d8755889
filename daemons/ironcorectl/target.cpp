// SPDX-License-Identifier: Apache-2.0
// Reads kinds and names from command line words.
#include "ironcorectl/target.hpp"

#include <algorithm>
#include <cctype>

#include "ironcore/api/compute.hpp"
#include "ironcore/base/names.hpp"

namespace ironcore::ctl {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

/// An unknown kind is a wrong word of the command line, nothing that is missing on the server.
Result<const api::Kind*> find_kind(std::string_view word) {
  auto found = api::find_kind(word);
  if (!found) return Error(ErrorCode::invalid, found.error().message());
  return found;
}

Result<std::string> checked_name(std::string_view name) {
  if (const auto wrong = check_dns_subdomain(name)) {
    return Error(ErrorCode::invalid, "name \"" + std::string(name) + "\" " + *wrong);
  }
  return std::string(name);
}

}  // namespace

Result<std::vector<Selection>> parse_selections(const std::vector<std::string>& words) {
  std::vector<Selection> selections;
  const auto add = [&](const api::Kind* kind, std::vector<std::string> names) {
    const auto same =
        std::find_if(selections.begin(), selections.end(), [&](const Selection& s) { return s.kind == kind; });
    if (same == selections.end()) {
      selections.push_back({kind, std::move(names)});
    } else {
      same->names.insert(same->names.end(), names.begin(), names.end());
    }
  };
  if (words.empty()) return Error(ErrorCode::invalid, "a kind is missing");

  if (words.front().find('/') != std::string::npos) {
    for (const std::string& word : words) {
      const auto slash = word.find('/');
      if (slash == std::string::npos) {
        return Error(ErrorCode::invalid, "\"" + word + "\": after KIND/NAME only KIND/NAME may follow");
      }
      IRONCORE_TRY(const api::Kind* const kind, find_kind(std::string_view(word).substr(0, slash)));
      IRONCORE_TRY(std::string name, checked_name(std::string_view(word).substr(slash + 1)));
      add(kind, {std::move(name)});
    }
    return selections;
  }

  std::vector<std::string> names;
  for (auto word = words.begin() + 1; word != words.end(); ++word) {
    if (word->find('/') != std::string::npos) {
      return Error(ErrorCode::invalid, "\"" + *word + "\": either KIND NAME… or KIND/NAME…, not both");
    }
    IRONCORE_TRY(std::string name, checked_name(*word));
    names.push_back(std::move(name));
  }
  std::string_view kinds = words.front();
  while (true) {
    const auto comma = kinds.find(',');
    IRONCORE_TRY(const api::Kind* const kind, find_kind(kinds.substr(0, comma)));
    add(kind, names);
    if (comma == std::string_view::npos) break;
    kinds.remove_prefix(comma + 1);
  }
  return selections;
}

Result<std::vector<store::Key>> parse_keys(const Session& session, const std::vector<std::string>& words) {
  IRONCORE_TRY(const auto selections, parse_selections(words));
  std::vector<store::Key> keys;
  for (const Selection& selection : selections) {
    if (selection.names.empty()) {
      return Error(ErrorCode::invalid, "which " + lower(selection.kind->info().kind) + "? give its name");
    }
    for (const std::string& name : selection.names)
      keys.push_back({selection.kind, session.namespace_of(*selection.kind), name});
  }
  return keys;
}

Result<std::vector<store::Key>> parse_machines(const Session& session, const std::vector<std::string>& names) {
  std::vector<store::Key> keys;
  for (std::string_view name : names) {
    if (const auto slash = name.find('/'); slash != std::string_view::npos) {
      IRONCORE_TRY(const api::Kind* const kind, find_kind(name.substr(0, slash)));
      if (kind != &api::kind_of<api::Machine>()) {
        return Error(ErrorCode::invalid, "\"" + std::string(name) + "\" is not a machine");
      }
      name.remove_prefix(slash + 1);
    }
    IRONCORE_TRY(std::string checked, checked_name(name));
    keys.push_back(store::key<api::Machine>(session.namespace_(), std::move(checked)));
  }
  return keys;
}

std::string text_of(const store::Key& key) {
  return lower(key.kind->info().kind) + '/' + key.name;
}
std::string text_of(const api::Object& object) {
  return lower(object.kind().info().kind) + '/' + object.name();
}

}  // namespace ironcore::ctl
