// SPDX-License-Identifier: Apache-2.0
// Progress: what a long step is doing, on standard error.
#pragma once

#include <string>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// On a terminal one line that is rewritten; elsewhere one line for each different text. Thread: one.
class Progress {
 public:
  explicit Progress(Session& session) : session_(session), begun_(session.clock().now()) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Takes the rewritten line away.
  ~Progress() { clear(); }

  void show(const std::string& text);
  void clear();

 private:
  Session& session_;
  Instant begun_;
  std::string shown_;
  bool has_line_ = false;
};

}  // namespace ironcore::ctl
