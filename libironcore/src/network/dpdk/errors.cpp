// SPDX-License-Identifier: Apache-2.0
// Numbers to codes.
#include "errors.hpp"

#include <rte_errno.h>

#include <cstdlib>

#include "ironcore/base/file.hpp"

namespace ironcore::network::dpdk {

Error errno_error(int number, const std::string& doing) {
  number = std::abs(number);
  return {errno_code(number), doing + ": " + rte_strerror(number)};
}

}  // namespace ironcore::network::dpdk
