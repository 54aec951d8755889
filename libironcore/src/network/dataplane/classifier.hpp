// SPDX-License-Identifier: Apache-2.0
// Which firewall rule a packet meets first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "prefix_map.hpp"

namespace ironcore::network::dataplane {

/// The firewall rules of one interface and direction, as bit vectors (Lakshman and Stiliadis, SIGCOMM 1998): the values of a field fall into
/// intervals, each with the set of the rules that it satisfies; the first rule in the intersection of the sets wins. In front of each set a
/// word says which of its other words are not zero (Baboescu and Varghese, SIGCOMM 2001), so of 1,000 rules few words are read. The families
/// have tables of their own.
///
/// Memory: N rules of one family have at most 8N + 773 sets of (N / 64 + 2) * 8 bytes and as many intervals of at most 18 bytes; equal sets are
/// stored once. So 64 rules take less than 35 KB, 1,000 less than 1.4 MB and 4,096 less than 19 MB; see `bytes`. Thread: any (immutable).
class Classifier {
 public:
  enum class Action : std::uint8_t { deny, allow };

  struct Prefix {
    PrefixBits bits;      ///< an IPv4 address is the upper 32 bits; what is behind the prefix does not count
    unsigned length = 0;  ///< up to 32 or 128
  };

  /// The first and the last one.
  struct Ports {
    std::uint16_t first = 0;
    std::uint16_t last = 0xffff;
  };

  /// What is not named matches every packet of the family. Who names ports (a range other than the whole) matches only TCP, UDP and SCTP; who
  /// names an ICMP type or code, only the ICMP of the family; and neither matches later fragments.
  struct Rule {
    std::uint32_t priority = 0;  ///< the lowest number wins; among equals the one that comes first
    Action action = Action::deny;
    bool is_v6 = false;
    Prefix source;
    Prefix destination;
    std::optional<std::uint8_t> protocol;
    Ports source_ports;
    Ports destination_ports;
    std::optional<std::uint8_t> icmp_type;
    std::optional<std::uint8_t> icmp_code;
  };

  /// What `Headers` say of a packet, and its addresses in the form of `Prefix::bits`.
  struct Query {
    bool is_v6 = false;
    PrefixBits source;
    PrefixBits destination;
    std::uint8_t protocol = 0;
    bool has_transport = false;  ///< else ports, type and code are not looked at
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;
  };

  static constexpr std::size_t max_rules = 4096;
  static constexpr std::uint16_t nothing = 0xffff;

  /// Without rules.
  Classifier() = default;
  /// At most `max_rules`, with prefixes no longer than their family has bits. What cannot be, such as a last port before the first or a port of
  /// ICMP, matches nothing.
  explicit Classifier(std::span<const Rule> rules);

  /// The index among `rules` of the one that decides, or `nothing`.
  std::uint16_t find(const Query& query) const noexcept;
  /// What it takes on the heap.
  std::size_t bytes() const noexcept;

 private:
  __extension__ using Wide = unsigned __int128;

  /// Some of the intervals: those of one field.
  struct Field {
    std::uint32_t begin = 0;
    std::uint32_t count = 0;
  };

  template <class Key>
  struct Intervals {
    std::vector<Key> firsts;  ///< of each field in order, beginning with 0
    std::vector<std::uint16_t> sets;

    std::uint16_t find(Field field, Key key) const noexcept;
  };

  template <class Address>
  struct Table {
    std::vector<std::uint16_t> rules;     ///< indices, the winners first: bits in the sets are places here
    std::vector<std::uint64_t> sets;      ///< each of `stride` words
    std::uint32_t stride = 0;             ///< 1 for up to 64 rules: then there is no word in front
    std::uint16_t without_transport = 0;  ///< the set of the rules that name neither ports nor ICMP's fields
    Intervals<Address> addresses;
    Intervals<std::uint16_t> numbers;
    Field source, destination, protocol, source_port, destination_port, icmp_type, icmp_code;

    std::uint16_t find(const Query& query, Address from, Address to, bool is_icmp) const noexcept;
    std::size_t bytes() const noexcept;
  };

  template <class Address>
  class Builder;

  Table<std::uint32_t> v4_;
  Table<Wide> v6_;
};

}  // namespace ironcore::network::dataplane
