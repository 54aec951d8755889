// SPDX-License-Identifier: Apache-2.0
// A JSON text as a small tree that remembers what matters to a strict reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::network {

struct JsonTree {
  enum class Type : std::uint8_t { null, boolean, number, text, list, object };
  Type type = Type::null;
  std::optional<std::uint64_t> number;  ///< only of a whole number that is not negative
  std::string text;
  std::vector<JsonTree> items;
  struct Member;
  std::vector<Member> members;  ///< those that are null are left out

  const JsonTree* find(std::string_view name) const noexcept;
};
struct JsonTree::Member {
  std::string name;
  JsonTree value;
};

/// Most members of one object, and most objects and lists in each other.
inline constexpr std::size_t max_json_members = 64;
inline constexpr std::size_t max_json_depth = 8;

/// Boost.JSON reads the text; its own tree would forget that a member came twice. `invalid` says at which byte.
Result<JsonTree> parse_json_tree(std::string_view text);
void append_json_text(std::string& out, std::string_view text);

}  // namespace ironcore::network
