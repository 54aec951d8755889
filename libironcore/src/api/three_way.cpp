// SPDX-License-Identifier: Apache-2.0
// Three-way merge for `apply`: the previous manifest, the new one, and what is stored.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "ironcore/api/core.hpp"
#include "ironcore/api/json.hpp"
#include "ironcore/api/object.hpp"
#include "ironcore/base/base64.hpp"

namespace ironcore::api {

namespace {

using json::Tree;
using json::Type;

const Tree* member_of(const Tree* object, std::string_view name) {
  return object == nullptr || object->type != Type::object ? nullptr : object->find(name);
}

using Named = std::unordered_map<std::string_view, const Tree*>;

/// The elements of a list by their `name`; nothing if they are not all objects with a name of their own.
std::optional<Named> by_name(const Tree* list) {
  Named named;
  if (list == nullptr) return named;
  if (list->type != Type::list) return std::nullopt;
  for (const auto& item : list->items) {
    const auto* const name = member_of(&item, "name");
    if (name == nullptr || name->type != Type::string || !named.emplace(name->scalar, &item).second)
      return std::nullopt;
  }
  return named;
}

Tree overlay(const Tree* current, const Tree* last, const Tree& wanted);

/// Elements that are known by their name keep what others added to them; elements that others added stay,
/// behind ours.
Tree overlay_named(const Tree* current, const Named& currents, const Named& lasts, const Tree& wanted) {
  Tree result = Tree::list();
  std::unordered_set<std::string_view> ours;
  const auto find = [](const Named& named, std::string_view name) {
    const auto found = named.find(name);
    return found == named.end() ? nullptr : found->second;
  };
  for (const auto& item : wanted.items) {
    const std::string_view name = item.find("name")->scalar;
    ours.insert(name);
    result.items.push_back(overlay(find(currents, name), find(lasts, name), item));
  }
  if (current == nullptr) return result;
  for (const auto& item : current->items) {
    const std::string_view name = item.find("name")->scalar;
    if (!ours.contains(name) && !lasts.contains(name)) result.items.push_back(item);
  }
  return result;
}

Tree overlay(const Tree* current, const Tree* last, const Tree& wanted) {
  if (wanted.type == Type::list) {
    const auto currents = by_name(current), lasts = by_name(last);
    if (currents && lasts && by_name(&wanted)) return overlay_named(current, *currents, *lasts, wanted);
    return wanted;
  }
  if (wanted.type != Type::object || current == nullptr || current->type != Type::object) return wanted;
  // Found by name in constant time: a manifest may have any number of labels.
  const auto index = [](const Tree* object) {
    Named members;
    if (object != nullptr)
      for (const auto& [name, value] : object->members) members.emplace(name, &value);
    return members;
  };
  const auto wanteds = index(&wanted), lasts = index(last), currents = index(current);
  Tree result = Tree::object();
  for (const auto& [name, value] : current->members) {
    const auto ours = wanteds.find(name);
    const auto before = lasts.find(name);
    if (ours != wanteds.end()) {
      result.add(name, overlay(&value, before == lasts.end() ? nullptr : before->second, *ours->second));
    } else if (before == lasts.end()) {
      result.add(name, value);
    }
  }
  for (const auto& [name, value] : wanted.members)
    if (!currents.contains(name)) result.add(name, value);
  return result;
}

/// A manifest as its author means it: without what only the store and the providers write.
Result<Tree> read_manifest(std::string_view text, const Kind& kind) {
  IRONCORE_TRY(auto tree, json::parse_tree(text, json::Nulls::drop));
  if (tree.type != Type::object)
    return Error(ErrorCode::invalid, "a manifest is an object with apiVersion, kind and metadata");
  if (kind.has_status()) tree.remove("status");
  if (auto* const metadata = tree.find("metadata")) {
    for (const std::string_view name :
         {"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"})
      metadata->remove(name);
  }
  if (&kind == &kind_of<Secret>()) move_string_data(tree);
  return tree;
}

}  // namespace

void move_string_data(Tree& secret) {
  const auto* const texts = secret.find("stringData");
  if (texts == nullptr || texts->type != Type::object) return;
  Tree data = secret.find("data") != nullptr ? *secret.find("data") : Tree::object();
  if (data.type != Type::object) return;
  Tree patch = Tree::object();
  for (const auto& [key, text] : texts->members) {
    if (text.type != Type::string) return;  // the decoder will say so, with the name of the field
    patch.add(key, Tree::string(base64_encode(text.text())));
  }
  json::merge(data, patch);
  secret.remove("stringData");
  secret.set("data", std::move(data));
}

Result<std::string> three_way_patch(std::string_view last_applied, std::string_view wanted, const Object& current) {
  const auto& kind = current.kind();
  IRONCORE_TRY(const auto ours, read_manifest(wanted, kind));
  IRONCORE_TRY(const auto last, within(read_manifest(last_applied.empty() ? "{}" : last_applied, kind),
                                       "read the manifest that was applied last"));
  IRONCORE_TRY(const auto stored, json::parse_tree(current.json(), json::Nulls::drop));
  IRONCORE_TRY(const auto laid_over, kind.decode(json::to_text(overlay(&stored, &last, ours))));
  // Admission fills in what it gave out before (device names, keys), so that only real changes are left.
  IRONCORE_TRY(const auto admitted, kind.admit_update(current, laid_over));
  return merge_patch(current, admitted);
}

}  // namespace ironcore::api
