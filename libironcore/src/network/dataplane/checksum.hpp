// SPDX-License-Identifier: Apache-2.0
// The Internet checksum (RFC 1071), and how it changes with the bytes that it covers (RFC 1624).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ironcore::network::dataplane {

/// A one's complement sum, not complemented and perhaps not folded yet.
class ChecksumSum {
 public:
  /// The next bytes of what is covered; only the last ones may be of an odd number.
  void add(std::span<const std::uint8_t> bytes) noexcept;
  void add16(std::uint16_t value) noexcept { sum_ += value; }
  void add32(std::uint32_t value) noexcept { sum_ += (value >> 16) + (value & 0xffff); }
  /// What stands in the header; 0 for a header whose own checksum was added and is right.
  std::uint16_t finish() const noexcept { return static_cast<std::uint16_t>(~folded()); }
  std::uint16_t folded() const noexcept {
    std::uint64_t sum = sum_;
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
  }

 private:
  std::uint64_t sum_ = 0;
};

/// By how much a checksum changes when words that it covers do. A flow computes it once for what it always rewrites, and applies it to each
/// packet, whatever else the packet holds.
class ChecksumDelta {
 public:
  void replace16(std::uint16_t before, std::uint16_t after) noexcept {
    sum_ += static_cast<std::uint16_t>(~before);
    sum_ += after;
  }
  void replace32(std::uint32_t before, std::uint32_t after) noexcept {
    replace16(static_cast<std::uint16_t>(before >> 16), static_cast<std::uint16_t>(after >> 16));
    replace16(static_cast<std::uint16_t>(before), static_cast<std::uint16_t>(after));
  }
  /// Both of the same even size.
  void replace(std::span<const std::uint8_t> before, std::span<const std::uint8_t> after) noexcept;
  /// Only what is added, as an address of another length.
  void add(std::span<const std::uint8_t> bytes) noexcept;
  void remove(std::span<const std::uint8_t> bytes) noexcept;
  /// What the other one changes as well.
  void join(const ChecksumDelta& other) noexcept { sum_ += other.folded(); }

  /// The checksum after the change. RFC 1624 equation 3: never turns a right 0xffff into a wrong 0.
  std::uint16_t apply(std::uint16_t checksum) const noexcept {
    std::uint32_t sum = static_cast<std::uint16_t>(~checksum) + folded();
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
  }
  /// Likewise for UDP, where 0 means that there is no checksum (RFC 768): none stays none, and none is ever made.
  std::uint16_t apply_udp(std::uint16_t checksum) const noexcept {
    if (checksum == 0) return 0;
    const auto changed = apply(checksum);
    return changed == 0 ? 0xffff : changed;
  }

  /// Of 16 bits, for keeping; and back.
  std::uint16_t value() const noexcept { return static_cast<std::uint16_t>(folded()); }
  static ChecksumDelta of(std::uint16_t value) noexcept {
    ChecksumDelta out;
    out.sum_ = value;
    return out;
  }

  friend bool operator==(const ChecksumDelta& a, const ChecksumDelta& b) noexcept { return a.folded() == b.folded(); }

 private:
  std::uint32_t folded() const noexcept {
    std::uint64_t sum = sum_;
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint32_t>(sum);
  }

  std::uint64_t sum_ = 0;
};

}  // namespace ironcore::network::dataplane
