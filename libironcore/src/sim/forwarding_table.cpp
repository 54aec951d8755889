// SPDX-License-Identifier: Apache-2.0
// A map, and what may go wrong with it.
#include "ironcore/sim/forwarding_table.hpp"

namespace ironcore::sim {

Result<std::vector<routing::ForwardingEntry>> ForwardingTable::list() {
  if (listing_failures_ > 0) {
    --listing_failures_;
    return Error(ErrorCode::unavailable, "the simulated table fails, as it was told to");
  }
  std::vector<routing::ForwardingEntry> all;
  for (const auto& [place, hops] : entries_) all.push_back({place.first, place.second, hops});
  return all;
}

std::vector<ForwardingTable::Refusal> ForwardingTable::replace(std::span<const routing::ForwardingEntry> entries) {
  std::vector<Refusal> refusals;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& entry = entries[i];
    ++operations_;
    if (i >= most_per_call_) {
      refusals.push_back({i, Error(ErrorCode::unavailable, "the simulated table is slow, as it was told to be")});
    } else if (failures_ > 0) {
      --failures_;
      if (failure_ == ErrorCode::timeout) store(entry);
      refusals.push_back({i, Error(failure_, "the simulated table fails, as it was told to")});
    } else if (!entry.hops.empty() && missing_.contains({entry.vni, entry.destination})) {
      refusals.push_back({i, Error(ErrorCode::not_found, "nothing has the prefix yet")});
    } else {
      store(entry);
    }
  }
  return refusals;
}

void ForwardingTable::store(const routing::ForwardingEntry& entry) {
  const Place place{entry.vni, entry.destination};
  auto& hops = entries_[place];
  const auto before = std::exchange(hops, entry.hops);
  if (changed_ && before != entry.hops) changed_(place, before, entry.hops);
  if (entry.hops.empty()) entries_.erase(place);
}

void ForwardingTable::fail(std::size_t entries, ErrorCode code) {
  failures_ = entries;
  failure_ = code;
}

void ForwardingTable::fail_listing(std::size_t times) {
  listing_failures_ = times;
}

void ForwardingTable::set_missing(Vni vni, const Prefix& destination) {
  missing_.insert({vni, destination});
}

void ForwardingTable::set_there(Vni vni, const Prefix& destination) {
  missing_.erase({vni, destination});
}

void ForwardingTable::set_most_per_call(std::size_t entries) {
  most_per_call_ = entries;
}

void ForwardingTable::heal() {
  failures_ = listing_failures_ = 0;
  missing_.clear();
  most_per_call_ = SIZE_MAX;
}

void ForwardingTable::set(Vni vni, const Prefix& destination, Hops hops) {
  if (hops.empty())
    entries_.erase({vni, destination});
  else
    entries_[{vni, destination}] = std::move(hops);
}

void ForwardingTable::on_change(std::function<void(const Place&, const Hops&, const Hops&)> changed) {
  changed_ = std::move(changed);
}

}  // namespace ironcore::sim
