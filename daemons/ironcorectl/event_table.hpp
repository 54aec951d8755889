// SPDX-License-Identifier: Apache-2.0
// Events of objects as a table.
#pragma once

#include <memory>
#include <vector>

#include "ironcore/api/core.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcorectl/table.hpp"

namespace ironcore::ctl {

using Events = std::vector<store::Shared<api::Event>>;

/// The oldest first, by when it happened last.
Result<Events> events_of(store::Store& store, const api::Object& object);
void sort_by_time(Events& events);

enum class EventColumns { of_one_object, of_many };
Table event_table(const Events& events, WallTime now, EventColumns columns);

/// `5s`, `3m`, `2d`.
std::string age_text(WallTime since, WallTime now);

}  // namespace ironcore::ctl
