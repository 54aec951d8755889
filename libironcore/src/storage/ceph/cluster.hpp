// SPDX-License-Identifier: Apache-2.0
// The connection to a cluster, and what its monitors and managers are asked.
#pragma once

#include <rados/librados.h>

#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"
#include "ironcore/storage/ceph.hpp"

namespace ironcore::storage::ceph {

/// The calls are librados' own, which are synchronised.
struct Cluster::Impl {
  ~Impl();

  rados_t rados = nullptr;
  std::string monitors;  ///< as hypervisors are given them
  std::string address;

  /// `arguments` holds `prefix` and what belongs to it. The answer may hold keys: never put it into an error.
  Result<boost::json::value> ask_monitor(boost::json::object arguments, std::string_view doing) const;
  Result<boost::json::value> ask_manager(boost::json::object arguments, std::string_view doing) const;
};

}  // namespace ironcore::storage::ceph
