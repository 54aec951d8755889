// SPDX-License-Identifier: Apache-2.0
// Answers of a RADOS gateway that is not what it says: whatever is accepted is within its bounds, and what is refused is told in one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "documents.hpp"
#include "http.hpp"
#include "xml.hpp"

using namespace ironcore;
using namespace ironcore::storage;

static void require(bool holds) {
  if (!holds) std::abort();
}

static bool is_one_line(std::string_view text) {
  return text.find('\n') == std::string_view::npos && text.find('\0') == std::string_view::npos;
}

template <class T>
static void require_one_line(const Result<T>& result) {
  if (result.has_error()) require(!result.error().message().empty() && is_one_line(result.error().message()));
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const auto keys = rgw::parse_user_keys(text);
  require_one_line(keys);
  if (keys)
    for (const auto& key : keys->keys) require(!key.key_id.empty() && is_one_line(key.key_id));
  require_one_line(rgw::parse_bucket_list(text));
  require_one_line(rgw::parse_user_page(text));
  const auto refusal = rgw::parse_refusal(text);
  require(is_one_line(refusal.code) && is_one_line(refusal.message));
  require(refusal.code.size() <= 80 && refusal.message.size() <= 220);

  require_one_line(rgw::parse_xml(text));
  require_one_line(rgw::parse_versioning(text));
  const auto lifecycle = rgw::parse_lifecycle(text);
  require_one_line(lifecycle);
  if (lifecycle && check({.lifecycle = *lifecycle}))
    require(rgw::parse_lifecycle(rgw::lifecycle_xml(*lifecycle)).value() == *lifecycle);
  const auto cors = rgw::parse_cors(text);
  require_one_line(cors);
  if (cors && check({.cors = *cors})) require(rgw::parse_cors(rgw::cors_xml(*cors)).value() == *cors);
  const auto lock = rgw::parse_object_lock(text);
  require_one_line(lock);
  if (lock) require(rgw::parse_object_lock(rgw::object_lock_xml(*lock)).value() == *lock);

  const auto endpoint = rgw::Endpoint::parse(text);
  require_one_line(endpoint);
  if (endpoint) require(!endpoint->host.empty() && is_one_line(endpoint->authority));
  return 0;
}
