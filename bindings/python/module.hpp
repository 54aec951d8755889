// SPDX-License-Identifier: Apache-2.0
// What the files of the Python module share: one function per topic, and how results become exceptions.
#pragma once

#include <pybind11/chrono.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::python {

namespace py = pybind11;

void bind_values(py::module_& module);
void bind_store(py::module_& module);
void bind_disks(py::module_& module);
void bind_compute(py::module_& module);
void bind_routing(py::module_& module);

/// The value, or a Python exception `ironcore.Error` with the attributes `code`, `message` and `fields`.
template <class T>
T value_of(Result<T> result) {
  return std::move(result).value();
}

/// A deadline from seconds; negative means now, and what no clock reaches means in thirty years.
inline Instant deadline_in(const Clock& clock, double seconds) {
  constexpr double most = 1e9;
  const double some = seconds > 0 ? std::min(seconds, most) : 0.0;
  return clock.now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(some));
}

/// JSON text ⇄ Python values. A number is an int, or a float, or a decimal.Decimal if it is none that a float holds
/// exactly; all three can be written back.
py::object from_json(const std::string& text);
/// A str is JSON text already.
std::string to_json(const py::object& value);

/// The process's clock and the log that drops everything: what C++ callers pass in explicitly.
SystemClock& clock();
Log& log();

}  // namespace ironcore::python
