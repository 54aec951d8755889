// SPDX-License-Identifier: Apache-2.0
// What a VolumePool tells about its stores.
#pragma once

#include "ironcore/control/informer.hpp"
#include "ironcore/control/volume_provider.hpp"

namespace ironcore::control {

/// Which classes are offered, and how much of each: what the store can still take, plus what the volumes there have been promised, because the scheduler
/// subtracts that. `storage` is the same over all stores. Classes of a store that does not answer are not offered meanwhile.
api::VolumePoolStatus volume_pool_status(const api::VolumePool& pool, const Informer<api::Volume>& volumes,
                                         const Informer<api::VolumeClass>& classes,
                                         const VolumeProviderOptions& options, WallTime now);

}  // namespace ironcore::control
