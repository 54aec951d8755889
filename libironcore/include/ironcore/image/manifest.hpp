// SPDX-License-Identifier: Apache-2.0
// The JSON documents of an OCI image that holds a machine's boot files: index, manifest, configuration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/crypto/digest.hpp"

namespace ironcore::image {

/// Larger index, manifest and configuration documents are refused.
constexpr std::size_t max_document_bytes = 4 << 20;

/// What an image is made for, in the words of Go: `linux`, `amd64`.
struct Platform {
  std::string os = "linux";
  std::string architecture;
  /// Linux on the processor this was compiled for.
  static Platform this_machine();
  /// `linux/amd64`
  std::string to_text() const { return os + "/" + architecture; }
  friend bool operator==(const Platform&, const Platform&) = default;
};

/// Names a blob by content. Nothing is known about the blob until it was read and compared with digest and size.
struct Descriptor {
  std::string media_type;
  crypto::Digest digest;
  std::uint64_t size = 0;            ///< bytes
  std::optional<Platform> platform;  ///< in an index
  std::string reference_name;        ///< the tag, in the index of a layout; empty = none
};

/// Several images: one per platform, or one per tag.
struct Index {
  std::vector<Descriptor> manifests;
};

/// What a layer is for. Each kind occurs at most once in an image.
enum class LayerKind { rootfs, kernel, initramfs, squashfs, uki, iso };
/// `rootfs`, `kernel` …
std::string_view name(LayerKind kind) noexcept;

struct Layer {
  LayerKind kind;
  Descriptor blob;
};

struct Manifest {
  Descriptor config;
  std::vector<Layer> layers;
};

struct Config {
  std::string command_line;          ///< of the kernel
  std::optional<Platform> platform;  ///< if the configuration tells one
};

bool is_index_type(std::string_view media_type) noexcept;
bool is_manifest_type(std::string_view media_type) noexcept;

/// Each refuses malformed input as `invalid`, naming the field or blob; unknown layer types are `unsupported`. Members
/// that are not known are skipped. The input may come from a stranger.
Result<Index> parse_index(std::string_view json);
Result<Manifest> parse_manifest(std::string_view json);
Result<Config> parse_config(std::string_view json);

}  // namespace ironcore::image
