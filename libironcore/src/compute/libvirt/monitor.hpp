// SPDX-License-Identifier: Apache-2.0
// Calls for which libvirt asks QEMU, which may hang.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>

#include "domain_handle.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/uid.hpp"

namespace ironcore::compute::libvirt {

/// libvirt waits without a limit for an answer of QEMU's monitor, and its daemon is well meanwhile, so no keepalive ends the call. It runs on a
/// thread of its own here, which is left behind when it takes too long: one for each domain, until QEMU answers or is destroyed. Thread: any.
class Monitor {
 public:
  using Ask = std::function<Result<void>(virDomainPtr)>;

  Monitor(Clock& clock, Duration patience) : clock_(clock), patience_(patience) {}

  /// What `ask` returns; `timeout` if it does not within the patience, or an earlier one of this domain has not yet. `ask` owns all that
  /// it uses.
  Result<void> ask(const Uid& uid, Found found, Ask ask);

 private:
  struct Stuck {
    std::mutex mutex;
    std::set<Uid> domains;
  };

  Clock& clock_;
  const Duration patience_;
  const std::shared_ptr<Stuck> stuck_ = std::make_shared<Stuck>();
};

}  // namespace ironcore::compute::libvirt
