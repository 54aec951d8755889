// SPDX-License-Identifier: Apache-2.0
// A forwarding table in memory, with the faults that tests ask for.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "ironcore/routing/forwarding_table.hpp"

namespace ironcore::sim {

/// Outlives those that install in it, like the table of a kernel. Thread: one.
class ForwardingTable final : public routing::ForwardingTable {
 public:
  using Hops = std::vector<routing::ForwardingHop>;
  using Place = std::pair<Vni, Prefix>;

  Result<std::vector<routing::ForwardingEntry>> list() override;
  std::vector<Refusal> replace(std::span<const routing::ForwardingEntry> entries) override;

  // ---- what tests make happen ----

  /// The next `entries` are refused with `code`. After `timeout` they have taken effect all the same.
  void fail(std::size_t entries, ErrorCode code = ErrorCode::unavailable);
  /// So do the next `times` of `list`.
  void fail_listing(std::size_t times);
  /// What the prefix is for is not there: new hops are refused with `not_found` until it is.
  void set_missing(Vni vni, const Prefix& destination);
  void set_there(Vni vni, const Prefix& destination);
  /// So many entries of a call are taken, the others are refused as `unavailable`.
  void set_most_per_call(std::size_t entries);
  /// No fault from now on.
  void heal();
  /// Changes an entry as if somebody else had done it; no hops = it is lost.
  void set(Vni vni, const Prefix& destination, Hops hops);

  /// Called for each entry that changes, with what it was and what it is.
  void on_change(std::function<void(const Place& place, const Hops& before, const Hops& after)> changed);
  const std::map<Place, Hops>& entries() const noexcept { return entries_; }
  /// Entries that were handed over so far, refused ones too.
  std::uint64_t operations() const noexcept { return operations_; }

 private:
  void store(const routing::ForwardingEntry& entry);

  std::map<Place, Hops> entries_;
  std::size_t failures_ = 0;
  ErrorCode failure_ = ErrorCode::unavailable;
  std::size_t listing_failures_ = 0;
  std::set<Place> missing_;
  std::size_t most_per_call_ = SIZE_MAX;
  std::uint64_t operations_ = 0;
  std::function<void(const Place&, const Hops&, const Hops&)> changed_;
};

}  // namespace ironcore::sim
