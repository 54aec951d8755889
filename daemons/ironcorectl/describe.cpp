// SPDX-License-Identifier: Apache-2.0
// Prints any object as an outline, from its JSON.
#include "ironcorectl/describe.hpp"

#include <algorithm>
#include <ostream>

#include "ironcore/api/core.hpp"
#include "ironcore/api/json.hpp"
#include "ironcore/base/byte_text.hpp"
#include "ironcore/base/quantity.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcorectl/apply.hpp"
#include "ironcorectl/conditions.hpp"
#include "ironcorectl/event_table.hpp"
#include "ironcorectl/table.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

namespace json = api::json;

/// `machinePoolRef` → `Machine Pool Ref`.
std::string title(std::string_view member) {
  std::string text;
  for (std::size_t i = 0; i < member.size(); ++i) {
    const char c = member[i];
    const bool is_upper = c >= 'A' && c <= 'Z';
    const bool is_after_lower = i > 0 && member[i - 1] >= 'a' && member[i - 1] <= 'z';
    if (is_upper && is_after_lower) text += ' ';
    text += i == 0 && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return text;
}

/// A time as people read it: without the digits below a second.
std::string without_fraction(std::string text) {
  constexpr std::size_t seconds_end = 19;  // 2026-11-24T15:43:33
  if (text.size() > seconds_end + 1 && text[seconds_end] == '.' && text.back() == 'Z' && parse_rfc3339(text))
    text.erase(seconds_end, text.size() - seconds_end - 1);
  return text;
}

std::string scalar(const json::Tree& value) {
  return value.is_object() || value.is_list() ? json::to_text(value) : without_fraction(printable(value.text()));
}

bool is_empty(const json::Tree& value) {
  return (value.is_object() && value.members.empty()) || (value.is_list() && value.items.empty());
}

/// Names of fields become titles; keys that users chose (labels, data) stay as they are.
bool has_free_keys(std::string_view member) {
  return member == "labels" || member == "annotations" || member == "data" || member == "capabilities" ||
         member == "capacity" || member == "allocatable" || member == "machinePoolSelector" ||
         member == "volumePoolSelector" || member == "matchLabels" || member == "attributes" ||
         member == "volumeAttributes" || member == "resources";
}

bool has_amounts(std::string_view member) {
  return member == "capacity" || member == "allocatable" || member == "usage";
}

/// `storage`, `memory`, or the storage of a class: nobody reads eleven digits.
bool is_bytes(std::string_view resource) {
  return resource == "storage" || resource == "memory" || resource.starts_with("class/volume.");
}

std::string amount_text(const json::Tree& value) {
  const auto amount = value.is_string() ? Quantity::parse(value.text()) : Result<Quantity>(Quantity{});
  const bool is_raw = amount && amount->sign() > 0 && value.text().find_first_not_of("0123456789") == std::string::npos;
  return is_raw ? byte_text(amount->value()) : scalar(value);
}

class Outline {
 public:
  explicit Outline(std::ostream& out) : out_(out) {}

  /// With `is_resource` the name is that of an amount.
  void member(std::string_view name, const json::Tree& value, std::size_t indent, bool is_free,
              bool is_resource = false) {
    if (is_empty(value)) return;
    const std::string label = std::string(indent, ' ') + (is_free ? printable(name) : title(name)) + ':';
    if (value.is_object()) {
      out_ << label << '\n';
      for (const auto& [key, inner] : value.members)
        member(key, inner, indent + 2, has_free_keys(name), has_amounts(name));
    } else if (value.is_list()) {
      out_ << label << '\n';
      for (const json::Tree& item : value.items) element(item, indent + 2);
    } else {
      out_ << label << std::string(label.size() < column ? column - label.size() : 1, ' ')
           << (is_resource && is_bytes(name) ? amount_text(value) : scalar(value)) << '\n';
    }
  }

 private:
  static constexpr std::size_t column = 24;

  /// An element with a name is headed by it.
  void element(const json::Tree& value, std::size_t indent) {
    if (!value.is_object()) {
      out_ << std::string(indent, ' ') << scalar(value) << '\n';
      return;
    }
    const auto* name = value.find("name");
    if (!name) name = value.find("key");
    out_ << std::string(indent, ' ') << (name ? scalar(*name) : "-") << '\n';
    for (const auto& [key, inner] : value.members) {
      if (name != &inner) member(key, inner, indent + 2, false);
    }
  }

  std::ostream& out_;
};

void print_conditions(Session& session, const std::vector<ConditionText>& conditions) {
  if (conditions.empty()) return;
  Table table({"Condition", "Status", "Since", "Reason", "Message"});
  for (const ConditionText& condition : conditions) {
    const auto since = parse_rfc3339(condition.since);
    table.add({printable(condition.type), printable(condition.status),
               since ? age_text(*since, session.clock().wall()) : "", printable(condition.reason),
               printable(condition.message)});
  }
  session.out() << '\n';
  table.print(session.out(), session.terminal());
}

/// Of a Secret nobody sees more than how long it is.
void hide_data(json::Tree& tree, const api::Secret& secret) {
  auto sizes = json::Tree::object();
  for (const auto& [key, bytes] : secret.data)
    sizes.add(key, json::Tree::string(std::to_string(bytes.value.size()) + " bytes"));
  tree.set("data", std::move(sizes));
}

Result<void> describe_one(Session& session, store::Store& store, const api::Object& object) {
  IRONCORE_TRY(json::Tree tree, json::parse_tree(object.json(), json::Nulls::drop));
  if (object.is<api::Secret>()) hide_data(tree, object.as<api::Secret>());
  json::Tree& metadata = tree.object_at("metadata");
  if (auto* const annotations = metadata.find("annotations")) annotations->remove(last_applied_annotation);
  const auto conditions = conditions_of(tree);
  if (auto* const status = tree.find("status")) status->remove("conditions");

  Outline outline(session.out());
  outline.member("kind", json::Tree::string(object.kind().info().kind), 0, false);
  for (const auto& [name, value] : metadata.members) outline.member(name, value, 0, false);
  for (const auto& [name, value] : tree.members) {
    if (name != "apiVersion" && name != "kind" && name != "metadata") outline.member(name, value, 0, false);
  }
  print_conditions(session, conditions);
  IRONCORE_TRY(const auto all, events_of(store, object));
  if (!all.empty()) {
    session.out() << '\n';
    event_table(all, session.clock().wall(), EventColumns::of_one_object).print(session.out(), session.terminal());
  }
  return {};
}

}  // namespace

Result<void> describe(Session& session, const DescribeOptions& options) {
  IRONCORE_TRY(const auto selections, parse_selections(options.words));
  IRONCORE_TRY(store::Store* const store, session.store());
  bool is_first = true;
  const auto show = [&](const api::Object& object) {
    if (!is_first) session.out() << '\n';
    is_first = false;
    return describe_one(session, *store, object);
  };
  for (const Selection& selection : selections) {
    const std::string namespace_ = session.namespace_of(*selection.kind);
    if (selection.names.empty()) {
      IRONCORE_TRY(const auto page, store->list({.kind = selection.kind, .namespace_ = namespace_}));
      for (const api::Object& object : page.objects) IRONCORE_CHECK(show(object));
    }
    for (const std::string& name : selection.names) {
      IRONCORE_TRY(const auto object, store->get({selection.kind, namespace_, name}));
      IRONCORE_CHECK(show(object));
    }
  }
  return {};
}

}  // namespace ironcore::ctl
