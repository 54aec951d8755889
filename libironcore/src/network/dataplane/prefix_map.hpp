// SPDX-License-Identifier: Apache-2.0
// From prefixes to numbers: the routes of one VNI and family.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "ironcore/base/ip_address.hpp"

namespace ironcore::network::dataplane {

/// The first bits of an address, the first one on top; what is behind its end is zero.
struct PrefixBits {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const PrefixBits&, const PrefixBits&) = default;
};
/// An IPv4 address is the upper 32 bits.
PrefixBits bits_of(const IpAddress& address) noexcept;
/// The first `length` bits; 0 to 128.
PrefixBits first_bits(PrefixBits bits, unsigned length) noexcept;

/// A tree bitmap (Eatherton, Varghese, Dittia, SIGCOMM CCR 2004) of 64 ways: a search visits one small node for each six bits of the longest
/// prefix on its way, however many prefixes there are. A copy takes a moment and shares all nodes; whichever changes then replaces only the
/// nodes from the root to the change, once, so a batch of changes to a map that nobody else has is made in place. Thread: one for all maps
/// that share nodes, except that `find` may run on any while the map that it is called on is neither changed nor destroyed.
class PrefixMap {
 public:
  struct Match {
    std::uint32_t value = 0;
    unsigned length = 0;  ///< of the prefix
    friend bool operator==(const Match&, const Match&) = default;
  };

  PrefixMap() noexcept = default;
  PrefixMap(const PrefixMap& other) noexcept;
  PrefixMap(PrefixMap&& other) noexcept;
  PrefixMap& operator=(PrefixMap other) noexcept;
  ~PrefixMap();

  /// The longest prefix of the address. An IPv4 address is the upper 32 bits.
  std::optional<Match> find(PrefixBits address) const noexcept;
  /// The value of just this prefix, of which only the first `length` bits count; 0 to 128.
  std::optional<std::uint32_t> get(PrefixBits prefix, unsigned length) const noexcept;
  /// Adds or replaces.
  void set(PrefixBits prefix, unsigned length, std::uint32_t value);
  /// False if it was not there.
  bool erase(PrefixBits prefix, unsigned length);

  std::size_t size() const noexcept { return size_; }
  /// Shorter prefixes before those that they contain, else by their bits.
  void for_each(const std::function<void(PrefixBits prefix, unsigned length, std::uint32_t value)>& each) const;
  struct Place {
    PrefixBits prefix;
    unsigned length = 0;
  };
  /// In the same order those behind a place, where none has to be, or all; until `each` returns false, and then false.
  bool visit(const std::optional<Place>& behind,
             const std::function<bool(PrefixBits prefix, unsigned length, std::uint32_t value)>& each) const;
  /// What the nodes take that are reached from here, shared or not.
  std::size_t bytes() const noexcept;

 private:
  struct Node;
  Node* root_ = nullptr;
  std::size_t size_ = 0;
};

/// Both families apart. A copy takes a moment.
struct PrefixMaps {
  PrefixMap v4;
  PrefixMap v6;
  const PrefixMap& of(bool is_v6) const noexcept { return is_v6 ? v6 : v4; }
  PrefixMap& of(bool is_v6) noexcept { return is_v6 ? v6 : v4; }
};

}  // namespace ironcore::network::dataplane
