// SPDX-License-Identifier: Apache-2.0
// Kind: everything the system knows about one kind of object, derived from the one struct that declares it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/api/metadata.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::api {

enum class Scope { cluster, namespaced };

/// The names of a kind; a declared struct has one as `static constexpr KindInfo info`.
struct KindInfo {
  std::string_view group;       ///< `compute.ironcore.dev`; empty for the core group
  std::string_view version;     ///< `v1alpha1`
  std::string_view kind;        ///< `Machine`
  std::string_view plural;      ///< `machines`
  std::string_view short_name;  ///< `m`; may be empty
  Scope scope;
  /// Field path whose value decides who works on the object (`spec.machinePoolRef.name`); changes are
  /// published on a topic that ends with it. Empty = not placed.
  std::string_view placement = "";
};

/// One column of `ironcorectl get`.
struct Column {
  std::string_view header;
  bool is_wide;  ///< only shown with `-o wide`
};

enum class UnknownFields {
  keep,    ///< as the server does: they survive
  refuse,  ///< as the CLI does: an error that names the nearest known field
};

class Kind;
class Object;

/// What the store gives to a new object.
struct Birth {
  std::string name;  ///< the generated one, if it was generated
  std::string uid;
  Revision resource_version;
  WallTime creation_timestamp;
};

/// The other objects of the store in which one is changed.
class Others {
 public:
  virtual ~Others() = default;
  /// Null if there is none; valid until the next call.
  virtual const Object* find(const Kind& kind, const std::string& namespace_, const std::string& name) const = 0;
};

/// The kinds are a fixed table (`kinds()`). Thread: any (immutable).
class Kind {
 public:
  virtual ~Kind() = default;
  virtual const KindInfo& info() const = 0;
  std::string api_version() const;  ///< `compute.ironcore.dev/v1alpha1`, or `v1` for the core group
  std::string resource() const;     ///< `machines.compute.ironcore.dev`; the word for topics and messages

  /// JSON → object. Wrong types and values are `invalid`, each
  /// with its field path.
  virtual Result<Object> decode(std::string_view json, UnknownFields unknown = UnknownFields::keep) const = 0;

  /// The same for a change of `stored`, which is of this kind: unknown members are refused but for those that
  /// `stored` has at the same place (in any element of the same list), so that what was printed can be written back.
  virtual Result<Object> decode_onto(std::string_view json, const Object& stored) const = 0;

  /// Fills in defaults and checks a new object. All errors are reported, not only the first.
  virtual Result<Object> admit_create(const Object& wanted) const = 0;
  /// The same for an object that begins to exist: `object` gets this birth, generation 1, no status, and is not being
  /// deleted. Without a copy if nobody else has the object; after an error it may be half of either.
  virtual Result<void> admit_create(Object& object, Birth birth) const = 0;
  /// The same for a change of `current` into `wanted`: immutable and set-once fields, and the kind's own
  /// update rules.
  virtual Result<Object> admit_update(const Object& current, const Object& wanted) const = 0;
  /// Checks what a change that was admitted needs of other objects (the class of a volume that grows): for the store, which has them.
  virtual Result<void> check_change_among(const Object& current, const Object& wanted, const Others& others) const = 0;
  /// Takes metadata and spec (and what else is not status) from `spec_of`, status from `status_of`.
  virtual Object combine(const Object& spec_of, const Object& status_of) const = 0;
  virtual bool has_status() const = 0;
  /// True when everything but metadata and status is the same: `generation` does not grow.
  virtual bool is_same_spec(const Object& a, const Object& b) const = 0;
  /// Both at once, in one copy.
  virtual Object combine(const Object& spec_of, const Object& status_of, Metadata metadata) const = 0;
  virtual Object with_metadata(const Object& object, Metadata metadata) const = 0;
  /// Without a copy if nobody else has the object.
  virtual Object with_metadata(Object&& object, Metadata metadata) const = 0;

  virtual std::span<const Column> columns() const = 0;
  /// One cell for each column, for the table of `ironcorectl get`; `now` for the Age column.
  virtual std::vector<std::string> cells(const Object& object, WallTime now) const = 0;

  /// Internal: what `Object` needs to handle its value without knowing the type.
  virtual void encode(const void* value, std::string& out) const = 0;
  virtual const Metadata& metadata(const void* value) const = 0;
  virtual bool is_equal(const void* a, const void* b) const = 0;
  virtual Result<Object> merge(const void* value, std::string_view patch) const = 0;
  virtual std::string difference(const void* from, const void* to) const = 0;
  virtual std::optional<std::string> field_text(const void* value, std::string_view path) const = 0;
};

/// All kinds of this build, sorted by group and name.
std::span<const Kind* const> kinds();

/// By `machines`, `Machine`, `machine`, `machines.compute.ironcore.dev` or a short name, in any case.
/// `not_found` names the nearest.
Result<const Kind*> find_kind(std::string_view word);
/// By the two words of a manifest.
Result<const Kind*> find_kind(std::string_view api_version, std::string_view kind);

/// The Kind of a declared struct: `kind_of<Machine>()`. Defined for the structs of the headers in this
/// folder.
template <class T>
const Kind& kind_of();

}  // namespace ironcore::api
