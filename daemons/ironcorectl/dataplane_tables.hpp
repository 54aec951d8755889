// SPDX-License-Identifier: Apache-2.0
// Objects, ports and counters of a dataplane as tables.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "ironcore/network/zmq.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// What there is to tell of interfaces besides their configuration, by their ids.
using LiveInterfaces = std::map<std::string, network::InterfaceCounters>;

/// What happened, and how full it is.
struct DataplaneReport {
  network::zmq::AllCounters counters;
  network::DataplaneUsage usage;
};

/// What a person wants to know first.
struct DataplaneStatus {
  network::zmq::ServerFacts facts;
  network::zmq::AllCounters counters;
  network::DataplaneUsage usage;
  std::vector<network::zmq::PortReport> ports;
};

/// All of the same kind; nothing is printed for none. An interface whose MAC nobody told is shown with the one that was heard, one whose port is not
/// there says so.
void print_table(Session& session, std::span<const network::Change> objects, const LiveInterfaces& live);
/// What a table would say of an object, in one line: `VNI 100, Prefix 10.2.0.0/16, Next hops 2001:db8::5`. Empty for a key.
std::string line_of(const network::Change& object);
void print_table(Session& session, std::span<const network::zmq::PortReport> ports);
/// Everything, with all interfaces.
void print_table(Session& session, const DataplaneReport& report);
void print_table(Session& session, const DataplaneStatus& status);
void print_table(Session& session, std::span<const network::CaptureState> captures);

/// What `-o json` prints.
std::string to_json(std::span<const network::zmq::PortReport> ports);
std::string to_json(const DataplaneReport& report);
std::string to_json(const DataplaneStatus& status);
std::string to_json(std::span<const network::CaptureState> captures);

}  // namespace ironcore::ctl
