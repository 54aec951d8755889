// SPDX-License-Identifier: Apache-2.0
// Images are found in layouts by tag, digest and platform, and every document is verified.
#include "ironcore/image/layout.hpp"

#include <doctest/doctest.h>

#include "layout_builder.hpp"

using namespace ironcore;
using namespace ironcore::image;
using namespace ironcore::image::test;

namespace {

const Platform amd64{"linux", "amd64"};
const Platform arm64{"linux", "arm64"};

Result<Image> resolve(const LayoutBuilder& layout, std::optional<std::string> name = {},
                      const Platform& wanted = amd64) {
  IRONCORE_TRY(const auto opened, Layout::open(layout.directory));
  return opened.resolve(name, {}, wanted);
}

std::string rootfs(const LayoutBuilder& layout, std::string_view content) {
  return layout.blob(layer_type("rootfs"), content);
}

}  // namespace

TEST_CASE("the only image of a layout needs no tag") {
  const TemporaryDirectory directory;
  const auto layout = simple_layout(directory.path);
  const auto image = resolve(layout).value();
  CHECK(image.manifest.layers.size() == 3);
  CHECK(image.config.command_line == "console=ttyS0");
  CHECK(resolve(layout, "v1").value().descriptor.digest == image.descriptor.digest);
  CHECK(Layout::open(layout.directory).value().tags() == std::vector<std::string>{"v1"});
}

TEST_CASE("the image for the platform is chosen, in an index of its own too") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  const auto for_amd64 = layout.manifest({rootfs(layout, "a")}, platform("amd64"));
  const auto for_arm64 = layout.manifest({rootfs(layout, "b")}, platform("arm64"));
  layout.index({layout.blob(index_type, index_of({for_amd64, for_arm64}), tag("12")),
                layout.manifest({rootfs(layout, "c")}, tag("11") + platform("amd64")),
                layout.manifest({rootfs(layout, "d")}, tag("11") + platform("arm64"))});
  CHECK(resolve(layout, "12").value().descriptor.digest == digest_in(for_amd64));
  CHECK(resolve(layout, "12", arm64).value().descriptor.digest == digest_in(for_arm64));
  CHECK(resolve(layout, "11", arm64).value().manifest.layers[0].blob.digest == crypto::sha256("d"));
  const auto error = resolve(layout, "12", {"linux", "riscv64"}).error();
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.message().find("it has linux/amd64, linux/arm64") != std::string::npos);
}

TEST_CASE("an image that tells no platform fits, unless its configuration says otherwise or another fits better") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  const auto silent = layout.manifest({rootfs(layout, "a")});
  const auto other = layout.manifest({rootfs(layout, "b")}, "", "{\"os\":\"linux\",\"architecture\":\"arm64\"}");
  layout.index({silent});
  CHECK(resolve(layout).value().descriptor.digest == digest_in(silent));
  layout.index({other});
  CHECK(resolve(layout).error().message().find("it has linux/arm64") != std::string::npos);
  layout.index({silent, other});
  CHECK(resolve(layout, {}, arm64).value().descriptor.digest == digest_in(other));
}

TEST_CASE("an image is found by digest, at the top or below, and a tag beside it does not matter") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  const auto manifest = layout.manifest({rootfs(layout, "a")}, platform("amd64"));
  const auto inner = layout.blob(index_type, index_of({manifest}));
  layout.index({inner});
  const auto opened = Layout::open(layout.directory).value();
  for (const auto& digest : {digest_in(manifest), digest_in(inner)})
    CHECK(opened.resolve("whatever", digest, amd64).value().descriptor.digest == digest_in(manifest));
  CHECK(opened.resolve({}, crypto::sha256("missing"), amd64).error().code() == ErrorCode::not_found);
  // A layer is a blob of the layout as well, but no image.
  CHECK(opened.resolve({}, crypto::sha256("a"), amd64).error().code() == ErrorCode::invalid);
}

TEST_CASE("an ambiguous or unknown tag is answered with the tags there are") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  layout.index({layout.manifest({rootfs(layout, "a")}, tag("bookworm")),
                layout.manifest({rootfs(layout, "b")}, tag("bullseye"))});
  CHECK(resolve(layout).error().message().find("name one of the tags bookworm, bullseye") != std::string::npos);
  const auto error = resolve(layout, "bookwrm").error();
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.message().find("did you mean \"bookworm\"?") != std::string::npos);
  layout.index({layout.manifest({rootfs(layout, "a")}, tag("x")), layout.manifest({rootfs(layout, "b")}, tag("x"))});
  CHECK(resolve(layout, "x").error().message().find("several images") != std::string::npos);
  layout.index({});
  CHECK(resolve(layout).error().code() == ErrorCode::not_found);
}

TEST_CASE("what is not a layout is told apart from a broken one") {
  const TemporaryDirectory directory;
  CHECK(Layout::open(directory.path / "missing").error().code() == ErrorCode::not_found);
  CHECK(Layout::open(directory.path).error().message().find("no OCI image layout") != std::string::npos);
  const LayoutBuilder layout(directory.path);
  CHECK(Layout::open(directory.path).error().message().find("index.json") != std::string::npos);
  layout.write("index.json", "{");
  CHECK(Layout::open(directory.path).error().code() == ErrorCode::invalid);
  layout.index({});
  CHECK(Layout::open(directory.path).has_value());
  layout.write("oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}");
  CHECK(Layout::open(directory.path).error().code() == ErrorCode::unsupported);
  layout.write("oci-layout", "hello");
  CHECK(Layout::open(directory.path).error().code() == ErrorCode::invalid);
}

TEST_CASE("a changed, cut or missing document is noticed and named") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  const auto manifest = layout.manifest({rootfs(layout, "a")});
  layout.index({manifest});
  const auto path = layout.path_of(digest_in(manifest));
  const auto content = read_file(path, 10000).value();

  auto changed = content;
  changed[10] ^= 1;
  layout.write(path, changed);
  auto error = resolve(layout).error();
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.message().find(digest_in(manifest).to_text()) != std::string::npos);

  layout.write(path, content.substr(0, 20));
  error = resolve(layout).error();
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.message().find("20 bytes instead of") != std::string::npos);

  fs::remove(path);
  CHECK(resolve(layout).error().code() == ErrorCode::not_found);
  fs::create_directory(path);
  CHECK(resolve(layout).error().code() == ErrorCode::invalid);
}

TEST_CASE("a document that claims to be huge is not read") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  layout.index({entry(manifest_type, crypto::sha256("x"), max_document_bytes + 1)});
  CHECK(resolve(layout).error().code() == ErrorCode::exhausted);
  // One that claims to be small and is huge neither.
  layout.write(layout.path_of(crypto::sha256("x")), std::string(max_document_bytes + 1, ' '));
  layout.index({entry(manifest_type, crypto::sha256("x"), 10)});
  CHECK(resolve(layout).error().code() == ErrorCode::exhausted);
  layout.write("index.json", std::string(max_document_bytes + 1, ' '));
  CHECK(Layout::open(layout.directory).error().code() == ErrorCode::exhausted);
}

TEST_CASE("indexes inside indexes end somewhere") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  auto inner = layout.manifest({rootfs(layout, "a")});
  for (int level = 0; level < 4; ++level) inner = layout.blob(index_type, index_of({inner}));
  layout.index({inner});
  CHECK(resolve(layout).has_value());
  layout.index({layout.blob(index_type, index_of({inner}))});
  CHECK(resolve(layout).error().message().find("more than four levels") != std::string::npos);

  // The same index again and again costs one reading; many different ones are refused.
  layout.index(std::vector<std::string>(1000, inner));
  CHECK(resolve(layout).has_value());
  std::vector<std::string> many;
  for (int i = 0; i < 101; ++i)
    many.push_back(layout.blob(index_type, index_of({}) + std::string(static_cast<std::size_t>(i), ' ')));
  layout.index(many);
  CHECK(resolve(layout).error().code() == ErrorCode::exhausted);
}

TEST_CASE("an index that claims to contain itself cannot: its digest would not match") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  const auto claimed = crypto::sha256("a promise");
  const auto text = index_of({entry(index_type, claimed, 0)});
  layout.write(layout.path_of(claimed), text);
  layout.index({entry(index_type, claimed, text.size())});
  CHECK(resolve(layout).error().code() == ErrorCode::corrupt);
}

TEST_CASE("a blob of another type is named with its type") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  layout.index({layout.blob("application/x-surprise", "{}")});
  const auto error = resolve(layout).error();
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(error.message().find("application/x-surprise") != std::string::npos);
}

TEST_CASE("what is no image, or another platform's damage, does not hide an image") {
  const TemporaryDirectory directory;
  const LayoutBuilder layout(directory.path);
  const auto good = layout.manifest({rootfs(layout, "a")});
  layout.index({layout.blob("application/x-surprise", "{}"), good});
  CHECK(resolve(layout).has_value());

  const auto claimed = crypto::sha256("a promise");
  layout.write(layout.path_of(claimed), "something else");
  const auto damaged = entry("application/vnd.oci.image.manifest.v1+json", claimed, 14);
  layout.index({damaged, good});
  // The good one does not say its platform either, so nobody knows which was meant.
  CHECK(resolve(layout).error().code() == ErrorCode::corrupt);
  layout.index({damaged, layout.manifest({rootfs(layout, "b")}, platform("amd64"))});
  CHECK(resolve(layout).has_value());
}
