// SPDX-License-Identifier: Apache-2.0
// LUKS2 headers are made and read by libcryptsetup in memory, and copied to and from the image.
#include "luks.hpp"

#include <libcryptsetup.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "errors.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::storage::ceph {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::size_t kPiece = std::size_t{64} << 10;

struct Device {
  crypt_device* handle = nullptr;
  ~Device() { crypt_free(handle); }
};

void say_nothing(int, const char*, void*) {}

const char* characters(const EncryptionKey& key) {
  return reinterpret_cast<const char*>(key.bytes().data());
}

/// Room for a header in memory, and a little behind it, which libcryptsetup wants to see.
Result<UniqueFd> memory_for_header() {
  UniqueFd file(::memfd_create("ironcore-luks", MFD_CLOEXEC));
  constexpr auto size = static_cast<off_t>(luks_header_size + (std::uint64_t{1} << 20));
  if (!file || ::ftruncate(file.get(), size) != 0) return system_error(errno, "make memory for a LUKS header");
  return file;
}

std::string path_of(const UniqueFd& file) {
  return "/proc/self/fd/" + std::to_string(file.get());
}

int open_device(const UniqueFd& file, Device& device) {
  const int code = crypt_init(&device.handle, path_of(file).c_str());
  if (code >= 0) crypt_set_log_callback(device.handle, &say_nothing, nullptr);
  return code;
}

/// Formats the file.
int format_file(const UniqueFd& file, const EncryptionKey& key) {
  Device device;
  int code = open_device(file, device);
  if (code < 0) return code;
  crypt_set_rng_type(device.handle, CRYPT_RNG_URANDOM);
  const crypt_pbkdf_type derivation{.type = CRYPT_KDF_PBKDF2,
                                    .hash = "sha256",
                                    .time_ms = 0,
                                    .iterations = 1000,
                                    .max_memory_kb = 0,
                                    .parallel_threads = 0,
                                    .flags = CRYPT_PBKDF_NO_BENCHMARK};
  crypt_params_luks2 parameters{};
  parameters.pbkdf = &derivation;
  parameters.sector_size = luks_sector_size;
  code = crypt_set_data_offset(device.handle, luks_header_size / kSector);
  if (code < 0) return code;
  code = crypt_format(device.handle, CRYPT_LUKS2, "aes", "xts-plain64", nullptr, nullptr, crypto::XtsCipher::key_size,
                      &parameters);
  if (code < 0) return code;
  code =
      crypt_keyslot_add_by_volume_key(device.handle, CRYPT_ANY_SLOT, nullptr, 0, characters(key), key.bytes().size());
  return std::min(code, 0);
}

/// Copies that part of the image into the file.
Result<void> fetch(const Image& image, std::uint64_t offset, std::uint64_t size, const UniqueFd& file) {
  std::string bytes(size, '\0');
  const ssize_t done = rbd_read(image.get(), offset, bytes.size(), bytes.data());
  if (done < 0) return ceph_error(static_cast<int>(done), "read the header of the encryption");
  bytes.resize(static_cast<std::size_t>(done));
  if (::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) != done)
    return system_error(errno, "keep a LUKS header in memory");
  return {};
}

Error damaged(const std::string& how) {
  return {ErrorCode::corrupt, "the header of the encryption is damaged, or was replaced (" + how +
                                  "): bring it back, or restore a snapshot or a backup"};
}

/// Who could write to the image must not keep us busy for ever, or make us take all memory.
bool is_cheap(const crypt_pbkdf_type& derivation) {
  constexpr std::uint32_t most_iterations = 10'000'000, most_passes = 100, most_memory_kb = 1 << 20, most_threads = 16;
  const std::string_view type = derivation.type == nullptr ? "" : derivation.type;
  if (type == CRYPT_KDF_PBKDF2) return derivation.iterations <= most_iterations;
  return (type == CRYPT_KDF_ARGON2I || type == CRYPT_KDF_ARGON2ID) && derivation.iterations <= most_passes &&
         derivation.max_memory_kb <= most_memory_kb && derivation.parallel_threads <= most_threads;
}

struct VolumeKey {
  std::array<std::byte, crypto::XtsCipher::key_size> bytes{};
  ~VolumeKey() { crypto::wipe(bytes); }
};

}  // namespace

Result<void> format_luks(const Image& image, const EncryptionKey& key) {
  IRONCORE_TRY(const UniqueFd file, memory_for_header());
  const int formatted = format_file(file, key);
  if (formatted < 0) return system_error(-formatted, "make a LUKS header");
  std::string piece(kPiece, '\0');
  for (std::uint64_t offset = 0; offset < luks_header_size; offset += kPiece) {
    if (::pread(file.get(), piece.data(), piece.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(kPiece)) {
      return system_error(EIO, "read a LUKS header");
    }
    if (std::all_of(piece.begin(), piece.end(), [](char c) { return c == '\0'; })) continue;
    const ssize_t written = rbd_write(image.get(), offset, piece.size(), piece.data());
    if (written < 0) return ceph_error(static_cast<int>(written), "write a LUKS header");
  }
  IRONCORE_CHECK(checked(rbd_flush(image.get()), "write a LUKS header"));
  return checked(rbd_metadata_set(image.get(), luks_setting.first, luks_setting.second), "set up an encrypted image");
}

Result<crypto::XtsCipher> unlock_luks(const Image& image, const EncryptionKey& key) {
  // Metadata and the first key slot, which is all that we ever make.
  constexpr std::uint64_t first_piece = std::uint64_t{320} << 10;
  IRONCORE_TRY(const UniqueFd file, memory_for_header());
  IRONCORE_CHECK(fetch(image, 0, first_piece, file));
  Device device;
  int code = open_device(file, device);
  if (code < 0) return system_error(-code, "look at a LUKS header");
  if (crypt_load(device.handle, CRYPT_LUKS2, nullptr) < 0) return damaged("it is no LUKS2 header");
  const auto word = [](const char* text) { return std::string_view(text == nullptr ? "" : text); };
  if (word(crypt_get_cipher(device.handle)) != "aes" || word(crypt_get_cipher_mode(device.handle)) != "xts-plain64")
    return damaged("its cipher is not aes-xts-plain64");
  if (crypt_get_volume_key_size(device.handle) != static_cast<int>(crypto::XtsCipher::key_size) ||
      crypt_get_sector_size(device.handle) != static_cast<int>(luks_sector_size) ||
      crypt_get_data_offset(device.handle) * kSector != luks_header_size || crypt_get_iv_offset(device.handle) != 0) {
    return damaged("its sizes are not ours");
  }
  for (int slot = 0; slot < crypt_keyslot_max(CRYPT_LUKS2); ++slot) {
    const auto status = crypt_keyslot_status(device.handle, slot);
    if (status != CRYPT_SLOT_ACTIVE && status != CRYPT_SLOT_ACTIVE_LAST) continue;
    std::uint64_t offset = 0, size = 0;
    crypt_pbkdf_type derivation{};
    if (crypt_keyslot_area(device.handle, slot, &offset, &size) < 0 || size > luks_header_size ||
        offset > luks_header_size - size || crypt_keyslot_get_pbkdf(device.handle, slot, &derivation) < 0 ||
        !is_cheap(derivation)) {
      return damaged("key slot " + std::to_string(slot) + " is not sensible");
    }
    if (offset + size > first_piece) IRONCORE_CHECK(fetch(image, offset, size, file));
  }
  VolumeKey volume_key;
  auto size = volume_key.bytes.size();
  code = crypt_volume_key_get(device.handle, CRYPT_ANY_SLOT, reinterpret_cast<char*>(volume_key.bytes.data()), &size,
                              characters(key), key.bytes().size());
  if (code == -EPERM) return Error(ErrorCode::forbidden, "the encryption key is not the one of this volume");
  if (code < 0 || size != volume_key.bytes.size()) return damaged("no key comes out of it");
  return crypto::XtsCipher::create(volume_key.bytes, luks_sector_size);
}

void decrypt_sectors(const crypto::XtsCipher& cipher, std::uint64_t offset, std::span<std::byte> sectors) {
  const std::size_t step = cipher.sector_size();
  const auto is_hole = [&](std::size_t at) {
    return sectors[at] == std::byte{0} && std::memcmp(&sectors[at], &sectors[at + 1], step - 1) == 0;
  };
  for (std::size_t at = 0; at < sectors.size();) {
    if (is_hole(at)) {
      at += step;
      continue;
    }
    const std::size_t begin = at;
    while (at < sectors.size() && !is_hole(at)) at += step;
    cipher.decrypt(offset + begin, sectors.subspan(begin, at - begin));
  }
}

}  // namespace ironcore::storage::ceph
