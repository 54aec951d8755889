// SPDX-License-Identifier: Apache-2.0
// Anonymous mappings.
#include "pages.hpp"

#include <sys/mman.h>

#include <new>

namespace ironcore::network::dataplane {

Pages::Pages(std::size_t bytes) : size_(bytes) {
  void* mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(mapped);
  ::madvise(data_, size_, MADV_HUGEPAGE);  // only a wish: a search misses the TLB less
}

Pages::~Pages() {
  ::munmap(data_, size_);
}

}  // namespace ironcore::network::dataplane
