// SPDX-License-Identifier: Apache-2.0
// Whole reads and writes at an offset, holes, copies without them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
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
Result<void> sync_file(int fd, const std::filesystem::path& path);
Result<void> resize(int fd, const std::filesystem::path& path, std::uint64_t size);
/// Copies what is not a hole into the empty file `to`, which errors call `path`. `cancelled` on a stop.
Result<void> copy_sparse(int from, int to, const std::filesystem::path& path, const std::stop_token& stop);

}  // namespace ironcore::storage::local
