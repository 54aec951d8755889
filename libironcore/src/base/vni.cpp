// SPDX-License-Identifier: Apache-2.0
// Virtual network identifiers from numbers and text.
#include "ironcore/base/vni.hpp"

#include "digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore {

Result<Vni> Vni::make(std::uint32_t value) {
  if (value > max) return Error(ErrorCode::invalid, "VNI " + std::to_string(value) + " must be at most 16777215");
  return Vni(value);
}

Result<Vni> Vni::parse(std::string_view text) {
  const auto value = strict_decimal(text, max);
  if (!value) return Error(ErrorCode::invalid, in_quotes(text) + " is not a VNI; write a number from 0 to 16777215");
  return Vni(*value);
}

}  // namespace ironcore
