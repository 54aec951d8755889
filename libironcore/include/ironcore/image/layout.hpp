// SPDX-License-Identifier: Apache-2.0
// An OCI image layout: a directory with an index and blobs named by their digests.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/image/manifest.hpp"

namespace ironcore::image {

/// An image whose documents were read and verified; its layers were not yet.
struct Image {
  Descriptor descriptor;  ///< of the manifest
  Manifest manifest;
  Config config;
};

/// The document named by `blob`, verified: `corrupt` if size or digest differ, `exhausted` above max_document_bytes.
/// A size of 0 in the descriptor means that the size is not known.
Result<std::string> read_document(const std::filesystem::path& blobs, const Descriptor& blob);
/// `BLOBS/sha256/HEX`
std::filesystem::path blob_path(const std::filesystem::path& blobs, const crypto::Digest& digest);

/// The index as it was when opened (OCI image layout 1.x). Nothing is locked: a blob that changes or vanishes meanwhile is noticed when it is
/// read. Thread: any.
class Layout {
 public:
  /// `not_found` without a layout, `unsupported` for another version, `invalid` or `corrupt` for a damaged one.
  static Result<Layout> open(std::filesystem::path directory);

  const std::filesystem::path& directory() const noexcept { return directory_; }
  std::filesystem::path blobs() const { return directory_ / "blobs"; }
  /// Every tag once, sorted.
  std::vector<std::string> tags() const;

  /// The image of that tag (or the only one there is) or digest, made for `platform`. Indexes inside indexes are
  /// followed up to four levels and a hundred documents. `not_found` names what there is instead.
  Result<Image> resolve(const std::optional<std::string>& tag, const std::optional<crypto::Digest>& digest,
                        const Platform& platform) const;

 private:
  Layout(std::filesystem::path directory, Index index) : directory_(std::move(directory)), index_(std::move(index)) {}
  std::filesystem::path directory_;
  Index index_;
};

}  // namespace ironcore::image
