// SPDX-License-Identifier: Apache-2.0
// A site with one reader whose routes an Applier installs in a table in memory.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/routing/applier.hpp"
#include "ironcore/sim/forwarding_table.hpp"
#include "site.hpp"

namespace ironcore::routing::testing {

/// `VNI#PREFIX` and the hops that it has.
using Installed = std::map<std::string, std::set<std::string>>;

class ApplierSite : public Site {
 public:
  explicit ApplierSite(std::uint64_t seed = 1, ApplierOptions with = {}) : Site(seed), options(with) {
    add_reflector({.lease = std::chrono::seconds(3), .deferral = std::chrono::seconds(1)});
    reader = add_speaker("reader", {0});
    start_applier();
  }

  void start_applier() {
    applier = Applier::create(options, speaker(reader), table, clock, log).value();
    wake = {};
  }
  /// The process of the reader ends without a word.
  void kill_reader() {
    applier.reset();
    kill_speaker(reader);
  }
  void start_reader(const std::vector<Vni>& vnis) {
    start_speaker(reader);
    for (const auto vni : vnis) speaker(reader).subscribe(vni);
    start_applier();
  }

  /// Time passes, and the applier is called when it wants to be, and about as often as a host would after messages.
  void pass(Duration span) {
    const auto end = clock.now() + span;
    while (true) {
      for (int i = 0; applier && i < 50; ++i) {
        if (before_advance) before_advance();
        wake = applier->advance();
        if (wake > clock.now()) break;
      }
      if (clock.now() >= end) return;
      run(std::min<Duration>(end - clock.now(), std::chrono::milliseconds(10)));
    }
  }
  bool pass_until(const std::function<bool()>& done, Duration limit = std::chrono::seconds(60)) {
    const auto end = clock.now() + limit;
    while (!done()) {
      if (clock.now() >= end) return false;
      pass(std::chrono::milliseconds(10));
    }
    return true;
  }

  Installed installed() const {
    Installed all;
    for (const auto& [place, hops] : table.entries()) {
      auto& texts = all[place.first.to_text() + "#" + place.second.to_text()];
      for (const auto& hop : hops) texts.insert(to_text(hop));
    }
    return all;
  }

  ApplierOptions options;
  std::size_t reader = 0;
  sim::ForwardingTable table;
  std::unique_ptr<Applier> applier;
  Instant wake{};
  std::function<void()> before_advance;
};

}  // namespace ironcore::routing::testing
