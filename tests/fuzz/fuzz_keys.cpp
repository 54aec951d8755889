// SPDX-License-Identifier: Apache-2.0
// Files of keys, and wrapped keys as text: what is accepted is well formed, what is refused tells nothing of what is there.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ironcore/crypto/key_management.hpp"
#include "key_lines.hpp"

using namespace ironcore;
using namespace ironcore::crypto;

static void require(bool holds) {
  if (!holds) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto lines = parse_key_lines(text)) {
    require(!lines->versions.empty() && lines->versions.begin()->first > 0);
    for (const auto& [version, key] : lines->versions) {
      const KeyVersion named{lines->id, version};
      require(KeyVersion::parse(named.to_text()).value() == named);
    }
  } else {
    require(lines.error().code() == ErrorCode::invalid && lines.error().message().size() < 200);
  }
  if (const auto wrapped = WrappedKey::parse(text)) {
    require(!wrapped->bytes.empty() && wrapped->to_text() == text);
  } else {
    require(wrapped.error().code() == ErrorCode::corrupt);
  }
  if (const auto version = KeyVersion::parse(text)) require(version->to_text() == text);
  return 0;
}
