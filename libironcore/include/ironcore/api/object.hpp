// SPDX-License-Identifier: Apache-2.0
// Object: one immutable version of one object of any kind, cheap to copy and to share between threads.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ironcore/api/kind.hpp"
#include "ironcore/api/metadata.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::api {

/// A shared pointer to an immutable kind struct, plus its Kind. Never empty. Thread: any.
class Object {
 public:
  template <class T>
  static Object of(T value) {
    return Object(kind_of<T>(), std::make_shared<T>(std::move(value)));
  }
  /// A manifest: `apiVersion` and `kind` choose the kind.
  static Result<Object> decode(std::string_view json, UnknownFields unknown = UnknownFields::keep);

  const Kind& kind() const noexcept { return *kind_; }
  const Metadata& metadata() const noexcept { return kind_->metadata(value_.get()); }
  const std::string& name() const noexcept { return metadata().name; }

  template <class T>
  bool is() const noexcept {
    return kind_ == &kind_of<T>();
  }
  /// The struct. Precondition: `is<T>()`.
  template <class T>
  const T& as() const noexcept {
    return *static_cast<const T*>(value_.get());
  }
  /// The struct, shared: stays valid as long as the pointer. Precondition: `is<T>()`.
  template <class T>
  std::shared_ptr<const T> share() const noexcept {
    return std::static_pointer_cast<const T>(value_);
  }

  /// Canonical JSON: one line, `apiVersion` and `kind` first, empty members left out.
  std::string json() const {
    std::string out;
    append_json(out);
    return out;
  }
  void append_json(std::string& out) const { kind_->encode(value_.get(), out); }

  friend bool operator==(const Object& a, const Object& b) noexcept {
    return a.kind_ == b.kind_ && (a.value_ == b.value_ || a.kind_->is_equal(a.value_.get(), b.value_.get()));
  }

  /// Internal: for Kind.
  Object(const Kind& kind, std::shared_ptr<const void> value) : kind_(&kind), value_(std::move(value)) {}
  const void* value() const noexcept { return value_.get(); }
  bool is_shared() const noexcept { return value_.use_count() > 1; }

 private:
  const Kind* kind_;
  std::shared_ptr<const void> value_;
};

/// Gives the stored object that a manifest is about.
using FindStored = std::function<Result<Object>(const Object& meant)>;

/// A manifest that may be about an object that is stored: unknown members are refused but for those that the stored
/// object has at the same place. `find_stored` is asked only if there are unknown members; when it finds nothing, all
/// of them are refused.
Result<Object> decode_change(std::string_view json, const FindStored& find_stored);

/// Applies an RFC 7386 merge patch (JSON text): null removes, objects merge, everything else replaces.
Result<Object> apply_merge_patch(const Object& object, std::string_view patch);

/// The smallest merge patch that turns `from` into `to`; `{}` when they are the same. `resourceVersion` is
/// left out.
std::string merge_patch(const Object& from, const Object& to);

/// The text of a scalar field by its JSON path (`spec.machinePoolRef.name`); nullopt when it is absent or no
/// scalar. `metadata.name`, `metadata.namespace` and the kind's placement cost no JSON.
std::optional<std::string> field_text(const Object& object, std::string_view path);

/// Three-way merge for `apply`: what changed between `last_applied` (JSON of the previous manifest, may be
/// empty) and `wanted`, laid over `current`, as a merge patch. Members that others own stay as they are.
Result<std::string> three_way_patch(std::string_view last_applied, std::string_view wanted, const Object& current);

}  // namespace ironcore::api
