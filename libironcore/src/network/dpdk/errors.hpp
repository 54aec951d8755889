// SPDX-License-Identifier: Apache-2.0
// What DPDK and the kernel say, as our errors.
#pragma once

#include <string>

#include "ironcore/base/error.hpp"

namespace ironcore::network::dpdk {

/// `number` as in errno or rte_errno, or that of DPDK's negative results.
Error errno_error(int number, const std::string& doing);

}  // namespace ironcore::network::dpdk
