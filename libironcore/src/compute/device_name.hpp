// SPDX-License-Identifier: Apache-2.0
// A device's name as part of a file name or of a libvirt alias, which allow little more than letters and digits.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ironcore::compute {

/// Letters, digits and `-` stay; every other byte becomes `_` and two hexadecimal digits. Different names stay different.
std::string encode_device_name(std::string_view name);
/// Nothing if `text` was not made by `encode_device_name`.
std::optional<std::string> decode_device_name(std::string_view text);

}  // namespace ironcore::compute
