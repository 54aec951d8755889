// SPDX-License-Identifier: Apache-2.0
// From what a Volume says about access to a disk of a machine.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ironcore/api/storage.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/compute/machine.hpp"

namespace ironcore::control {

/// Entries of the Secret that `status.access.secretRef` names.
using VolumeSecrets = std::map<std::string, std::string>;

struct VolumeAccessOptions {
  /// Files of driver `local` lie below one of these; empty = such volumes cannot be attached. Whoever may write the status of a Volume could
  /// otherwise hand any file of this host to a machine.
  std::vector<std::filesystem::path> directories;
};

/// Source, handle, limits and secrets of the disk; the rest is the caller's. Driver `local`: attributes `path`, `format`, and the limits `iops`,
/// `bytesPerSecond`, `burstIops`, `burstBytesPerSecond`, `burstSeconds`. Driver `ceph`: attributes `monitors` (`HOST:PORT`, with commas), `image`
/// (`POOL/IMAGE` or `POOL/NAMESPACE/IMAGE`) and, for one that is encrypted, `encryption` (`luks2`), secrets `userID`, `userKey` (base64) and
/// `encryptionKey` (base64), and the same limits. An image is encrypted if either says so, the attribute or the key; one without its key is never opened.
/// Errors: `unsupported` for another driver or encryption, `forbidden` for a file elsewhere, `invalid` for what is missing or cannot be read; no text holds
/// a secret.
Result<compute::Disk> open_volume(const api::VolumeAccess& access, const VolumeSecrets& secrets,
                                  const VolumeAccessOptions& options);

}  // namespace ironcore::control
