// SPDX-License-Identifier: Apache-2.0
// Memory for large tables: zeroed, in huge pages where the kernel has them.
#pragma once

#include <cstddef>

namespace ironcore::network::dataplane {

class Pages {
 public:
  /// Nothing is touched, so nothing is used before somebody writes. Throws std::bad_alloc.
  explicit Pages(std::size_t bytes);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  std::byte* data_;
  std::size_t size_;
};

}  // namespace ironcore::network::dataplane
