// SPDX-License-Identifier: Apache-2.0
// Prefixes as text, masks and containment.
#include "ironcore/base/prefix.hpp"

#include "digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore {

namespace {

/// The network part of byte `index` of an address under a prefix of `length` bits.
std::uint8_t mask(unsigned length, std::size_t index) noexcept {
  const auto start = static_cast<unsigned>(index) * 8;
  if (length >= start + 8) return 0xff;
  if (length <= start) return 0;
  return static_cast<std::uint8_t>(0xff << (8 - (length - start)));
}

template <class Combine>
IpAddress with_mask(const IpAddress& address, unsigned length, Combine combine) noexcept {
  std::array<std::uint8_t, 16> bytes{};
  const auto from = address.bytes();
  for (std::size_t i = 0; i < from.size(); ++i) bytes[i] = static_cast<std::uint8_t>(combine(from[i], mask(length, i)));
  if (address.is_v6()) return IpAddress::v6(bytes);
  return IpAddress::v4(static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
                       static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3]);
}

}  // namespace

Result<Prefix> Prefix::make(const IpAddress& address, unsigned length) {
  if (length > address.bits())
    return Error(ErrorCode::invalid, "prefix length " + std::to_string(length) + " of " + address.to_text() +
                                         " must be at most " + std::to_string(address.bits()));
  return Prefix(address, length);
}

Result<Prefix> Prefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos)
    return Error(ErrorCode::invalid,
                 in_quotes(text) + " is not a prefix: the length is missing; write it like 10.0.0.0/24");
  IRONCORE_TRY(const auto address, IpAddress::parse(text.substr(0, slash)));
  const auto length = strict_decimal(text.substr(slash + 1), address.bits());
  if (!length)
    return Error(ErrorCode::invalid, in_quotes(text) + " is not a prefix: the length must be a number from 0 to " +
                                         std::to_string(address.bits()));
  return Prefix(address, *length);
}

IpAddress Prefix::first() const noexcept {
  return with_mask(address_, length_, [](unsigned byte, unsigned bits) { return byte & bits; });
}

IpAddress Prefix::last() const noexcept {
  return with_mask(address_, length_, [](unsigned byte, unsigned bits) { return byte | (~bits & 0xffU); });
}

bool Prefix::contains(const IpAddress& address) const noexcept {
  if (address.is_v4() != is_v4()) return false;
  const auto mine = address_.bytes(), other = address.bytes();
  for (std::size_t i = 0; i < mine.size(); ++i)
    if (((mine[i] ^ other[i]) & mask(length_, i)) != 0) return false;
  return true;
}

bool Prefix::contains(const Prefix& other) const noexcept {
  return other.length_ >= length_ && contains(other.address_);
}

std::string Prefix::to_text() const {
  return address_.to_text() + "/" + std::to_string(length_);
}

}  // namespace ironcore

std::size_t std::hash<ironcore::Prefix>::operator()(const ironcore::Prefix& prefix) const noexcept {
  return ironcore::hash_bytes(prefix.address().bytes(), prefix.length());
}
