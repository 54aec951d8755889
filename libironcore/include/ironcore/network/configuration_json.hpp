// SPDX-License-Identifier: Apache-2.0
// The configuration of a dataplane as JSON, for files and for the wire.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/network/configuration.hpp"

namespace ironcore::network {

/// Of a text; what is longer is `exhausted`.
inline constexpr std::size_t max_configuration_json = 16 * 1024 * 1024;

/// An object: `{"kind":"Interface","id":"web-1","port":"tap-1","vni":100,"ipv4":"10.0.0.1"}`; one that shall not be there:
/// `{"delete":"Interface","id":"web-1"}`. Members are named as in field errors (`firstPort`), addresses are texts, values of enumerations words
/// (`LoadBalancer`), protocols words or numbers. What a struct has a default for may be left out. What is written is read again as the same.
std::string to_json(const Change& change);
/// A list of them.
std::string to_json(std::span<const Change> changes);

/// `invalid` with a field error for each thing that is wrong (of more than 64 a last one, without a field, says how many more), each with the nearest name for an unknown one; whether the values fit together is
/// for `Dataplane::apply` to say. A member that is null is not there; one that comes twice is refused.
Result<Change> parse_change(std::string_view json);
/// A list of changes, `{"kind":"List","items":[…]}`, or one change alone. Errors name the element as `apply` does: `changes[3].prefix`.
Result<std::vector<Change>> parse_changes(std::string_view json);

/// `Interface`, `InterfacePrefix` …: in the order of `Change`.
std::span<const std::string_view> configuration_kinds() noexcept;
/// `Interface` of an object and of its key.
std::string_view kind_of(const Change& change) noexcept;

}  // namespace ironcore::network
