// SPDX-License-Identifier: Apache-2.0
// Disk files of this host: empty ones, copy-on-write children of an image, their size, their growth.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore::image {

enum class DiskFormat { raw, qcow2 };
/// "raw", "qcow2": QEMU's words.
std::string_view name(DiskFormat format) noexcept;
std::optional<DiskFormat> parse_disk_format(std::string_view text) noexcept;

/// Sizes are bytes and are rounded up to whole sectors of 512. Largest disk: 16 TiB. Files are made with mode 0600 beside
/// their final place and renamed, so that after a crash there is a whole disk or none; an existing file is replaced.
/// Thread: any.

/// An empty, sparse raw disk.
Result<void> create_raw_disk(const std::filesystem::path& path, std::uint64_t size_bytes);

/// A qcow2 (version 3) file without data of its own: what is not written yet is read from `backing`, a raw file, and as
/// zeros behind its end. Takes the time of one small file, whatever the size.
Result<void> create_overlay_disk(const std::filesystem::path& path, std::uint64_t size_bytes,
                                 const std::filesystem::path& backing);

/// The same in an empty file that is open for writing and that errors call `shown`; not synced. A relative `backing` is looked for from the place of the file.
Result<void> fill_overlay_disk(int fd, const std::filesystem::path& shown, std::uint64_t size_bytes,
                               const std::filesystem::path& backing, DiskFormat backing_format);

/// The size that a guest sees. `corrupt` if a qcow2 file is none.
Result<std::uint64_t> disk_size(const std::filesystem::path& path, DiskFormat format);
/// The same of a file that is open and that errors call `shown`.
Result<std::uint64_t> disk_size(int fd, const std::filesystem::path& shown, DiskFormat format);

/// What a qcow2 file says it is a child of; empty if of nothing. Whoever can write the file decides what it says.
Result<std::filesystem::path> disk_backing(const std::filesystem::path& path);

/// Enlarges a disk that nobody has open. Smaller or equal sizes change nothing.
Result<void> grow_disk(const std::filesystem::path& path, DiskFormat format, std::uint64_t size_bytes);
/// The same with a file that is open for reading and writing and that errors call `shown`.
Result<void> grow_disk(int fd, const std::filesystem::path& shown, DiskFormat format, std::uint64_t size_bytes);

/// Whether the content starts like a qcow2 file: a guest could otherwise make QEMU open other files of this host.
Result<bool> looks_like_qcow2(const std::filesystem::path& path);

}  // namespace ironcore::image
