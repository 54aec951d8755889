// SPDX-License-Identifier: Apache-2.0
// Makes small OCI layouts, whole or broken, in a directory that vanishes with the test.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/base/file.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/image/manifest.hpp"

namespace ironcore::image::test {

namespace fs = std::filesystem;

struct TemporaryDirectory {
  TemporaryDirectory() : path(fs::temp_directory_path() / ("ironcore-image-test-" + random_suffix(10))) {
    fs::create_directory(path);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() { fs::remove_all(path); }
  fs::path path;
};

constexpr std::string_view manifest_type = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view index_type = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view config_type = "application/vnd.ironcore.image.config.v1+json";

inline std::string layer_type(std::string_view kind) {
  return "application/vnd.ironcore.image." + std::string(kind);
}

/// A blob as an entry of a list.
inline std::string entry(std::string_view media_type, const crypto::Digest& digest, std::size_t size,
                         std::string_view more = "") {
  return "{\"mediaType\":\"" + std::string(media_type) + "\",\"digest\":\"" + digest.to_text() +
         "\",\"size\":" + std::to_string(size) + std::string(more) + "}";
}

inline std::string platform(std::string_view architecture) {
  return ",\"platform\":{\"os\":\"linux\",\"architecture\":\"" + std::string(architecture) + "\"}";
}

inline std::string tag(std::string_view name) {
  return ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" + std::string(name) + "\"}";
}

inline std::string index_of(const std::vector<std::string>& entries) {
  std::string text = "{\"schemaVersion\":2,\"mediaType\":\"" + std::string(index_type) + "\",\"manifests\":[";
  for (std::size_t i = 0; i < entries.size(); ++i) text += (i == 0 ? "" : ",") + entries[i];
  return text + "]}";
}

class LayoutBuilder {
 public:
  explicit LayoutBuilder(fs::path where) : directory(std::move(where)) {
    fs::create_directories(directory / "blobs" / "sha256");
    write("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
  }

  void write(const fs::path& name, std::string_view content) const {
    std::ofstream(directory / name, std::ios::binary | std::ios::trunc) << content;
  }

  fs::path path_of(const crypto::Digest& digest) const { return directory / "blobs" / "sha256" / digest.hex(); }

  /// Stores a blob and gives its entry.
  std::string blob(std::string_view media_type, std::string_view content, std::string_view more = "") const {
    const auto digest = crypto::sha256(content);
    write(path_of(digest), content);
    return entry(media_type, digest, content.size(), more);
  }

  /// A manifest of the given layer entries, as an entry of an index.
  std::string manifest(const std::vector<std::string>& layers, std::string_view more = "",
                       std::string_view config = "{\"commandLine\":\"console=ttyS0\"}") const {
    std::string text = "{\"schemaVersion\":2,\"mediaType\":\"" + std::string(manifest_type) +
                       "\",\"config\":" + blob(config_type, config) + ",\"layers\":[";
    for (std::size_t i = 0; i < layers.size(); ++i) text += (i == 0 ? "" : ",") + layers[i];
    return blob(manifest_type, text + "]}", more);
  }

  void index(const std::vector<std::string>& entries) const { write("index.json", index_of(entries)); }

  fs::path directory;
};

/// The digest inside an entry.
inline crypto::Digest digest_in(std::string_view entry_text) {
  const auto at = entry_text.find("sha256:");
  return crypto::Digest::parse(entry_text.substr(at, 71)).value();
}

/// A layout with one image, tagged `v1`, of kernel, initramfs and root disk.
inline LayoutBuilder simple_layout(const fs::path& where, std::string_view rootfs = "the root disk") {
  LayoutBuilder layout(where);
  layout.index(
      {layout.manifest({layout.blob(layer_type("rootfs"), rootfs), layout.blob(layer_type("kernel"), "the kernel"),
                        layout.blob(layer_type("initramfs"), "the initramfs")},
                       platform("amd64") + tag("v1"))});
  return layout;
}

}  // namespace ironcore::image::test
