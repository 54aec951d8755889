// SPDX-License-Identifier: Apache-2.0
// StoreMark: which store it is, and whose. It lies in the store itself.
#pragma once

#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"
#include "ironcore/base/uid.hpp"

namespace ironcore::storage {

struct StoreMark {
  Uid store;              ///< random, made with the first mark; stays with the data, wherever that is moved
  Uid pool;               ///< of the VolumePool whose store it is
  std::string pool_name;  ///< for people

  /// One line, as it lies in the store.
  std::string to_text() const;
  /// `corrupt` for anything else than what `to_text` writes.
  static Result<StoreMark> parse(std::string_view text);
  friend bool operator==(const StoreMark&, const StoreMark&) = default;
};

}  // namespace ironcore::storage
