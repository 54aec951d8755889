// SPDX-License-Identifier: Apache-2.0
// Objects, ports and counters of a dataplane as tables.
#pragma once

#include <span>

#include "ironcore/network/zmq.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// All of the same kind; nothing is printed for none.
void print_table(Session& session, std::span<const network::Change> objects);
void print_table(Session& session, std::span<const network::zmq::PortReport> ports);
/// Drops that happened, and all interfaces.
void print_table(Session& session, const network::zmq::AllCounters& counters);
void print_table(Session& session, std::span<const network::CaptureState> captures);

/// What `-o json` prints.
std::string to_json(std::span<const network::zmq::PortReport> ports);
std::string to_json(const network::zmq::AllCounters& counters);
std::string to_json(std::span<const network::CaptureState> captures);

}  // namespace ironcore::ctl
