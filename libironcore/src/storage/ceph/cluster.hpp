// SPDX-License-Identifier: Apache-2.0
// The connections to a cluster, and what its monitors and managers are asked.
#pragma once

#include <rados/librados.h>

#include <boost/json.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"
#include "ironcore/storage/ceph.hpp"

namespace ironcore::storage::ceph {

/// One `rados_t`, and calls on it that may never come back: librados ends none by itself (with `rados_mon_op_timeout` it ends those to monitors
/// and managers, and then writes into memory of callers that have gone on). Each runs on a thread of its own; the caller waits only for so long.
class Connection {
 public:
  /// Waits a second for calls that still run. Those that stay keep the connection until they end: librados does not survive a shutdown under them.
  struct Leave {
    void operator()(Connection* connection) const;
  };
  using Owner = std::unique_ptr<Connection, Leave>;

  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  rados_t rados = nullptr;

  /// What `call` returns, or -ETIMEDOUT after `patience`; then it may still run, and take effect, at any time: it must own all that it touches.
  int run(std::function<int(rados_t)> call, std::chrono::seconds patience);

 private:
  ~Connection();

  std::mutex mutex_;
  std::condition_variable changed_;
  int running_ = 0;
  bool is_left_ = false;
};

/// The calls are librados' own, which are synchronised.
struct Cluster::Impl {
  rados_t rados = nullptr;  ///< of `data`
  Connection::Owner data;
  /// For monitors and managers: without `rados_mon_op_timeout`, which `data` needs for what librbd asks of monitors.
  Connection::Owner control;
  std::chrono::seconds patience{};
  std::string monitors;  ///< as hypervisors are given them
  std::string address;

  /// `arguments` holds `prefix` and what belongs to it. The answer may hold keys: never put it into an error. What was `unavailable` may still take effect.
  Result<boost::json::value> ask_monitor(boost::json::object arguments, std::string_view doing) const;
  Result<boost::json::value> ask_manager(boost::json::object arguments, std::string_view doing) const;
  /// Returns when `rados` knows all changes that were made before.
  Result<void> learn_changes(std::string_view doing) const;
};

}  // namespace ironcore::storage::ceph
