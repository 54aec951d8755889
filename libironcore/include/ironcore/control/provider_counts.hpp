// SPDX-License-Identifier: Apache-2.0
// ProviderCount: one number that a provider tells about itself.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace ironcore::control {

struct ProviderCount {
  enum class Kind { counter, gauge };
  std::string name;  ///< `volumes`; several with the same name differ in their labels and stand together
  std::string help;  ///< one sentence, the same for all of that name
  Kind kind = Kind::gauge;
  double value = 0;
  std::map<std::string, std::string> labels;
};

}  // namespace ironcore::control
