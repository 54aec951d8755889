// SPDX-License-Identifier: Apache-2.0
// Prints progress.
#include "ironcorectl/progress.hpp"

#include <ostream>

#include "ironcorectl/table.hpp"

namespace ironcore::ctl {

void Progress::show(const std::string& text) {
  const std::string clean = printable(text);
  if (!session_.terminal().has_progress) {
    if (clean != shown_) session_.err() << clean << std::endl;
    shown_ = clean;
    return;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(session_.clock().now() - begun_).count();
  session_.err() << "\r\033[K"
                 << shortened(clean + " (" + std::to_string(seconds) + "s)", session_.terminal().width - 1)
                 << std::flush;
  has_line_ = true;
}

void Progress::clear() {
  if (has_line_) session_.err() << "\r\033[K" << std::flush;
  has_line_ = false;
}

}  // namespace ironcore::ctl
