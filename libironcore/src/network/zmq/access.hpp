// SPDX-License-Identifier: Apache-2.0
// The one place that decides what the holder of a key may ask of a dataplane.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "ironcore/network/zmq_identities.hpp"

namespace ironcore::network::zmq {

/// Besides the kinds of the configuration.
inline constexpr std::string_view ports_resource = "ports";
inline constexpr std::string_view counters_resource = "counters";
inline constexpr std::string_view packets_resource = "packets";

/// Thread: any.
class Access {
 public:
  explicit Access(Identities identities) : identities_(std::make_shared<const Identities>(std::move(identities))) {}

  void replace(Identities identities);
  bool knows(std::string_view public_key) const;
  /// `forbidden` to a key that nobody has.
  Result<void> may(std::string_view public_key) const;
  /// `forbidden` says who may not do what.
  Result<void> may(std::string_view public_key, Verb verb, std::string_view resource) const;

 private:
  std::shared_ptr<const Identities> identities() const {
    const std::lock_guard lock(mutex_);
    return identities_;
  }
  mutable std::mutex mutex_;
  std::shared_ptr<const Identities> identities_;
};

}  // namespace ironcore::network::zmq
