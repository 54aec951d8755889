// SPDX-License-Identifier: Apache-2.0
// A store of blocks in memory, with everything that may go wrong with one: for tests, simulations and trying things without Ceph.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::sim {

/// Volumes, snapshots and base images in memory: sparse, in pages that are shared until they are written. It behaves like Ceph and looks like it from a hypervisor
/// (`access`): what others still need of something removed waits for `maintain`, images depend on others, each client has a cache that is lost when it dies.
/// Deterministic, without threads: operations on data end inside the call, or while the data is held, inside `release_data`, or when it is closed. Encryption only
/// scrambles: it keeps nothing secret, but a wrong key reads nothing. Thread: any.
class BlockStore final : public storage::BlockStore {
 public:
  struct Options {
    std::uint64_t total_bytes = std::uint64_t{1} << 40;
    double near_full = 0.85;                  ///< of the total
    double full = 0.95;                       ///< from here on nothing that needs room is written: `exhausted`
    std::uint32_t max_depth = 4;              ///< `maintain` makes images independent that depend on more
    std::uint32_t separations_per_turn = 16;  ///< of `maintain`
    std::uint64_t cache_bytes = 1 << 20;      ///< what a client has not flushed; 0 = it writes through
    Duration copy_per_mib{0};                 ///< imports and copies take so long, on the clock
    std::string pool = "volumes";             ///< as `access` names it
  };
  explicit BlockStore(Clock& clock);
  BlockStore(Clock& clock, Options options);
  ~BlockStore() override;

  /// A second object for the same place, as another process or a restarted one has.
  std::unique_ptr<BlockStore> another() const;

  Result<std::optional<storage::StoreMark>> mark() override;
  Result<void> set_mark(const std::optional<storage::StoreMark>& before, const storage::StoreMark& mark) override;
  Result<storage::Capacity> capacity() override;
  Result<storage::BaseImage> import_base(const storage::BaseSource& source, const Progress& progress,
                                         std::stop_token stop) override;
  Result<std::vector<storage::BaseImage>> bases() override;
  Result<void> remove_base(const crypto::Digest& digest) override;
  Result<storage::Volume> create(const storage::BlockId& id, const storage::VolumeSpec& spec, const Progress& progress,
                                 std::stop_token stop) override;
  Result<storage::Volume> volume(const storage::BlockId& id) override;
  Result<std::vector<storage::Volume>> volumes() override;
  Result<storage::Volume> expand(const storage::BlockId& id, std::uint64_t size_bytes) override;
  Result<void> set_limits(const storage::BlockId& id, const storage::Limits& limits) override;
  Result<void> remove(const storage::BlockId& id) override;
  Result<storage::Snapshot> take_snapshot(const storage::BlockId& volume, const Uid& snapshot,
                                          std::stop_token stop) override;
  Result<storage::Snapshot> snapshot(const storage::BlockId& id) override;
  Result<std::vector<storage::Snapshot>> snapshots() override;
  Result<void> remove_snapshot(const storage::BlockId& id) override;
  Result<std::unique_ptr<storage::BlockData>> open(const storage::BlockId& id,
                                                   const std::optional<storage::EncryptionKey>& key) override;
  Result<bool> is_key_of(const storage::BlockId& id, const storage::EncryptionKey& key) override;
  Result<storage::Access> access(const storage::BlockId& id) override;
  Result<void> rotate_credential(const std::string& tenant) override;
  Result<std::vector<storage::Credential>> credentials(const std::string& tenant) override;
  Result<void> revoke_credential(const std::string& tenant, const std::string& name) override;
  Result<std::vector<storage::Client>> clients(const storage::BlockId& id) override;
  Result<void> fence(std::span<const std::string> clients) override;
  Result<storage::Maintenance> maintain(std::stop_token stop) override;
  Result<void> remove_unfinished(const storage::BlockId& id) override;

  // ---- the script: what tests make happen; the same for all objects of the place ----

  /// One moment of one call. Every call asks before its first step and after each; so one of one step asks twice.
  struct Call {
    std::string_view name;  ///< `create`, `take_snapshot`, of data `read`, `write`, `discard`, `flush` …
    storage::BlockId
        id;  ///< of a base image as for `remove_unfinished`; of a tenant without uid; empty for calls that have none
    std::uint64_t index;  ///< counts all calls from 0
    std::uint32_t step;   ///< how many steps were done: 0 = nothing happened yet
    bool is_done;         ///< everything was done, and only the answer can be lost
  };
  /// An error ends the call right there: what was done stays, as if the process had died. May be empty. Must not call back.
  void set_faults(std::function<std::optional<Error>(const Call&)> faults);
  /// Calls so far.
  std::uint64_t calls() const;

  /// The cluster is gone: every call, and every operation on data, is `unavailable` until `reconnect`.
  void disconnect();
  void reconnect();
  /// Somebody else fills the place with so many bytes (in all, not more).
  void fill(std::uint64_t bytes);
  void set_total(std::uint64_t bytes);

  /// Somebody puts the header of each encrypted volume in the place of the other's: from now on each is opened by the other's key, and shows noise.
  /// Once more, and all is as it was. `not_found` if one of them is not there, `invalid` if it is not encrypted.
  Result<void> exchange_headers(const storage::BlockId& one, const storage::BlockId& other);

  /// Operations on data are taken, and not begun before `release_data`.
  void hold_data();
  void release_data();

  /// What a hypervisor does with `access`: a client of its own, gone when the data is closed. `forbidden` if its credential was revoked or is another tenant's,
  /// otherwise like `open`. `host` is how `clients` names it.
  Result<std::unique_ptr<storage::BlockData>> attach(const storage::Access& access,
                                                     const std::optional<storage::EncryptionKey>& key,
                                                     std::string_view host);
  /// This object's process dies: what it has open is closed, what it had not flushed is lost. The object can be used on, as a new one.
  void crash();
  /// So do all clients, `attach`ed ones too: a power cut.
  void crash_all();

  /// What lies in the pages of a volume or snapshot, as far as they were written: scrambled if it is encrypted. `not_found` if there is none, whole or half.
  Result<Bytes> raw(const storage::BlockId& id) const;
  /// Bytes that all pages take.
  std::uint64_t occupied() const;

 private:
  struct State;
  class Data;
  struct Client;
  explicit BlockStore(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
  std::shared_ptr<Client> client_;
};

}  // namespace ironcore::sim
