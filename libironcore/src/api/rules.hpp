// SPDX-License-Identifier: Apache-2.0
// The words in which the rules of the kinds are written: required, immutable, set once, DNS label …
#pragma once

#include <concepts>
#include <initializer_list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "field_path.hpp"
#include "ironcore/api/compute.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/api/networking.hpp"
#include "ironcore/api/storage.hpp"

namespace ironcore::api {

/// Collects what is wrong with one object, all of it.
class Checks {
 public:
  using Reason = FieldError::Reason;
  void add(const FieldPath& at, Reason reason, std::string message);
  /// The collected errors as one Error, or success.
  Result<> result() &&;

  void required(const FieldPath& at, std::string_view text, std::string_view what);
  void forbidden(const FieldPath& at, bool is_there, std::string_view why);
  /// Empty text is fine in the next four: combine with `required`.
  void dns_label(const FieldPath& at, std::string_view text);
  void dns_subdomain(const FieldPath& at, std::string_view text);
  void qualified_name(const FieldPath& at, std::string_view text);
  void label_value(const FieldPath& at, std::string_view text);
  void not_negative(const FieldPath& at, const Quantity& amount);
  void positive(const FieldPath& at, const Quantity& amount);
  void not_longer(const FieldPath& at, std::size_t size, std::size_t limit, std::string_view unit);

  /// The reference is there and its name is a DNS subdomain.
  void required_reference(const FieldPath& at, const LocalReference& reference, std::string_view what);
  /// If there is one, its name is needed and is a DNS subdomain. Takes anything with a `name`.
  template <class Reference>
  void optional_reference(const FieldPath& at, const std::optional<Reference>& reference) {
    if (!reference) return;
    required(FieldPath(at, "name"), reference->name, "the name of the object referred to");
    dns_subdomain(FieldPath(at, "name"), reference->name);
  }

  void labels(const FieldPath& at, const std::map<std::string, std::string>& labels);
  void annotations(const FieldPath& at, const std::map<std::string, std::string>& annotations);
  void resources(const FieldPath& at, const ResourceList& resources);
  /// Must be there and more than zero.
  void required_resource(const FieldPath& at, const ResourceList& resources, std::string_view name);
  /// What a class offers: all of `names`, and perhaps more.
  void capabilities(const FieldPath& at, const ResourceList& resources, std::initializer_list<std::string_view> names);
  void taints(const FieldPath& at, std::span<const Taint> taints);
  void tolerations(const FieldPath& at, std::span<const Toleration> tolerations);
  void label_selector(const FieldPath& at, const LabelSelector& selector);
  /// The text of an image reference; empty is fine.
  void image(const FieldPath& at, std::string_view text);

  template <class T>
  void immutable(const FieldPath& at, const T& current, const T& wanted) {
    if (!(current == wanted)) add(at, Reason::forbidden, "cannot be changed after creation");
  }
  /// Empty or absent → a value, and never again.
  template <class T>
  void set_once(const FieldPath& at, const T& current, const T& wanted) {
    if (!(current == T()) && !(current == wanted))
      add(at, Reason::forbidden, "cannot be changed or removed once it is set");
  }

  /// `names` remembers what was seen at the places before.
  void unique(const FieldPath& at, std::string_view text, std::set<std::string, std::less<>>& names);

 private:
  std::vector<FieldError> errors_;
};

/// Of several sources exactly one may be given: notes every one after the first.
class OneSource {
 public:
  OneSource(const FieldPath& at, Checks& checks) : at_(at), checks_(checks) {}
  /// Whether the rules of this source are worth checking.
  bool take(std::string_view member, bool is_there);
  void finish(std::string_view choices);

 private:
  const FieldPath& at_;
  Checks& checks_;
  std::size_t count_ = 0;
};

/// What a kind's names have to look like.
enum class NameRule { dns_label, dns_subdomain };

void check_metadata(const Metadata& metadata, const KindInfo& info, NameRule rule, Checks& checks);
void check_metadata_change(const Metadata& current, const Metadata& wanted, Checks& checks);
/// Labels and annotations only.
void check_template_metadata(const FieldPath& at, const TemplateMetadata& metadata, Checks& checks);

/// Each kind has these three: `complete` fills in what admission gives out (`current` is null for a new
/// object), `check` looks at one version, `check_change` at the step between two.
void complete(MachineClass& object, const MachineClass* current, Checks& checks);
void check(const MachineClass& object, Checks& checks);
void check_change(const MachineClass& current, const MachineClass& wanted, Checks& checks);
void complete(Machine& object, const Machine* current, Checks& checks);
void check(const Machine& object, Checks& checks);
void check_change(const Machine& current, const Machine& wanted, Checks& checks);

/// Pools of all kinds have the same rules.
void check_pool_spec(const PoolSpec& spec, Checks& checks);
void check_pool_spec_change(const PoolSpec& current, const PoolSpec& wanted, Checks& checks);
template <class T>
concept IsPool = std::same_as<decltype(T::spec), PoolSpec>;
template <IsPool T>
void complete(T&, std::type_identity_t<const T*>, Checks&) {}
template <IsPool T>
void check(const T& object, Checks& checks) {
  check_pool_spec(object.spec, checks);
}
template <IsPool T>
void check_change(const T& current, const T& wanted, Checks& checks) {
  check_pool_spec_change(current.spec, wanted.spec, checks);
}

void complete(Namespace& object, const Namespace* current, Checks& checks);
void check(const Namespace& object, Checks& checks);
void check_change(const Namespace& current, const Namespace& wanted, Checks& checks);
void complete(Secret& object, const Secret* current, Checks& checks);
void check(const Secret& object, Checks& checks);
void check_change(const Secret& current, const Secret& wanted, Checks& checks);
void complete(Event& object, const Event* current, Checks& checks);
void check(const Event& object, Checks& checks);
void check_change(const Event& current, const Event& wanted, Checks& checks);

IpFamily family_of(const IpAddress& address);
/// 32 or 128: the length of a prefix that is one address.
std::int32_t address_bits(IpFamily family);
void complete_prefix_spec(PrefixSpec& spec);
void check_prefix_spec(const FieldPath& at, const PrefixSpec& spec, Checks& checks);

void complete(VolumeClass& object, const VolumeClass* current, Checks& checks);
void check(const VolumeClass& object, Checks& checks);
void check_change(const VolumeClass& current, const VolumeClass& wanted, Checks& checks);
void complete(VolumeSnapshot& object, const VolumeSnapshot* current, Checks& checks);
void check(const VolumeSnapshot& object, Checks& checks);
void check_change(const VolumeSnapshot& current, const VolumeSnapshot& wanted, Checks& checks);
void complete(BucketClass& object, const BucketClass* current, Checks& checks);
void check(const BucketClass& object, Checks& checks);
void check_change(const BucketClass& current, const BucketClass& wanted, Checks& checks);
void complete(Bucket& object, const Bucket* current, Checks& checks);
void check(const Bucket& object, Checks& checks);
void check_change(const Bucket& current, const Bucket& wanted, Checks& checks);
void complete(Volume& object, const Volume* current, Checks& checks);
void check(const Volume& object, Checks& checks);
void check_change(const Volume& current, const Volume& wanted, Checks& checks);
/// What depends on other objects; for a kind that has such rules.
void check_change_among(const Volume& current, const Volume& wanted, const Others& others, Checks& checks);
void check_volume_spec(const FieldPath& at, const VolumeSpec& spec, Checks& checks);

void complete(NetworkInterface& object, const NetworkInterface* current, Checks& checks);
void check(const NetworkInterface& object, Checks& checks);
void check_change(const NetworkInterface& current, const NetworkInterface& wanted, Checks& checks);
/// Also for the template in a machine.
void complete_network_interface_spec(NetworkInterfaceSpec& spec);
void check_network_interface_spec(const FieldPath& at, const NetworkInterfaceSpec& spec, Checks& checks);

}  // namespace ironcore::api
