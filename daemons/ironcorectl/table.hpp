// SPDX-License-Identifier: Apache-2.0
// Table: rows of text in columns that fit the terminal.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// Columns as wide as their widest cell, two blanks apart. On a terminal the widest columns are shortened
/// (with …) until a row fits; elsewhere nothing is cut, so that other programs see everything. Control
/// characters in cells are shown as `?`.
class Table {
 public:
  explicit Table(std::vector<std::string> headers);
  void add(std::vector<std::string> cells);
  bool is_empty() const noexcept { return rows_.size() == 1; }

  /// Header and rows. `indent` blanks stand before each line.
  void print(std::ostream& out, const Terminal& terminal, std::size_t indent = 0);
  /// Only the rows added since the last print, in the columns of that print: for watches.
  void print_more(std::ostream& out);

 private:
  void print_rows(std::ostream& out);

  std::vector<std::vector<std::string>> rows_;  // the first one is the header
  std::vector<std::size_t> widths_;
  std::size_t indent_ = 0;
  std::size_t printed_ = 0;
  bool is_cut_ = false;
};

/// Columns that a UTF-8 text takes, counting each code point as one.
std::size_t width_of(std::string_view text);
/// Shortened to `width` columns, with … at the end.
std::string shortened(std::string_view text, std::size_t width);
/// Without control characters: what a peer wrote must not move the cursor.
std::string printable(std::string_view text);

}  // namespace ironcore::ctl
