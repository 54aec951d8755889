// SPDX-License-Identifier: Apache-2.0
// JSON as a tree, for what no struct describes: unknown members, manifests as they were written, patches.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::api::json {

enum class Type { object, list, string, number, boolean, null };

struct Member;

/// One JSON value. Scalars keep their text: no number loses a digit here, however long it is. Looking for a
/// member takes time proportional to their number. Thread: one.
struct Tree {
  Type type = Type::null;
  std::string scalar;           ///< canonical JSON text, quotes included; empty for null
  std::vector<Member> members;  ///< of an object, in their order, no name twice
  std::vector<Tree> items;      ///< of a list

  static Tree object();
  static Tree list();
  /// A string with these characters.
  static Tree string(std::string_view text);
  /// `text` is the JSON of a scalar of this type.
  static Tree scalar_of(Type type, std::string text);

  bool is_object() const noexcept { return type == Type::object; }
  bool is_list() const noexcept { return type == Type::list; }
  bool is_string() const noexcept { return type == Type::string; }

  /// The characters of a string, the JSON text of another scalar; empty for objects and lists.
  std::string text() const;

  /// Null if there is no such member, or this is no object.
  const Tree* find(std::string_view name) const noexcept;
  Tree* find(std::string_view name) noexcept;
  /// The member, which becomes an object if it is none. Precondition: this is an object.
  Tree& object_at(std::string_view name);
  /// Replaces the member or adds it at the end. Precondition: this is an object.
  void set(std::string_view name, Tree value);
  /// Precondition: there is no member of this name.
  Tree& add(std::string name, Tree value);
  void remove(std::string_view name);

  /// Order of members does not count; numbers are compared as text.
  friend bool operator==(const Tree& a, const Tree& b);
};

struct Member {
  std::string name;
  Tree value;
};

enum class Nulls {
  drop,  ///< null means absent
  keep,  ///< a merge patch: null means remove
};
/// Strict (RFC 8259): up to 32 levels, no member twice. `invalid` with line and column.
Result<Tree> parse_tree(std::string_view text, Nulls nulls);

/// One line without blanks.
std::string to_text(const Tree& tree);

/// RFC 7386.
void merge(Tree& target, const Tree& patch);
/// The smallest patch that turns `from` into `to`. An empty object means they are the same. Precondition:
/// both are objects.
Tree difference(const Tree& from, const Tree& to);
/// Whether the two patches change the same field.
bool overlaps(const Tree& patch, const Tree& other);

}  // namespace ironcore::api::json
