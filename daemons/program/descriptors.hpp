// SPDX-License-Identifier: Apache-2.0
// DescriptorGuard: a daemon that has no descriptors left goes on without new connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <thread>

#include "ironcore/base/log.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::program {

/// Raises the limit of descriptors as far as it may be, and keeps a sixteenth of them (16 to 1,024) for other things than connections: one that would
/// take those is closed as soon as it has come, and its client tries again. For that the process has an `accept4` of its own, which is ZeroMQ's too: libzmq 4.3.4 ends
/// the process when the one of libc has no descriptor for it on ipc.
///
/// Warns when four fifths are in use, and says when connections were closed: each at most once a minute. One in each process; after Signals, because it starts a
/// thread. Thread: any.
class DescriptorGuard {
 public:
  explicit DescriptorGuard(Log& log);
  DescriptorGuard(const DescriptorGuard&) = delete;
  DescriptorGuard& operator=(const DescriptorGuard&) = delete;
  ~DescriptorGuard();

  /// Connections that were closed because descriptors were few.
  std::uint64_t refused() const noexcept;

 private:
  void run(const std::stop_token& stop);

  Log& log_;
  std::size_t limit_ = 0;
  UniqueFd news_;  ///< of `accept4`
  std::jthread thread_;
};

}  // namespace ironcore::program
