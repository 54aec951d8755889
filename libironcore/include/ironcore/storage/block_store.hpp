// SPDX-License-Identifier: Apache-2.0
// BlockStore: the seam towards Ceph, local files or a simulation. It knows volumes by uid, not the objects that ask for them, and no policy.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/image/cache.hpp"
#include "ironcore/storage/store_mark.hpp"
#include "ironcore/storage/volume.hpp"

namespace ironcore::storage {

/// The data of one volume or snapshot, decrypted. Many operations may be under way; each `done` is called exactly once, on a thread of the body or inside the
/// call, and must not block. Buffers stay the caller's and must live until then. Operations that are under way at the same time come in no order; what was
/// flushed survives a crash, and others see it. Offsets and sizes are bytes, any of them, within the size at opening or the last `expand`; what is not
/// within does nothing and is `invalid`, as is changing a snapshot. A size of 0 succeeds. An operation that comes too late (fenced, no room) fails itself, or the
/// next `flush` does. Destroying it waits until nothing is under way, then flushes as well as it can. Thread: any.
class BlockData {
 public:
  virtual ~BlockData() = default;
  using Done = std::function<void(Result<void>)>;
  virtual std::uint64_t size() const = 0;
  virtual void read(std::uint64_t offset, std::span<std::byte> into, Done done) = 0;
  virtual void write(std::uint64_t offset, BytesView bytes, Done done) = 0;
  /// Reads as zeros afterwards; gives room back where the body can.
  virtual void discard(std::uint64_t offset, std::uint64_t size, Done done) = 0;
  virtual void flush(Done done) = 0;
};

/// What `maintain` did and what is left for the next time.
struct Maintenance {
  std::uint64_t removed = 0;    ///< things that were only waiting for somebody to let go of them
  std::uint64_t separated = 0;  ///< images that depend on no other any more
  std::uint64_t waiting = 0;
  /// Made by a step that was never finished, and nobody has come back for: half volumes, half snapshots, half base images.
  std::vector<BlockId> unfinished;
};

/// The volumes of one pool. All calls are idempotent: making what is there and removing what is not succeed, and a call that was cut off anywhere
/// (crash, lost answer) is completed by repeating it; what is half made is never listed. Calls for the same volume at the same time, also by several processes,
/// leave it whole; one of them may fail with `conflict`. Errors: `invalid` (a value that the caller chose), `not_found`, `already_exists` (there, but another:
/// other size, source or encryption), `wrong_state` (in use, has dependents: says by whom), `exhausted` (pool full, quota), `forbidden` (the provider's own credentials, a wrong
/// encryption key), `unavailable` (the store does not answer; repeat later), `timeout`, `cancelled` (a stop was requested; what was begun is taken up by
/// the next call), `unsupported` (says what can do it), `corrupt`. Calls block; those that move data say so. Thread: any.
class BlockStore {
 public:
  virtual ~BlockStore() = default;

  /// Which store it is, and whose; nothing if nobody has said so yet, or if nothing is at its place. Asked anew with each call.
  virtual Result<std::optional<StoreMark>> mark() = 0;
  /// Says so, for everybody from now on; `conflict` unless the mark still is `before` (nothing = there is none). What lies in the store stays as it is.
  /// With the mark that is there it changes nothing, and says that this store is meant from now on, whichever was there before.
  virtual Result<void> set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) = 0;

  virtual Result<Capacity> capacity() = 0;

  using Progress = std::function<void(const image::Progress&)>;
  /// Copies an image into the store, sparse, and checks the digest of every byte; `corrupt` if it or the size differs, and then nothing stays. One that is there
  /// already is not read again. `progress` is called on this thread; it may be empty. Moves data.
  virtual Result<BaseImage> import_base(const BaseSource& source, const Progress& progress, std::stop_token stop) = 0;
  virtual Result<std::vector<BaseImage>> bases() = 0;
  /// `wrong_state` while volumes depend on it.
  virtual Result<void> remove_base(const crypto::Digest& digest) = 0;

  /// Moves data only where the source cannot be shared: another encryption than the source's. A volume that is there is the same if its size is now
  /// `size_bytes` and it was made from this source with this key; the source may be gone by then, and the limits stay as they are.
  virtual Result<Volume> create(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                                std::stop_token stop) = 0;
  virtual Result<Volume> volume(const BlockId& id) = 0;
  virtual Result<std::vector<Volume>> volumes() = 0;
  /// Enlarges it, also while a guest has it; who has it open sees the new size. The same size changes nothing, a smaller one is `invalid`.
  virtual Result<Volume> expand(const BlockId& id, std::uint64_t size_bytes) = 0;
  /// Also for a volume in use: from the next attach on at the latest.
  virtual Result<void> set_limits(const BlockId& id, const Limits& limits) = 0;
  /// `wrong_state` while somebody has it open (also through this object). Its snapshots stay. Room is given back at once or by `maintain`. Also removes what a
  /// `create` left half made.
  virtual Result<void> remove(const BlockId& id) = 0;

  /// What the volume holds at one moment during the call, as after a power cut: what was flushed before is in it. It is there for itself when this returns:
  /// the volume may go, and it stays. Another volume's snapshot of that uid: `already_exists`.
  virtual Result<Snapshot> take_snapshot(const BlockId& volume, const Uid& snapshot, std::stop_token stop) = 0;
  virtual Result<Snapshot> snapshot(const BlockId& id) = 0;
  virtual Result<std::vector<Snapshot>> snapshots() = 0;
  /// Volumes made from it stay. Also removes what `take_snapshot` left half made.
  virtual Result<void> remove_snapshot(const BlockId& id) = 0;

  /// The data of a volume, or of a snapshot (then only to read). `forbidden` for a wrong key, `invalid` for a key where there is no encryption and for none
  /// where there is.
  virtual Result<std::unique_ptr<BlockData>> open(const BlockId& id, const std::optional<EncryptionKey>& key) = 0;
  /// Whether the data of the volume or snapshot is encrypted with this key, as it says itself. Opens nothing: nobody sees a client, and whoever has the volume
  /// goes on.
  virtual Result<bool> is_key_of(const BlockId& id, const EncryptionKey& key) = 0;
  /// Whether volumes can have a key at all: `unsupported` says what can do it. So that nobody looks for a key that is of no use.
  virtual Result<void> check_encryption() { return {}; }

  /// With the tenant's current credential, which is made when there is none.
  virtual Result<Access> access(const BlockId& id) = 0;
  /// A new credential for the next `access`; those before are good until they are revoked. `wrong_state` if one older than the current is still there and the body
  /// has no room for a third.
  virtual Result<void> rotate_credential(const std::string& tenant) = 0;
  virtual Result<std::vector<Credential>> credentials(const std::string& tenant) = 0;
  /// The current one: a new one is made by the next `access`.
  virtual Result<void> revoke_credential(const std::string& tenant, const std::string& name) = 0;

  /// Who has the volume open, apart from this object.
  virtual Result<std::vector<Client>> clients(const BlockId& id) = 0;
  /// From its return on, nothing that these clients (addresses) still have under way reaches any volume. A new connection of the same host is not shut out.
  virtual Result<void> fence(std::span<const std::string> clients) = 0;

  /// What takes long and hurries nobody: gives room back, makes images independent of others. Call it from time to time; a turn takes seconds at most.
  virtual Result<Maintenance> maintain(std::stop_token stop) = 0;
  /// Removes what `maintain` found unfinished; `wrong_state` for what is whole, or what a call is making right now (as far as the body can see: ask first whether
  /// anybody still wants it). A base image has no tenant there, and the first 16 bytes of its digest as uid.
  virtual Result<void> remove_unfinished(const BlockId& id) = 0;
};

}  // namespace ironcore::storage
