// SPDX-License-Identifier: Apache-2.0
// Declared structs filled from a seed, through their description.
#pragma once

#include <random>
#include <string>

#include "ironcore/api/json.hpp"
#include "json_reader.hpp"
#include "shapes.hpp"

namespace ironcore::api {

/// How much of a struct is there: each part by chance, or all of it with one element in each list and map.
enum class Filling { random, full };

class RandomValues {
 public:
  explicit RandomValues(std::uint64_t seed, Filling filling = Filling::random) : engine_(seed), filling_(filling) {}

  std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(engine_); }
  bool chance(std::size_t percent) { return filling_ == Filling::full || below(100) < percent; }

  template <class T>
  void fill(T& out) {
    if constexpr (DescribedStruct<T>) {
      for_each_member<T>([&](auto descriptor) {
        if (chance(60)) fill(out.*decltype(descriptor)::pointer);
      });
      if (filling_ == Filling::random && chance(15)) fill_unknown(out.unknown);
    } else if constexpr (is_optional<T>) {
      fill(out.emplace());
    } else if constexpr (is_list<T>) {
      out.resize(size());
      for (auto& item : out) fill(item);
    } else if constexpr (is_string_map<T>) {
      for (auto count = size(); count > 0; --count) fill(out[filling_ == Filling::full ? "k" : text()]);
    } else if constexpr (DescribedEnum<T>) {
      out = json::enumerator_values<T>[below(json::enumerator_values<T>.size())];
    } else if constexpr (std::same_as<T, std::string>) {
      out = text();
    } else if constexpr (std::same_as<T, bool>) {
      out = below(2) == 1;
    } else if constexpr (Integer<T>) {
      const T values[] = {0, 1, -1, 17, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
      out = values[filling_ == Filling::full ? 3 : below(6)];
    } else if constexpr (std::same_as<T, Revision>) {
      const std::uint64_t values[] = {1, 4711, UINT64_MAX};
      out.value = values[below(3)];
    } else if constexpr (std::same_as<T, WallTime>) {
      out = WallTime(std::chrono::seconds(below(4'000'000'000)) + std::chrono::nanoseconds(below(3) * 250'000'001));
    } else if constexpr (std::same_as<T, Quantity>) {
      const char* texts[] = {"1", "500m", "10Gi", "-3", "1e3", "0", "1500Mi", "3n", "9223372036854775807", "8E"};
      out = Quantity::parse(texts[below(10)]).value();
    } else if constexpr (std::same_as<T, IpAddress>) {
      const char* texts[] = {"10.0.0.1", "0.0.0.0", "fd00::1", "::", "::ffff:1.2.3.4"};
      out = IpAddress::parse(texts[below(5)]).value();
    } else if constexpr (std::same_as<T, Prefix>) {
      const char* texts[] = {"10.0.0.1/8", "0.0.0.0/0", "fd00::/64", "::/0", "10.0.0.1/32"};
      out = Prefix::parse(texts[below(5)]).value();
    } else {
      static_assert(std::same_as<T, Bytes>);
      for (auto count = 1 + below(40); count > 0; --count) out.value += static_cast<char>(below(256));
    }
  }

  json::Tree tree(unsigned depth) {
    const auto kind = below(depth == 0 ? 3 : 5);
    json::Tree value;
    value.type = json::Type::number;
    const char* numbers[] = {"0", "-1.50", "1e999", "123456789012345678901234567890"};
    if (kind == 0) {
      value.scalar = numbers[below(4)];
    } else if (kind == 1) {
      value.type = json::Type::boolean;
      value.scalar = below(2) == 0 ? "false" : "true";
    } else if (kind == 2) {
      value.type = json::Type::string;
      json::Text quoted;
      json::append_string(quoted, text());
      value.scalar = quoted.text();
    } else if (kind == 3) {
      value.type = json::Type::list;
      for (auto count = below(4); count > 0; --count) value.items.push_back(tree(depth - 1));
    } else {
      value.type = json::Type::object;
      for (std::size_t i = below(4); i > 0; --i) value.add("m" + std::to_string(i), tree(depth - 1));
    }
    return value;
  }

  std::string text() {
    const char* texts[] = {"a",
                           "web-1",
                           "example.com/key",
                           "two words",
                           "\"quoted\\\"",
                           "line\nbreak\ttab",
                           "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80",
                           "\x01\x1F\x7F",
                           "null",
                           "0"};
    std::string out = texts[below(10)];
    if (below(3) == 0) out += std::to_string(below(1000));
    return out;
  }

 private:
  std::size_t size() { return filling_ == Filling::full ? 1 : below(4); }

  void fill_unknown(Unknown& out) {
    for (auto count = 1 + below(2); count > 0; --count) {
      json::Text canonical;
      const auto written = json::to_text(tree(3));
      json::Reader(written).copy(canonical, json::Order::sort);
      out.set("x" + std::to_string(below(4)), canonical.text());
    }
  }

  std::mt19937_64 engine_;
  Filling filling_;
};

}  // namespace ironcore::api
