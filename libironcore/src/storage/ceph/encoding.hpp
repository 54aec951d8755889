// SPDX-License-Identifier: Apache-2.0
// Ceph's encoding of what methods of object classes are given: little endian, each text after its length.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ironcore::storage::ceph {

template <std::unsigned_integral Number>
void append(std::string& out, Number number) {
  for (std::size_t i = 0; i < sizeof number; ++i) out += static_cast<char>(std::uint64_t{number} >> (8 * i) & 0xff);
}
inline void append(std::string& out, std::string_view text) {
  append(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}

}  // namespace ironcore::storage::ceph
