// SPDX-License-Identifier: Apache-2.0
// Numbers to codes.
#include "errors.hpp"

#include <rte_errno.h>

#include <cerrno>
#include <cstdlib>

namespace ironcore::network::dpdk {

Error errno_error(int number, const std::string& doing) {
  number = std::abs(number);
  ErrorCode code = ErrorCode::unavailable;
  switch (number) {
    case EINVAL:
      code = ErrorCode::invalid;
      break;
    case EPERM:
    case EACCES:
      code = ErrorCode::forbidden;
      break;
    case ENOMEM:
    case ENOSPC:
      code = ErrorCode::exhausted;
      break;
    case ENOTSUP:
      code = ErrorCode::unsupported;
      break;
    default:
      break;
  }
  return {code, doing + ": " + rte_strerror(number)};
}

}  // namespace ironcore::network::dpdk
