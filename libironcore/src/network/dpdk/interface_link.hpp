// SPDX-License-Identifier: Apache-2.0
// The link of an interface of the kernel.
#pragma once

#include <string>

#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::network::dpdk {

/// Looks into the network namespace in which it was opened. Thread: any.
class InterfaceLink {
 public:
  InterfaceLink() = default;
  static Result<InterfaceLink> open(const std::string& interface);
  /// The interface is up, and has a carrier.
  bool is_up() const noexcept;
  /// For further questions about interfaces.
  int socket() const noexcept { return socket_.get(); }

 private:
  std::string interface_;
  UniqueFd socket_;
};

}  // namespace ironcore::network::dpdk
