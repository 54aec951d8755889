// SPDX-License-Identifier: Apache-2.0
// DPDK's environment and a network of its own for one test program.
#pragma once

#include <sched.h>
#include <stdlib.h>

#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../ports_conformance.hpp"
#include "ironcore/network/dpdk.hpp"

namespace ironcore::tests {

/// Keeps what was written.
class KeptLog final : public Log {
 public:
  void write(LogLevel level, std::string_view message, std::initializer_list<LogField>) override {
    std::lock_guard guard(mutex_);
    lines_.emplace_back(level, message);
  }
  std::vector<std::pair<LogLevel, std::string>> lines() const {
    std::lock_guard guard(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<LogLevel, std::string>> lines_;
};

inline const network::dpdk::EalOptions eal_options{.memory_mib = 192, .prefix = "ironcore-test"};

/// Made by `main`: DPDK can be started once.
struct DpdkEnvironment {
  KeptLog log;
  cpu_set_t processors{};  ///< of the main thread, before DPDK was started
  std::unique_ptr<network::dpdk::Eal> eal;
  static DpdkEnvironment& get();
};

inline std::unique_ptr<network::Ports> dpdk_ports(const network::dpdk::PortsOptions& options = {.buffers = 2048}) {
  auto& environment = DpdkEnvironment::get();
  auto ports = network::dpdk::create_ports(*environment.eal, options, environment.log);
  REQUIRE_MESSAGE(ports.has_value(), ports.error().message());
  return *std::move(ports);
}

inline network::PortSpec dpdk_port(const std::string& name, const std::string& device, std::uint16_t mtu = 1500) {
  return {.name = name, .device = device, .mtu = mtu, .mac = {}};
}

inline network::PortState open_port(network::Ports& ports, const network::PortSpec& spec) {
  const auto state = ports.open(spec);
  REQUIRE_MESSAGE(state.has_value(), state.error().message());
  return *state;
}
inline void wait_up(network::Ports& ports, const std::string& name) {
  REQUIRE(wait_until([&] {
    for (const auto& port : ports.list())
      if (port.spec.name == name) return port.is_up;
    return false;
  }));
}

/// Runs a shell command; its failure is one of the test.
inline void run(const std::string& command) {
  REQUIRE_MESSAGE(std::system(command.c_str()) == 0, command);
}

/// Two virtual cards, NAMEa and NAMEb, with a wire between them; gone after it.
class Interfaces {
 public:
  explicit Interfaces(const std::string& pair) : pair_(pair) {
    run("ip link add " + pair + "a mtu 9000 type veth peer name " + pair + "b mtu 9000 && ip link set " + pair +
        "a up && ip link set " + pair + "b up");
  }
  ~Interfaces() { static_cast<void>(std::system(("ip link del " + pair_ + "a").c_str())); }

  Interfaces(const Interfaces&) = delete;
  Interfaces& operator=(const Interfaces&) = delete;
  const std::string& name() const { return pair_; }

 private:
  std::string pair_;
};

/// Gone with all in it when this is.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "ironcore.XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace ironcore::tests
