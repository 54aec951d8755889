// SPDX-License-Identifier: Apache-2.0
// Names of a machine's disks: two letters of prefix, then a … z, aa … zz.
#include <algorithm>

#include "ironcore/api/compute.hpp"

namespace ironcore::api {

namespace {
constexpr std::size_t letters = 26;
constexpr std::size_t device_count = letters + letters * letters;
}  // namespace

Result<std::string> device_name(std::size_t index) {
  if (index >= device_count)
    return Error(ErrorCode::exhausted, "a machine has at most " + std::to_string(device_count) + " devices");
  const auto letter = [](std::size_t i) { return static_cast<char>('a' + i); };
  std::string name = "od";
  if (index >= letters) name += letter(index / letters - 1);
  name += letter(index % letters);
  return name;
}

Result<std::size_t> device_index(std::string_view name) {
  const bool is_lower = std::all_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  if (!is_lower || name.size() < 3 || name.size() > 4)
    return Error(ErrorCode::invalid, "must be a device name such as oda or odab: two letters, then a to zz");
  const auto place = [&](std::size_t i) { return static_cast<std::size_t>(name[i] - 'a'); };
  return name.size() == 3 ? place(2) : (place(2) + 1) * letters + place(3);
}

}  // namespace ironcore::api
