// SPDX-License-Identifier: Apache-2.0
// A serial port as the pseudo-terminal that QEMU gave it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/compute/hypervisor.hpp"

namespace ironcore::compute::libvirt {

/// Opens a guest's pseudo-terminal, not through libvirt: its streams know no limit for writes, so that one guest which does
/// not read would block the connection that all machines share. `wrong_state` while somebody has it, in this process or
/// another; a holder that dies frees it. `is_still` is asked once the terminal is held: its number may have gone to
/// somebody else since it was read.
Result<std::unique_ptr<Console>> open_console(const std::string& path, const std::function<bool()>& is_still,
                                              Clock& clock);

}  // namespace ironcore::compute::libvirt
