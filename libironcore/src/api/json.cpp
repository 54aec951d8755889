// SPDX-License-Identifier: Apache-2.0
// Trees of JSON: parse, print, merge, compare.
#include <algorithm>
#include <unordered_map>

#include "ironcore/api/json.hpp"
#include "json_reader.hpp"
#include "json_writer.hpp"

namespace ironcore::api::json {

namespace {

/// Finds members of one object by name in constant time: an object from outside may have as many as fit in
/// its size.
class Index {
 public:
  explicit Index(const Tree& object) {
    places_.reserve(object.members.size());
    for (std::size_t i = 0; i < object.members.size(); ++i) places_.emplace(object.members[i].name, i);
  }
  /// `npos` if there is none.
  std::size_t find(std::string_view name) const {
    const auto found = places_.find(name);
    return found == places_.end() ? std::string_view::npos : found->second;
  }

 private:
  std::unordered_map<std::string_view, std::size_t> places_;
};

bool read_tree(Reader& reader, Nulls nulls, Tree& out) {
  out.type = reader.peek();
  std::string_view key;
  switch (out.type) {
    case Type::object:
      if (!reader.begin_object()) return false;
      while (reader.next_member(key)) {
        std::string name(key);
        Tree value;
        if (!read_tree(reader, nulls, value)) return false;
        if (value.type == Type::null && nulls == Nulls::drop) continue;
        out.add(std::move(name), std::move(value));
      }
      return !reader.has_failed();
    case Type::list:
      if (!reader.begin_list()) return false;
      while (reader.next_item()) {
        if (!read_tree(reader, nulls, out.items.emplace_back())) return false;
      }
      return !reader.has_failed();
    default: {
      Text scalar;
      if (!reader.copy(scalar)) return false;
      if (out.type != Type::null) out.scalar = scalar.view();
      return true;
    }
  }
}

void append(Text& out, const Tree& tree) {
  switch (tree.type) {
    case Type::object: {
      char before = '{';
      for (const auto& [name, value] : tree.members) {
        out.add(before);
        before = ',';
        append_string(out, name);
        out.add(':');
        append(out, value);
      }
      if (tree.members.empty()) out.add('{');
      out.add('}');
      break;
    }
    case Type::list: {
      char before = '[';
      for (const auto& item : tree.items) {
        out.add(before);
        before = ',';
        append(out, item);
      }
      if (tree.items.empty()) out.add('[');
      out.add(']');
      break;
    }
    case Type::null:
      out.add("null");
      break;
    default:
      out.add(tree.scalar);
  }
}

}  // namespace

Tree Tree::object() {
  Tree tree;
  tree.type = Type::object;
  return tree;
}

Tree Tree::list() {
  Tree tree;
  tree.type = Type::list;
  return tree;
}

Tree Tree::string(std::string_view text) {
  Text quoted;
  append_string(quoted, text);
  return scalar_of(Type::string, quoted.text());
}

Tree Tree::scalar_of(Type type, std::string text) {
  Tree tree;
  tree.type = type;
  tree.scalar = std::move(text);
  return tree;
}

std::string Tree::text() const {
  if (type != Type::string) return type == Type::null ? "null" : scalar;
  Reader reader(scalar);
  std::string_view characters;
  reader.read_string(characters);
  return std::string(characters);
}

Tree& Tree::object_at(std::string_view name) {
  auto* member = find(name);
  if (member == nullptr) member = &add(std::string(name), object());
  if (!member->is_object()) *member = object();
  return *member;
}

void Tree::set(std::string_view name, Tree value) {
  if (auto* const member = find(name)) {
    *member = std::move(value);
  } else {
    add(std::string(name), std::move(value));
  }
}

void Tree::remove(std::string_view name) {
  std::erase_if(members, [&](const auto& member) { return member.name == name; });
}

Tree& Tree::add(std::string name, Tree value) {
  return members.emplace_back(Member{std::move(name), std::move(value)}).value;
}

const Tree* Tree::find(std::string_view name) const noexcept {
  for (const auto& [key, value] : members)
    if (key == name) return &value;
  return nullptr;
}

Tree* Tree::find(std::string_view name) noexcept {
  return const_cast<Tree*>(std::as_const(*this).find(name));
}

bool operator==(const Tree& a, const Tree& b) {
  if (a.type != b.type || a.scalar != b.scalar || a.items != b.items || a.members.size() != b.members.size())
    return false;
  if (a.members.empty()) return true;
  const Index in_b(b);
  return std::all_of(a.members.begin(), a.members.end(), [&](const auto& member) {
    const auto place = in_b.find(member.name);
    return place != std::string_view::npos && member.value == b.members[place].value;
  });
}

Result<Tree> parse_tree(std::string_view text, Nulls nulls) {
  // The first pass finds duplicate members, so that the second may simply append.
  Reader checker(text);
  if (!checker.skip() || !checker.finish()) return checker.error();
  Reader reader(text);
  Tree tree;
  if (!read_tree(reader, nulls, tree)) return reader.error();
  return tree;
}

std::string to_text(const Tree& tree) {
  Text out;
  append(out, tree);
  return out.text();
}

void merge(Tree& target, const Tree& patch) {
  if (patch.type != Type::object) {
    target = patch;
    return;
  }
  if (target.type != Type::object) target = Tree::object();
  // Views into the names stay valid only while `members` does not move: new members wait.
  std::vector<Member> added;
  std::vector<bool> is_removed(target.members.size(), false);
  {
    const Index in_target(target);
    for (const auto& [name, value] : patch.members) {
      const auto place = in_target.find(name);
      if (value.type == Type::null) {
        if (place != std::string_view::npos) is_removed[place] = true;
      } else if (place != std::string_view::npos) {
        merge(target.members[place].value, value);
      } else {
        // Not a copy: nulls inside the patch mean absent.
        merge(added.emplace_back(Member{name, Tree()}).value, value);
      }
    }
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < target.members.size(); ++i) {
    if (is_removed[i]) continue;
    if (kept != i) target.members[kept] = std::move(target.members[i]);
    ++kept;
  }
  target.members.resize(kept);
  std::move(added.begin(), added.end(), std::back_inserter(target.members));
}

Tree difference(const Tree& from, const Tree& to) {
  Tree patch = Tree::object();
  const Index in_from(from);
  const Index in_to(to);
  for (const auto& [name, value] : from.members)
    if (in_to.find(name) == std::string_view::npos) patch.add(name, Tree());
  for (const auto& [name, value] : to.members) {
    const auto place = in_from.find(name);
    if (place == std::string_view::npos) {
      patch.add(name, value);
      continue;
    }
    const auto& before = from.members[place].value;
    if (before == value) continue;
    if (before.type == Type::object && value.type == Type::object) {
      patch.add(name, difference(before, value));
    } else {
      patch.add(name, value);
    }
  }
  return patch;
}

bool overlaps(const Tree& patch, const Tree& other) {
  if (!patch.is_object() || !other.is_object()) return true;
  const Index in_other(other);
  return std::any_of(patch.members.begin(), patch.members.end(), [&](const auto& member) {
    const auto place = in_other.find(member.name);
    return place != std::string_view::npos && overlaps(member.value, other.members[place].value);
  });
}

}  // namespace ironcore::api::json
