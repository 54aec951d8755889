// SPDX-License-Identifier: Apache-2.0
// Python: compute.Host on the simulated hypervisor.
#include "ironcore/compute/host.hpp"

#include "ironcore/sim/hypervisor.hpp"
#include "module.hpp"

namespace ironcore::python {
namespace {

using namespace ironcore::compute;

struct PythonHypervisor {
  std::shared_ptr<Hypervisor> hypervisor;
};

/// A Host keeps its hypervisor alive, so either may be dropped first.
struct PythonHost {
  std::shared_ptr<Hypervisor> hypervisor;
  std::unique_ptr<Host> host;
};

/// A Console keeps its host alive. Destroyed first, so that the port is free when the host goes.
struct PythonConsole {
  std::shared_ptr<PythonHost> host;
  std::unique_ptr<Console> console;
};

const char* word(MachineState state) {
  switch (state) {
    case MachineState::pending:
      return "pending";
    case MachineState::running:
      return "running";
    case MachineState::shutdown:
      return "shutdown";
    case MachineState::terminating:
      return "terminating";
    case MachineState::terminated:
      return "terminated";
  }
  return "pending";
}

template <class Call>
auto without_gil(Call call) {
  py::gil_scoped_release release;
  return call();
}

}  // namespace

void bind_compute(py::module_& module) {
  py::class_<MachineSpec>(module, "MachineSpec", "What a virtual machine shall be.")
      .def(py::init([](Uid uid, std::string machine_name, std::uint32_t vcpus, std::uint64_t memory_bytes,
                       std::vector<Disk> disks) {
             MachineSpec spec;
             spec.uid = uid;
             spec.name = std::move(machine_name);
             spec.vcpus = vcpus;
             spec.memory_bytes = memory_bytes;
             spec.disks = std::move(disks);
             return spec;
           }),
           py::arg("uid"), py::arg("name"), py::arg("vcpus") = 1, py::arg("memory_bytes") = std::uint64_t{256} << 20,
           py::arg("disks") = std::vector<Disk>{})
      .def_readwrite("uid", &MachineSpec::uid)
      .def_readwrite("name", &MachineSpec::name)
      .def_readwrite("vcpus", &MachineSpec::vcpus)
      .def_readwrite("memory_bytes", &MachineSpec::memory_bytes)
      .def_readwrite("disks", &MachineSpec::disks)
      .def_readwrite("hostname", &MachineSpec::hostname)
      .def_readwrite("ignition", &MachineSpec::ignition)
      .def_readwrite("reboot_token", &MachineSpec::reboot_token)
      .def_property(
          "power", [](const MachineSpec& spec) { return spec.power == Power::on ? "on" : "off"; },
          [](MachineSpec& spec, const std::string& power) {
            if (power != "on" && power != "off")
              throw Failure(Error(ErrorCode::invalid, "power must be 'on' or 'off', not '" + power + "'"));
            spec.power = power == "on" ? Power::on : Power::off;
          });

  py::class_<MachineStatus>(module, "MachineStatus", "What a virtual machine is.")
      .def_property_readonly("state", [](const MachineStatus& status) { return word(status.state); })
      .def_readonly("message", &MachineStatus::message)
      .def_readonly("disks", &MachineStatus::disks)
      .def_readonly("reboot_token", &MachineStatus::reboot_token)
      .def("__repr__", [](const MachineStatus& status) {
        return std::string("MachineStatus(state='") + word(status.state) + "', message='" + status.message + "')";
      });

  py::class_<PythonHypervisor>(module, "Hypervisor", "Runs domains.")
      .def_static(
          "sim",
          [] {
            auto hypervisor = std::make_shared<sim::Hypervisor>(clock());
            return PythonHypervisor{hypervisor};
          },
          "A hypervisor in memory whose guests do nothing.");

  py::class_<PythonConsole>(module, "Console", "The serial port of a running machine; dropping it frees the port.")
      .def(
          "read",
          [](PythonConsole& self, double timeout) {
            return py::bytes(
                value_of(without_gil([&] { return self.console->read(deadline_in(clock(), timeout), {}); })));
          },
          py::arg("timeout") = 1.0)
      .def(
          "write",
          [](PythonConsole& self, const std::string& bytes, double timeout) {
            value_of(without_gil([&] { return self.console->write(bytes, deadline_in(clock(), timeout)); }));
          },
          py::arg("bytes"), py::arg("timeout") = 1.0);

  py::class_<PythonHost, std::shared_ptr<PythonHost>>(module, "Host", "The virtual machines of one hypervisor.")
      .def(py::init([](const PythonHypervisor& hypervisor, const std::string& directory) {
             HostOptions options;
             options.directory = directory;
             auto host = value_of(Host::create(*hypervisor.hypervisor, options, clock(), log()));
             return std::make_shared<PythonHost>(PythonHost{hypervisor.hypervisor, std::move(host)});
           }),
           py::arg("hypervisor"), py::arg("directory"))
      .def(
          "apply",
          [](PythonHost& self, const MachineSpec& spec) {
            return value_of(without_gil([&] { return self.host->apply(spec); }));
          },
          py::arg("spec"), "One step towards `spec`; call again until the state is the wanted one.")
      .def(
          "remove",
          [](PythonHost& self, const Uid& uid, double grace) {
            const auto span = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(grace));
            return value_of(without_gil([&] { return self.host->remove(uid, span); }));
          },
          py::arg("uid"), py::arg("grace") = 300.0, "One step towards being gone; 'terminated' when nothing is left.")
      .def(
          "status",
          [](PythonHost& self, const Uid& uid) {
            return value_of(without_gil([&] { return self.host->status(uid); }));
          },
          py::arg("uid"))
      .def(
          "console_log",
          [](PythonHost& self, const Uid& uid, std::size_t limit) {
            return py::bytes(value_of(self.host->console_log(uid, limit)));
          },
          py::arg("uid"), py::arg("limit") = std::size_t{65536})
      .def(
          "console",
          [](const std::shared_ptr<PythonHost>& self, const Uid& uid) {
            return PythonConsole{self, value_of(without_gil([&] { return self->host->console(uid); }))};
          },
          py::arg("uid"));
}

}  // namespace ironcore::python
