// SPDX-License-Identifier: Apache-2.0
// Filling an image from a file or from another image, several pieces at a time.
#pragma once

#include <functional>
#include <stop_token>

#include "handles.hpp"
#include "ironcore/crypto/xts.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::storage::ceph {

/// Called between pieces, on the caller's thread: tells the progress, and ends the transfer with an error.
using BetweenPieces = std::function<Result<void>(const image::Progress&)>;

/// Writes the file into a new, empty image, leaving out what is zeros, while it hashes every byte. `corrupt` if size or digest differ.
Result<void> fill_from_file(const Image& into, const BaseSource& source, const BetweenPieces& between);

/// One side of a copy. With a cipher its data lies behind the header of the encryption, else everything from the front on is data.
struct Side {
  const Image& image;
  const crypto::XtsCipher* cipher = nullptr;
};

/// Copies what is written in `from` (and in what that depends on) into a new image: data that is deciphered and enciphered as the sides say.
Result<void> fill_from_image(const Side& into, const Side& from, const BetweenPieces& between);

}  // namespace ironcore::storage::ceph
