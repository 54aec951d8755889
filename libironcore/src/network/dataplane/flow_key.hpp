// SPDX-License-Identifier: Apache-2.0
// What tells the packets of one direction of a flow from all others.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "hash.hpp"
#include "headers.hpp"

namespace ironcore::network::dataplane {

/// Where packets come from: two machines, or two networks, may use the same addresses. Keys with different scopes never meet.
class FlowScope {
 public:
  /// A machine's packets, by the index of its interface.
  static FlowScope machine(std::uint32_t interface) noexcept { return FlowScope(interface, false); }
  /// Packets from the wire, by the last 8 bytes of the underlay address that they were sent to; the first 8 are the host's. So
  /// nothing has to be looked up before the flow is.
  static FlowScope wire(const std::uint8_t* underlay_suffix) noexcept {
    FlowScope out(0, true);
    std::memcpy(&out.value_, underlay_suffix, sizeof out.value_);
    return out;
  }

  bool is_wire() const noexcept { return is_wire_; }
  std::uint32_t interface() const noexcept { return static_cast<std::uint32_t>(value_); }
  std::array<std::uint8_t, 8> underlay_suffix() const noexcept {
    std::array<std::uint8_t, 8> out;
    std::memcpy(out.data(), &value_, sizeof value_);
    return out;
  }
  friend bool operator==(FlowScope, FlowScope) = default;

 private:
  friend class FlowKey;
  FlowScope(std::uint64_t value, bool is_wire) noexcept : value_(value), is_wire_(is_wire) {}
  std::uint64_t value_;
  bool is_wire_;
};

/// Addresses as the packet has them, so that nothing is swapped on the way; an IPv4 address is the first four bytes of sixteen.
/// Ports are those of TCP, UDP and SCTP, the identifier of an ICMP echo twice, and zero for everything else.
class FlowKey {
 public:
  FlowKey() noexcept : words_{} {}
  /// Of the inner packet. `ip` begins with the header that `headers` was read from.
  FlowKey(FlowScope scope, const std::uint8_t* ip, const Headers& headers) noexcept {
    // Whole words, each written once: a word that is put together in memory cannot be read at once.
    const std::uint64_t rest = headers.source_port | std::uint64_t{headers.destination_port} << 16 |
                               std::uint64_t{headers.protocol} << 32 | (scope.is_wire_ ? wire_bit : 0U);
    if (headers.is_v6) {
      std::array<std::uint64_t, 4> ends;
      std::memcpy(ends.data(), ip + 8, sizeof ends);
      words_ = {ends[0], ends[1], ends[2], ends[3], scope.value_, rest | v6_bit};
    } else {
      std::array<std::uint32_t, 2> ends;
      std::memcpy(ends.data(), ip + 12, sizeof ends);
      words_ = {ends[0], 0, ends[1], 0, scope.value_, rest};
    }
  }

  struct End {
    const std::uint8_t* address;  ///< 4 or 16 bytes
    std::uint16_t port;
  };
  /// From its parts.
  FlowKey(FlowScope scope, bool is_v6, std::uint8_t protocol, End source, End destination) noexcept : words_{} {
    words_[5] = std::uint64_t{protocol} << 32 | (is_v6 ? v6_bit : 0U);
    set_source(source.address);
    set_destination(destination.address);
    set_ports(source.port, destination.port);
    set_scope(scope);
  }

  const std::uint8_t* source() const noexcept { return bytes(); }
  const std::uint8_t* destination() const noexcept { return bytes() + 16; }
  std::uint16_t source_port() const noexcept { return static_cast<std::uint16_t>(words_[5]); }
  std::uint16_t destination_port() const noexcept { return static_cast<std::uint16_t>(words_[5] >> 16); }
  FlowScope scope() const noexcept { return FlowScope(words_[4], (words_[5] & wire_bit) != 0); }
  std::uint8_t protocol() const noexcept { return static_cast<std::uint8_t>(words_[5] >> 32); }
  bool is_v6() const noexcept { return (words_[5] & v6_bit) != 0; }
  std::size_t address_bytes() const noexcept { return is_v6() ? 16 : 4; }

  void set_scope(FlowScope scope) noexcept {
    words_[4] = scope.value_;
    words_[5] = (words_[5] & ~wire_bit) | (scope.is_wire_ ? wire_bit : 0U);
  }
  void set_ports(std::uint16_t source, std::uint16_t destination) noexcept {
    words_[5] = (words_[5] & ~std::uint64_t{0xffff'ffff}) | source | std::uint64_t{destination} << 16;
  }
  /// `address_bytes` of them.
  void set_source(const std::uint8_t* address) noexcept { std::memcpy(&words_[0], address, address_bytes()); }
  void set_destination(const std::uint8_t* address) noexcept { std::memcpy(&words_[2], address, address_bytes()); }

  /// The key of the answers to such packets, if nobody translates them.
  FlowKey reversed(FlowScope scope) const noexcept {
    FlowKey out;
    out.words_ = {words_[2], words_[3], words_[0], words_[1], 0, words_[5]};
    out.set_ports(destination_port(), source_port());
    out.set_scope(scope);
    return out;
  }

  /// With a random secret, keys that collide cannot be found by trying. As `hash_words`, but of IPv4 the words that are zero are left out.
  std::uint64_t hash(std::uint64_t secret) const noexcept {
    const std::uint64_t ends = words_[0] | words_[2] << 32;
    std::uint64_t state = fold_product(ends ^ hash_seeds[0] ^ secret, words_[4] ^ hash_seeds[1]);
    if (is_v6())
      state ^=
          fold_product(fold_product(words_[0] ^ hash_seeds[2] ^ secret, words_[1] ^ hash_seeds[3] ^ secret) ^ words_[2],
                       words_[3] ^ hash_seeds[1] ^ secret);
    return fold_product(state ^ words_[5], hash_seeds[3] ^ secret);
  }
  friend bool operator==(const FlowKey& a, const FlowKey& b) noexcept {
    std::uint64_t different = 0;
    for (std::size_t i = 0; i < a.words_.size(); ++i) different |= a.words_[i] ^ b.words_[i];
    return different == 0;
  }

 private:
  static constexpr std::uint64_t v6_bit = std::uint64_t{1} << 40;
  static constexpr std::uint64_t wire_bit = std::uint64_t{1} << 41;
  const std::uint8_t* bytes() const noexcept { return reinterpret_cast<const std::uint8_t*>(words_.data()); }

  std::array<std::uint64_t, 6> words_;  ///< source, destination; scope; ports, protocol and what kind of key it is
};

static_assert(sizeof(FlowKey) == 48);

}  // namespace ironcore::network::dataplane
