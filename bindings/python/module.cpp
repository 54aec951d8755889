// SPDX-License-Identifier: Apache-2.0
// The Python module `ironcore`: the exception, and the topics in order.
#include "module.hpp"

namespace ironcore::python {

SystemClock& clock() {
  static SystemClock system_clock;
  return system_clock;
}

Log& log() {
  static NullLog null_log;
  return null_log;
}

}  // namespace ironcore::python

PYBIND11_MODULE(ironcore, module) {
  using namespace ironcore;
  using namespace ironcore::python;
  module.doc() = "Infrastructure as a service as a library: values, the object store, virtual machines, routing.";

  static py::exception<Failure> failure(module, "Error");
  failure.attr("__doc__") =
      "A call failed. `code` is a word such as 'not_found', `fields` lists (field, reason, message).";
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Failure& caught) {
      const Error& error = caught.error();
      py::object exception = static_cast<py::object&>(failure)(error.message());
      exception.attr("code") = std::string(name(error.code()));
      exception.attr("message") = error.message();
      py::list fields;
      for (const auto& field : error.fields())
        fields.append(py::make_tuple(field.field, std::string(name(field.reason)), field.message));
      exception.attr("fields") = fields;
      PyErr_SetObject(failure.ptr(), exception.ptr());
    }
  });

  bind_values(module);
  bind_store(module);
  bind_disks(module);
  bind_compute(module);
  bind_routing(module);
}
