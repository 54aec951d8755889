// SPDX-License-Identifier: Apache-2.0
// Where in an object something is: built on the stack on the way down, turned into text only for an error.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ironcore::api {

/// One step of a path, linked to the step above it; both, and the name, must outlive it. The root is
/// `FieldPath()`.
class FieldPath {
 public:
  constexpr FieldPath() = default;
  constexpr FieldPath(const FieldPath& parent, std::string_view member)
      : parent_(&parent), name_(member), step_(Step::member) {}
  /// An element of a list.
  constexpr FieldPath(const FieldPath& parent, std::size_t index)
      : parent_(&parent), index_(index), step_(Step::index) {}
  /// An entry of a map, or an element that is known by its name: `labels[a.b/c]`.
  static constexpr FieldPath entry(const FieldPath& parent, std::string_view key) {
    FieldPath path(parent, key);
    path.step_ = Step::entry;
    return path;
  }

  /// The same place in any element of a list: `spec.volumes[].device`.
  std::string place() const;
  /// `spec.volumes[1].device`; a member of the root has no dot. Empty for the root.
  std::string text() const;

 private:
  enum class Indices { show, hide };
  void append(std::string& out, Indices indices) const;

  enum class Step { root, member, index, entry };
  const FieldPath* parent_ = nullptr;
  std::string_view name_;
  std::size_t index_ = 0;
  Step step_ = Step::root;
};

}  // namespace ironcore::api
