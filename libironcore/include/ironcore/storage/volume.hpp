// SPDX-License-Identifier: Apache-2.0
// What volumes, snapshots and base images are, for every BlockStore.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/uid.hpp"
#include "ironcore/crypto/aead.hpp"
#include "ironcore/crypto/digest.hpp"

namespace ironcore::storage {

/// A volume or a snapshot. Both are named by the uid of the object that asks for them, so that a repeated step finds what the first one made;
/// a volume and a snapshot never have the same uid. Nothing is made for a nil uid or a tenant that is no DNS label: `invalid`.
struct BlockId {
  /// Whose it is: an API namespace (a DNS label). Tenants share a pool, but not a credential.
  std::string tenant;
  Uid uid;
  friend auto operator<=>(const BlockId&, const BlockId&) = default;
};

/// LUKS2 passphrase of a volume: 256 random bits, so that a slow derivation adds nothing.
using EncryptionKey = crypto::SealKey;

/// What one client of a volume may do in a second; 0 = as much as it likes. Bursts are allowed for `burst`.
struct Limits {
  std::uint64_t iops = 0;
  std::uint64_t bytes_per_second = 0;
  std::uint64_t burst_iops = 0;
  std::uint64_t burst_bytes_per_second = 0;
  std::chrono::seconds burst{0};
  friend bool operator==(const Limits&, const Limits&) = default;
};

/// How far above its class a volume may go, and for how long.
struct Burst {
  std::uint64_t factor = 10;
  std::chrono::seconds span{15};
};
/// Of a class with so many operations and bytes in a second (`capabilities.iops`, `.tps`); what does not fit into 64 bits is the most that does.
Limits limits_of(std::uint64_t iops, std::uint64_t bytes_per_second, const Burst& burst) noexcept;

/// All zeros when it is new.
struct Empty {};
/// As the base image of this digest, which must be there.
struct FromBase {
  crypto::Digest digest;
};
/// As a snapshot of the same tenant. An encrypted one is read with `key`; a volume with the same key shares its data, a volume with another key
/// (or none) is a copy.
struct FromSnapshot {
  Uid snapshot;
  std::optional<EncryptionKey> key;
};
using VolumeSource = std::variant<Empty, FromBase, FromSnapshot>;

struct VolumeSpec {
  /// What the guest sees: a multiple of `size_step`, from `size_step` to `max_size`, and not below the source.
  std::uint64_t size_bytes = 0;
  VolumeSource source;
  std::optional<EncryptionKey> key;  ///< the data is encrypted with it
  Limits limits;
};

constexpr std::uint64_t size_step = std::uint64_t{1} << 20;
/// An RBD image with an object map has at most 256,000,000 objects of 4 MiB, and needs 16 MiB of them for the header of an encryption.
constexpr std::uint64_t max_size = std::uint64_t{976} << 40;

/// Up to a whole MiB below 1 GiB, up to a whole GiB from there on; nothing for 0, and for what is then more than `max_size`.
std::optional<std::uint64_t> rounded_size(std::uint64_t bytes) noexcept;

struct Volume {
  BlockId id;
  std::uint64_t size_bytes = 0;
  bool is_encrypted = false;
  Limits limits;
  /// How many images must be asked for a block that was never written here; 0 = it depends on no other.
  std::uint32_t depth = 0;
};

struct Snapshot {
  BlockId id;
  Uid volume;  ///< that it was taken of; may be gone
  std::uint64_t size_bytes = 0;
  bool is_encrypted = false;
};

/// An operating system's disk, shared by the volumes of all tenants.
struct BaseImage {
  crypto::Digest digest;  ///< of the raw bytes
  std::uint64_t size_bytes = 0;
  /// Volumes and snapshots that read from it without another one between, also such as were removed and wait for `maintain`.
  std::uint32_t children = 0;
};

/// A raw image on this host, the whole file. It is not trusted before its digest was seen.
struct BaseSource {
  std::filesystem::path path;
  crypto::Digest digest;
  std::uint64_t size_bytes = 0;
};

/// How a hypervisor reaches a volume. What is in `secrets` goes to it through a Secret, and nowhere else.
struct Access {
  std::string driver;  ///< `ceph` or `local`
  std::string handle;  ///< WWN: 16 hexadecimal digits, at most 20 bytes with a device name before it
  std::map<std::string, std::string> attributes;
  std::map<std::string, std::string> secrets;
  std::string credential;  ///< name of the Credential that is in `secrets`; empty where there is none
};

/// Somebody who has a volume open.
struct Client {
  std::string address;  ///< what `fence` takes
  std::string name;     ///< as far as the store can tell: `client.4123`, a process; for people
  friend bool operator==(const Client&, const Client&) = default;
};

struct Credential {
  std::string name;
  bool is_current = false;  ///< what `access` gives out now
};

/// Of the place where the data of one BlockStore lies, after replication.
struct Capacity {
  std::uint64_t total_bytes = 0;
  std::uint64_t used_bytes = 0;
  /// What can still be written, before the store becomes full.
  std::uint64_t available_bytes = 0;
  bool is_near_full = false;
  bool is_full = false;  ///< writes wait or fail
};

}  // namespace ironcore::storage
