// SPDX-License-Identifier: Apache-2.0
// Units and one digit behind the point.
#include "ironcore/base/byte_text.hpp"

#include <array>
#include <string_view>

namespace ironcore {

std::string byte_text(std::int64_t bytes) {
  constexpr std::array<std::string_view, 7> units{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  const auto amount = bytes < 0 ? -static_cast<std::uint64_t>(bytes) : static_cast<std::uint64_t>(bytes);
  std::size_t unit = 0;
  while (unit + 1 < units.size() && amount >> (10 * (unit + 1)) != 0) ++unit;
  const auto whole = amount >> (10 * unit);
  const auto rest = amount - (whole << (10 * unit));
  const auto tenths = unit == 0 ? 0 : (rest >> (10 * (unit - 1))) * 10 >> 10;
  return (bytes < 0 ? "-" : "") + std::to_string(whole) + (tenths == 0 ? "" : "." + std::to_string(tenths)) +
         std::string(units[unit]);
}

}  // namespace ironcore
