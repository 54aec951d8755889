// SPDX-License-Identifier: Apache-2.0
// Every object of a configuration, some at a time.
#pragma once

#include <functional>
#include <optional>

#include "desired.hpp"

namespace ironcore::network::dataplane {

/// Gets the next object; false = enough for now.
using TakeObject = std::function<bool(const Change&)>;

/// In the order of their keys, behind one of them, until `take` has enough; then false.
bool each_route(const Desired& desired, const std::optional<RouteKey>& after,
                const std::function<bool(const RouteKey& key, std::uint32_t next_hops)>& take);

/// Where somebody is who looks at all objects, kind by kind and in the order of their keys. Between two calls they may change: what does so before the
/// walk comes by is seen as it is then, and what does so afterwards is not seen. Thread: one.
class ObjectWalk {
 public:
  /// True: that was all.
  bool go_on(const Desired& desired, const TakeObject& take);

 private:
  unsigned kind_ = 0;
  std::optional<Change> last_;  ///< the key of the object that was seen last, of this kind
};

}  // namespace ironcore::network::dataplane
