// SPDX-License-Identifier: Apache-2.0
// Field paths as text.
#include "field_path.hpp"

namespace ironcore::api {

std::string FieldPath::text() const {
  std::string out;
  append(out, Indices::show);
  return out;
}

std::string FieldPath::place() const {
  std::string out;
  append(out, Indices::hide);
  return out;
}

void FieldPath::append(std::string& out, Indices indices) const {
  if (step_ == Step::root) return;
  parent_->append(out, indices);
  switch (step_) {
    case Step::root:
      break;
    case Step::member:
      if (!out.empty()) out += '.';
      out += name_;
      break;
    case Step::index:
      out += '[';
      if (indices == Indices::show) out += std::to_string(index_);
      out += ']';
      break;
    case Step::entry:
      out += '[';
      // A hostile key may be as long as a whole document.
      out += name_.substr(0, 256);
      out += ']';
      break;
  }
}

}  // namespace ironcore::api
