// SPDX-License-Identifier: Apache-2.0
// A Result in doctest's messages: the error's text.
#pragma once

#include <doctest/doctest.h>

#include "ironcore/base/result.hpp"

namespace doctest {

template <class T>
struct StringMaker<boost::system::result<T, ironcore::Error>> {
  static String convert(const boost::system::result<T, ironcore::Error>& result) {
    return result.has_value() ? String("a value") : String(("error: " + result.error().message()).c_str());
  }
};

}  // namespace doctest
