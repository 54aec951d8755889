// SPDX-License-Identifier: Apache-2.0
// JSON text ⇄ Python values, without losing a digit of a number.
#include "ironcore/api/json.hpp"

#include <cmath>

#include "module.hpp"

namespace ironcore::python {
namespace {

namespace json = api::json;

constexpr int max_depth = 32;

/// NaN, which cannot be written back, for what is beyond it: an exponent of twenty digits.
py::object decimal(const std::string& text) {
  const py::object type = py::module_::import("decimal").attr("Decimal");
  try {
    return type(text);
  } catch (const py::error_already_set&) {
    return type("NaN");
  }
}

/// An int; a float where it is exactly the number that is written; otherwise a decimal.Decimal.
py::object number(const std::string& text) {
  if (text.find_first_of(".eE") == std::string::npos) {
    // Python refuses to read ints of many thousand digits; -0 is no int.
    if (text.size() <= 4000 && text != "-0") return py::int_(py::str(text));
    return decimal(text);
  }
  py::object exact = decimal(text);
  py::float_ value{py::str(text)};
  return exact.equal(decimal(py::repr(value).cast<std::string>())) ? py::object(value) : exact;
}

py::object python_of(const json::Tree& tree) {
  switch (tree.type) {
    case json::Type::object: {
      py::dict object;
      for (const auto& [name, value] : tree.members) object[py::str(name)] = python_of(value);
      return object;
    }
    case json::Type::list: {
      py::list list;
      for (const auto& item : tree.items) list.append(python_of(item));
      return list;
    }
    case json::Type::string:
      return py::str(tree.text());
    case json::Type::number:
      return number(tree.scalar);
    case json::Type::boolean:
      return py::bool_(tree.scalar == "true");
    case json::Type::null:
      break;
  }
  return py::none();
}

[[noreturn]] void no_json(const std::string& what) {
  throw py::type_error("JSON has no such value: " + what);
}

json::Tree tree_of(py::handle value, int depth) {
  if (depth > max_depth) throw py::value_error("the value is nested deeper than 32 levels");
  if (value.is_none()) return {};
  if (py::isinstance<py::bool_>(value))
    return json::Tree::scalar_of(json::Type::boolean, value.cast<bool>() ? "true" : "false");
  if (py::isinstance<py::str>(value)) return json::Tree::string(value.cast<std::string>());
  if (py::isinstance<py::int_>(value) || py::isinstance<py::float_>(value) ||
      py::isinstance(value, py::module_::import("decimal").attr("Decimal"))) {
    auto text = py::str(value).cast<std::string>();
    if (text.find_first_not_of("0123456789+-.eE") != std::string::npos) no_json(text);
    // Decimal writes 1e400 as 1E+400: as a text that would be another value, and a change.
    if (const auto exponent = text.find("E+"); exponent != std::string::npos) text.replace(exponent, 2, "e");
    if (const auto exponent = text.find('E'); exponent != std::string::npos) text[exponent] = 'e';
    return json::Tree::scalar_of(json::Type::number, std::move(text));
  }
  if (py::isinstance<py::dict>(value)) {
    auto object = json::Tree::object();
    for (const auto& [name, item] : value.cast<py::dict>()) {
      if (!py::isinstance<py::str>(name)) no_json("the name of a member is a str, not " + std::string(py::str(name)));
      object.add(name.cast<std::string>(), tree_of(item, depth + 1));
    }
    return object;
  }
  if (py::isinstance<py::list>(value) || py::isinstance<py::tuple>(value)) {
    auto list = json::Tree::list();
    for (const auto& item : value) list.items.push_back(tree_of(item, depth + 1));
    return list;
  }
  no_json(py::repr(py::type::of(value)).cast<std::string>());
}

}  // namespace

py::object from_json(const std::string& text) {
  return python_of(value_of(json::parse_tree(text, json::Nulls::keep)));
}

std::string to_json(const py::object& value) {
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  return json::to_text(tree_of(value, 0));
}

}  // namespace ironcore::python
