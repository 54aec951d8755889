// SPDX-License-Identifier: Apache-2.0
// What a reflector tells, as tables and as JSON.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ironcore/routing/zmq.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// `0x0123456789abcdef`: numbers that are names.
std::string hex_text(std::uint64_t number);
/// Who announces it: a name, or the number of a peer's node.
std::string announcer_of(const routing::KnownRoute& known);

struct RoutesStatus {
  routing::zmq::OperatorStatus reflector;
  std::vector<routing::NodeStatus> nodes;
};

/// A route as it was read, in one of the views or in both.
struct ListedRoute {
  routing::KnownRoute known;
  bool is_here = false;
  bool is_relayed = false;
  std::string unused;  ///< why; of a trace
};

enum class Detail { usual, everything };
void print_table(Session& session, const RoutesStatus& status, Detail detail);
void print_table(Session& session, std::span<const routing::NodeStatus> nodes);
void print_table(Session& session, std::span<const routing::VniStatus> vnis);
enum class RouteColumns { plain, with_use };
void print_table(Session& session, std::span<const ListedRoute> routes, RouteColumns columns);

std::string to_json(const RoutesStatus& status);
std::string to_json(std::span<const routing::NodeStatus> nodes);
std::string to_json(std::span<const routing::VniStatus> vnis);
std::string to_json(std::span<const ListedRoute> routes, RouteColumns columns);
/// A line of a watch.
std::string to_json(const routing::KnownRoute& known, routing::View view);

}  // namespace ironcore::ctl
