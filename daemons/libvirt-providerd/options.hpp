// SPDX-License-Identifier: Apache-2.0
// What libvirt-providerd can be told.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ironcore/compute/host.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "program/command_line.hpp"
#include "program/directory.hpp"
#include "program/store_client.hpp"

namespace ironcore::providerd {

struct Options {
  program::StoreClient client;
  std::string libvirt_uri;
  std::string region, zone;            ///< topology labels of the pool
  std::string host_name;               ///< announced as the pool's Hostname, unless `addresses` has one
  std::vector<std::string> addresses;  ///< TYPE=ADDRESS, of the pool
  std::vector<std::string> image_roots;
  std::vector<std::string> volume_directories;
  std::filesystem::path rbd_namespace_library;
  compute::HostOptions host;
  control::MachineProviderOptions provider;
};

Options default_options(const program::Environment& environment);

/// Settings, bound to `options`, which must outlive it.
program::Command grammar(Options& options);

/// Looks at the settings as a whole and fills in what follows from others; `invalid` names the one that is
/// wrong.
Result<void> check(Options& options);

/// How the server is reached, with the keys read.
Result<store::zmq::ClientOptions> client_options(const Options& options);

}  // namespace ironcore::providerd
