// SPDX-License-Identifier: Apache-2.0
// Filling an image from a file or from another image, several pieces at a time.
#pragma once

#include <functional>
#include <stop_token>

#include "handles.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::storage::ceph {

/// Called between pieces, on the caller's thread: tells the progress, and ends the transfer with an error.
using BetweenPieces = std::function<Result<void>(const image::Progress&)>;

/// Writes the file into a new, empty image, leaving out what is zeros, while it hashes every byte. `corrupt` if size or digest differ.
Result<void> fill_from_file(const Image& into, const BaseSource& source, const BetweenPieces& between);

/// Copies what is written in `from` (and in what that depends on). Each image is open as its data is to be read or written, through its encryption or
/// without; `extents` is `from` open without, and its header takes `header_bytes`.
Result<void> fill_from_image(const Image& into, const Image& from, const Image& extents, std::uint64_t header_bytes,
                             const BetweenPieces& between);

}  // namespace ironcore::storage::ceph
