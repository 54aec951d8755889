// SPDX-License-Identifier: Apache-2.0
// The LUKS2 header is made by libcryptsetup in memory and copied to the image.
#include "luks.hpp"

#include <libcryptsetup.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "errors.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"

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

/// Formats the file: a header, and a little room behind it, which libcryptsetup wants to see.
int format_file(const std::string& path, const EncryptionKey& key) {
  Device device;
  int code = crypt_init(&device.handle, path.c_str());
  if (code < 0) return code;
  crypt_set_log_callback(device.handle, &say_nothing, nullptr);
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
  parameters.sector_size = 4096;
  code = crypt_set_data_offset(device.handle, luks_header_size / kSector);
  if (code < 0) return code;
  code = crypt_format(device.handle, CRYPT_LUKS2, "aes", "xts-plain64", nullptr, nullptr, 64, &parameters);
  if (code < 0) return code;
  code =
      crypt_keyslot_add_by_volume_key(device.handle, CRYPT_ANY_SLOT, nullptr, 0, characters(key), key.bytes().size());
  return std::min(code, 0);
}

}  // namespace

Result<void> format_luks(const Image& image, const EncryptionKey& key) {
  const UniqueFd file(::memfd_create("ironcore-luks", MFD_CLOEXEC));
  const std::uint64_t size = luks_header_size + (std::uint64_t{1} << 20);
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    return system_error(errno, "make memory for a LUKS header");
  }
  const int formatted = format_file("/proc/self/fd/" + std::to_string(file.get()), key);
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

Result<void> load_luks(const Image& image, const EncryptionKey& key) {
  rbd_encryption_luks2_format_options_t options{
      .alg = RBD_ENCRYPTION_ALGORITHM_AES256, .passphrase = characters(key), .passphrase_size = key.bytes().size()};
  const int code = rbd_encryption_load(image.get(), RBD_ENCRYPTION_FORMAT_LUKS2, &options, sizeof(options));
  if (code == -EPERM) return Error(ErrorCode::forbidden, "the encryption key is not the one of this volume");
  if (code == -EINVAL) {
    return Error(ErrorCode::corrupt, "the header of the encryption is damaged: restore a snapshot or a backup");
  }
  return checked(code, "read the header of the encryption");
}

}  // namespace ironcore::storage::ceph
