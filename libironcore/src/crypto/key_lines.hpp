// SPDX-License-Identifier: Apache-2.0
// What is in a file of keys.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "ironcore/crypto/aead.hpp"

namespace ironcore::crypto {

struct KeyLines {
  std::string id;
  std::map<std::uint32_t, SealKey> versions;  ///< not empty
};

/// `invalid` names the line, never what is in it.
Result<KeyLines> parse_key_lines(std::string_view text);

}  // namespace ironcore::crypto
