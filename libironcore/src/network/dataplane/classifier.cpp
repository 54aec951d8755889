// SPDX-License-Identifier: Apache-2.0
// Cutting the fields into intervals, and intersecting.
#include "classifier.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <unordered_map>
#include <utility>

#include "hash.hpp"
#include "headers.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr unsigned word_bits = 64;
static_assert(Classifier::max_rules <= word_bits * word_bits, "one word says which words are not zero");

bool names_ports(const Classifier::Rule& rule) noexcept {
  const auto is_named = [](Classifier::Ports ports) { return ports.first != 0 || ports.last != 0xffff; };
  return is_named(rule.source_ports) || is_named(rule.destination_ports);
}

bool names_icmp(const Classifier::Rule& rule) noexcept {
  return rule.icmp_type.has_value() || rule.icmp_code.has_value();
}

void to_address(PrefixBits bits, std::uint32_t& address) noexcept {
  address = static_cast<std::uint32_t>(bits.high >> 32);
}

template <class Wide>
void to_address(PrefixBits bits, Wide& address) noexcept {
  address = static_cast<Wide>(bits.high) << 64 | bits.low;
}

template <class Vector>
std::size_t heap(const Vector& vector) noexcept {
  return vector.capacity() * sizeof(vector[0]);
}

}  // namespace

template <class Key>
std::uint16_t Classifier::Intervals<Key>::find(Field field, Key key) const noexcept {
  // Without a branch that could be guessed wrong: the last interval that does not begin behind the key.
  const Key* at = firsts.data() + field.begin;
  for (std::uint32_t count = field.count; count > 1;) {
    const std::uint32_t half = count / 2;
    at += at[half] <= key ? half : 0;
    count -= half;
  }
  return sets[static_cast<std::size_t>(at - firsts.data())];
}

template <class Address>
std::uint16_t Classifier::Table<Address>::find(const Query& query, Address from, Address to,
                                               bool is_icmp) const noexcept {
  if (rules.empty()) return nothing;
  std::uint16_t first = without_transport, second = without_transport;
  if (query.has_transport && is_icmp) {
    first = numbers.find(icmp_type, query.icmp_type);
    second = numbers.find(icmp_code, query.icmp_code);
  } else if (query.has_transport &&
             (query.protocol == protocol_tcp || query.protocol == protocol_udp || query.protocol == protocol_sctp)) {
    first = numbers.find(source_port, query.source_port);
    second = numbers.find(destination_port, query.destination_port);
  }
  const auto set = [this](std::uint16_t number) { return sets.data() + std::size_t{number} * stride; };
  const std::uint64_t* const a = set(addresses.find(source, from));
  const std::uint64_t* const b = set(addresses.find(destination, to));
  const std::uint64_t* const c = set(numbers.find(protocol, query.protocol));
  const std::uint64_t* const d = set(first);
  const std::uint64_t* const e = set(second);
  const auto both = [&](std::size_t word) { return a[word] & b[word] & c[word] & d[word] & e[word]; };
  const auto lowest = [](std::uint64_t word) { return static_cast<unsigned>(std::countr_zero(word)); };

  const std::uint64_t front = both(0);
  if (stride == 1) return front == 0 ? nothing : rules[lowest(front)];
  for (auto some = front; some != 0; some &= some - 1) {
    const auto word = lowest(some);
    if (const auto matching = both(word + 1); matching != 0) return rules[word * word_bits + lowest(matching)];
  }
  return nothing;
}

template <class Address>
std::size_t Classifier::Table<Address>::bytes() const noexcept {
  return heap(rules) + heap(sets) + heap(addresses.firsts) + heap(addresses.sets) + heap(numbers.firsts) +
         heap(numbers.sets);
}

template <class Address>
class Classifier::Builder {
 public:
  Builder(std::span<const Rule> rules, bool is_v6, Table<Address>& table) : all_(rules), table_(table) {
    for (std::size_t i = 0; i < rules.size(); ++i)
      if (rules[i].is_v6 == is_v6) table.rules.push_back(static_cast<std::uint16_t>(i));
    if (table.rules.empty()) return;
    std::stable_sort(table.rules.begin(), table.rules.end(),
                     [&](auto a, auto b) { return rules[a].priority < rules[b].priority; });
    words_ = (table.rules.size() + word_bits - 1) / word_bits;
    table.stride = static_cast<std::uint32_t>(words_ == 1 ? 1 : words_ + 1);

    table.source = prefixes([](const Rule& rule) { return rule.source; });
    table.destination = prefixes([](const Rule& rule) { return rule.destination; });
    table.protocol = numbers([](const Rule& rule) { return only(rule.protocol); });
    table.source_port = numbers([](const Rule& rule) { return names_icmp(rule) ? none : rule.source_ports; });
    table.destination_port = numbers([](const Rule& rule) { return names_icmp(rule) ? none : rule.destination_ports; });
    table.icmp_type = numbers([](const Rule& rule) { return names_ports(rule) ? none : only(rule.icmp_type); });
    table.icmp_code = numbers([](const Rule& rule) { return names_ports(rule) ? none : only(rule.icmp_code); });
    Set plain(words_);
    for (std::size_t place = 0; place < table.rules.size(); ++place)
      if (const auto& rule = all_[table.rules[place]]; !names_ports(rule) && !names_icmp(rule)) flip(plain, place);
    table.without_transport = number_of(plain);

    const auto fit = [](auto&... vectors) { (vectors.shrink_to_fit(), ...); };
    fit(table.rules, table.sets, table.addresses.firsts, table.addresses.sets, table.numbers.firsts,
        table.numbers.sets);
  }

 private:
  using Set = std::vector<std::uint64_t>;

  static constexpr Ports none{1, 0};

  static Ports only(std::optional<std::uint8_t> value) { return value ? Ports{*value, *value} : Ports{}; }

  static void flip(Set& set, std::size_t place) { set[place / word_bits] ^= std::uint64_t{1} << place % word_bits; }

  template <class Get>
  Field prefixes(Get get) {
    constexpr unsigned width = sizeof(Address) * 8;
    return cut(table_.addresses, [&](const Rule& rule) {
      const Prefix prefix = get(rule);
      assert(prefix.length <= width);
      std::pair<Address, Address> range;
      to_address(first_bits(prefix.bits, prefix.length), range.first);
      const auto behind = prefix.length == 0 ? ~Address{0} : (Address{1} << (width - prefix.length)) - 1;
      range.second = range.first | behind;
      return range;
    });
  }

  template <class Get>
  Field numbers(Get get) {
    return cut(table_.numbers, [&](const Rule& rule) {
      const Ports range = get(rule);
      return std::pair(range.first, range.last);
    });
  }

  /// Goes over the places where a rule begins or ends to match.
  template <class Key, class Get>
  Field cut(Intervals<Key>& intervals, Get get) {
    std::vector<std::pair<Key, std::uint16_t>> flips;
    for (std::size_t place = 0; place < table_.rules.size(); ++place) {
      const auto [first, last] = get(all_[table_.rules[place]]);
      if (first > last) continue;
      flips.emplace_back(first, static_cast<std::uint16_t>(place));
      if (last != static_cast<Key>(~Key{0}))
        flips.emplace_back(static_cast<Key>(last + 1), static_cast<std::uint16_t>(place));
    }
    std::sort(flips.begin(), flips.end());

    Field field{.begin = static_cast<std::uint32_t>(intervals.firsts.size())};
    Set set(words_);
    auto next = flips.begin();
    for (Key first = 0;; first = next->first) {
      for (; next != flips.end() && next->first == first; ++next) flip(set, next->second);
      const auto number = number_of(set);
      if (first == 0 || intervals.sets.back() != number) {
        intervals.firsts.push_back(first);
        intervals.sets.push_back(number);
      }
      if (next == flips.end()) break;
    }
    field.count = static_cast<std::uint32_t>(intervals.firsts.size()) - field.begin;
    return field;
  }

  /// Equal sets are one.
  std::uint16_t number_of(const Set& set) {
    const auto hash = hash_words(set);
    const auto [begin, end] = known_.equal_range(hash);
    for (auto known = begin; known != end; ++known) {
      const auto* const words = table_.sets.data() + (known->second + std::size_t{1}) * table_.stride - words_;
      if (std::equal(set.begin(), set.end(), words)) return known->second;
    }
    if (words_ > 1) {
      std::uint64_t front = 0;
      for (std::size_t word = 0; word < words_; ++word) front |= std::uint64_t{set[word] != 0} << word;
      table_.sets.push_back(front);
    }
    table_.sets.insert(table_.sets.end(), set.begin(), set.end());
    known_.emplace(hash, count_);
    return count_++;
  }

  std::span<const Rule> all_;
  Table<Address>& table_;
  std::size_t words_ = 0;
  std::uint16_t count_ = 0;
  std::unordered_multimap<std::uint64_t, std::uint16_t> known_;  ///< by hash
};

Classifier::Classifier(std::span<const Rule> rules) {
  assert(rules.size() <= max_rules);
  const Builder<std::uint32_t> build_v4(rules, false, v4_);
  const Builder<Wide> build_v6(rules, true, v6_);
}

std::uint16_t Classifier::find(const Query& query) const noexcept {
  if (query.is_v6) {
    Wide from, to;
    to_address(query.source, from);
    to_address(query.destination, to);
    return v6_.find(query, from, to, query.protocol == protocol_icmpv6);
  }
  std::uint32_t from, to;
  to_address(query.source, from);
  to_address(query.destination, to);
  return v4_.find(query, from, to, query.protocol == protocol_icmp);
}

std::size_t Classifier::bytes() const noexcept {
  return v4_.bytes() + v6_.bytes();
}

}  // namespace ironcore::network::dataplane
