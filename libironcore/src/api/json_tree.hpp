// SPDX-License-Identifier: Apache-2.0
// JSON as a tree, for what no struct describes: unknown members and manifests as they were written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"
#include "json_reader.hpp"
#include "json_text.hpp"

namespace ironcore::api::json {

struct Member;

/// Scalars keep their text: no number loses a digit here.
struct Tree {
  Type type = Type::null;
  std::string scalar;           ///< canonical JSON text, quotes included
  std::vector<Member> members;  ///< of an object, in their order, no name twice
  std::vector<Tree> items;      ///< of a list

  static Tree object();
  static Tree list();
  static Tree scalar_of(Type type, std::string text);

  const Tree* find(std::string_view name) const noexcept;
  Tree* find(std::string_view name) noexcept;
  Tree& add(std::string name, Tree value);

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
Result<Tree> parse_tree(std::string_view text, Nulls nulls);

void append(Text& out, const Tree& tree);
std::string to_text(const Tree& tree);

/// RFC 7386.
void merge(Tree& target, const Tree& patch);
/// The smallest patch that turns `from` into `to`. An empty object means they are the same. Precondition:
/// both are objects.
Tree difference(const Tree& from, const Tree& to);

}  // namespace ironcore::api::json
