// SPDX-License-Identifier: Apache-2.0
// Column widths and cutting.
#include "ironcorectl/table.hpp"

#include <algorithm>
#include <numeric>
#include <ostream>

namespace ironcore::ctl {
namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t narrow = 6;     // still readable
constexpr std::size_t narrowest = 3;  // when that makes the lines fit

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

std::string shortened(std::string_view text, std::size_t width) {
  if (width_of(text) <= width) return std::string(text);
  if (width == 0) return "";
  std::size_t taken = 0, end = 0;
  while (end < text.size()) {
    if (!is_continuation(text[end]) && taken++ == width - 1) break;
    ++end;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return result;
}

Table::Table(std::vector<std::string> headers) {
  for (std::string& header : headers) {
    std::transform(header.begin(), header.end(), header.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  }
  rows_.push_back(std::move(headers));
}

void Table::add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = printable(cell);
  cells.resize(rows_.front().size());
  rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out, const Terminal& terminal, std::size_t indent) {
  const std::size_t columns = rows_.front().size();
  indent_ = indent;
  widths_.assign(columns, 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < columns; ++i) widths_[i] = std::max(widths_[i], width_of(row[i]));
  }
  is_cut_ = false;
  if (terminal.is_terminal) {
    const auto needed = [&] {
      return indent_ + std::accumulate(widths_.begin(), widths_.end(), std::size_t{0}) + gap * (columns - 1);
    };
    const auto shrink_to = [&](std::size_t least) {
      while (needed() > terminal.width) {
        const auto widest = std::max_element(widths_.begin(), widths_.end());
        if (*widest <= least) return;
        --*widest;
        is_cut_ = true;
      }
    };
    shrink_to(narrow);
    const auto readable = widths_;
    shrink_to(narrowest);
    if (needed() > terminal.width) widths_ = readable;
  }
  printed_ = 0;
  print_rows(out);
}

void Table::print_more(std::ostream& out) {
  print_rows(out);
}

void Table::print_rows(std::ostream& out) {
  for (; printed_ < rows_.size(); ++printed_) {
    const auto& row = rows_[printed_];
    std::string line(indent_, ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool is_last = i + 1 == row.size();
      const std::string cell = is_cut_ ? shortened(row[i], widths_[i]) : row[i];
      line += cell;
      const std::size_t width = width_of(cell);
      if (!is_last) line += std::string((width < widths_[i] ? widths_[i] - width : 0) + gap, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
  out.flush();
}

}  // namespace ironcore::ctl
