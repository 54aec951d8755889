// SPDX-License-Identifier: Apache-2.0
// The whole command line of ironcorectl as data.
#pragma once

#include <functional>
#include <memory>

#include "ironcorectl/apply.hpp"
#include "ironcorectl/console.hpp"
#include "ironcorectl/dataplane.hpp"
#include "ironcorectl/describe.hpp"
#include "ironcorectl/edit.hpp"
#include "ironcorectl/explain.hpp"
#include "ironcorectl/get.hpp"
#include "ironcorectl/power.hpp"
#include "ironcorectl/remove.hpp"
#include "ironcorectl/routes.hpp"
#include "ironcorectl/wait.hpp"
#include "program/command_line.hpp"

namespace ironcore::ctl {

struct VersionOptions {
  bool is_client_only = false;
};
Result<void> version(Session& session, const VersionOptions& options);

/// Everything that can be given; each command reads its own part.
struct Options {
  SessionOptions session;
  ManifestOptions apply, create;
  GetOptions get;
  DescribeOptions describe;
  ExplainOptions explain;
  DeleteOptions remove;
  WaitOptions wait;
  EditOptions edit;
  std::vector<std::string> power_words;
  PowerOptions power;
  RebootOptions reboot;
  DataplaneCommand dataplane;
  RoutesCommand routes;
  ConsoleOptions console;
  LogsOptions logs;
  EventsOptions events;
  VersionOptions version;
  std::vector<std::string> completion_words;
};

/// What runs a command: it makes the Session, calls, and reports.
using Runner = std::function<int(const std::function<Result<void>(Session&)>&)>;

/// The grammar, bound to `options`, which must outlive it.
program::Command commands(Options& options, Runner run);

}  // namespace ironcore::ctl
