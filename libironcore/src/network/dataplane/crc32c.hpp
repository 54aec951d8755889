// SPDX-License-Identifier: Apache-2.0
// The checksum of SCTP (RFC 9260 appendix A).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ironcore::network::dataplane {

/// For bytes that come in pieces: starts with 0, and goes on with what it was.
std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::uint32_t before = 0) noexcept;

/// By what the checksum changes (xor) when four bytes do, by `difference` (their xor, as a number in network byte order), and `behind` bytes follow
/// them. What these are does not matter: a CRC is linear. Takes some 100 ns, whatever the length.
std::uint32_t crc32c_change(std::uint32_t difference, std::size_t behind) noexcept;

}  // namespace ironcore::network::dataplane
