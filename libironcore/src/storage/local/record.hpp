// SPDX-License-Identifier: Apache-2.0
// What the local store knows of a volume, a snapshot or a base besides its data: a few lines of text in a file of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "ironcore/base/result.hpp"
#include "ironcore/base/uid.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/image/disk_file.hpp"
#include "ironcore/storage/volume.hpp"

namespace ironcore::storage::local {

/// Nothing, a base image, or a snapshot of the same tenant.
using Parent = std::variant<std::monostate, crypto::Digest, Uid>;

struct Record {
  std::uint64_t size_bytes = 0;
  image::DiskFormat format = image::DiskFormat::raw;
  Parent source;   ///< what it was made from
  Parent backing;  ///< what its file still needs
  Uid volume;      ///< of a snapshot: what it was taken of
  Limits limits;
  bool is_removed = false;  ///< kept only for what is based on it
  friend bool operator==(const Record&, const Record&) = default;

  std::string to_text() const;
  /// `corrupt` for anything that `to_text` does not write.
  static Result<Record> parse(std::string_view text);
};

}  // namespace ironcore::storage::local
