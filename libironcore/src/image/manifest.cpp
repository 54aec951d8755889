// SPDX-License-Identifier: Apache-2.0
// OCI documents from JSON, with bounds on everything that a stranger may choose.
#include "ironcore/image/manifest.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "ironcore/base/text.hpp"

namespace ironcore::image {

namespace json = boost::json;

namespace {

constexpr std::size_t max_index_entries = 10'000, max_layers = 64, max_media_type = 255, max_command_line = 4096;

struct LayerType {
  std::string_view media_type;
  LayerKind kind;
};

// The names of today's images, of the v1alpha1 format before, and of the written specification.
constexpr std::array<LayerType, 15> layer_types{{
    {"application/vnd.ironcore.image.rootfs", LayerKind::rootfs},
    {"application/vnd.ironcore.image.initramfs", LayerKind::initramfs},
    {"application/vnd.ironcore.image.kernel", LayerKind::kernel},
    {"application/vnd.ironcore.image.squashfs", LayerKind::squashfs},
    {"application/vnd.ironcore.image.uki", LayerKind::uki},
    {"application/vnd.ironcore.image.iso", LayerKind::iso},
    {"application/vnd.ironcore.image.rootfs.v1alpha1.rootfs", LayerKind::rootfs},
    {"application/vnd.ironcore.image.initramfs.v1alpha1.initramfs", LayerKind::initramfs},
    {"application/vnd.ironcore.image.vmlinuz.v1alpha1.vmlinuz", LayerKind::kernel},
    {"application/vnd.ironcore.image.squashfs.v1alpha1.squashfs", LayerKind::squashfs},
    {"application/vnd.ironcore.image.uki.v1alpha1.uki", LayerKind::uki},
    {"application/vnd.ironcore.osboot.disk.img", LayerKind::rootfs},
    {"application/vnd.ironcore.osboot.kernel", LayerKind::kernel},
    {"application/vnd.ironcore.osboot.initramfs", LayerKind::initramfs},
    {"application/vnd.ironcore.osboot.squashfs", LayerKind::squashfs},
}};

Error invalid(std::string_view field, std::string_view why) {
  return Error(ErrorCode::invalid, std::string(field) + ": " + std::string(why));
}

Result<json::object> parse_object(std::string_view text) {
  if (text.size() > max_document_bytes) return Error(ErrorCode::exhausted, "the document is larger than 4 MiB");
  json::parse_options options;
  options.max_depth = 16;
  boost::system::error_code failed;
  auto value = json::parse(json::string_view(text.data(), text.size()), failed, {}, options);
  if (failed) return Error(ErrorCode::invalid, "malformed JSON: " + failed.message());
  if (!value.is_object()) return Error(ErrorCode::invalid, "the document must be a JSON object");
  return std::move(value.as_object());
}

std::string_view view(const json::string& text) {
  return {text.data(), text.size()};
}

/// A text member; absent or null gives an empty one.
Result<std::string> text_member(const json::object& object, std::string_view key, std::string_view field,
                                std::size_t most) {
  const auto* value = object.if_contains({key.data(), key.size()});
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string()) return invalid(field, "must be a text");
  const auto text = view(value->get_string());
  if (text.size() > most) return invalid(field, "is too long");
  return std::string(text);
}

Result<std::optional<Platform>> parse_platform(const json::object& object, const std::string& field) {
  IRONCORE_TRY(auto os, text_member(object, "os", field + ".os", 64));
  IRONCORE_TRY(auto architecture, text_member(object, "architecture", field + ".architecture", 64));
  if (os.empty() || architecture.empty()) return std::optional<Platform>();
  return std::optional(Platform{std::move(os), std::move(architecture)});
}

Result<Descriptor> parse_descriptor(const json::value& value, const std::string& field) {
  const auto* object = value.if_object();
  if (object == nullptr) return invalid(field, "must be an object");
  Descriptor descriptor;
  IRONCORE_TRY(descriptor.media_type, text_member(*object, "mediaType", field + ".mediaType", max_media_type));
  if (descriptor.media_type.empty()) return invalid(field + ".mediaType", "is missing");
  IRONCORE_TRY(const auto digest_text, text_member(*object, "digest", field + ".digest", 1024));
  const auto digest = crypto::Digest::parse(digest_text);
  if (!digest) return digest.error().within(field + ".digest: " + in_quotes(digest_text));
  descriptor.digest = *digest;

  const auto* size = object->if_contains("size");
  if (size == nullptr) return invalid(field + ".size", "is missing");
  boost::system::error_code failed;
  const auto bytes = size->is_number() && !size->is_double() ? size->to_number<std::int64_t>(failed) : -1;
  if (failed || bytes < 0) return invalid(field + ".size", "must be a whole number of bytes, not negative");
  descriptor.size = static_cast<std::uint64_t>(bytes);

  if (const auto* platform = object->if_contains("platform"); platform != nullptr && !platform->is_null()) {
    if (!platform->is_object()) return invalid(field + ".platform", "must be an object");
    IRONCORE_TRY(descriptor.platform, parse_platform(platform->get_object(), field + ".platform"));
  }
  if (const auto* annotations = object->if_contains("annotations"); annotations != nullptr && !annotations->is_null()) {
    if (!annotations->is_object()) return invalid(field + ".annotations", "must be an object");
    IRONCORE_TRY(descriptor.reference_name, text_member(annotations->get_object(), "org.opencontainers.image.ref.name",
                                                        field + ".annotations", 1024));
  }
  return descriptor;
}

Result<> check_schema(const json::object& object) {
  const auto* version = object.if_contains("schemaVersion");
  if (version == nullptr || !version->is_number() || *version != 2) return invalid("schemaVersion", "must be 2");
  return {};
}

Result<const json::array*> array_member(const json::object& object, std::string_view key, std::size_t most) {
  const auto* value = object.if_contains({key.data(), key.size()});
  if (value == nullptr || !value->is_array()) return invalid(key, "must be a list");
  const auto& array = value->get_array();
  if (array.size() > most) return invalid(key, "has more than " + std::to_string(most) + " entries");
  return &array;
}

std::string item(std::string_view list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

}  // namespace

Platform Platform::this_machine() {
#if defined(__x86_64__)
  return {"linux", "amd64"};
#elif defined(__aarch64__)
  return {"linux", "arm64"};
#elif defined(__riscv) && __riscv_xlen == 64
  return {"linux", "riscv64"};
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
  return {"linux", "ppc64le"};
#elif defined(__s390x__)
  return {"linux", "s390x"};
#else
#error "name this processor as Go does"
#endif
}

std::string_view name(LayerKind kind) noexcept {
  switch (kind) {
    case LayerKind::rootfs:
      return "rootfs";
    case LayerKind::kernel:
      return "kernel";
    case LayerKind::initramfs:
      return "initramfs";
    case LayerKind::squashfs:
      return "squashfs";
    case LayerKind::uki:
      return "uki";
    case LayerKind::iso:
      return "iso";
  }
  return "rootfs";
}

bool is_index_type(std::string_view media_type) noexcept {
  return media_type == "application/vnd.oci.image.index.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

bool is_manifest_type(std::string_view media_type) noexcept {
  return media_type == "application/vnd.oci.image.manifest.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.v2+json" ||
         media_type == "application/vnd.ironcore.osboot.artifacts.v1+json";
}

Result<Index> parse_index(std::string_view text) {
  IRONCORE_TRY(const auto object, parse_object(text));
  IRONCORE_CHECK(check_schema(object));
  IRONCORE_TRY(const auto* entries, array_member(object, "manifests", max_index_entries));
  Index index;
  index.manifests.reserve(entries->size());
  for (std::size_t i = 0; i < entries->size(); ++i) {
    IRONCORE_TRY(auto descriptor, parse_descriptor((*entries)[i], item("manifests", i)));
    index.manifests.push_back(std::move(descriptor));
  }
  return index;
}

Result<Manifest> parse_manifest(std::string_view text) {
  IRONCORE_TRY(const auto object, parse_object(text));
  IRONCORE_CHECK(check_schema(object));
  Manifest manifest;
  const auto* config = object.if_contains("config");
  if (config == nullptr) return invalid("config", "is missing");
  IRONCORE_TRY(manifest.config, parse_descriptor(*config, "config"));
  IRONCORE_TRY(const auto* layers, array_member(object, "layers", max_layers));
  if (layers->empty()) return invalid("layers", "must not be empty");
  for (std::size_t i = 0; i < layers->size(); ++i) {
    const auto field = item("layers", i);
    IRONCORE_TRY(auto blob, parse_descriptor((*layers)[i], field));
    const auto type = std::find_if(layer_types.begin(), layer_types.end(),
                                   [&](const LayerType& known) { return known.media_type == blob.media_type; });
    if (type == layer_types.end())
      return Error(
          ErrorCode::unsupported,
          field + ": blob " + blob.digest.to_text() + " has the unknown media type " + in_quotes(blob.media_type) +
              "; a machine image has application/vnd.ironcore.image.rootfs, kernel, initramfs, squashfs, uki or iso");
    const auto same = [&](const Layer& layer) { return layer.kind == type->kind; };
    if (std::any_of(manifest.layers.begin(), manifest.layers.end(), same))
      return invalid(field,
                     "blob " + blob.digest.to_text() + " is a second " + std::string(name(type->kind)) + " layer");
    manifest.layers.push_back({type->kind, std::move(blob)});
  }
  return manifest;
}

Result<Config> parse_config(std::string_view text) {
  IRONCORE_TRY(const auto object, parse_object(text));
  Config config;
  IRONCORE_TRY(config.command_line, text_member(object, "commandLine", "commandLine", max_command_line));
  if (std::any_of(config.command_line.begin(), config.command_line.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return invalid("commandLine", "must not contain control characters");
  IRONCORE_TRY(config.platform, parse_platform(object, "platform"));
  return config;
}

}  // namespace ironcore::image
