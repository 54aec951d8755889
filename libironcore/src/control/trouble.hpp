// SPDX-License-Identifier: Apache-2.0
// Why something is not as it is wanted: in conditions and events of volumes and buckets.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ironcore/api/core.hpp"
#include "ironcore/api/references.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::control {

/// For people.
struct Trouble {
  enum class Kind {
    waiting,  ///< for another object or another turn
    failure,  ///< will be tried again
    fault,    ///< somebody has to change something
  };
  std::string reason;
  std::string message;
  Kind kind = Kind::waiting;

  /// A fault if nobody can help it but a person.
  static Trouble named(const char* reason, const Error& error);
  /// The same for what a store of volumes or buckets says. `otherwise` is the reason if the error has none of its own.
  static Trouble of(const Error& error, const char* otherwise);
  api::EventType event_type() const { return kind == Kind::waiting ? api::EventType::normal : api::EventType::warning; }
};

/// True without trouble, then with the reason `fine` and `message`. Whether the trouble is news.
bool set_condition(std::vector<api::Condition>& conditions, const char* type, const std::optional<Trouble>& trouble,
                   const char* fine, const char* message, WallTime now);

}  // namespace ironcore::control
