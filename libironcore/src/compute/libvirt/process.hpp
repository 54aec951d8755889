// SPDX-License-Identifier: Apache-2.0
// Which process of this machine is a domain's QEMU: libvirt does not tell its clients.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "ironcore/base/uid.hpp"

namespace ironcore::compute::libvirt {

/// Remembers what it found. Thread: any.
class Processes {
 public:
  /// The process whose command line carries the domain's UUID; 0 if there is none (any more).
  std::int64_t find(const Uid& uid);

 private:
  std::mutex mutex_;
  std::map<Uid, std::int64_t> found_;
};

}  // namespace ironcore::compute::libvirt
