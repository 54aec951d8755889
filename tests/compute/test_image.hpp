// SPDX-License-Identifier: Apache-2.0
// A small image for tests of machines: an OCI layout written by hand, with contents that no guest will ever run.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ironcore/crypto/digest.hpp"
#include "ironcore/image/manifest.hpp"

namespace ironcore::tests {

struct ImageContent {
  std::string rootfs;  // empty = no such layer
  std::string kernel;
  std::string initramfs;
  std::string command_line = "console=ttyS0";
};

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// Writes the layout with the tag `test` and returns the reference to it.
inline std::string make_image(const std::filesystem::path& directory, const ImageContent& content) {
  const auto blob = [&](const std::string& bytes, const std::string& type) {
    const auto digest = crypto::sha256(bytes);
    write_text(directory / "blobs" / "sha256" / digest.hex(), bytes);
    return R"({"mediaType":")" + type + R"(","digest":")" + digest.to_text() + R"(","size":)" +
           std::to_string(bytes.size()) + "}";
  };
  const std::string config =
      blob(R"({"commandLine":")" + content.command_line + R"("})", "application/vnd.ironcore.image.config.v1+json");
  std::string layers;
  const auto layer = [&](const std::string& bytes, const std::string& kind) {
    if (bytes.empty()) return;
    layers += (layers.empty() ? "" : ",") + blob(bytes, "application/vnd.ironcore.image." + kind);
  };
  layer(content.rootfs, "rootfs");
  layer(content.kernel, "kernel");
  layer(content.initramfs, "initramfs");
  std::string manifest =
      blob(R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":)" + config +
               R"(,"layers":[)" + layers + "]}",
           "application/vnd.oci.image.manifest.v1+json");
  const auto platform = image::Platform::this_machine();
  manifest.pop_back();
  manifest += R"(,"platform":{"os":")" + platform.os + R"(","architecture":")" + platform.architecture +
              R"("},"annotations":{"org.opencontainers.image.ref.name":"test"}})";
  write_text(directory / "index.json", R"({"schemaVersion":2,"manifests":[)" + manifest + "]}");
  write_text(directory / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  return "oci:" + directory.string() + ":test";
}

}  // namespace ironcore::tests
