// SPDX-License-Identifier: Apache-2.0
// The vocabulary of the rules, and the rules that all kinds share.
#include "rules.hpp"

#include <algorithm>
#include <array>

#include "ironcore/base/names.hpp"
#include "json_decode.hpp"

namespace ironcore::api {

namespace {

/// The fields of the metadata, as the rules below name them.
constexpr FieldPath root;
constexpr FieldPath metadata_path(root, "metadata");

std::string shown(std::string_view text) {
  return "\"" + std::string(text.substr(0, 64)) + "\"";
}

}  // namespace

void Checks::add(const FieldPath& at, Reason reason, std::string message) {
  // The same place may be wrong in a thousand ways; the first few are enough to repair it.
  if (errors_.size() < max_field_errors) errors_.push_back({at.text(), reason, std::move(message)});
}

Result<> Checks::result() && {
  if (errors_.empty()) return {};
  return Error(std::move(errors_));
}

void Checks::required(const FieldPath& at, std::string_view text, std::string_view what) {
  if (text.empty()) add(at, Reason::required, "is required: " + std::string(what));
}

void Checks::forbidden(const FieldPath& at, bool is_there, std::string_view why) {
  if (is_there) add(at, Reason::forbidden, "must not be set: " + std::string(why));
}

void Checks::dns_label(const FieldPath& at, std::string_view text) {
  if (text.empty()) return;
  if (auto why = check_dns_label(text)) add(at, Reason::invalid, shown(text) + ": " + *why);
}

void Checks::dns_subdomain(const FieldPath& at, std::string_view text) {
  if (text.empty()) return;
  if (auto why = check_dns_subdomain(text)) add(at, Reason::invalid, shown(text) + ": " + *why);
}

void Checks::qualified_name(const FieldPath& at, std::string_view text) {
  if (text.empty()) return;
  if (auto why = check_qualified_name(text)) add(at, Reason::invalid, shown(text) + ": " + *why);
}

void Checks::label_value(const FieldPath& at, std::string_view text) {
  if (auto why = check_label_value(text)) add(at, Reason::invalid, shown(text) + ": " + *why);
}

void Checks::not_negative(const FieldPath& at, const Quantity& amount) {
  if (amount.sign() < 0) add(at, Reason::invalid, "must not be negative");
}

void Checks::positive(const FieldPath& at, const Quantity& amount) {
  if (amount.sign() <= 0) add(at, Reason::invalid, "must be more than zero");
}

void Checks::not_longer(const FieldPath& at, std::size_t size, std::size_t limit, std::string_view unit) {
  if (size > limit)
    add(at, Reason::too_long,
        "must be at most " + std::to_string(limit) + " " + std::string(unit) + ", is " + std::to_string(size));
}

void Checks::required_reference(const FieldPath& at, const LocalReference& reference, std::string_view what) {
  required(at, reference.name, what);
  dns_subdomain(FieldPath(at, "name"), reference.name);
}

void Checks::labels(const FieldPath& at, const std::map<std::string, std::string>& labels) {
  for (const auto& [key, value] : labels) {
    const auto entry = FieldPath::entry(at, key);
    if (auto why = check_label_key(key)) add(entry, Reason::invalid, "the key " + shown(key) + ": " + *why);
    label_value(entry, value);
  }
}

void Checks::annotations(const FieldPath& at, const std::map<std::string, std::string>& annotations) {
  std::size_t size = 0;
  for (const auto& [key, value] : annotations) {
    if (auto why = check_qualified_name(key))
      add(FieldPath::entry(at, key), Reason::invalid, "the key " + shown(key) + ": " + *why);
    size += key.size() + value.size();
  }
  not_longer(at, size, max_annotation_bytes, "bytes together");
}

void Checks::resources(const FieldPath& at, const ResourceList& resources) {
  for (const auto& [name, amount] : resources) {
    const auto entry = FieldPath::entry(at, name);
    if (auto why = check_qualified_name(name)) add(entry, Reason::invalid, "the name " + shown(name) + ": " + *why);
    not_negative(entry, amount);
  }
}

void Checks::required_resource(const FieldPath& at, const ResourceList& resources, std::string_view name) {
  const auto entry = FieldPath::entry(at, name);
  const auto found = resources.find(std::string(name));
  if (found == resources.end()) {
    add(entry, Reason::required, "is required");
  } else if (found->second.is_zero()) {
    positive(entry, found->second);  // less than zero is noted by `resources`
  }
}

void Checks::capabilities(const FieldPath& at, const ResourceList& capabilities,
                          std::initializer_list<std::string_view> names) {
  resources(at, capabilities);
  for (const auto name : names) required_resource(at, capabilities, name);
}

void Checks::unique(const FieldPath& at, std::string_view text, std::set<std::string, std::less<>>& names) {
  if (text.empty()) return;
  if (!names.emplace(text).second) add(at, Reason::duplicate, shown(text) + " is used already");
}

void Checks::taints(const FieldPath& at, std::span<const Taint> taints) {
  std::set<std::pair<std::string, TaintEffect>> seen;
  for (std::size_t i = 0; i < taints.size(); ++i) {
    const FieldPath taint(at, i);
    required(FieldPath(taint, "key"), taints[i].key, "what the taint is about");
    qualified_name(FieldPath(taint, "key"), taints[i].key);
    label_value(FieldPath(taint, "value"), taints[i].value);
    if (!seen.emplace(taints[i].key, taints[i].effect).second)
      add(taint, Reason::duplicate, "key and effect are those of a taint above");
  }
}

void Checks::tolerations(const FieldPath& at, std::span<const Toleration> tolerations) {
  for (std::size_t i = 0; i < tolerations.size(); ++i) {
    const FieldPath toleration(at, i);
    const auto& [key, operator_, value, effect, unknown] = tolerations[i];
    const bool exists = operator_ == TolerationOperator::exists;
    qualified_name(FieldPath(toleration, "key"), key);
    if (key.empty() && !exists)
      add(FieldPath(toleration, "operator"), Reason::invalid,
          "must be Exists if there is no key: it matches every taint");
    if (exists && !value.empty())
      add(FieldPath(toleration, "value"), Reason::invalid, "must be empty if the operator is Exists");
    if (!exists) label_value(FieldPath(toleration, "value"), value);
  }
}

void Checks::label_selector(const FieldPath& at, const LabelSelector& selector) {
  labels(FieldPath(at, "matchLabels"), selector.match_labels);
  const FieldPath expressions(at, "matchExpressions");
  for (std::size_t i = 0; i < selector.match_expressions.size(); ++i) {
    const FieldPath expression(expressions, i);
    const FieldPath values(expression, "values");
    const auto& [key, operator_, wanted, unknown] = selector.match_expressions[i];
    required(FieldPath(expression, "key"), key, "the label that the expression is about");
    qualified_name(FieldPath(expression, "key"), key);
    if (!operator_) {
      add(FieldPath(expression, "operator"), Reason::required, "is required: In, NotIn, Exists or DoesNotExist");
      continue;
    }
    const bool has_values = *operator_ == LabelSelectorOperator::in || *operator_ == LabelSelectorOperator::not_in;
    if (has_values && wanted.empty()) add(values, Reason::required, "is required by the operator");
    forbidden(values, !has_values && !wanted.empty(), "the operator takes none");
    for (std::size_t k = 0; k < wanted.size(); ++k) label_value(FieldPath(values, k), wanted[k]);
  }
}

void Checks::image(const FieldPath& at, std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == 0x7F; }))
    add(at, Reason::invalid, "must be an image reference such as registry/name:tag, without blanks");
  not_longer(at, text.size(), 1024, "characters");
}

bool OneSource::take(std::string_view member, bool is_there) {
  if (!is_there) return false;
  if (++count_ > 1)
    checks_.add(FieldPath(at_, member), Checks::Reason::forbidden, "must not be set: there is another source");
  return count_ == 1;
}

void OneSource::finish(std::string_view choices) {
  if (count_ == 0) checks_.add(at_, Checks::Reason::required, "needs exactly one source: " + std::string(choices));
}

void check_metadata(const Metadata& metadata, const KindInfo& info, NameRule rule, Checks& checks) {
  const auto check_name = [&](const FieldPath& at, std::string_view name) {
    if (rule == NameRule::dns_label) {
      checks.dns_label(at, name);
    } else {
      checks.dns_subdomain(at, name);
    }
  };
  if (metadata.generate_name.empty()) {
    checks.required(FieldPath(metadata_path, "name"), metadata.name, "name the object, or give a generateName");
  } else {
    // A prefix may end in a dash: letters follow.
    auto prefix = metadata.generate_name;
    if (prefix.back() == '-') prefix.back() = 'x';
    check_name(FieldPath(metadata_path, "generateName"), prefix);
  }
  check_name(FieldPath(metadata_path, "name"), metadata.name);

  const FieldPath namespace_path(metadata_path, "namespace");
  if (info.scope == Scope::namespaced) {
    checks.required(namespace_path, metadata.namespace_, std::string(info.kind) + " objects live in one");
    checks.dns_label(namespace_path, metadata.namespace_);
  } else {
    checks.forbidden(namespace_path, !metadata.namespace_.empty(), std::string(info.kind) + " objects live in none");
  }

  checks.labels(FieldPath(metadata_path, "labels"), metadata.labels);
  checks.annotations(FieldPath(metadata_path, "annotations"), metadata.annotations);

  const FieldPath finalizers(metadata_path, "finalizers");
  std::set<std::string, std::less<>> seen;
  for (std::size_t i = 0; i < metadata.finalizers.size(); ++i) {
    const FieldPath finalizer(finalizers, i);
    checks.required(finalizer, metadata.finalizers[i], "a finalizer has a name");
    checks.qualified_name(finalizer, metadata.finalizers[i]);
    checks.unique(finalizer, metadata.finalizers[i], seen);
  }

  const FieldPath owners(metadata_path, "ownerReferences");
  std::size_t controllers = 0;
  for (std::size_t i = 0; i < metadata.owner_references.size(); ++i) {
    const FieldPath at(owners, i);
    const auto& owner = metadata.owner_references[i];
    checks.required(FieldPath(at, "apiVersion"), owner.api_version, "the group and version of the owner");
    checks.required(FieldPath(at, "kind"), owner.kind, "the kind of the owner");
    checks.required(FieldPath(at, "name"), owner.name, "the name of the owner");
    checks.required(FieldPath(at, "uid"), owner.uid, "the uid of the owner");
    if (owner.controller.value_or(false) && ++controllers == 2)
      checks.add(FieldPath(at, "controller"), Checks::Reason::invalid, "only one owner can be the controller");
  }
}

void check_metadata_change(const Metadata& current, const Metadata& wanted, Checks& checks) {
  checks.immutable(FieldPath(metadata_path, "name"), current.name, wanted.name);
  checks.immutable(FieldPath(metadata_path, "namespace"), current.namespace_, wanted.namespace_);
  if (!current.deletion_timestamp) return;
  const FieldPath finalizers(metadata_path, "finalizers");
  for (std::size_t i = 0; i < wanted.finalizers.size(); ++i) {
    const auto& name = wanted.finalizers[i];
    if (std::find(current.finalizers.begin(), current.finalizers.end(), name) == current.finalizers.end())
      checks.add(FieldPath(finalizers, i), Checks::Reason::forbidden, "cannot be added: the object is being deleted");
  }
}

void check_pool_spec(const PoolSpec& spec, Checks& checks) {
  const FieldPath at(root, "spec");
  checks.taints(FieldPath(at, "taints"), spec.taints);
}

void check_pool_spec_change(const PoolSpec& current, const PoolSpec& wanted, Checks& checks) {
  const FieldPath at(root, "spec");
  checks.set_once(FieldPath(at, "providerID"), current.provider_id, wanted.provider_id);
}

void check_template_metadata(const FieldPath& at, const TemplateMetadata& metadata, Checks& checks) {
  constexpr std::string_view why = "what is made from a template is named after its owner";
  checks.forbidden(FieldPath(at, "name"), !metadata.name.empty(), why);
  checks.forbidden(FieldPath(at, "generateName"), !metadata.generate_name.empty(), why);
  checks.forbidden(FieldPath(at, "namespace"), !metadata.namespace_.empty(), "it is the namespace of the owner");
  checks.labels(FieldPath(at, "labels"), metadata.labels);
  checks.annotations(FieldPath(at, "annotations"), metadata.annotations);
  // Members that objects have, and those that Kubernetes knows besides.
  static constexpr std::array<std::string_view, 3> foreign{"selfLink", "deletionGracePeriodSeconds", "managedFields"};
  const auto is_one_of = [](const auto& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& [name, text] : metadata.unknown.members())
    checks.forbidden(FieldPath(at, name), is_one_of(json::member_names<Metadata>, name) || is_one_of(foreign, name),
                     "a template has labels and annotations only");
}

}  // namespace ironcore::api
