// SPDX-License-Identifier: Apache-2.0
// How things are called inside the cluster.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/storage/volume.hpp"

namespace ironcore::storage::ceph {

enum class Kind { volume, snapshot, base };
std::string_view name(Kind kind) noexcept;

/// Where our own objects lie: no tenant can have this name, so none can read or change them.
inline constexpr const char* own_space = ".ironcore";
/// Base images: every tenant may read them.
inline constexpr const char* base_space = "";
/// The snapshot of a snapshot's or base image's own image that clones are made from.
inline constexpr const char* clone_snapshot = "v1";

/// `invalid` unless the tenant is a DNS label and the uid is not nil.
Result<void> check(const BlockId& id);
Result<void> check_tenant(const std::string& tenant);

std::string volume_image(const Uid& uid);
std::string snapshot_image(const Uid& uid);
/// Of a SHA-512 only half of the digits: names of images are limited. The image itself holds all of it.
std::string base_image(const crypto::Digest& digest);

/// What an image's name says that it is.
struct ImageName {
  Kind kind = Kind::volume;
  Uid uid;  ///< of a base image: the first half of a SHA-256's 32 bytes
};
std::optional<ImageName> parse_image_name(std::string_view name);
/// How `maintain` and `remove_unfinished` call a base image: no tenant, and the uid of `parse_image_name`.
Uid base_uid(const crypto::Digest& digest);

/// Keys in the index: `team-a/<uid>`.
std::string index_key(const BlockId& id);
std::optional<BlockId> parse_index_key(std::string_view key);

/// For people: `volume team-a/<uid>`.
std::string words(Kind kind, const BlockId& id);

/// The WWN of a volume's disk.
std::string disk_handle(const BlockId& id);

}  // namespace ironcore::storage::ceph
