// SPDX-License-Identifier: Apache-2.0
// What is wrong with an object of the configuration, looked at alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/error.hpp"
#include "ironcore/network/configuration.hpp"
#include "underlay.hpp"

namespace ironcore::network::dataplane {

/// Collects what is wrong with the fields of one object.
class FieldErrors {
 public:
  /// `path` is of the object, such as `changes[3]`.
  FieldErrors(std::string path, std::vector<FieldError>& into) : path_(std::move(path)), into_(into) {}
  void add(std::string_view field, std::string message, FieldError::Reason reason = FieldError::Reason::invalid) {
    into_.push_back({path_ + "." + std::string(field), reason, std::move(message)});
  }

 private:
  std::string path_;
  std::vector<FieldError>& into_;
};

void check(const Interface& object, const Underlay& underlay, FieldErrors& errors);
void check(const InterfacePrefix& object, const Underlay& underlay, FieldErrors& errors);
void check(const VirtualIp& object, const Underlay& underlay, FieldErrors& errors);
void check(const Nat& object, const Underlay& underlay, FieldErrors& errors);
void check(const NeighbourNat& object, const Underlay& underlay, FieldErrors& errors);
void check(const LoadBalancer& object, const Underlay& underlay, FieldErrors& errors);
void check(const LoadBalancerTarget& object, const Underlay& underlay, FieldErrors& errors);
void check(const Route& object, const Underlay& underlay, FieldErrors& errors);
void check(const FirewallRule& object, const Underlay& underlay, FieldErrors& errors);
void check(const VirtualService& object, const Underlay& underlay, FieldErrors& errors);

}  // namespace ironcore::network::dataplane
