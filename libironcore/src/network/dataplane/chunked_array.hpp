// SPDX-License-Identifier: Apache-2.0
// An array whose copies share what is the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ironcore::network::dataplane {

/// A copy costs one reference for each 64 elements, and a change after it copies the 64 around the changed one, once. Elements that were never set
/// are default-made. Thread: one for all arrays that share something, except that `operator[]` and `size` may be called on any thread while the
/// array that they are called on is neither changed nor destroyed.
template <class T>
class ChunkedArray {
 public:
  std::size_t size() const noexcept { return size_; }
  const T& operator[](std::size_t index) const noexcept { return (*chunks_[index / per_chunk])[index % per_chunk]; }

  /// Grows as far as needed.
  void set(std::size_t index, T value) {
    if (index >= size_) resize(index + 1);
    auto& chunk = chunks_[index / per_chunk];
    if (chunk.use_count() != 1) chunk = std::make_shared<Chunk>(*chunk);
    (*chunk)[index % per_chunk] = std::move(value);
  }

 private:
  static constexpr std::size_t per_chunk = 64;
  using Chunk = std::array<T, per_chunk>;

  void resize(std::size_t size) {
    while (chunks_.size() * per_chunk < size) chunks_.push_back(std::make_shared<Chunk>());
    size_ = size;
  }

  std::vector<std::shared_ptr<Chunk>> chunks_;
  std::size_t size_ = 0;
};

/// Small numbers for things that come and go; a free one is used again.
class Numbers {
 public:
  Numbers() = default;
  /// Those before `first` are taken: `give_back` makes them free.
  explicit Numbers(std::uint32_t first) : next_(first) {}
  std::uint32_t take() {
    if (free_.empty()) return next_++;
    const auto number = free_.back();
    free_.pop_back();
    return number;
  }
  void give_back(std::uint32_t number) { free_.push_back(number); }

 private:
  std::uint32_t next_ = 0;
  std::vector<std::uint32_t> free_;
};

}  // namespace ironcore::network::dataplane
