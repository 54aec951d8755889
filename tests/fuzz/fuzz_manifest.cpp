// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes as a manifest, through YAML or JSON, decoding, admission, patches and printing.
#include <boost/json/parse.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "ironcore/api/core.hpp"
#include "ironcore/api/json.hpp"
#include "ironcore/api/object.hpp"
#include "ironcore/api/yaml.hpp"
#include "json_reader.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz_manifest: %s\n", what);
  std::abort();
}

/// Whoever accepts a text as JSON, we or Boost, the other does too, beyond what we refuse on purpose.
void compare_with_boost(std::string_view text) {
  json::Reader reader(text);
  const bool ours = reader.skip() && reader.finish();
  boost::json::error_code failure;
  boost::json::parse_options options;
  options.max_depth = json::max_depth;
  boost::json::parse(text, failure, {}, options);
  if (ours) {
    // Boost turns numbers into doubles; we keep them as they are written.
    require(!failure || failure == boost::json::error::exponent_overflow, "we accept what is not JSON");
  } else {
    const Error error = reader.error();
    const auto on_purpose = error.message().find("twice") != std::string::npos ||
                            error.message().find("nested deeper") != std::string::npos;
    require(failure || on_purpose, "we refuse what is JSON");
  }
}

/// What ironcorectl does to the text of a manifest before it decodes it again.
void try_tree(std::string_view text) {
  const auto tree = json::parse_tree(text, json::Nulls::keep);
  if (!tree) return;
  const auto printed = json::to_text(*tree);
  const auto again = json::parse_tree(printed, json::Nulls::keep);
  require(again.has_value() && *again == *tree && json::to_text(*again) == printed, "a tree does not come back");
  require(json::overlaps(*tree, *tree) || tree->members.empty() || printed.find(":{}") != std::string::npos,
          "a patch does not overlap itself");
  if (!tree->is_object()) return;
  auto changed = json::parse_tree(text, json::Nulls::drop).value();
  changed.object_at("metadata").object_at("annotations").set("memory", json::Tree::string(printed));
  move_string_data(changed);
  const auto read = json::parse_tree(json::to_text(changed), json::Nulls::keep);
  // Three levels may be too many; nothing else can go wrong.
  if (!read) return;
  require(read->find("metadata")->find("annotations")->find("memory")->text() == printed, "a text does not come back");
}

void try_object(std::string_view text) {
  const auto refused = Object::decode(text, UnknownFields::refuse);
  const auto object = Object::decode(text);
  require(!refused || object.has_value(), "keeping unknown fields refuses more than refusing them");
  if (!object) return;
  const auto json = object->json();
  const auto again = Object::decode(json);
  require(again.has_value() && *again == *object && again->json() == json,
          "an object does not come back from its JSON");
  const auto& kind = object->kind();
  const auto onto = kind.decode_onto(json, *object);
  require(onto.has_value() && *onto == *object, "an object cannot be written back");
  // Of what is stored, nothing is null: a mistyped member that is null in the text is refused like any other.
  const auto change = decode_change(json, [&](const Object&) { return Result<Object>(object); });
  require(change.has_value() && *change == *object, "unknown members of the stored object are refused");
  require(kind.cells(*object, WallTime()).size() == kind.columns().size(), "cells and columns differ");
  (void)field_text(*object, kind.info().placement);
  const auto admitted = kind.admit_create(*object);
  if (!admitted) {
    require(!admitted.error().fields().empty(), "admission refuses without naming a field");
    return;
  }
  const auto twice = kind.admit_create(*admitted);
  require(twice.has_value() && *twice == *admitted, "admission does not accept what it made");
  require(kind.admit_update(*admitted, *admitted).has_value(), "no change is refused");
  const auto patch = merge_patch(*object, *admitted);
  const auto patched = apply_merge_patch(*object, patch);
  require(patched.has_value() && *patched == *admitted, "a patch does not lead where it should");
  const auto applied = three_way_patch(json, json, *admitted);
  require(!applied || *applied == "{}", "applying again changes something");
  const auto yaml = to_yaml(json);
  require(yaml.has_value(), "an object cannot be printed");
  const auto printed = parse_manifests(*yaml);
  require(printed.has_value() && printed->size() == 1, "printed YAML cannot be read");
  require(Object::decode(printed->front().json()).value() == *object, "printed YAML is another object");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  compare_with_boost(text);
  try_tree(text);
  try_object(text);
  const auto manifests = parse_manifests(text);
  if (!manifests) return 0;
  for (const auto& manifest : *manifests) {
    json::Reader reader(manifest.json());
    require(reader.skip() && reader.finish(), "a manifest is no JSON");
    try_tree(manifest.json());
    try_object(manifest.json());
    const auto object = Object::decode(manifest.json(), UnknownFields::refuse);
    if (!object) {
      for (const auto& line : locate(object.error(), manifest, "f"))
        require(line.starts_with("f:"), "an error has no place");
    }
  }
  return 0;
}
