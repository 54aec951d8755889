// SPDX-License-Identifier: Apache-2.0
// OCI documents and image references from strangers: whatever is accepted must be within its bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ironcore/image/manifest.hpp"
#include "ironcore/image/reference.hpp"

using namespace ironcore;

static void require(bool holds) {
  if (!holds) std::abort();
}

template <class T>
static void require_one_line(const Result<T>& result) {
  if (result.has_error())
    require(!result.error().message().empty() && result.error().message().find('\n') == std::string::npos);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const auto index = image::parse_index(text);
  require_one_line(index);
  if (index) {
    for (const auto& entry : index->manifests) {
      require(!entry.media_type.empty() && entry.size <= INT64_MAX);
      require(crypto::Digest::parse(entry.digest.to_text()).value() == entry.digest);
    }
  }
  const auto manifest = image::parse_manifest(text);
  require_one_line(manifest);
  if (manifest) require(!manifest->layers.empty() && manifest->layers.size() <= 6);
  const auto config = image::parse_config(text);
  require_one_line(config);
  if (config) require(config->command_line.find('\n') == std::string::npos);

  const auto reference = image::Reference::parse(text);
  require_one_line(reference);
  if (reference) {
    require(image::Reference::parse(reference->to_text()).value() == *reference);
    if (reference->kind() == image::Reference::Kind::layout)
      require(reference->location().starts_with('/') &&
              (reference->location() + "/").find("/../") == std::string::npos);
  }
  return 0;
}
