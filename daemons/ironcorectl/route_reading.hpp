// SPDX-License-Identifier: Apache-2.0
// RouteReading: the routes of a VNI as a reflector has them, read in pages and kept up to date.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "ironcore/routing/zmq.hpp"

namespace ironcore::ctl {

/// One view of a reflector. Thread: one.
class RouteReading {
 public:
  /// `after`, `limit` and `withdrawals` of the query are not used.
  explicit RouteReading(routing::RoutesQuery query);

  /// What became of a route since the last call; `what` is `announced` or `withdrawn`.
  using Changed = std::function<void(const routing::KnownRoute&)>;
  enum class Reading {
    whole,      ///< nothing between was missed but what came and went
    forgotten,  ///< too much was withdrawn meanwhile: all was read again, and compared
    restarted,  ///< another life of the reflector: nothing was read; `begin_anew` when it is ready
  };
  /// Reads to the end. The first reading is `whole`.
  Result<Reading> read(routing::zmq::OperatorClient& client, const Changed& changed);
  /// The next reading is a comparison with what is known.
  void begin_anew();

  /// Which route of whom; then what it is.
  using Key = std::pair<routing::OriginId, std::string>;
  const std::map<Key, routing::KnownRoute>& routes() const noexcept { return routes_; }
  routing::View view() const noexcept { return query_.view; }

 private:
  void take(const routing::KnownRoute& route, const Changed& changed);

  routing::RoutesQuery query_;
  std::uint64_t epoch_ = 0;  ///< 0 = nothing was read yet
  bool is_comparing_ = false;
  std::map<Key, routing::KnownRoute> routes_;
  std::map<Key, routing::KnownRoute> unconfirmed_;  ///< while comparing: what was not seen again yet
};

}  // namespace ironcore::ctl
