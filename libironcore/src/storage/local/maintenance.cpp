// SPDX-License-Identifier: Apache-2.0
// What crashes and removals left behind.
#include "store.hpp"

namespace ironcore::storage::local {

using image::DiskFormat;

Result<Maintenance> Store::maintain(std::stop_token stop) {
  Maintenance out;
  IRONCORE_CHECK(tidy(tree_.volumes, out, stop));
  IRONCORE_CHECK(tidy(tree_.snapshots, out, stop));
  // Half a base is in nobody's way and nobody's loss: who still wants it imports it again.
  IRONCORE_TRY(const auto stems, stems_in(tree_.bases));
  for (const auto& stem : stems.without_record) {
    const auto digest = parse_stem(stem);
    if (!digest) continue;
    const auto held = try_hold("base image " + digest->to_text());
    if (!held) continue;  // somebody works on it
    IRONCORE_TRY(const Place place, tree_.base_place(*digest));
    if (place.directory.has(place.record())) continue;
    IRONCORE_CHECK(clear(place));
    ++out.removed;
  }
  return out;
}

Result<void> Store::remove_unfinished(const BlockId& id) {
  IRONCORE_CHECK(check_id(id));
  const auto held = try_hold(words(id));
  if (!held && held.error().code() == ErrorCode::conflict) {
    return Error(ErrorCode::wrong_state, words(id) + " is being worked on: repeat it later");
  }
  IRONCORE_CHECK(held);
  for (const auto* kind : {&tree_.volumes, &tree_.snapshots}) {
    IRONCORE_TRY(const auto place, place_of(*kind, id));
    if (!place) continue;
    if (place->directory.has(place->record())) {
      return Error(ErrorCode::wrong_state, words(id) + " is finished: remove it as what it is");
    }
    IRONCORE_CHECK(clear(*place));
  }
  return {};
}

Result<void> Store::tidy(const Directory& kind, Maintenance& out, const std::stop_token& stop) {
  IRONCORE_TRY(const auto all, tenants(kind));
  for (const auto& tenant : all) {
    IRONCORE_TRY(Directory directory, kind.enter(tenant));
    IRONCORE_TRY(const Stems stems, stems_in(directory));
    Place place{std::move(directory), {}};
    for (const auto& stem : stems.without_record) {
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped while tidying up");
      const auto uid = Uid::parse(stem);
      if (!uid) continue;  // not ours
      place.stem = stem;
      IRONCORE_CHECK(tidy_half(place, {tenant, *uid}, out));
    }
    for (const auto& stem : stems.with_new_record) {
      const auto uid = Uid::parse(stem);
      if (!uid) continue;
      const auto held = try_hold(words({tenant, *uid}));
      if (held) IRONCORE_CHECK(place.directory.remove(stem + ".record.new"));
    }
    if (&kind != &tree_.snapshots) continue;
    IRONCORE_CHECK(tidy_all_removed(place, tenant, stems.with_record, out, stop));
  }
  return {};
}

Result<void> Store::tidy_half(const Place& place, const BlockId& id, Maintenance& out) {
  const auto held = try_hold(words(id));
  if (!held || place.directory.has(place.record())) return {};  // somebody works, or has worked, on it
  const bool has_data =
      place.directory.has(place.data(DiskFormat::raw)) || place.directory.has(place.data(DiskFormat::qcow2));
  if (has_data && !place.directory.has(place.removed())) {
    out.unfinished.push_back(id);
    return {};
  }
  IRONCORE_CHECK(clear(place));
  ++out.removed;
  return {};
}

Result<void> Store::tidy_all_removed(Place& place, const std::string& tenant, const std::set<std::string>& stems,
                                     Maintenance& out, const std::stop_token& stop) {
  std::uint64_t busy = 0;
  // One that goes may be the last that another one was kept for.
  for (bool has_removed = true; has_removed;) {
    has_removed = false;
    busy = 0;
    for (const auto& stem : stems) {
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped while tidying up");
      const auto uid = Uid::parse(stem);
      place.stem = stem;
      const auto seen = load(place);
      if (!uid || !seen || !*seen || !(*seen)->is_removed) continue;
      const BlockId id{tenant, *uid};
      const auto held = try_hold(words(id));
      IRONCORE_TRY(const Collected collected, held ? collect(place, id) : Result<Collected>(Collected::busy));
      if (collected == Collected::busy) ++busy;
      if (collected != Collected::gone) continue;
      has_removed = true;
      ++out.removed;
    }
  }
  out.waiting += busy;
  return {};
}

}  // namespace ironcore::storage::local
