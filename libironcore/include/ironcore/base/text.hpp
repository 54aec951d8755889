// SPDX-License-Identifier: Apache-2.0
// A stranger's words inside our messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ironcore {

/// Cut after at most `most` bytes; control characters and malformed UTF-8 become `?`: fit for a one-line message that ends
/// up in JSON.
std::string in_one_line(std::string_view text, std::size_t most);
/// The same in double quotes: for a word, not for a sentence that may have quotes of its own.
std::string in_quotes(std::string_view text, std::size_t most = 80);

}  // namespace ironcore
