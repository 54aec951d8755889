// SPDX-License-Identifier: Apache-2.0
// KindOf<T>: the one body of Kind, derived from the struct T.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/api/kind.hpp"
#include "ironcore/api/object.hpp"
#include "json_compare.hpp"
#include "json_decode.hpp"
#include "json_encode.hpp"
#include "rules.hpp"

namespace ironcore::api {

/// The table of a kind, given beside its `kind_of`.
template <class T>
struct Table {
  std::span<const Column> columns;
  std::vector<std::string> (*cells)(const T& object, WallTime now) = nullptr;
};

template <KindStruct T>
class KindOf final : public Kind {
 public:
  constexpr KindOf(NameRule names, Table<T> table) : names_(names), table_(table) {}
  // Written out: the compiler cannot use an implicit one in a constant.
  constexpr ~KindOf() override {}

  const KindInfo& info() const override { return T::info; }

  Result<Object> decode(std::string_view json, UnknownFields unknown) const override {
    auto value = std::make_shared<T>();
    IRONCORE_CHECK(decode_text(json, unknown, *value));
    return Object(*this, std::move(value));
  }

  Result<Object> decode_onto(std::string_view json, const Object& stored) const override {
    Places kept;
    collect_unknown(stored.as<T>(), FieldPath(), kept);
    auto value = std::make_shared<T>();
    IRONCORE_CHECK(decode_text(json, UnknownFields::refuse, *value, &kept));
    return Object(*this, std::move(value));
  }

  Result<Object> admit_create(const Object& wanted) const override {
    auto value = std::make_shared<T>(wanted.as<T>());
    IRONCORE_CHECK(admit(*value));
    return Object(*this, std::move(value));
  }

  Result<void> admit_create(Object& object, Birth birth) const override {
    auto& value = own(object);
    auto& metadata = value.metadata;
    metadata.name = std::move(birth.name);
    metadata.uid = std::move(birth.uid);
    metadata.resource_version = birth.resource_version;
    metadata.generation = 1;
    metadata.creation_timestamp = birth.creation_timestamp;
    metadata.deletion_timestamp.reset();
    if constexpr (has_status_member) value.status = {};
    return admit(value);
  }

  Result<Object> admit_update(const Object& current, const Object& wanted) const override {
    auto value = std::make_shared<T>(wanted.as<T>());
    const auto& before = current.as<T>();
    Checks checks;
    complete(*value, &before, checks);
    check_metadata(value->metadata, T::info, names_, checks);
    check_metadata_change(before.metadata, value->metadata, checks);
    check(*value, checks);
    check_change(before, *value, checks);
    IRONCORE_CHECK(std::move(checks).result());
    return Object(*this, std::move(value));
  }

  Result<void> check_change_among([[maybe_unused]] const Object& current, [[maybe_unused]] const Object& wanted,
                                  [[maybe_unused]] const Others& others) const override {
    Checks checks;
    if constexpr (requires(const T& value) { api::check_change_among(value, value, others, checks); })
      api::check_change_among(current.as<T>(), wanted.as<T>(), others, checks);
    return std::move(checks).result();
  }

  Object combine(const Object& spec_of, const Object& status_of) const override {
    if constexpr (has_status_member) {
      auto value = std::make_shared<T>(spec_of.as<T>());
      value->status = status_of.as<T>().status;
      return Object(*this, std::move(value));
    } else {
      return spec_of;
    }
  }

  Object combine(const Object& spec_of, const Object& status_of, Metadata metadata) const override {
    auto value = std::make_shared<T>(spec_of.as<T>());
    if constexpr (has_status_member) value->status = status_of.as<T>().status;
    value->metadata = std::move(metadata);
    return Object(*this, std::move(value));
  }

  bool has_status() const override { return has_status_member; }

  bool is_same_spec(const Object& a, const Object& b) const override {
    const auto& left = a.as<T>();
    const auto& right = b.as<T>();
    bool is_same = left.unknown == right.unknown;
    for_each_member<T>([&](auto descriptor) {
      using Descriptor = decltype(descriptor);
      constexpr auto name = json::member_name<Descriptor>;
      if constexpr (name != "metadata" && name != "status")
        is_same = is_same && left.*Descriptor::pointer == right.*Descriptor::pointer;
    });
    return is_same;
  }

  Object with_metadata(const Object& from, Metadata metadata) const override {
    auto value = std::make_shared<T>(from.as<T>());
    value->metadata = std::move(metadata);
    return Object(*this, std::move(value));
  }

  Object with_metadata(Object&& from, Metadata metadata) const override {
    own(from).metadata = std::move(metadata);
    return std::move(from);
  }

  std::span<const Column> columns() const override { return table_.columns; }
  std::vector<std::string> cells(const Object& from, WallTime now) const override {
    return table_.cells(from.as<T>(), now);
  }

  void encode(const void* value, std::string& out) const override {
    json::Text text;
    write(text, of(value));
    out.append(text.view());
  }
  const Metadata& metadata(const void* value) const override { return of(value).metadata; }
  bool is_equal(const void* a, const void* b) const override { return of(a) == of(b); }

  Result<Object> merge(const void* value, std::string_view patch) const override {
    auto merged = std::make_shared<T>(of(value));
    IRONCORE_CHECK(merge_text(patch, *merged));
    return Object(*this, std::move(merged));
  }

  std::string difference(const void* from, const void* to) const override {
    json::Text out;
    write_difference(out, of(from), of(to));
    return out.text();
  }

  std::optional<std::string> field_text(const void* value, std::string_view path) const override {
    if (path == "apiVersion") return std::string(api_version_text<T>.view());
    if (path == "kind") return std::string(T::info.kind);
    return find_text(of(value), path);
  }

 private:
  static constexpr bool has_status_member = requires(T & value) { value.status; };

  Result<void> admit(T& value) const {
    Checks checks;
    complete(value, nullptr, checks);
    check_metadata(value.metadata, T::info, names_, checks);
    check(value, checks);
    return std::move(checks).result();
  }

  /// To be changed: as it is when nobody else can see it, or else `object` becomes a copy of itself.
  T& own(Object& object) const {
    if (object.is_shared()) object = Object(*this, std::make_shared<T>(object.as<T>()));
    std::atomic_thread_fence(std::memory_order_acquire);  // after the reads of those who had it before
    // Made by one of the functions here or `Object::of`, so never const in itself.
    return const_cast<T&>(object.as<T>());
  }

  static const T& of(const void* value) { return *static_cast<const T*>(value); }

  NameRule names_;
  Table<T> table_;
};

}  // namespace ironcore::api
