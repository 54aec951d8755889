// SPDX-License-Identifier: Apache-2.0
// Building and checking underlay addresses.
#include "underlay.hpp"

#include <algorithm>
#include <array>

#include "bytes.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint8_t mark = 0xd0;
constexpr std::uint8_t given_by_others = 0x80;

}  // namespace

Underlay::Underlay(const Prefix& host, std::uint64_t seed)
    : host_(host.network()),
      random_(static_cast<std::uint8_t>(seed)),
      counter_(static_cast<std::uint32_t>(seed >> 32)) {}

IpAddress Underlay::next(UnderlayUse use) noexcept {
  std::array<std::uint8_t, 16> bytes{};
  const auto host = host_.address().bytes();
  std::copy_n(host.begin(), 8, bytes.begin());
  bytes[8] = mark;
  bytes[9] = static_cast<std::uint8_t>(use);
  bytes[11] = random_;
  store32(&bytes[12], ++counter_);
  return IpAddress::v6(bytes);
}

std::optional<std::string> Underlay::why_not(const IpAddress& address) const {
  if (!host_.contains(address)) return "must lie in the host's underlay prefix " + host_.to_text();
  const auto bytes = address.bytes();
  if ((bytes[8] & 0xf0) != mark || (bytes[10] & given_by_others) == 0)
    return "must have the form " + host_.first().to_text() + " with d in its 17th and 8 in its 21st hexadecimal digit";
  return std::nullopt;
}

}  // namespace ironcore::network::dataplane
