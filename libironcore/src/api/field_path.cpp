// SPDX-License-Identifier: Apache-2.0
// Field paths as text.
#include "field_path.hpp"

namespace ironcore::api {

std::string FieldPath::text() const {
  std::string out;
  append(out);
  return out;
}

void FieldPath::append(std::string& out) const {
  if (step_ == Step::root) return;
  parent_->append(out);
  switch (step_) {
    case Step::root:
      break;
    case Step::member:
      if (!out.empty()) out += '.';
      out += name_;
      break;
    case Step::index:
      out += '[';
      out += std::to_string(index_);
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
