// SPDX-License-Identifier: Apache-2.0
// Foreign text in messages is short, on one line and well-formed.
#include "ironcore/base/text.hpp"

#include <doctest/doctest.h>

using namespace ironcore;

TEST_CASE("text is quoted and cut between characters") {
  CHECK(in_quotes("abc") == "\"abc\"");
  CHECK(in_quotes("") == "\"\"");
  CHECK(in_quotes("abcdef", 3) == "\"abc...\"");
  CHECK(in_quotes("\u00e4\u00f6\u00fc", 3) == "\"\u00e4...\"");
  CHECK(in_quotes("a\u20ac\U0001f600") == "\"a\u20ac\U0001f600\"");
}

TEST_CASE("control characters and malformed UTF-8 are replaced") {
  CHECK(in_quotes("a\nb\tc\x7f") == "\"a?b?c?\"");
  CHECK(in_quotes(std::string_view("\0", 1)) == "\"?\"");
  CHECK(in_quotes("\xff\xc3") == "\"??\"");
  CHECK(in_quotes("\xc0\xaf") == "\"??\"");            // overlong
  CHECK(in_quotes("\xed\xa0\x80") == "\"???\"");       // half of a surrogate pair
  CHECK(in_quotes("\xf4\x90\x80\x80") == "\"????\"");  // beyond the last character
  CHECK(in_quotes("\xe2\x82") == "\"??\"");
}
