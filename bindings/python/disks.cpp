// SPDX-License-Identifier: Apache-2.0
// Python: disks of machines, wherever their data is.
#include "ironcore/compute/machine.hpp"
#include "ironcore/control/volume_access.hpp"

#include <pybind11/operators.h>

#include "module.hpp"

namespace ironcore::python {
namespace {

using namespace ironcore::compute;

/// Of bytes that are no text.
template <class Class>
auto getter(std::string Class::*member) {
  return [member](const Class& self) { return py::bytes(self.*member); };
}
template <class Class>
auto setter(std::string Class::*member) {
  return [member](Class& self, const py::bytes& value) { self.*member = value; };
}

const char* word(DeviceStatus::State state) {
  switch (state) {
    case DeviceStatus::State::pending:
      return "pending";
    case DeviceStatus::State::attached:
      return "attached";
    case DeviceStatus::State::detaching:
      return "detaching";
  }
  return "pending";
}

void bind_sources(py::module_& module) {
  py::class_<LocalDisk>(module, "LocalDisk", "A disk in a file of this host, from an OCI image or empty.")
      .def(py::init([](std::uint64_t size_bytes, std::string image) {
             return LocalDisk{size_bytes, std::move(image)};
           }),
           py::arg("size_bytes") = 0, py::arg("image") = "")
      .def_readwrite("size_bytes", &LocalDisk::size_bytes)
      .def_readwrite("image", &LocalDisk::image);

  py::class_<ExistingDisk>(module, "ExistingDisk",
                           "A file or block device that is there: attached, never made or removed.")
      .def(py::init([](const std::string& path, std::string format) {
             return ExistingDisk{path, std::move(format)};
           }),
           py::arg("path"), py::arg("format") = "raw")
      .def_property(
          "path", [](const ExistingDisk& disk) { return disk.path.string(); },
          [](ExistingDisk& disk, const std::string& path) { disk.path = path; })
      .def_readwrite("format", &ExistingDisk::format);

  py::class_<RbdImage>(module, "RbdImage", "An image on Ceph: attached, never made or removed.")
      .def(py::init([](std::vector<std::string> monitors, std::string pool, std::string image, std::string user,
                       std::string space, bool is_encrypted) {
             return RbdImage{.monitors = std::move(monitors),
                             .pool = std::move(pool),
                             .space = std::move(space),
                             .image = std::move(image),
                             .user = std::move(user),
                             .is_encrypted = is_encrypted};
           }),
           py::arg("monitors"), py::arg("pool"), py::arg("image"), py::arg("user"), py::arg("space") = "",
           py::arg("is_encrypted") = false)
      .def_readwrite("monitors", &RbdImage::monitors)
      .def_readwrite("pool", &RbdImage::pool)
      .def_readwrite("space", &RbdImage::space)
      .def_readwrite("image", &RbdImage::image)
      .def_readwrite("user", &RbdImage::user)
      .def_readwrite("is_encrypted", &RbdImage::is_encrypted)
      .def(py::self == py::self);
}

}  // namespace

void bind_disks(py::module_& module) {
  bind_sources(module);

  py::class_<DiskLimits>(module, "DiskLimits", "What a disk may do in a second; 0 is as much as it likes.")
      .def(py::init([](std::uint64_t iops, std::uint64_t bytes_per_second, std::uint64_t burst_iops,
                       std::uint64_t burst_bytes_per_second, std::uint32_t burst) {
             return DiskLimits{iops, bytes_per_second, burst_iops, burst_bytes_per_second, std::chrono::seconds(burst)};
           }),
           py::arg("iops") = 0, py::arg("bytes_per_second") = 0, py::arg("burst_iops") = 0,
           py::arg("burst_bytes_per_second") = 0, py::arg("burst") = 0)
      .def_readwrite("iops", &DiskLimits::iops)
      .def_readwrite("bytes_per_second", &DiskLimits::bytes_per_second)
      .def_readwrite("burst_iops", &DiskLimits::burst_iops)
      .def_readwrite("burst_bytes_per_second", &DiskLimits::burst_bytes_per_second)
      .def_property(
          "burst", [](const DiskLimits& limits) { return limits.burst.count(); },
          [](DiskLimits& limits, std::uint32_t seconds) { limits.burst = std::chrono::seconds(seconds); }, "Seconds.")
      .def(py::self == py::self);

  py::class_<DiskSecrets>(module, "DiskSecrets", "What opens a disk, as bytes; never printed.")
      .def(py::init([](const py::bytes& key, const py::bytes& passphrase) {
             return DiskSecrets{key, passphrase};
           }),
           py::arg("key") = py::bytes(), py::arg("passphrase") = py::bytes())
      .def_property("key", getter(&DiskSecrets::key), setter(&DiskSecrets::key))
      .def_property("passphrase", getter(&DiskSecrets::passphrase), setter(&DiskSecrets::passphrase))
      .def(py::self == py::self);

  py::class_<Disk>(module, "Disk", "A disk of a machine; `source` is a LocalDisk, an ExistingDisk or an RbdImage.")
      .def(py::init([](std::string disk_name, std::string device, decltype(Disk::source) source, std::string serial,
                       std::string handle, std::uint64_t size_bytes, const DiskLimits& limits,
                       const DiskSecrets& secrets) {
             return Disk{.name = std::move(disk_name),
                         .device = std::move(device),
                         .serial = std::move(serial),
                         .source = std::move(source),
                         .handle = std::move(handle),
                         .size_bytes = size_bytes,
                         .limits = limits,
                         .secrets = secrets};
           }),
           py::arg("name"), py::arg("device"), py::arg("source"), py::arg("serial") = "", py::arg("handle") = "",
           py::arg("size_bytes") = 0, py::arg("limits") = DiskLimits(), py::arg("secrets") = DiskSecrets())
      .def_readwrite("name", &Disk::name)
      .def_readwrite("device", &Disk::device)
      .def_readwrite("serial", &Disk::serial)
      .def_readwrite("source", &Disk::source)
      .def_readwrite("handle", &Disk::handle)
      .def_readwrite("size_bytes", &Disk::size_bytes)
      .def_readwrite("limits", &Disk::limits)
      .def_readwrite("secrets", &Disk::secrets);

  module.def(
      "open_volume",
      [](std::string driver, std::string handle, std::map<std::string, std::string> attributes,
         const control::VolumeSecrets& secrets, const std::vector<std::string>& directories) {
        api::VolumeAccess access;
        access.driver = std::move(driver);
        access.handle = std::move(handle);
        access.volume_attributes = std::move(attributes);
        return value_of(
            control::open_volume(access, secrets, {.directories = {directories.begin(), directories.end()}}));
      },
      py::arg("driver"), py::arg("handle"), py::arg("attributes"), py::arg("secrets") = control::VolumeSecrets(),
      py::arg("directories") = std::vector<std::string>(),
      "The Disk that a Volume's status.access stands for: source, handle, limits and secrets; give it a name and a "
      "device. `secrets` are the entries of "
      "its Secret, decoded; files lie below one of `directories`.");

  py::class_<DeviceStatus>(module, "DeviceStatus", "What a disk of a machine is.")
      .def_readonly("name", &DeviceStatus::name)
      .def_property_readonly("state", [](const DeviceStatus& status) { return word(status.state); })
      .def_readonly("handle", &DeviceStatus::handle)
      .def_readonly("size_bytes", &DeviceStatus::size_bytes)
      .def_readonly("notice", &DeviceStatus::notice);
}

}  // namespace ironcore::python
