// SPDX-License-Identifier: Apache-2.0
// A domain of libvirt's, and the connection that it lives on.
#pragma once

#include <libvirt/libvirt.h>

#include <memory>

#include "calls.hpp"

namespace ironcore::compute::libvirt {

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using DomainHandle = std::unique_ptr<virDomain, FreeDomain>;

/// A looked-up domain; both belong to whoever has this.
struct Found {
  Call call;
  DomainHandle handle;
};

}  // namespace ironcore::compute::libvirt
