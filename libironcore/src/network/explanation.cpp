// SPDX-License-Identifier: Apache-2.0
// Explanations as text and JSON.
#include "ironcore/network/explanation.hpp"

#include <algorithm>

#include "json_tree.hpp"

namespace ironcore::network {

namespace {

void add_hexadecimal(std::string& out, std::uint8_t byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += digits[byte >> 4];
  out += digits[byte & 15];
}

}  // namespace

std::string Explanation::to_text() const {
  std::size_t widest = 0;
  for (const auto& step : steps) widest = std::max(widest, step.stage.size());
  std::string out;
  for (const auto& step : steps)
    out += step.stage + std::string(widest + 2 - step.stage.size(), ' ') + step.text + '\n';
  return out;
}

std::string Explanation::to_json() const {
  std::string out = "{\"steps\":[";
  for (std::size_t i = 0; i < steps.size(); ++i) {
    out += i == 0 ? "{\"stage\":" : ",{\"stage\":";
    append_json_text(out, steps[i].stage);
    out += ",\"text\":";
    append_json_text(out, steps[i].text);
    out += '}';
  }
  out += ']';
  if (drop != Drop::none) {
    out += ",\"drop\":";
    append_json_text(out, name(drop));
    return out + '}';
  }
  out += ",\"port\":" + std::to_string(port) + ",\"frame\":\"";
  for (const auto byte : frame) add_hexadecimal(out, byte);
  return out + "\"}";
}

}  // namespace ironcore::network
