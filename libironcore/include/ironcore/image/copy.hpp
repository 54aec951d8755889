// SPDX-License-Identifier: Apache-2.0
// Copying a blob while hashing what was written, and hashing what is there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>

#include "ironcore/base/result.hpp"
#include "ironcore/image/manifest.hpp"

namespace ironcore::image {

/// Told the bytes handled since the last call.
using Advance = std::function<void(std::uint64_t)>;

/// The digest of an open regular file of `size` bytes, read from its start. `corrupt` if it is shorter.
Result<crypto::Digest> digest_of(int fd, std::uint64_t size, crypto::HashAlgorithm algorithm, const Advance& advance,
                                 const std::stop_token& stop);

/// Fills the empty file `to`, which errors call `to_path`, with the blob at `from`: shared extents where the file system can, else a copy that leaves
/// out zeros. What was hashed is what was written, whatever happens to `from` meanwhile. `corrupt` if size or digest differ.
Result<> copy_blob(const std::filesystem::path& from, int to, const std::filesystem::path& to_path,
                   const Descriptor& blob, const Advance& advance, const std::stop_token& stop);

}  // namespace ironcore::image
