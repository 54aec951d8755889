// SPDX-License-Identifier: Apache-2.0
// An attempt to reach libvirt that holds up nobody, however long libvirt takes.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "link.hpp"

namespace ironcore::compute::libvirt {

/// One call of virConnectOpen. It has no limit, and nothing can interrupt it: a daemon that takes the connection and then hangs
/// holds it for as long as it hangs. So it runs on a thread that nobody waits for, which ends when the daemon answers or dies,
/// and shares nothing but this object. Thread: any.
class Opening {
 public:
  /// `answered` is called on that thread, once.
  static Result<std::shared_ptr<Opening>> begin(const std::string& uri, std::function<void()> answered = {});

  bool wait(Clock& clock, Instant deadline, std::stop_token stop);
  bool has_answered();
  const std::string& uri() const { return uri_; }
  /// What came of it, of one that has answered; once.
  Result<std::unique_ptr<Link>> take();

 private:
  explicit Opening(std::string uri) : uri_(std::move(uri)) {}

  const std::string uri_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<Result<std::unique_ptr<Link>>> result_;
};

/// Attempts whose caller lost patience: who tries again goes on with one of them, so that a daemon that hangs for long does not
/// gather threads. Thread: any.
class Openings {
 public:
  /// `unavailable` after the deadline, `cancelled` after a stop.
  Result<std::unique_ptr<Link>> open(const std::string& uri, Clock& clock, Instant deadline, std::stop_token stop);

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Opening>> left_;
};

}  // namespace ironcore::compute::libvirt
