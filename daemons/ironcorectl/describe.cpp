// SPDX-License-Identifier: Apache-2.0
// Prints any object as an outline, from its JSON.
#include "ironcorectl/describe.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <ostream>

#include "ironcore/api/core.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcorectl/apply.hpp"
#include "ironcorectl/event_table.hpp"
#include "ironcorectl/table.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

namespace json = boost::json;

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

std::string scalar(const json::value& value) {
  if (const auto* text = value.if_string()) return printable(std::string_view(*text));
  return json::serialize(value);
}

bool is_empty(const json::value& value) {
  return (value.is_object() && value.get_object().empty()) || (value.is_array() && value.get_array().empty());
}

/// Names of fields become titles; keys that users chose (labels, data) stay as they are.
bool has_free_keys(std::string_view member) {
  return member == "labels" || member == "annotations" || member == "data" || member == "capabilities" ||
         member == "capacity" || member == "allocatable" || member == "machinePoolSelector" || member == "attributes" ||
         member == "volumeAttributes" || member == "resources";
}

class Outline {
 public:
  explicit Outline(std::ostream& out) : out_(out) {}

  void member(std::string_view name, const json::value& value, std::size_t indent, bool is_free) {
    if (is_empty(value)) return;
    const std::string label = std::string(indent, ' ') + (is_free ? printable(name) : title(name)) + ':';
    if (const auto* object = value.if_object()) {
      out_ << label << '\n';
      for (const auto& [key, inner] : *object) member(key, inner, indent + 2, has_free_keys(name));
    } else if (const auto* array = value.if_array()) {
      out_ << label << '\n';
      for (const json::value& element : *array) this->element(element, indent + 2);
    } else {
      out_ << label << std::string(label.size() < column ? column - label.size() : 1, ' ') << scalar(value) << '\n';
    }
  }

 private:
  static constexpr std::size_t column = 24;

  /// An element with a name is headed by it.
  void element(const json::value& value, std::size_t indent) {
    const auto* object = value.if_object();
    if (!object) {
      out_ << std::string(indent, ' ') << scalar(value) << '\n';
      return;
    }
    const auto* name = object->if_contains("name");
    if (!name) name = object->if_contains("key");
    out_ << std::string(indent, ' ') << (name ? scalar(*name) : "-") << '\n';
    for (const auto& [key, inner] : *object) {
      if (name != &inner) member(key, inner, indent + 2, false);
    }
  }

  std::ostream& out_;
};

/// Takes `status.conditions` out of the tree.
json::array take_conditions(json::object& tree) {
  auto* status = tree.if_contains("status");
  if (!status || !status->is_object()) return {};
  auto* conditions = status->get_object().if_contains("conditions");
  if (!conditions || !conditions->is_array()) return {};
  json::array taken = std::move(conditions->get_array());
  status->get_object().erase("conditions");
  return taken;
}

void print_conditions(Session& session, const json::array& conditions) {
  if (conditions.empty()) return;
  Table table({"Condition", "Status", "Since", "Reason", "Message"});
  for (const json::value& condition : conditions) {
    const auto* members = condition.if_object();
    if (!members) continue;
    const auto cell = [&](std::string_view name) {
      const auto* value = members->if_contains(name);
      return value ? scalar(*value) : std::string();
    };
    const auto since = parse_rfc3339(cell("lastTransitionTime"));
    table.add({cell("type"), cell("status"), since ? age_text(*since, session.clock().wall()) : "", cell("reason"),
               cell("message")});
  }
  session.out() << '\n';
  table.print(session.out(), session.terminal());
}

/// Of a Secret nobody sees more than how long it is.
void hide_data(json::object& tree, const api::Secret& secret) {
  json::object sizes;
  for (const auto& [key, bytes] : secret.data) sizes[key] = std::to_string(bytes.value.size()) + " bytes";
  tree["data"] = std::move(sizes);
}

Result<void> describe_one(Session& session, store::Store& store, const api::Object& object) {
  auto tree = json::parse(object.json()).as_object();
  if (object.is<api::Secret>()) hide_data(tree, object.as<api::Secret>());
  auto metadata = tree["metadata"].is_object() ? tree["metadata"].get_object() : json::object();
  if (auto* annotations = metadata.if_contains("annotations"); annotations && annotations->is_object()) {
    annotations->get_object().erase(last_applied_annotation);
  }
  const json::array conditions = take_conditions(tree);

  Outline outline(session.out());
  outline.member("kind", json::value(object.kind().info().kind), 0, false);
  for (const auto& [name, value] : metadata) outline.member(name, value, 0, false);
  for (const auto& [name, value] : tree) {
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
