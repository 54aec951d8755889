// SPDX-License-Identifier: Apache-2.0
// What metalnetd can be told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ironcore/network/dataplane.hpp"
#include "ironcore/network/dpdk.hpp"
#include "ironcore/network/zmq.hpp"
#include "program/command_line.hpp"
#include "program/directory.hpp"
#include "program/serving.hpp"

namespace ironcore::metalnetd {

enum class Firewall { on, off };
/// What is there again after a restart: configuration is what was applied, and ports that were opened; everything is connections too.
enum class Keep { everything, configuration, nothing };

struct Options {
  program::Serving serving;
  std::string underlay;
  std::vector<std::string> uplink_texts;  ///< NAME,router=MAC|ADDRESS[,weight=N],device=DEVICE
  std::vector<std::string> port_texts;    ///< NAME=DEVICE
  std::vector<std::string> dns;
  std::uint64_t workers = 1;
  std::uint64_t connections = 1'000'000;
  std::uint64_t maglev_size = network::DataplaneOptions().maglev_size;
  std::uint64_t mtu = 1500;
  std::uint64_t memory = 256ULL * 1024 * 1024;  ///< bytes
  std::uint64_t buffers = 16'384;
  Duration lease{0};  ///< 0 = for ever
  Firewall firewall = Firewall::on;
  Keep keep = Keep::everything;
  std::filesystem::path state_directory;
  std::filesystem::path flow_directory;
  std::filesystem::path capture_directory;  ///< empty = captures write no files
  std::uint64_t capture_file_size = network::CaptureSettings().most_file_bytes;
  std::string metrics;  ///< address of the Prometheus endpoint; empty = none
  network::dpdk::EalOptions eal;

  // What follows from them.
  network::DataplaneOptions dataplane;
  network::dpdk::PortsOptions ports_options;
  std::vector<network::PortSpec> ports;  ///< to open at start, uplinks first
};

Options default_options(const program::Environment& environment);

/// Settings, bound to `options`, which must outlive it.
program::Command grammar(Options& options);

/// The endpoints that were asked for, with keys and identities read.
Result<network::zmq::ServerOptions> server_options(const Options& options);

/// Looks at the settings as a whole and fills in what follows from them: everything that can be found out without starting, from how they fit together to
/// whether this host has room for them. `invalid` names the one that is wrong.
Result<void> check(Options& options);

}  // namespace ironcore::metalnetd
