// SPDX-License-Identifier: Apache-2.0
// Keys and queries: what all bodies of the Store share.
#include "ironcore/store/store.hpp"

#include <algorithm>

namespace ironcore::store {

std::string Key::to_text() const {
  std::string text;
  if (kind == nullptr) {
    text = "object";
  } else {
    text = kind->info().kind;
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  }
  text += ' ';
  if (!namespace_.empty()) {
    text += namespace_;
    text += '/';
  }
  text += name;
  return text;
}

Key key_of(const Object& object) {
  const auto& metadata = object.metadata();
  return {&object.kind(), metadata.namespace_, metadata.name};
}

Result<void> Query::check() const {
  if (kind == nullptr) return Error(ErrorCode::invalid, "the query names no kind");
  return fields.check(*kind);
}

bool Query::matches(const Object& object) const {
  if (&object.kind() != kind) return false;
  if (!namespace_.empty() && object.metadata().namespace_ != namespace_) return false;
  return (labels.is_empty() || labels.matches(object.metadata().labels)) &&
         (fields.is_empty() || fields.matches(object));
}

}  // namespace ironcore::store
