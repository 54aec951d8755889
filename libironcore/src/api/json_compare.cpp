// SPDX-License-Identifier: Apache-2.0
// Differences of unknown members, and paths into JSON.
#include "json_compare.hpp"

namespace ironcore::api {

std::optional<PathStep> take_step(std::string_view& path) {
  if (path.starts_with('[')) {
    const auto end = path.find(']');
    if (end == std::string_view::npos || end == 1) return std::nullopt;
    const PathStep step{path.substr(1, end - 1), true};
    path.remove_prefix(end + 1);
    return step;
  }
  if (path.starts_with('.')) path.remove_prefix(1);
  std::size_t end = 0;
  while (end < path.size() && path[end] != '.' && path[end] != '[') ++end;
  if (end == 0) return std::nullopt;
  const PathStep step{path.substr(0, end), false};
  path.remove_prefix(end);
  return step;
}

std::optional<std::string> find_text(const json::Tree& tree, std::string_view path) {
  if (!path.empty()) {
    const auto step = take_step(path);
    if (!step) return std::nullopt;
    if (tree.type == json::Type::object) {
      const auto* const member = tree.find(step->name);
      return member == nullptr ? std::nullopt : find_text(*member, path);
    }
    std::size_t index = 0;
    const auto* const end = step->name.data() + step->name.size();
    const auto [stop, failure] = std::from_chars(step->name.data(), end, index);
    if (tree.type != json::Type::list || failure != std::errc() || stop != end || index >= tree.items.size())
      return std::nullopt;
    return find_text(tree.items[index], path);
  }
  if (tree.type != json::Type::number && tree.type != json::Type::boolean && !tree.is_string()) return std::nullopt;
  return tree.text();
}

void write_difference(json::Text& out, const Unknown& from, const Unknown& to) {
  if (from == to) return;
  const auto add = [&](std::string_view name, std::string_view json) {
    json::append_string(out, name);
    out.add(':');
    out.add(json);
    out.add(',');
  };
  for (const auto& [name, text] : from.members())
    if (!to.members().contains(name)) add(name, "null");
  for (const auto& [name, text] : to.members()) {
    const auto before = from.members().find(name);
    if (before == from.members().end()) {
      add(name, text);
      continue;
    }
    if (before->second == text) continue;
    const auto a = json::parse_tree(before->second, json::Nulls::drop);
    const auto b = json::parse_tree(text, json::Nulls::drop);
    if (a && b && a->type == json::Type::object && b->type == json::Type::object) {
      add(name, json::to_text(json::difference(*a, *b)));
    } else {
      add(name, text);
    }
  }
}

}  // namespace ironcore::api
