// SPDX-License-Identifier: Apache-2.0
// The Ports seam on DPDK: network cards, guests, kernel interfaces, capture files and rings in this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/network/ports.hpp"

namespace ironcore::network::dpdk {

enum class Memory : std::uint8_t {
  ordinary,    ///< pages of 4 KiB: works everywhere, costs some speed, and a network card needs an IOMMU
  huge_pages,  ///< must have been set aside before: /proc/sys/vm/nr_hugepages
};

struct EalOptions {
  Memory memory = Memory::ordinary;
  std::size_t memory_mib = 256;  ///< of all buffers and queues together
  /// `0000:01:00.0`: the cards that may be opened as ports. DPDK looks at no other one.
  std::vector<std::string> cards;
  /// Tells processes apart that use DPDK at the same time: letters, digits, `-` and `_`.
  std::string prefix = "ironcore";
  friend bool operator==(const EalOptions&, const EalOptions&) = default;
};

/// `invalid` names the options that cannot be, as far as it can be told without starting DPDK.
Result<void> check(const EalOptions& options);

/// DPDK's environment, which belongs to the whole process: memory, drivers, and one thread for interrupts. It uses no telemetry, no other
/// processes, no signals, and leaves the caller's thread on the processors where it was. What it says goes to `log`. It must outlive all ports, `log`
/// it. Thread: any.
class Eal {
 public:
  /// `already_exists` while another one lives in this process; `invalid` names the option; `exhausted` if there is not so much memory. DPDK cannot be
  /// started twice in a process: after the destructor `create` gives the same environment again, or `wrong_state` if the options differ or
  /// if DPDK failed to start before.
  static Result<std::unique_ptr<Eal>> create(const EalOptions& options, Log& log);
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;
  ~Eal();

 private:
  Eal() = default;
};

struct PortsOptions {
  std::size_t queues = 1;       ///< one for each worker; 1 to 64
  std::size_t buffers = 16384;  ///< of `buffer_bytes` each, for all ports together
  /// Of a frame that are in one piece; longer frames come in several. Not less than 2,048.
  std::size_t buffer_bytes = 2048;
};

/// Devices:
///
///     pci:0000:01:00.0                   a network card, or a virtual function of one; it must be in `EalOptions::cards`
///     tap:NAME                           an interface of the kernel, made if it is not there
///     af_packet:NAME                     an interface of the kernel that is there, beside the kernel's own use of it
///     memif:socket=PATH,role=server      shared memory with another process (or `client`); also `id=NUMBER`
///     pcap:rx=FILE,tx=FILE               capture files; either may be missing; `infinite_rx=1` repeats the first one for ever
///     null                               receives nothing and takes everything
///     ring:NAME                          one end of a wire in this process; other `Ports` on the same EAL may open the other end
///     vhost:PATH                         a guest's network interface: vhost-user on a socket where its emulator listens, now or later
///
/// A guest may come, go and come back: the socket is tried three times a second. It may have any number of queue pairs up to 128, in split rings; workers share
/// them out. It is left to finish checksums and to take packets that are to be cut if it said that it can. Its memory must be shared. What a guest writes
/// there is checked. Its emulator is trusted more: one that shrinks the shared memory ends this process (SIGBUS), one that stops in the middle of
/// a message, or does not take in the answers, holds up all guests. DPDK runs a thread for all guests, from the first connection on until the process
/// ends. A socket is of one port in the process, and there can be 1,024.
///
/// Taps and `af_packet` pass on unfinished checksums and packets that are to be cut, in both directions; a card finishes them if it can. Everything else
/// is finished here, also what is in a tunnel. Up to 31 ports of the kinds `pci`, `memif`, `pcap` and `null` can be open in a process (a limit of Debian's
/// DPDK), and 4,096 of all. Of a device with less receiving queues than there are workers some workers get one each, others at the next device;
/// sending queues are shared behind a spin lock.
///
/// One thread watches the links ten times a second and calls `on_change`. A worker's `wait` sleeps until something comes if all its ports are `tap`,
/// `af_packet` or `vhost`; else it looks again after 10 µs, and after up to 100 µs the longer nothing came. Workers' threads are registered with DPDK at
/// their first `quiesce`; up to 127 threads at once.
///
/// Likewise, of ports and of all that belongs together: the words of devices, a name or a device (but for `pcap` and `null`) that is there twice, cards
/// that may not be opened, buffers that do not fit into the memory. What the host has is found out when it is opened.
Result<void> check(const PortsOptions& options);
Result<void> check(const EalOptions& eal, const PortsOptions& options, std::span<const PortSpec> ports);

/// `invalid` if an option is out of range, `exhausted` if the buffers do not fit into the EAL's memory.
Result<std::unique_ptr<Ports>> create_ports(Eal& eal, const PortsOptions& options, Log& log);

}  // namespace ironcore::network::dpdk
