// SPDX-License-Identifier: Apache-2.0
// Finds brackets that are neither quoted, nor in a comment, nor in a text.
#include "flow_limits.hpp"

#include "manifest_builder.hpp"

namespace ironcore::api {

namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

class FlowScanner {
 public:
  FlowScanner(std::string_view text, std::size_t most_values) : text_(text), most_values_(most_values) {}

  Result<> scan() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        next_line();
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at_;
      } else if (c == '#' && (at_ == line_ || is_blank(text_[at_ - 1]))) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (is_start_ && (c == '"' || c == '\'')) {
        skip_quoted(c);
      } else if ((c == '[' || c == '{') && (is_start_ || depth_ > 0)) {
        if (++depth_ > json::max_depth)
          return failure("the value is nested deeper than " + std::to_string(json::max_depth) + " levels",
                         ErrorCode::invalid);
        is_start_ = true;
        ++at_;
      } else if (depth_ > 0) {
        if (!inside(c))
          return failure("this list or object has more than " + std::to_string(most_values_) + " values",
                         ErrorCode::exhausted);
      } else {
        outside(c);
      }
    }
    return {};
  }

 private:
  void next_line() {
    line_ = ++at_;
    if (depth_ > 0 && !text_.substr(at_).starts_with("---")) return;
    depth_ = 0;
    values_ = 0;
    is_start_ = true;
    parent_ = npos;
  }

  bool blank_follows() const { return at_ + 1 == text_.size() || is_blank(text_[at_ + 1]); }

  /// One character between brackets. False when there are too many values.
  bool inside(char c) {
    ++at_;
    if (c == ']' || c == '}') {
      is_start_ = false;
      if (--depth_ == 0) values_ = 0;
    } else if (c == ',') {
      is_start_ = true;
      return ++values_ <= most_values_;
    } else {
      is_start_ = c == ':' || (is_start_ && c == '?');
    }
    return true;
  }

  /// One character outside of brackets; at the start of a value, what may come before it as well.
  void outside(char c) {
    const auto column = at_ - line_;
    if (is_start_ && (c == '|' || c == '>')) return skip_block();
    if (is_start_ && (c == '&' || c == '!')) {
      while (at_ < text_.size() && !is_blank(text_[at_])) ++at_;
      return;
    }
    if (is_start_ && (c == '-' || c == '?' || c == ':') && blank_follows()) {
      parent_ = column;
      ++at_;
      return;
    }
    if (is_start_ && !(at_ == line_ && text_.substr(at_).starts_with("---"))) start_ = column;
    is_start_ = c == ':' && blank_follows();
    if (is_start_) parent_ = start_;
    if (at_ == line_ && text_.substr(at_).starts_with("---")) {
      is_start_ = true;
      at_ += 2;
    }
    ++at_;
  }

  void skip_quoted(char quote) {
    start_ = at_ - line_;
    is_start_ = false;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') line_ = at_ + 1;
      if (quote == '"' && text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == quote) {
        if (quote == '\'' && text_.substr(at_ + 1).starts_with('\'')) {
          ++at_;
        } else {
          ++at_;
          return;
        }
      }
    }
    at_ = text_.size();
  }

  /// A text of lines that are indented further than what it belongs to. With an indentation of its own it is not
  /// passed over: to count a bracket too many is better than one too few.
  void skip_block() {
    auto header_end = std::min(text_.find('\n', at_), text_.size());
    const auto header = text_.substr(at_, header_end - at_);
    const bool has_indentation = header.substr(0, 3).find_first_of("123456789") != std::string_view::npos;
    at_ = header_end;
    is_start_ = false;
    if (has_indentation) return;
    const auto parent = parent_ == npos ? 0 : parent_ + 1;
    std::size_t indentation = npos;
    while (at_ < text_.size()) {
      const auto from = at_ + 1;
      const auto end = std::min(text_.find('\n', from), text_.size());
      const auto content = std::min(text_.find_first_not_of(' ', from), end);
      if (text_.substr(from).starts_with("---") || text_.substr(from).starts_with("...")) return;
      const bool is_empty = text_.substr(content, end - content).find_first_not_of(" \t\r") == std::string_view::npos;
      if (!is_empty) {
        if (indentation == npos) indentation = content - from;
        if (content - from < std::max(indentation, parent)) return;
      }
      at_ = end;
    }
  }

  Error failure(std::string message, ErrorCode code) const {
    const auto [line, column] = json::position_of(text_, at_);
    return ManifestFailure{{line, column}, std::move(message), code}.error();
  }

  static constexpr auto npos = std::string_view::npos;
  std::string_view text_;
  std::size_t most_values_;
  std::size_t at_ = 0;
  std::size_t line_ = 0;       // where it starts
  std::size_t depth_ = 0;      // brackets that are open
  std::size_t values_ = 0;     // since the outermost of them
  std::size_t start_ = 0;      // column of the value last begun
  std::size_t parent_ = npos;  // column of what a block belongs to; npos = the document
  bool is_start_ = true;       // a value may begin here
};

}  // namespace

Result<> check_flow_limits(std::string_view text, std::size_t most_values) {
  return FlowScanner(text, most_values).scan();
}

}  // namespace ironcore::api
