// SPDX-License-Identifier: Apache-2.0
// The BlockStore seam on Ceph: RBD images in one pool, through librados and librbd.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::storage::ceph {

struct ClusterOptions {
  std::vector<std::string> monitors;  ///< `host:port` each; hypervisors are given the same
  std::string user;  ///< without `client.`: a user with the right to make users, as docs/storage-ceph.md says
  std::string key;   ///< of the user, in base64 as Ceph writes it
  std::chrono::seconds connect_patience{10};
  std::chrono::seconds monitor_patience{10};  ///< then a silent monitor or manager is `unavailable`
  std::chrono::seconds osd_patience{30};      ///< the same for a read or write; both may have taken effect
};

/// The connection of this process to one cluster; in truth two, one of which asks monitors and managers. librados and librbd start threads of their own for it. No file is read (no ceph.conf, no
/// keyring) and nothing is printed. Lost connections come back by themselves. It must outlive its stores. Thread: any.
class Cluster {
 public:
  /// `unavailable` if no monitor answers, `forbidden` for a wrong user or key.
  static Result<std::unique_ptr<Cluster>> connect(const ClusterOptions& options);
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  ~Cluster();

  /// How the cluster names this connection: what `fence` of another one takes.
  std::string address() const;
  /// Of the cluster, the same for everybody, however its monitors were named: its `fsid`.
  std::string id() const;

  struct Impl;
  Impl& impl() noexcept { return *impl_; }

 private:
  explicit Cluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct StoreOptions {
  std::string pool;  ///< must exist, with application `rbd`; letters, digits, `.`, `_`, `-`
  /// Where the data of new images goes; empty = `pool`. In an erasure-coded one encrypted volumes are `unsupported`.
  std::string data_pool;
  /// A clone of a clone of ... deeper than this is made independent by `maintain`: reading through many images is slow.
  std::uint32_t max_depth = 4;
  /// A call that finds another one at work on the same volume fails with `conflict`; one that was cut off is forgotten after so long.
  std::chrono::seconds claim{10};
  /// How long a fenced client stays shut out. It must not be alive and waiting any more when this ends.
  std::chrono::hours fence{24};
};

/// A tenant is an RBD namespace of the pool, made with its first volume. Images of its volumes are called `img_<uid>`, those of its snapshots
/// `snap_<uid>`; base images `base_<digest>` lie in the pool's default namespace, which tenants may read. `volumes()` and the like read an index in
/// the RADOS namespace `.ironcore`; the images are the truth, and `maintain` repairs the index. Removed images go through the trash. `maintain`
/// gives the manager tasks: flatten what depends on a removed image or is too deep, purge the trash. Limits are enforced by librbd in each client.
///
/// Encryption is LUKS2 as librbd does it (AES-256-XTS), the passphrase is the key's 32 bytes, and the header lies in 16 MiB that the image is larger
/// than the volume. A tenant's credentials are cephx users that reach its own namespace and read base images. They may also fence (`profile rbd` of
/// the monitor): otherwise a guest could not take over the lock that its own crashed process left.
///
/// `not_found` if there is no such pool. `clock` and `log` must outlive the store. Thread: any.
Result<std::unique_ptr<BlockStore>> open(Cluster& cluster, StoreOptions options, Clock& clock, Log& log);

}  // namespace ironcore::storage::ceph
