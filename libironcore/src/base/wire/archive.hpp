// SPDX-License-Identifier: Apache-2.0
// The cereal archives of the wire: little-endian, and on the way in every count and size is checked before anything is allocated.
#pragma once

#include <cereal/cereal.hpp>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ironcore::wire {

/// Most elements of any list in a message.
inline constexpr std::size_t max_elements = 65'536;

/// Appends to a string. Texts and lists are a 32-bit count and what they hold.
class OutputArchive : public cereal::OutputArchive<OutputArchive> {
 public:
  explicit OutputArchive(std::string& out) : cereal::OutputArchive<OutputArchive>(this), out_(out) {}

  template <std::unsigned_integral T>
  void put(T value) {
    char bytes[sizeof(T)];
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes[i] = static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
    out_.append(bytes, sizeof(T));
  }
  void put_bytes(std::string_view bytes) { out_.append(bytes); }

 private:
  std::string& out_;
};

/// Reads from a message that outlives what is read: texts are views into it. The first thing that does not fit makes it fail, and
/// everything after that reads as zero or empty.
class BoundedInputArchive : public cereal::InputArchive<BoundedInputArchive> {
 public:
  explicit BoundedInputArchive(std::string_view message)
      : cereal::InputArchive<BoundedInputArchive>(this), rest_(message) {}

  template <std::unsigned_integral T>
  T take() noexcept {
    if (rest_.size() < sizeof(T)) {
      fail();
      return 0;
    }
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | static_cast<T>(T{static_cast<unsigned char>(rest_[i])} << (8 * i)));
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view take_bytes(std::size_t count) noexcept {
    if (rest_.size() < count) {
      fail();
      return {};
    }
    const auto bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }
  void fail() noexcept {
    has_failed_ = true;
    rest_ = {};
  }
  bool has_failed() const noexcept { return has_failed_; }
  std::size_t left() const noexcept { return rest_.size(); }

 private:
  std::string_view rest_;
  bool has_failed_ = false;
};

template <class T>
concept WireEnum = std::is_enum_v<T> && requires {
  wire_last(T{});
};

inline void save(OutputArchive& archive, bool value) {
  archive.put(static_cast<std::uint8_t>(value));
}
inline void load(BoundedInputArchive& archive, bool& value) {
  const auto byte = archive.take<std::uint8_t>();
  if (byte > 1) archive.fail();
  value = byte == 1;
}
template <std::unsigned_integral T>
requires(!std::same_as<T, bool>) void save(OutputArchive& archive, const T& value) {
  archive.put(value);
}
template <std::unsigned_integral T>
requires(!std::same_as<T, bool>) void load(BoundedInputArchive& archive, T& value) {
  value = archive.take<T>();
}
/// An enumeration is one byte, from 1 to `wire_last`; 0 is never valid, so that zeroed memory is no message. (A wrapper, because cereal has
/// its own idea of enumerations.)
template <WireEnum T>
struct Byte {
  T& value;
};
template <WireEnum T>
Byte(T&) -> Byte<T>;
template <WireEnum T>
void save(OutputArchive& archive, const Byte<T>& byte) {
  archive.put(static_cast<std::uint8_t>(byte.value));
}
template <WireEnum T>
void load(BoundedInputArchive& archive, Byte<T>& byte) {
  const auto value = archive.take<std::uint8_t>();
  if (value == 0 || value > static_cast<std::uint8_t>(wire_last(T{}))) archive.fail();
  byte.value = static_cast<T>(value);
}
inline void save(OutputArchive& archive, const std::string_view& text) {
  archive.put(static_cast<std::uint32_t>(text.size()));
  archive.put_bytes(text);
}
inline void load(BoundedInputArchive& archive, std::string_view& text) {
  const auto count = archive.take<std::uint32_t>();
  text = archive.take_bytes(count);
}

/// Fewest bytes that one element takes on the wire: bounds a count by what is left of the message.
template <class T>
inline constexpr std::size_t wire_least = T::least_bytes;
template <>
inline constexpr std::size_t wire_least<std::string_view> = 4;
template <>
inline constexpr std::size_t wire_least<std::uint64_t> = 8;

template <class T>
void save(OutputArchive& archive, const std::vector<T>& list) {
  archive.put(static_cast<std::uint32_t>(list.size()));
  for (const auto& element : list) archive(element);
}
template <class T>
void load(BoundedInputArchive& archive, std::vector<T>& list) {
  const auto count = archive.take<std::uint32_t>();
  if (count > max_elements || count > archive.left() / wire_least<T>) return archive.fail();
  list.reserve(count);
  for (std::uint32_t i = 0; i < count && !archive.has_failed(); ++i) archive(list.emplace_back());
}

}  // namespace ironcore::wire

CEREAL_SETUP_ARCHIVE_TRAITS(ironcore::wire::BoundedInputArchive, ironcore::wire::OutputArchive)
