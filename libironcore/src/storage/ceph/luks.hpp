// SPDX-License-Identifier: Apache-2.0
// LUKS2 on images: making the header, and reading through it.
#pragma once

#include <cstdint>
#include <utility>

#include "handles.hpp"
#include "ironcore/storage/volume.hpp"

namespace ironcore::storage::ceph {

/// What the header takes of the image, at its front.
constexpr std::uint64_t luks_header_size = std::uint64_t{16} << 20;

/// Of an image that is open without encryption and was never written. The key is 256 random bits, so the derivation is short: librbd's own
/// way takes nine seconds for each volume and two for each opening.
Result<void> format_luks(const Image& image, const EncryptionKey& key);

/// Settings that every client of an encrypted image must have, as metadata of the image. librbd 16.2 takes what was never written inside an object for
/// ciphertext, and garbles it, when it reads without asking for holes; by default it asks only in reads of 64 KiB and more.
inline constexpr std::pair<const char*, const char*> luks_setting{"conf_rbd_sparse_read_threshold_bytes", "1"};

/// From here on the image shows what is inside. `forbidden` for another key.
Result<void> load_luks(const Image& image, const EncryptionKey& key);

}  // namespace ironcore::storage::ceph
