// SPDX-License-Identifier: Apache-2.0
// One open connection to libvirt.
#pragma once

#include <libvirt/libvirt.h>

#include <algorithm>
#include <chrono>

#include "ironcore/base/clock.hpp"

namespace ironcore::compute::libvirt {

inline constexpr int keepalive_questions = 2;
/// A daemon is dead after a silence that so many unanswered questions have followed.
inline Duration silence_limit(Duration keepalive) {
  return keepalive * (keepalive_questions + 1);
}

/// Closes what it owns. Thread: one at a time.
class Link {
 public:
  explicit Link(virConnectPtr connection) : connection_(connection) {}
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() { virConnectClose(connection_); }
  virConnectPtr get() const { return connection_; }

  /// As far as this side knows; asks nobody.
  bool is_alive() const { return virConnectIsAlive(connection_) == 1; }
  /// Fails for drivers inside this process: nothing to lose.
  void set_keepalive(Duration interval) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(interval).count();
    virConnectSetKeepAlive(connection_, static_cast<int>(std::max<std::int64_t>(1, seconds)), keepalive_questions);
  }

 private:
  virConnectPtr connection_;
};

}  // namespace ironcore::compute::libvirt
