// SPDX-License-Identifier: Apache-2.0
// Python: the values of `base`. All are immutable, comparable, hashable, and print as their text.
#include <pybind11/operators.h>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/quantity.hpp"
#include "ironcore/base/uid.hpp"
#include "ironcore/base/vni.hpp"
#include "module.hpp"

namespace ironcore::python {
namespace {

/// What every value has: construction from text, ==, <, hash, str, repr.
template <class T>
py::class_<T> value_class(py::module_& module, const char* type_name, const char* doc) {
  py::class_<T> type(module, type_name, doc);
  type.def(py::init([](const std::string& text) { return value_of(T::parse(text)); }), py::arg("text"));
  type.def("__str__", [](const T& value) { return value.to_text(); });
  type.def("__repr__", [type_name](const T& value) { return std::string(type_name) + "('" + value.to_text() + "')"; });
  type.def("__hash__", [](const T& value) { return std::hash<T>()(value); });
  type.def(
      "__eq__", [](const T& a, const T& b) { return a == b; }, py::is_operator());
  type.def(
      "__lt__", [](const T& a, const T& b) { return (a <=> b) < 0; }, py::is_operator());
  type.def(
      "__le__", [](const T& a, const T& b) { return (a <=> b) <= 0; }, py::is_operator());
  return type;
}

}  // namespace

void bind_values(py::module_& module) {
  value_class<IpAddress>(module, "IpAddress", "An IPv4 or IPv6 address.")
      .def_property_readonly("is_v4", &IpAddress::is_v4)
      .def_property_readonly("is_v6", &IpAddress::is_v6);
  value_class<Prefix>(module, "Prefix", "An address with a prefix length; host bits are kept.")
      .def_property_readonly("address", &Prefix::address)
      .def_property_readonly("length", &Prefix::length)
      .def("network", &Prefix::network, "The same with the host bits cleared.")
      .def("contains", py::overload_cast<const IpAddress&>(&Prefix::contains, py::const_), py::arg("address"))
      .def("contains", py::overload_cast<const Prefix&>(&Prefix::contains, py::const_), py::arg("prefix"));
  value_class<MacAddress>(module, "MacAddress", "An Ethernet address.");
  value_class<Vni>(module, "Vni", "A virtual network identifier (24 bits).")
      .def_property_readonly("value", &Vni::value);
  value_class<Uid>(module, "Uid", "The identity of an object: a UUID.").def_static("random", [] {
    return Uid::random();
  });
  value_class<Quantity>(module, "Quantity", "An amount as Kubernetes writes it: 500m, 10Gi.")
      .def_static("bytes", &Quantity::bytes, py::arg("count"))
      .def("value", &Quantity::value, "Rounded away from zero to a whole number.")
      .def("milli_value", [](const Quantity& quantity) { return value_of(quantity.milli_value()); })
      .def(
          "__add__", [](const Quantity& a, const Quantity& b) { return value_of(Quantity::add(a, b)); },
          py::is_operator())
      .def(
          "__sub__", [](const Quantity& a, const Quantity& b) { return value_of(Quantity::subtract(a, b)); },
          py::is_operator());
}

}  // namespace ironcore::python
