// SPDX-License-Identifier: Apache-2.0
// The values of the field from any text: what is accepted survives being written and read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ironcore/base/base64.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/quantity.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/base/uid.hpp"
#include "ironcore/base/vni.hpp"
#include "ironcore/crypto/digest.hpp"

using namespace ironcore;

static void require(bool holds) {
  if (!holds) std::abort();
}

template <class Parse, class Write>
static void round_trip(std::string_view text, Parse parse, Write write) {
  const auto value = parse(text);
  if (!value) {
    require(value.error().code() == ErrorCode::invalid && value.error().message().find('\n') == std::string::npos);
    return;
  }
  const auto written = write(*value);
  const auto again = parse(written);
  require(again.has_value() && *again == *value && write(*again) == written);
}

template <class Value>
static void round_trip(std::string_view text) {
  round_trip(text, Value::parse, [](const Value& value) { return value.to_text(); });
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  round_trip<IpAddress>(text);
  round_trip<Prefix>(text);
  round_trip<MacAddress>(text);
  round_trip<Vni>(text);
  round_trip<Quantity>(text);
  round_trip<Uid>(text);
  round_trip<crypto::Digest>(text);
  round_trip(text, parse_rfc3339, to_rfc3339);
  round_trip(text, parse_duration, [](Duration span) { return to_text(span); });
  if (const auto bytes = base64_decode(text)) require(base64_encode(std::string_view(*bytes)) == text);
  require(base64_decode(base64_encode(text)).value() == text);

  const bool is_label = !check_dns_label(text);
  if (is_label) require(!check_dns_subdomain(text) && !check_qualified_name(text) && !check_label_value(text));
  if (!check_qualified_name(text) && text.find('/') == std::string_view::npos) require(!check_label_value(text));
  require(in_quotes(text, 40).size() <= 45);
  const std::string_view words[] = {"spec", "status", "machineClassRef"};
  if (const auto word = nearest(text, words)) require(word->size() < 2 * text.size() + 2);
  return 0;
}
