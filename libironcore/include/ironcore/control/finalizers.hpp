// SPDX-License-Identifier: Apache-2.0
// Finalizers: the notes on an object that keep it until whoever left them has cleaned up.
#pragma once

#include <string_view>

#include "ironcore/api/metadata.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

bool has_finalizer(const api::Metadata& metadata, std::string_view finalizer);

/// Writes the list with `finalizer` in it, or without it, only if the object is still the one given (`conflict` otherwise). The object
/// that this leaves; the given one if nothing had to be written.
Result<store::Object> add_finalizer(store::Store& store, const store::Object& object, std::string_view finalizer);
Result<store::Object> drop_finalizer(store::Store& store, const store::Object& object, std::string_view finalizer);

}  // namespace ironcore::control
