// SPDX-License-Identifier: Apache-2.0
// What names an image: a layout directory or a registry's repository, with a tag, a digest or both.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"
#include "ironcore/crypto/digest.hpp"

namespace ironcore::image {

/// `oci:/var/lib/images/debian:12@sha256:…` (an OCI layout on this host) or `registry.example/team/debian:12`
/// (understood, but not fetched yet: see Cache). A digest pins the content; a tag may be moved by its owner.
class Reference {
 public:
  enum class Kind { layout, registry };

  /// Layout paths are absolute and without `..`; repositories follow the distribution specification. `invalid` otherwise.
  static Result<Reference> parse(std::string_view text);

  Kind kind() const noexcept { return kind_; }
  /// The directory of a layout, or `host/repository` (a missing host is docker.io).
  const std::string& location() const noexcept { return location_; }
  const std::optional<std::string>& tag() const noexcept { return tag_; }
  const std::optional<crypto::Digest>& digest() const noexcept { return digest_; }

  /// Parses to an equal reference.
  std::string to_text() const;

  friend bool operator==(const Reference&, const Reference&) = default;

 private:
  Kind kind_ = Kind::layout;
  std::string location_;
  std::optional<std::string> tag_;
  std::optional<crypto::Digest> digest_;
};

}  // namespace ironcore::image
