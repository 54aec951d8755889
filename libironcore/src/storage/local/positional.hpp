// SPDX-License-Identifier: Apache-2.0
// Whole reads and writes at an offset, and holes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::storage::local {

/// Behind the end of the file there are zeros.
Result<void> read_at(int fd, const std::string& name, std::uint64_t offset, std::span<std::byte> into);
Result<void> write_at(int fd, const std::string& name, std::uint64_t offset, BytesView bytes);
/// Reads as zeros afterwards; gives room back where the file system can. The file keeps its size.
Result<void> zero_at(int fd, const std::string& name, std::uint64_t offset, std::uint64_t size);
Result<void> sync_data(int fd, const std::string& name);

}  // namespace ironcore::storage::local
