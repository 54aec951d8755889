// SPDX-License-Identifier: Apache-2.0
// Words of the seam.
#include "ironcore/network/flow_offload.hpp"

namespace ironcore::network {

std::string_view name(FlowEvent::Refusal refusal) noexcept {
  switch (refusal) {
    case FlowEvent::Refusal::full:
      return "full";
    case FlowEvent::Refusal::taken:
      return "taken";
    case FlowEvent::Refusal::unsupported:
      return "unsupported";
    case FlowEvent::Refusal::failed:
      return "failed";
    case FlowEvent::Refusal::none:
      break;
  }
  return "none";
}

}  // namespace ironcore::network
