// SPDX-License-Identifier: Apache-2.0
// LUKS2 on images: making the header, and getting the cipher out of it. librbd's own encryption is for hypervisors: closing an image whose encryption
// was loaded crashes in 16.2 (docs/ceph-16.2.md).
#pragma once

#include <cstdint>
#include <utility>

#include "handles.hpp"
#include "ironcore/crypto/xts.hpp"
#include "ironcore/storage/volume.hpp"

namespace ironcore::storage::ceph {

/// What the header takes of the image, at its front.
constexpr std::uint64_t luks_header_size = std::uint64_t{16} << 20;
constexpr std::size_t luks_sector_size = 4096;

/// Of an image that was never written. The key is 256 random bits, so the derivation is short: librbd's own way takes nine seconds for each volume and two
/// for each opening.
Result<void> format_luks(const Image& image, const EncryptionKey& key);

/// Settings that every client of an encrypted image must have, as metadata of the image. librbd 16.2 takes what was never written inside an object for
/// ciphertext, and garbles it, when it reads without asking for holes; by default it asks only in reads of 64 KiB and more.
inline constexpr std::pair<const char*, const char*> luks_setting{"conf_rbd_sparse_read_threshold_bytes", "1"};

/// The cipher of what lies behind the header; offset 0 is there. `forbidden` for another key, `corrupt` for a header that is damaged or not one of ours.
Result<crypto::XtsCipher> unlock_luks(const Image& image, const EncryptionKey& key);

/// Deciphers whole sectors in place. A sector of zeros is one that was never written, or was discarded, and stays so: no ciphertext is all zeros
/// (one in 2^32768 is).
void decrypt_sectors(const crypto::XtsCipher& cipher, std::uint64_t offset, std::span<std::byte> sectors);

}  // namespace ironcore::storage::ceph
