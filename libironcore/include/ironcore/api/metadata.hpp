// SPDX-License-Identifier: Apache-2.0
// What every object carries: names, revision, labels, owners, life cycle (Kubernetes ObjectMeta).
#pragma once

#include <boost/describe.hpp>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"

namespace ironcore::api {

/// Position in the store's one order of writes. JSON: a decimal string. 0 = none yet.
struct Revision {
  std::uint64_t value = 0;
  friend auto operator<=>(const Revision&, const Revision&) = default;
};

/// Members of a JSON object that this version does not know: kept and written back, numbers as they were
/// written; only blanks, members that are null, and the order of members are not kept. Every described struct
/// has one as `unknown`; it costs a pointer when empty.
class Unknown {
 public:
  Unknown() = default;
  Unknown(const Unknown& other);
  Unknown(Unknown&&) noexcept = default;
  Unknown& operator=(const Unknown& other);
  Unknown& operator=(Unknown&&) noexcept = default;
  ~Unknown() = default;

  using Members = std::map<std::string, std::string, std::less<>>;  ///< name → JSON text
  bool is_empty() const noexcept { return !members_ || members_->empty(); }
  const Members& members() const noexcept;
  /// `json` is canonical: without blanks, members sorted by name, none of them null.
  void set(std::string name, std::string json);
  void remove(std::string_view name);

  friend bool operator==(const Unknown& a, const Unknown& b) noexcept { return a.members() == b.members(); }

 private:
  std::unique_ptr<Members> members_;
};

struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  std::string uid;
  std::optional<bool> controller;
  std::optional<bool> block_owner_deletion;
  Unknown unknown;
  friend bool operator==(const OwnerReference&, const OwnerReference&) = default;
};
BOOST_DESCRIBE_STRUCT(OwnerReference, (), (api_version, kind, name, uid, controller, block_owner_deletion))

/// Set by the store, whatever the writer says: uid, resource_version, generation, creation_timestamp,
/// deletion_timestamp.
struct Metadata {
  std::string name;           // beside its namespace: a search of the store compares both
  std::string namespace_;     ///< empty for cluster-scoped kinds
  std::string generate_name;  ///< a prefix; the store appends a random suffix when `name` is empty
  std::string uid;
  Revision resource_version;
  std::int64_t generation = 0;  ///< grows by one whenever the spec changes
  std::optional<WallTime> creation_timestamp;
  std::optional<WallTime> deletion_timestamp;  ///< set = being deleted, waiting for the finalizers to go
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::vector<std::string> finalizers;
  std::vector<OwnerReference> owner_references;
  Unknown unknown;
  friend bool operator==(const Metadata&, const Metadata&) = default;
};
BOOST_DESCRIBE_STRUCT(Metadata, (),
                      (name, generate_name, namespace_, uid, resource_version, generation, creation_timestamp,
                       deletion_timestamp, labels, annotations, finalizers, owner_references))

/// Of a template inside another object: what is made from it is named after its owner.
struct TemplateMetadata {
  std::string name;           ///< forbidden; read so that the error can name it
  std::string generate_name;  ///< forbidden
  std::string namespace_;     ///< forbidden
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  Unknown unknown;
  friend bool operator==(const TemplateMetadata&, const TemplateMetadata&) = default;
};
BOOST_DESCRIBE_STRUCT(TemplateMetadata, (), (name, generate_name, namespace_, labels, annotations))

/// Of all annotations of an object together, keys and values.
inline constexpr std::size_t max_annotation_bytes = 256 * 1024;

}  // namespace ironcore::api
