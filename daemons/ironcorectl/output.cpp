// SPDX-License-Identifier: Apache-2.0
// Objects in the formats that other programs read.
#include "ironcorectl/output.hpp"

#include <ostream>

#include "ironcore/api/yaml.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {

std::string text_of(const api::Object& object, OutputFormat format) {
  switch (format) {
    // Canonical JSON can always be printed: value() would only throw for a bug of ours.
    case OutputFormat::json:
      return api::to_indented_json(object.json()).value();
    case OutputFormat::yaml:
      return api::to_yaml(object.json()).value();
    case OutputFormat::name:
    case OutputFormat::table:
    case OutputFormat::wide:
      break;
  }
  return text_of(object) + '\n';
}

void print(Session& session, std::span<const api::Object> objects, Asked asked, OutputFormat format) {
  std::ostream& out = session.out();
  if (format == OutputFormat::json && (asked == Asked::list || objects.size() != 1)) {
    std::string list = R"({"apiVersion":"v1","kind":"List","items":[)";
    for (const api::Object& object : objects) list += (&object == &objects.front() ? "" : ",") + object.json();
    out << api::to_indented_json(list + "]}").value();
    return;
  }
  for (const api::Object& object : objects) {
    if (format == OutputFormat::yaml && &object != &objects.front()) out << "---\n";
    out << text_of(object, format);
  }
}

}  // namespace ironcore::ctl
