// SPDX-License-Identifier: Apache-2.0
// OCI documents from strangers are read with care.
#include "ironcore/image/manifest.hpp"

#include <doctest/doctest.h>

#include "layout_builder.hpp"

using namespace ironcore;
using namespace ironcore::image;
using namespace ironcore::image::test;

namespace {

const auto digest = crypto::sha256("x");

std::string manifest_text(const std::string& layers, const std::string& config = entry(config_type, digest, 1)) {
  return "{\"schemaVersion\":2,\"config\":" + config + ",\"layers\":" + layers + "}";
}

}  // namespace

TEST_CASE("a manifest's layers are known by their media types, today's and yesterday's") {
  const std::pair<const char*, LayerKind> types[] = {
      {"application/vnd.ironcore.image.rootfs", LayerKind::rootfs},
      {"application/vnd.ironcore.image.kernel", LayerKind::kernel},
      {"application/vnd.ironcore.image.initramfs", LayerKind::initramfs},
      {"application/vnd.ironcore.image.squashfs", LayerKind::squashfs},
      {"application/vnd.ironcore.image.uki", LayerKind::uki},
      {"application/vnd.ironcore.image.iso", LayerKind::iso},
      {"application/vnd.ironcore.image.rootfs.v1alpha1.rootfs", LayerKind::rootfs},
      {"application/vnd.ironcore.image.vmlinuz.v1alpha1.vmlinuz", LayerKind::kernel},
      {"application/vnd.ironcore.image.initramfs.v1alpha1.initramfs", LayerKind::initramfs},
      {"application/vnd.ironcore.image.squashfs.v1alpha1.squashfs", LayerKind::squashfs},
  };
  for (const auto& [type, kind] : types) {
    const auto manifest = parse_manifest(manifest_text("[" + entry(type, digest, 7) + "]")).value();
    REQUIRE(manifest.layers.size() == 1);
    CHECK(manifest.layers[0].kind == kind);
    CHECK(manifest.layers[0].blob.size == 7);
    CHECK(manifest.layers[0].blob.digest == digest);
  }
}

TEST_CASE("an unknown layer type names the blob") {
  const auto manifest =
      parse_manifest(manifest_text("[" + entry("application/vnd.oci.image.layer.v1.tar+gzip", digest, 7) + "]"));
  REQUIRE(manifest.has_error());
  CHECK(manifest.error().code() == ErrorCode::unsupported);
  CHECK(manifest.error().message().find(digest.to_text()) != std::string::npos);
  CHECK(manifest.error().message().find("tar+gzip") != std::string::npos);
}

TEST_CASE("malformed manifests are refused with the field that is wrong") {
  const auto good = entry(layer_type("rootfs"), digest, 7);
  const auto with = [&](std::string_view from, std::string_view to) {
    auto text = manifest_text("[" + good + "]");
    text.replace(text.rfind(from), from.size(), to);
    return text;
  };
  const std::pair<std::string, const char*> cases[] = {
      {"", "malformed JSON"},
      {"[]", "must be a JSON object"},
      {"{", "malformed JSON"},
      {"{} {}", "malformed JSON"},
      {std::string(1000, '['), "malformed JSON"},
      {"{\"layers\":[]}", "schemaVersion"},
      {"{\"schemaVersion\":1}", "schemaVersion"},
      {"{\"schemaVersion\":\"2\"}", "schemaVersion"},
      {"{\"schemaVersion\":2,\"layers\":[]}", "config: is missing"},
      {manifest_text("[]"), "layers: must not be empty"},
      {manifest_text("{}"), "layers: must be a list"},
      {manifest_text("[5]"), "layers[0]: must be an object"},
      {manifest_text("[" + good + "," + good + "]"), "second rootfs"},
      {manifest_text("[" + good + "]", "null"), "config: must be an object"},
      {with("\"size\":7", "\"size\":-1"), "layers[0].size"},
      {with("\"size\":7", "\"size\":7.5"), "layers[0].size"},
      {with("\"size\":7", "\"size\":1e3"), "layers[0].size"},
      {with("\"size\":7", "\"size\":\"7\""), "layers[0].size"},
      {with("\"size\":7", "\"size\":99999999999999999999"), "layers[0].size"},
      {with("\"size\":7", "\"size\":18446744073709551615"), "layers[0].size"},
      {with(",\"size\":7", ""), "layers[0].size"},
      {with(digest.to_text(), "sha256:../../../etc/passwd"), "layers[0].digest"},
      {with(digest.to_text(), "md5:d41d8cd98f00b204e9800998ecf8427e"), "layers[0].digest"},
      {with("\"" + digest.to_text() + "\"", "5"), "layers[0].digest"},
      {with("\"mediaType\":", "\"mediaTyp\":"), "layers[0].mediaType"},
      {with("\"size\":7", "\"size\":7,\"platform\":[]"), "layers[0].platform"},
      {with("\"size\":7", "\"size\":7,\"annotations\":5"), "layers[0].annotations"},
  };
  for (const auto& row : cases) {
    const auto& text = row.first;
    const auto* wanted = row.second;
    CAPTURE(text);
    const auto manifest = parse_manifest(text);
    REQUIRE(manifest.has_error());
    CAPTURE(manifest.error().message());
    CHECK(manifest.error().code() == ErrorCode::invalid);
    CHECK(manifest.error().message().find(wanted) != std::string::npos);
  }
}

TEST_CASE("documents without measure are refused") {
  CHECK(parse_manifest(std::string(max_document_bytes + 1, ' ')).error().code() == ErrorCode::exhausted);
  std::vector<std::string> entries(10'001, "{}");
  CHECK(parse_index(index_of(entries)).error().message().find("more than 10000") != std::string::npos);
  std::string layers = "[";
  for (int i = 0; i < 65; ++i) layers += (i == 0 ? "" : ",") + entry(layer_type("rootfs"), digest, 7);
  CHECK(parse_manifest(manifest_text(layers + "]")).error().message().find("more than 64") != std::string::npos);
}

TEST_CASE("an index tells platforms and tags") {
  const auto index = parse_index(index_of({entry(manifest_type, digest, 5, platform("arm64") + tag("v1")),
                                           entry(manifest_type, digest, 5)}))
                         .value();
  REQUIRE(index.manifests.size() == 2);
  CHECK(index.manifests[0].platform == Platform{"linux", "arm64"});
  CHECK(index.manifests[0].reference_name == "v1");
  CHECK_FALSE(index.manifests[1].platform);
  CHECK(index.manifests[1].reference_name.empty());
  CHECK(parse_index(index_of({})).value().manifests.empty());
}

TEST_CASE("a configuration tells the command line") {
  CHECK(parse_config("{\"commandLine\":\"console=ttyS0 quiet\"}").value().command_line == "console=ttyS0 quiet");
  CHECK(parse_config("{}").value().command_line.empty());
  CHECK(parse_config("{\"os\":\"linux\",\"architecture\":\"arm64\"}").value().platform == Platform{"linux", "arm64"});
  CHECK(parse_config("{\"commandLine\":5}").error().code() == ErrorCode::invalid);
  CHECK(parse_config("{\"commandLine\":\"a\\nb\"}").error().code() == ErrorCode::invalid);
  CHECK(parse_config("{\"commandLine\":\"" + std::string(5000, 'x') + "\"}").error().code() == ErrorCode::invalid);
  CHECK(parse_config("null").error().code() == ErrorCode::invalid);
}
