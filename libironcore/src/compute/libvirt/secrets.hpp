// SPDX-License-Identifier: Apache-2.0
// Secrets of libvirt: what opens disks, in the memory of its daemon only.
#pragma once

#include <libvirt/libvirt.h>

#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/base/uid.hpp"
#include "ironcore/compute/machine.hpp"

namespace ironcore::compute::libvirt {

enum class SecretKind {
  key,
  passphrase,
  both,  ///< the passphrase behind the key: for encrypted disks that are plugged in with rbd_namespace.cpp
};

/// The name of a secret in definitions: the same for ever.
Uid secret_uid(const Uid& domain, std::string_view disk, SecretKind kind);

/// Ephemeral (never on a disk of libvirt's) and private (nobody is told the value).
Result<void> put_secrets(virConnectPtr connection, const Uid& domain, const std::string& disk,
                         const DiskSecrets& secrets);
Result<void> remove_secrets(virConnectPtr connection, const Uid& domain, const std::string& disk);
/// All of a domain, found by what they are for.
Result<void> remove_all_secrets(virConnectPtr connection, const Uid& domain);
/// Domains that secrets of ours are for, each once.
Result<std::vector<Uid>> secret_owners(virConnectPtr connection);

}  // namespace ironcore::compute::libvirt
