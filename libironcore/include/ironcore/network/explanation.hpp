// SPDX-License-Identifier: Apache-2.0
// What would happen to a packet, and why.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ironcore/network/packet.hpp"

namespace ironcore::network {

struct Explanation {
  struct Step {
    std::string stage;  ///< `connection`, `egress rules`, `route` …
    std::string text;   ///< one sentence
    friend bool operator==(const Step&, const Step&) = default;
  };
  std::vector<Step> steps;          ///< in the order in which they were taken
  Drop drop = Drop::none;           ///< why it goes no further
  std::uint32_t port = 0;           ///< where it leaves, if it does
  std::vector<std::uint8_t> frame;  ///< as it leaves

  /// One line for each step.
  std::string to_text() const;
  /// `{"steps":[{"stage":…,"text":…}],"drop":"route"}`, or `"port"` and `"frame"` (hexadecimal) instead of `"drop"`.
  std::string to_json() const;
};

}  // namespace ironcore::network
