// SPDX-License-Identifier: Apache-2.0
// Whole files: read with a bound, replaced so that a crash leaves the old or the new one.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore {

/// What an errno of the operating system is as a code of ours: `unavailable` for those that no caller could react to.
ErrorCode errno_code(int number) noexcept;
/// An errno of the operating system as an Error: `open /etc/x: no such file or directory`.
Error system_error(int number, std::string_view doing);

/// The content of a regular file; `exhausted` if it is larger than `max_bytes`, `invalid` if it is not a regular file.
/// A symbolic link is followed.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes);
/// The same for a file with secrets: `forbidden` if it belongs to neither this user nor root, or if anybody but its owner may read or write it.
Result<std::string> read_private_file(const std::filesystem::path& path, std::size_t max_bytes);

/// Writes beside the file, syncs, renames, syncs the directory: after a crash at any moment the old or the new content
/// is there, never a part. The file gets exactly `mode`, whatever the umask. Its directory must exist.
Result<> atomic_write_file(const std::filesystem::path& path, BytesView content, mode_t mode);
inline Result<> atomic_write_file(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  return atomic_write_file(path, as_bytes(content), mode);
}

/// Makes a rename or removal inside `directory` durable.
Result<> sync_directory(const std::filesystem::path& directory);

}  // namespace ironcore
