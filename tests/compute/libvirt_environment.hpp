// SPDX-License-Identifier: Apache-2.0
// A private libvirtd with real QEMU for one program, and the guest image to boot in it.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ironcore/base/log.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/compute/libvirt.hpp"
#include "ironcore/image/cache.hpp"
#include "temporary_directory.hpp"

namespace ironcore::tests {

/// `network`: a system instance with a network of its own, in which bridges can be made. `session` belongs to a user who is
/// not root, and so does this program from its start on: if root started it, it becomes `nobody`.
enum class Instance { system, network, session };

/// Started by `main`, gone with it: the daemon, and with it every guest, ends when the program does, however it ends.
class LibvirtEnvironment {
 public:
  /// Paths of tests/support/libvirtd and of the guest image's layout. Null and a reason if a part is missing.
  static std::unique_ptr<LibvirtEnvironment> start(const std::string& script, const std::string& layout,
                                                   std::string& missing, Instance instance = Instance::system);
  ~LibvirtEnvironment();

  /// The one of this program.
  static LibvirtEnvironment& get();

  const std::string& uri() const { return uri_; }
  compute::libvirt::EventLoop& loop() { return *loop_; }
  SystemClock& clock() { return clock_; }
  NullLog& log() { return log_; }
  const image::CachedImage& image() const { return image_; }
  const std::string& image_reference() const { return reference_; }

  std::unique_ptr<compute::Hypervisor> connect() {
    return compute::libvirt::connect(*loop_, {.uri = uri_, .rbd_namespace_library = namespace_library_}, clock_, log_)
        .value();
  }
  /// Connections from now on have it, in a place that QEMU can read.
  void use_namespace_library(const std::filesystem::path& library);
  /// What the daemon sees as `/`.
  std::filesystem::path root() const { return "/proc/" + std::to_string(daemons().at(0)) + "/root"; }
  /// Ends the daemon in the hardest way; it is started again by itself. Guests run on.
  void kill_daemon() const { signal_daemon(SIGKILL); }
  /// The daemon keeps its socket and takes connections, but answers nobody, until it goes on.
  void hang_daemon() const { signal_daemon(SIGSTOP); }
  void continue_daemon() const { signal_daemon(SIGCONT); }
  bool wait_until(const std::function<bool()>& done, Duration limit = std::chrono::minutes(5));

  /// Runs a shell command in the network of `Instance::network`.
  bool run_in_network(const std::string& command) const;
  /// What /sys/class/net is there, seen from here.
  std::filesystem::path network_interfaces() const;

 private:
  LibvirtEnvironment() = default;
  void become_user();
  /// One, or for a moment also what it is just starting.
  std::vector<pid_t> daemons() const;
  void signal_daemon(int signal) const;

  TemporaryDirectory directory_;
  pid_t holder_ = -1;
  UniqueFd life_;  ///< the end of the holder's standard input is the end of a session
  std::string uri_;
  std::string reference_;
  std::filesystem::path namespace_library_;
  image::CachedImage image_;
  SystemClock clock_;
  NullLog log_;
  std::unique_ptr<compute::libvirt::EventLoop> loop_;
  std::jthread thread_;
};

}  // namespace ironcore::tests
