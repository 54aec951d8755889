// SPDX-License-Identifier: Apache-2.0
// What we write on an image: that it is whole, what it is, its limits.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "handles.hpp"
#include "ironcore/storage/volume.hpp"

namespace ironcore::storage::ceph {

/// The truth about one image; what the index says is made from it.
struct Header {
  std::uint64_t raw_bytes = 0;  ///< with the header of its encryption
  std::uint64_t size_bytes = 0;
  bool is_encrypted = false;
  Limits limits;
  std::string
      source;  ///< `empty`, `base sha256:...`, `snapshot <uid>` or, of a snapshot, `volume <uid>`; of a base image its digest
};

enum class Encryption { none, luks2 };

/// What goes into the image's metadata to make it whole. The name is part of it, because a clone starts with its parent's metadata.
std::map<std::string, std::string> whole_metadata(const std::string& name, const std::string& source,
                                                  Encryption encryption);
/// librbd's own settings, read by every client that opens the image; zeros lift what was there. Formula: those of the reference.
std::map<std::string, std::string> limit_metadata(const Limits& limits);

/// As the class method `metadata_set` is given them.
std::string encoded(const std::map<std::string, std::string>& metadata);

/// Writes several entries in one step, on the image of this id, or none. librbd does it with an operation each.
Result<void> write_metadata(const IoContext& io, const std::string& id,
                            const std::map<std::string, std::string>& entries);

/// Of the image with this name now; nothing if there is none. Costs a read; opening costs twenty.
Result<std::optional<std::string>> image_id(const IoContext& io, const std::string& name);

/// On what we put into the trash: what is there without it was put there by somebody else, who may want it back.
std::map<std::string, std::string> removed_metadata(const std::string& name);
Result<bool> is_removed(const Image& image, const std::string& name);

/// Nothing if the image is not whole.
Result<std::optional<Header>> read_header(const Image& image, const std::string& name);

}  // namespace ironcore::storage::ceph
