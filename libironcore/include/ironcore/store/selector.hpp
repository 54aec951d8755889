// SPDX-License-Identifier: Apache-2.0
// Selectors: which objects a list or a watch is about, by label and by field.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ironcore/api/object.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::store {

/// `app=web,tier!=db,zone in (a,b),zone notin (c),gpu,!spot`: Kubernetes label selectors. Empty matches
/// everything.
class LabelSelector {
 public:
  LabelSelector() = default;
  static Result<LabelSelector> parse(std::string_view text);
  bool matches(const std::map<std::string, std::string>& labels) const;
  bool is_empty() const noexcept { return requirements_.empty(); }
  std::string to_text() const;
  friend bool operator==(const LabelSelector&, const LabelSelector&) = default;

 private:
  enum class Operator { equals, not_equals, in, not_in, exists, does_not_exist };
  struct Requirement {
    std::string key;
    Operator operation;
    std::vector<std::string> values;
    friend bool operator==(const Requirement&, const Requirement&) = default;
  };
  std::vector<Requirement> requirements_;
};

/// `spec.machinePoolRef.name=pool-a,metadata.name!=x`: any scalar field by its JSON path; an absent field
/// equals "".
class FieldSelector {
 public:
  FieldSelector() = default;
  static Result<FieldSelector> parse(std::string_view text);
  bool matches(const api::Object& object) const;
  /// `invalid`, naming the nearest, for a field that the kind does not have: a mistyped one would match nothing.
  Result<void> check(const api::Kind& kind) const;
  bool is_empty() const noexcept { return requirements_.empty(); }
  /// The value that `path` must equal, if there is such a requirement: lets a body use an index or a topic.
  const std::string* required(std::string_view path) const noexcept;
  std::string to_text() const;
  friend bool operator==(const FieldSelector&, const FieldSelector&) = default;

 private:
  struct Requirement {
    std::string path;
    std::string value;
    bool is_equal;
    friend bool operator==(const Requirement&, const Requirement&) = default;
  };
  std::vector<Requirement> requirements_;
};

}  // namespace ironcore::store
