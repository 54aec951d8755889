// SPDX-License-Identifier: Apache-2.0
// Everything in the store, and what is based on what.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "disk.hpp"
#include "place.hpp"

namespace ironcore::storage::local {

Result<void> add_file(const Place& place, image::DiskFormat format, int flags, std::vector<Disk::File>& files);

/// The directories of the store. Thread: any.
struct Tree {
  Directory root, bases, volumes, snapshots;

  /// Makes them when absent, except the first.
  static Result<Tree> open(const std::filesystem::path& directory);

  Result<Place> base_place(const crypto::Digest& digest) const;

  /// How many volumes and snapshots need the file of `parent`; those of `tenant`, or of all. An error if a record cannot be read: it might be one of them.
  Result<std::uint32_t> dependents(const Parent& parent, const std::optional<std::string>& tenant) const;
  using Children = std::map<crypto::Digest, std::uint32_t>;
  /// Of all bases. Damaged records are left out.
  Result<Children> count_children() const;

  /// How many files must be asked for a block, apart from the one that says this.
  Result<std::uint32_t> depth_of(const std::string& tenant, Parent backing) const;
  /// A snapshot that something is based on, removed or not.
  Result<Found> layer(const std::string& tenant, const Uid& uid) const;
  /// What `backing` needs, from the top to the bottom, with their files; `corrupt` if one is missing or damaged.
  Result<std::vector<Found>> layers(const std::string& tenant, Parent backing) const;
  /// Opens what `backing` needs, from the top to the bottom. The records say what that is: a file can say anything.
  Result<void> add_layers(const std::string& tenant, const Parent& backing, std::vector<Disk::File>& files) const;
};

}  // namespace ironcore::storage::local
