// SPDX-License-Identifier: Apache-2.0
// The Hypervisor seam on libvirt: QEMU on this host, as system or session instance, and libvirt's test driver.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/compute/hypervisor.hpp"

namespace ironcore::compute::libvirt {

class Openings;
struct Options;

/// libvirt's event implementation, which belongs to the whole process and must exist before the first connection.
/// Creating it also silences libvirt's own printing of errors to stderr. It must outlive all connections.
/// The process must ignore SIGPIPE: libvirt writes to a daemon that may just have died.
class EventLoop {
 public:
  /// `already_exists` while another one lives in this process. A process that registered its own implementation of libvirt
  /// events must not create one.
  static Result<std::unique_ptr<EventLoop>> create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  /// Delivers events, keeps connections alive and restores lost ones, until stopped. On one thread at a time. Without it
  /// calls still work, but nothing is reported, a lost connection stays lost, and closing one to a daemon that hangs takes longer:
  /// so let it run for as long as there are connections.
  void run(std::stop_token stop);

 private:
  friend Result<std::unique_ptr<Hypervisor>> connect(EventLoop&, Options, Clock&, Log&, std::stop_token);
  EventLoop();

  std::unique_ptr<Openings> openings_;
};

struct Options {
  std::string uri =
      "qemu:///system";  ///< `qemu:///system`, `qemu:///session`, `test:///default`, or with `?socket=PATH`
  Duration keepalive = std::chrono::seconds(2);          ///< a daemon silent for three times this is taken for dead
  Duration connect_patience = std::chrono::seconds(10);  ///< the first connection waits so long for a daemon that hangs
  Duration reconnect = std::chrono::milliseconds(500);   ///< between attempts to reach a lost daemon
  Duration agent_patience = std::chrono::seconds(2);     ///< how long a guest agent may take to answer
  Duration monitor_patience = std::chrono::seconds(10);  ///< how long QEMU may take for what it is asked to do
  Duration switch_patience = std::chrono::seconds(20);   ///< a start waits so long for the switch of a vhost-user NIC
  /// `libironcore-rbd-namespace.so`, which this library installs in LIBDIR/ironcore: loaded into QEMU with a libvirt before 11.6, which cannot say in
  /// which RADOS namespace an image is. QEMU's user must be able to read it. Empty, or not there: such disks are `unsupported` with such a libvirt.
  std::filesystem::path rbd_namespace_library;
};

/// Opens the first connection; its loss later is repaired by the event loop, and calls fail with `unavailable`
/// meanwhile. `unavailable` too when there is no daemon, or one that does not answer; `cancelled` after a stop. Each
/// attempt runs on a thread of its own, because libvirt's call cannot be interrupted: while a daemon hangs, one such thread
/// is left behind for each connection that is wanted, and ends when the daemon answers or dies. Each call has a connection
/// for itself, of which a few are kept, and ends when `keepalive` says so; one that QEMU must answer also after
/// `monitor_patience`, with `timeout`. Consoles are opened on this host beside libvirt and survive a loss; whoever
/// takes one with `virsh console` meanwhile shares its bytes. `Accelerator::automatic` is decided here, once. Closing
/// happens in the destructor, which may be called on any thread but the event loop's.
Result<std::unique_ptr<Hypervisor>> connect(EventLoop& loop, Options options, Clock& clock, Log& log,
                                            std::stop_token stop = {});

enum class Driver { qemu, test };

/// The definition that libvirt is given: a pure function of the spec. `automatic` counts as TCG here. Text from people
/// is escaped, and bytes that XML cannot hold are replaced.
/// `preload`: a library that is loaded into QEMU before its own.
std::string domain_xml(const DomainSpec& spec, Driver driver = Driver::qemu, const std::filesystem::path& preload = {});

}  // namespace ironcore::compute::libvirt
