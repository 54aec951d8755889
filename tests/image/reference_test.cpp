// SPDX-License-Identifier: Apache-2.0
// Image references are read strictly and written canonically.
#include "ironcore/image/reference.hpp"

#include <doctest/doctest.h>

using namespace ironcore;
using namespace ironcore::image;

namespace {

const std::string digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

}  // namespace

TEST_CASE("a layout is named by its absolute path, with tag and digest if wanted") {
  const auto plain = Reference::parse("oci:/var/lib/images/debian").value();
  CHECK(plain.kind() == Reference::Kind::layout);
  CHECK(plain.location() == "/var/lib/images/debian");
  CHECK_FALSE(plain.tag());
  CHECK_FALSE(plain.digest());

  const auto tagged = Reference::parse("oci:/var/lib/images/debian:12").value();
  CHECK(tagged.location() == "/var/lib/images/debian");
  CHECK(tagged.tag() == "12");

  const auto pinned = Reference::parse("oci:/images/debian:12@" + digest).value();
  CHECK(pinned.tag() == "12");
  CHECK(pinned.digest()->to_text() == digest);

  CHECK(Reference::parse("oci:/with:colon/x@y/debian").value().location() == "/with:colon/x@y/debian");
  CHECK(Reference::parse("oci:/images/debian/").value().location() == "/images/debian");
}

TEST_CASE("a registry's image is named as everywhere else") {
  const auto full = Reference::parse("registry.example:5000/team/os-images/debian:12.1_a").value();
  CHECK(full.kind() == Reference::Kind::registry);
  CHECK(full.location() == "registry.example:5000/team/os-images/debian");
  CHECK(full.tag() == "12.1_a");
  CHECK(Reference::parse("debian").value().location() == "docker.io/library/debian");
  CHECK(Reference::parse("team/debian@" + digest).value().location() == "docker.io/team/debian");
  CHECK(Reference::parse("localhost/x").value().location() == "localhost/x");
  CHECK(Reference::parse("localhost:5000/x:1").value().tag() == "1");
}

TEST_CASE("a reference survives being written and read") {
  for (const auto& text : {std::string("oci:/a"), std::string("oci:/a/b:tag"), "oci:/a@" + digest, "oci:/a:t@" + digest,
                           std::string("x.y/z:1"), std::string("a__b/c-d.e"), "host:1/a/b@" + digest}) {
    CAPTURE(text);
    const auto reference = Reference::parse(text).value();
    CHECK(Reference::parse(reference.to_text()).value() == reference);
  }
}

TEST_CASE("malformed references are refused") {
  for (const auto& text : {std::string(),
                           std::string("oci:"),
                           std::string("oci:relative/path"),
                           std::string(250, 'a'),
                           std::string("oci:/"),
                           std::string("oci://"),
                           std::string("oci:/a/../etc"),
                           std::string("oci:/a/./b"),
                           std::string("oci:/a:"),
                           std::string("oci:/a:t ag"),
                           std::string("oci:/a:-t"),
                           std::string("oci:/a@sha256:abc"),
                           std::string("oci:/a@"),
                           std::string("oci:/a:tag/"),
                           std::string("oci:/a@b/"),
                           std::string("oci:/a:b:c"),
                           "oci:/a@" + digest + "0",
                           std::string("oci:/a\n"),
                           std::string("oci:/a\0b", 8),
                           "oci:/" + std::string(5000, 'a'),
                           std::string("Upper/case"),
                           std::string("a//b"),
                           std::string("/a"),
                           std::string("a/"),
                           std::string("a:"),
                           std::string("a...b"),
                           std::string("a___b"),
                           std::string("-a"),
                           std::string("a-"),
                           std::string("https://host/x"),
                           std::string("host.:99999999/x"),
                           std::string("a.b:x/y"),
                           "a:" + std::string(129, 't')}) {
    CAPTURE(text);
    const auto reference = Reference::parse(text);
    REQUIRE(reference.has_error());
    CHECK(reference.error().code() == ErrorCode::invalid);
    CHECK(reference.error().message().find('\n') == std::string::npos);
  }
}
