// SPDX-License-Identifier: Apache-2.0
// Text that grows at its end: small ones on the stack, the finished string exactly as large as it has to be.
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace ironcore::api::json {

/// Appending to a std::string asks for its capacity and writes a terminator for each character: half of the
/// time of encoding an object went there.
class Text {
 public:
  Text() = default;
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  std::size_t size() const noexcept { return static_cast<std::size_t>(at_ - begin_); }
  char back() const noexcept { return at_[-1]; }
  void replace_back(char c) noexcept { at_[-1] = c; }
  void truncate(std::size_t size) noexcept { at_ = begin_ + size; }
  std::string_view view() const noexcept { return {begin_, size()}; }
  std::string text() const { return std::string(begin_, at_); }

  [[gnu::always_inline]] void add(char c) {
    if (at_ == end_) [[unlikely]]
      grow(1);
    *at_++ = c;
  }
  // Inline, the names of members are copied by a few moves of constant size.
  [[gnu::always_inline]] void add(std::string_view text) {
    char* const to = room(text.size());
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    at_ = to + text.size();
  }
  template <class Integer>
  void add_integer(Integer value) {
    char* const to = room(24);
    at_ = std::to_chars(to, to + 24, value).ptr;
  }

  /// Room for `size` characters; write there, then call `written`.
  [[gnu::always_inline]] char* room(std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) [[unlikely]]
      grow(size);
    return at_;
  }
  void written(const char* end) noexcept { at_ = begin_ + (end - begin_); }

 private:
  [[gnu::noinline]] void grow(std::size_t size) {
    const auto used = this->size();
    const auto capacity = std::max(2 * static_cast<std::size_t>(end_ - begin_), used + size);
    std::unique_ptr<char[]> larger(new char[capacity]);
    std::memcpy(larger.get(), begin_, used);
    heap_ = std::move(larger);
    begin_ = heap_.get();
    at_ = begin_ + used;
    end_ = begin_ + capacity;
  }

  char stack_[2048];
  std::unique_ptr<char[]> heap_;
  char* begin_ = stack_;
  char* at_ = stack_;
  char* end_ = stack_ + sizeof stack_;
};

/// Bytes that stand for themselves inside a JSON string: ASCII but control characters, quote and backslash.
inline bool is_plain(char c) noexcept {
  return static_cast<signed char>(c) >= 0x20 && c != '"' && c != '\\';
}

/// For eight bytes in memory order: the top bit of each that is not plain, and of some above the first such
/// one.
inline std::uint64_t mark_special(std::uint64_t bytes) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
  // A borrow may mark a byte too many, but only above a right one.
  const auto control = (bytes - ones * 0x20) & ~bytes;
  const auto quote = ((bytes ^ ones * '"') - ones) & ~(bytes ^ ones * '"');
  const auto backslash = ((bytes ^ ones * '\\') - ones) & ~(bytes ^ ones * '\\');
  return (bytes | control | quote | backslash) & tops;
}

/// The first byte that is not plain, or `end`. Eight at a time.
inline const char* skip_plain(const char* at, const char* end) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    while (end - at >= 8) {
      std::uint64_t bytes = 0;
      std::memcpy(&bytes, at, 8);
      if (const auto found = mark_special(bytes); found != 0) return at + std::countr_zero(found) / 8;
      at += 8;
    }
  }
  while (at != end && is_plain(*at)) ++at;
  return at;
}

/// Copies what is plain from `at` to `to`, where there is room for all of it. Both end behind the last byte
/// copied.
inline void copy_plain(const char*& at, const char* end, char*& to) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    while (end - at >= 8) {
      std::uint64_t bytes = 0;
      std::memcpy(&bytes, at, 8);
      std::memcpy(to, &bytes, 8);
      const auto found = mark_special(bytes);
      const auto count = found != 0 ? std::countr_zero(found) / 8 : 8;
      at += count;
      to += count;
      if (found != 0) return;
    }
  }
  while (at != end && is_plain(*at)) *to++ = *at++;
}

}  // namespace ironcore::api::json
