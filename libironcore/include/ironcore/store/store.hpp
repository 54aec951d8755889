// SPDX-License-Identifier: Apache-2.0
// Store: the one place where objects live. The same seam in memory, on SQLite, and over ZeroMQ.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "ironcore/api/object.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/store/selector.hpp"

namespace ironcore::store {

using api::Object;
using api::Revision;

/// Largest object, as canonical JSON. The last 256 bytes are kept free for the mark that it is being deleted.
inline constexpr std::size_t max_object_bytes = 1536 * 1024;
/// Most operations of one transaction.
inline constexpr std::size_t max_operations = 10'000;
/// Most that the objects which one transaction writes may have together, as canonical JSON; what a delete takes with
/// it does not count.
inline constexpr std::size_t max_transaction_bytes = 64 * 1024 * 1024;

struct Key {
  const api::Kind* kind = nullptr;
  std::string namespace_;  ///< empty for cluster-scoped kinds
  std::string name;
  std::string to_text() const;  ///< `machine default/web-1`
  friend bool operator==(const Key&, const Key&) = default;
};
template <class T>
Key key(std::string namespace_, std::string name) {
  return {&api::kind_of<T>(), std::move(namespace_), std::move(name)};
}
Key key_of(const Object& object);

// ---- writing
// ----------------------------------------------------------------------------------------------------

/// So much of a `generateName` becomes part of the name.
inline constexpr std::size_t max_generated_prefix = 58;

/// Makes a new object. The store defaults, validates, and sets uid, generation 1, creation time, revision.
/// Status is cleared for kinds that have one (write it with `part = status` afterwards).
struct Create {
  Object object;
};

enum class Part {
  object,  ///< metadata and spec; the status is kept whatever the writer says
  status,  ///< the status; everything else is kept
};

/// Replaces the part. `metadata.resourceVersion` must be the current one (`conflict` otherwise, `invalid` if
/// missing).
struct Update {
  Object object;
  Part part = Part::object;
};

/// An RFC 7386 merge patch of the part. Applied to the current state; a `metadata.resourceVersion` or
/// `metadata.uid` in the patch is a precondition.
struct Patch {
  Key key;
  std::string merge_patch;
  Part part = Part::object;
};

enum class Propagation {
  cascade,  ///< objects owned by it are deleted too, once it is gone and no other owner exists
  orphan,   ///< they lose the owner reference and stay
};

/// Deletes, or, while finalizers are left, only marks as being deleted. Deleting what is being deleted
/// succeeds and changes nothing.
struct Delete {
  Key key;
  Revision revision = {};  ///< not zero = only if this is the current one
  std::string uid;         ///< not empty = only this incarnation
  Propagation propagation = Propagation::cascade;
};

using Operation = std::variant<Create, Update, Patch, Delete>;

/// What must hold at the moment of the commit; otherwise `conflict` and nothing is written.
struct Unchanged {
  Key key;
  Revision revision;
};
struct Absent {
  Key key;
};
/// The holder of this lease with this token; `forbidden` for one that released it or lost it to another. An
/// expired lease that nobody else took is not lost yet.
struct HoldsLease {
  std::string name;
  std::uint64_t token;
};
using Precondition = std::variant<Unchanged, Absent, HoldsLease>;

/// All of the operations or none. Later operations see the effect of earlier ones.
struct Transaction {
  std::vector<Operation> operations;
  std::vector<Precondition> preconditions;
};

struct Committed {
  Revision revision;            ///< of the last change made; the current one if nothing changed
  std::vector<Object> objects;  ///< after each operation; for a Delete that completed: the last state
};

// ---- reading
// ----------------------------------------------------------------------------------------------------

struct Query {
  const api::Kind* kind = nullptr;
  std::string namespace_;  ///< empty = all
  LabelSelector labels;
  FieldSelector fields;
  bool matches(const Object& object) const;
  /// `invalid` when it names no kind, or a field that the kind does not have. Every body asks before it answers.
  Result<void> check() const;
};

struct ListOptions {
  std::size_t limit = 0;    ///< most objects per page; 0 = all
  std::string continue_at;  ///< `Page::continue_at` of the page before
};

/// Sorted by namespace and name. A page is exact at its own revision; over several pages, watch from the
/// first page's revision to see what changed in between. A page may be empty although others follow.
struct Page {
  std::vector<Object> objects;
  Revision revision;
  std::string continue_at;  ///< empty = last page
};

struct Change {
  enum class Type {
    added,  ///< new, or newly matching the query
    modified,
    deleted,   ///< gone, or no longer matching; carries the last state
    bookmark,  ///< nothing happened up to `revision`; `object` is empty
  };
  Type type;
  Revision revision;
  std::optional<Object> object;
};

/// Every change of a query after a revision, in order, none left out, none twice. It holds no queue of its
/// own: a reader that stays away for longer than the store keeps its history gets `gone` and lists again.
/// Thread: one. Handles may outlive their store: they then say `cancelled`.
class Watch {
 public:
  virtual ~Watch() = default;
  /// What happened since the last call, at most `limit`; waits until there is something. Empty = the deadline
  /// passed or stop was requested. `gone` = list again and open a new watch; `unavailable` never: a remote
  /// body reconnects by itself and goes on.
  virtual Result<std::vector<Change>> next(Instant deadline, std::stop_token stop = {}, std::size_t limit = 1000) = 0;
};

// ---- leases
// -----------------------------------------------------------------------------------------------------

/// "One of us is active." Renewals live in memory and cost no write; a change of holder is durable and gets a
/// token that is larger than every token before it. A restarted store gives every holder its whole time
/// again.
struct Lease {
  std::string name;    ///< `scheduler`, `machinepool/host-1`
  std::string holder;  ///< unique for each process start
  std::uint64_t token = 0;
  Duration time_to_live{};
  std::uint64_t renewals = 0;  ///< grows with every renewal: progress that can be observed without comparing clocks
  bool is_held = false;        ///< false = expired or released
};

/// Errors of every call: `unavailable`, `timeout` (the write may have happened), `forbidden`, `cancelled`,
/// besides those named. Thread: any.
class Store {
 public:
  virtual ~Store() = default;

  virtual Result<Object> get(const Key& key) = 0;
  virtual Result<Page> list(const Query& query, const ListOptions& options = {}) = 0;

  /// Returns when the writes are durable (they survive kill -9 and power loss). Errors name the operation
  /// when there are several. `not_found`, `already_exists`, `conflict`, `invalid` (with field errors),
  /// `exhausted` (size), `wrong_state` (a create in a namespace that is being deleted; a finalizer added to
  /// what is being deleted).
  virtual Result<Committed> commit(const Transaction& transaction) = 0;

  /// Changes after `from`. Revision 0 = everything that exists now as `added`, each with the object's own
  /// revision, then a bookmark with the revision that this snapshot was taken at, then what follows. Continue
  /// a broken watch from a revision that came after that bookmark. `gone` when the history does not reach
  /// back to `from`, or `from` is ahead of the store (it was restored).
  virtual Result<std::unique_ptr<Watch>> watch(const Query& query, Revision from) = 0;

  virtual Result<Revision> revision() = 0;

  /// Takes a free or expired lease, or renews it when `holder` has it (also one that expired, if nobody else
  /// took it: the token stays). `conflict` (naming the holder) when another one has it.
  virtual Result<Lease> acquire_lease(const std::string& name, const std::string& holder, Duration time_to_live) = 0;
  /// `forbidden` when it is held with another token; releasing it again succeeds. `not_found` when there
  /// never was such a lease.
  virtual Result<void> release_lease(const std::string& name, std::uint64_t token) = 0;
  /// Those whose name starts with `prefix`, sorted.
  virtual Result<std::vector<Lease>> leases(const std::string& prefix) = 0;
};

}  // namespace ironcore::store
