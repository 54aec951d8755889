// SPDX-License-Identifier: Apache-2.0
// What a MachinePool tells about its host.
#pragma once

#include "ironcore/compute/host.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/machine_provider.hpp"

namespace ironcore::control {

/// Whether the host works, what it has, and which of `classes` fit. What the host cannot say now stays as the pool has it.
api::MachinePoolStatus machine_pool_status(const api::MachinePool& pool, compute::Host& host,
                                           const Informer<api::MachineClass>& classes,
                                           const MachineProviderOptions& options, WallTime now);

}  // namespace ironcore::control
