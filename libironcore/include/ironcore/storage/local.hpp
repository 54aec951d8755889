// SPDX-License-Identifier: Apache-2.0
// BlockStore on files of this host: no Ceph, no root, nothing to install.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::storage {

struct LocalOptions {
  /// Absolute, without comma (which means something to QEMU). Everything in it belongs to the store.
  std::filesystem::path directory;
  /// Runs a job once, on a thread of the embedder's that may block; called from any thread. The reads and writes of a BlockData run there, and its `done`. It
  /// must outlive them. This body starts no thread.
  std::function<void(std::function<void()>)> executor;
  /// How long a call waits for another one, also of another process, that works on the same volume; then `conflict`.
  Duration patience = std::chrono::seconds(10);
};

/// Volumes, snapshots and base images as sparse files (modes 0600, bases 0444, directories 0711). Several objects, also of several processes, may share a
/// directory. What each call acknowledged was synced to the disk.
///
/// The directory is made (0711) by `set_mark` for a store that has no mark yet, never otherwise; its parent must be there. Its mark is the file `owner`. Until there is
/// one, and whenever the path does not lead to the directory that was opened, as when it is not mounted or was moved away, all other calls are `unavailable`; they
/// work again as soon as the same store is back. Another store at the path is used after `set_mark`, or by a new object.
///
/// Copies: where the file system shares extents (XFS, Btrfs) each volume, snapshot and clone is a raw file of its own, made at once. Elsewhere a volume from a
/// base or a snapshot is a qcow2 overlay on that file, since a copy takes too long: 3.7 to 4.4 s for a 2 GiB base with 25 % data, by `copy_file_range` on ext4
/// on a busy host. Such a base, and the file of such a snapshot after its removal, stays as long as something is based on it. From eight layers on, a new
/// volume is a full copy.
///
/// Snapshots: where extents are shared, at any time. Elsewhere the volume's own data is copied, and only while no other process has it open (`wrong_state`); writes
/// through a BlockData of this object wait meanwhile.
///
/// Data: none for `open` while a hypervisor has the volume, and the other way round: each would damage what the other writes (`wrong_state`). Several stores
/// may have a raw volume open, one of them a qcow2 volume. QEMU locks bytes 100 to 299 of its images, and so does this body; who opens a file without such
/// locks (`locking=off`, a loop device) is not seen.
///
/// `expand` of a raw volume enlarges the file; a guest that has it open sees it after the hypervisor was told to resize the disk. The file of a qcow2 volume in
/// use stays as it is until the hypervisor enlarges it, or the next `access` or `open` when it no longer is in use.
///
/// Access: driver `local`, a handle derived from tenant and uid, attributes `path`, `format` (`raw` or `qcow2`) and the limits that are not 0: `iops`,
/// `bytesPerSecond`, `burstIops`, `burstBytesPerSecond`, `burstSeconds`, which the hypervisor applies. There are no secrets and no credentials: who may open the
/// file decides. `rotate_credential` is `unsupported`, `revoke_credential` has nothing to do. `fence` is `unsupported`, except for nobody: processes of this host can
/// be ended. Encryption is `unsupported`. Clients are processes (`pid:1234`), or `unknown` if this user may not see whose.
///
/// A volume has at most 16 TiB. A snapshot and a volume with a damaged record answer `corrupt` and are missing from lists; nothing that they may depend on is
/// removed. So are those whose file was cut or replaced, and those whose file is gone, which answer `not_found`, until the file is back; nothing is written to
/// it meanwhile. `create` for such a volume is `corrupt`: it makes no other one in its place. Lists look at the volume's own file; `volume`, `access` and all that
/// uses the data also look at those that it is based on (`corrupt`). `import_base` imports an image again whose file is gone or was cut. `maintain` separates nothing, and removes half base images itself.
class LocalStore {
 public:
  /// Touches no file. `invalid` for a directory that cannot be used.
  static Result<std::unique_ptr<BlockStore>> open(LocalOptions options, Clock& clock);
};

}  // namespace ironcore::storage
