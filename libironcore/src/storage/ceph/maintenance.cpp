// SPDX-License-Identifier: Apache-2.0
// Giving room back, making images independent, comparing the index with the images.
#include <algorithm>
#include <cerrno>
#include <unordered_map>
#include <unordered_set>

#include "errors.hpp"
#include "store.hpp"

namespace ironcore::storage::ceph {

namespace {

constexpr auto kTaskPatience = std::chrono::seconds(1);
constexpr auto kTaskPoll = std::chrono::milliseconds(50);

using Lines = std::unordered_map<std::string, std::string>;

Result<Lines> lines_of(const Table& table) {
  IRONCORE_TRY(const auto pairs, table.list());
  return Lines(pairs.begin(), pairs.end());
}

Result<std::set<std::string>> spaces_of(const IoContext& io) {
  std::string names(4096, '\0');
  std::size_t size = names.size();
  int code = rbd_namespace_list(io.get(), names.data(), &size);
  while (code == -ERANGE) {
    names.resize(size);
    code = rbd_namespace_list(io.get(), names.data(), &size);
  }
  if (code < 0) return ceph_error(code, "list the tenants' namespaces");
  std::set<std::string> out{base_space};
  for (std::size_t at = 0; at < size;) {
    std::string name = names.data() + at;
    at += name.size() + 1;
    out.insert(std::move(name));
  }
  return out;
}

Result<std::vector<std::string>> images_of(const IoContext& io) {
  std::vector<rbd_image_spec_t> found(1024);
  std::size_t count = found.size();
  int code = rbd_list2(io.get(), found.data(), &count);
  while (code == -ERANGE) {
    found.resize(count);
    code = rbd_list2(io.get(), found.data(), &count);
  }
  if (code < 0) return ceph_error(code, "list images");
  std::vector<std::string> out;
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) out.emplace_back(found[i].name);
  rbd_image_spec_list_cleanup(found.data(), count);
  return out;
}

struct Trashed {
  std::string id;
  std::string name;
};

Result<std::vector<Trashed>> trash_of(const IoContext& io) {
  std::vector<rbd_trash_image_info_t> found(256);
  std::size_t count = found.size();
  int code = rbd_trash_list(io.get(), found.data(), &count);
  while (code == -ERANGE) {
    found.resize(count + 16);
    count = found.size();
    code = rbd_trash_list(io.get(), found.data(), &count);
  }
  if (code < 0) return ceph_error(code, "list the trash");
  std::vector<Trashed> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back({.id = found[i].id, .name = found[i].name});
  rbd_trash_list_cleanup(found.data(), count);
  return out;
}

std::string spec_of(const std::string& pool, const std::string& space, const std::string& image) {
  return pool + "/" + (space.empty() ? "" : space + "/") + image;
}

}  // namespace

struct Store::Turn {
  Maintenance out;
  Instant end;
  Lines volumes, snapshots, bases;
  std::unordered_set<Uid> base_uids;
  /// Images whose dependence shall end, or be looked at: namespace and name.
  std::set<std::pair<std::string, std::string>> dependents;
  std::set<std::string> empty;    ///< namespaces
  std::set<std::string> foreign;  ///< images
  bool has_tasks = false;
  bool is_full = false;                       ///< the manager would wait for room, also with what makes some
  std::set<std::string> purging, separating;  ///< found to be still there
};

// A mistake here would cost data, so: what is in no list is only reported, and an entry goes only when its image is not there.
Result<void> Store::compare_with_index(Turn& turn, const std::string& space) {
  IRONCORE_TRY(const IoContext io, tenant_io(space));
  IRONCORE_TRY(const auto names, images_of(io));
  std::unordered_set<std::string> there(names.begin(), names.end());
  for (const std::string& name : names) {
    const auto image = parse_image_name(name);
    if (!image || (image->kind == Kind::base) != (space == base_space)) continue;  // no name that we would give here
    const std::string key = index_key({space, image->uid});
    const bool is_known = image->kind == Kind::volume     ? turn.volumes.contains(key)
                          : image->kind == Kind::snapshot ? turn.snapshots.contains(key)
                                                          : turn.base_uids.contains(image->uid);
    if (!is_known) IRONCORE_CHECK(adopt(turn, io, *image, name, space));
  }
  for (const auto& [table, lines] : {std::pair(&volumes_, &turn.volumes), std::pair(&snapshots_, &turn.snapshots)}) {
    for (const auto& [key, text] : *lines) {
      const auto id = parse_index_key(key);
      if (!id || id->tenant != space) continue;
      const std::string name = table == &volumes_ ? volume_image(id->uid) : snapshot_image(id->uid);
      const auto entry = parse_entry(text);
      const bool is_pending = entry.has_value() && entry->is_pending;
      if (!is_pending && there.contains(name)) {
        if (entry.has_value() && entry->depth > options_.max_depth) turn.dependents.insert({space, name});
        continue;
      }
      const auto claimed = claim(space, name);
      if (claimed.has_error()) continue;  // at work
      IRONCORE_TRY(const std::string now, table->get(key));
      if (now != text) continue;
      if (is_pending) {
        turn.out.unfinished.push_back(*id);
        continue;
      }
      // A removal that was cut off before its last step.
      IRONCORE_TRY(const auto number, image_id(io, name));
      if (number) continue;
      log_.warning("an image that was listed is not there any more, and is not listed now",
                   {{"image", spec_of(options_.pool, space, name)}});
      IRONCORE_CHECK(table->remove(key, text));
    }
  }
  return {};
}

/// An image that the index does not know: half made, or whole and to be listed, or not ours.
Result<void> Store::adopt(Turn& turn, const IoContext& io, const ImageName& image, const std::string& name,
                          const std::string& space) {
  const auto claimed = claim(space, name);
  if (claimed.has_error()) return {};  // at work
  IRONCORE_TRY(const Found found, look(io, name));
  if (!found.is_there) return {};
  const BlockId id{space, image.uid};
  if (!found.header) {
    // One of a snapshot that was begun is in the index.
    IRONCORE_TRY(const bool is_ours, image.kind == Kind::snapshot ? Result<bool>(false) : is_begun(space, name));
    if (is_ours)
      turn.out.unfinished.push_back(id);
    else
      note_foreign(turn, space, name);
    return {};
  }
  const bool is_base = image.kind == Kind::base;
  if (is_base && crypto::Digest::parse(found.header->source).has_error()) return {};
  const Table& table = is_base ? bases_ : image.kind == Kind::volume ? volumes_ : snapshots_;
  const std::string key = is_base ? found.header->source : index_key(id);
  IRONCORE_TRY(const auto known, listed(table, key));
  if (known) return {};  // made since the lists were read
  IRONCORE_TRY(const std::uint32_t depth, depth_of(io, name));
  log_.warning("an image that was missing in the index is listed again",
               {{"image", spec_of(options_.pool, space, name)}});
  return put(table, key, entry_of(*found.header, depth));
}

void Store::note_foreign(Turn& turn, const std::string& space, const std::string& name) {
  const std::string spec = spec_of(options_.pool, space, name);
  turn.foreign.insert(spec);
  {
    const std::lock_guard lock(mutex_);
    if (foreign_.contains(spec)) return;
  }
  log_.warning("left alone", {{"reason", foreign(ErrorCode::already_exists, space, name).message()}});
}

Result<Store::Purge> Store::prepare_purge(Turn& turn, const IoContext& io, const std::string& id,
                                          const std::string& name) {
  const auto image = Image::open_by_id(io, id, Image::Mode::read_only);
  if (image.has_error()) {
    if (image.error().code() != ErrorCode::not_found) return image.error();
    return Purge::now;  // its header is gone already: a removal that was cut off
  }
  IRONCORE_TRY(const bool is_ours, is_removed(*image, name));
  if (!is_ours) return Purge::foreign;
  IRONCORE_TRY(const auto children, children_of(*image));
  for (const ImagePlace& child : children) {
    if (!child.is_trash) turn.dependents.insert({child.space, child.name});
  }
  // Those that can be made independent are counted there; an encrypted snapshot keeps it.
  if (!children.empty()) return Purge::later;
  IRONCORE_TRY(const auto watchers, watchers_of(*image));
  if (!watchers.empty()) {
    ++turn.out.waiting;
    return Purge::later;
  }
  IRONCORE_TRY(const auto snapshots, image->snapshots());
  if (snapshots.empty()) return Purge::now;
  IRONCORE_TRY(const Image writable, Image::open_by_id(io, id, Image::Mode::read_write));
  for (const std::string& snapshot : snapshots) {
    const int code = rbd_snap_remove(writable.get(), snapshot.c_str());
    if (code != -ENOENT) IRONCORE_CHECK(checked(code, "remove a snapshot in the trash"));
  }
  return Purge::now;
}

Result<void> Store::purge(Turn& turn, const std::string& space) {
  IRONCORE_TRY(const IoContext io, tenant_io(space));
  IRONCORE_TRY(const auto trash, trash_of(io));
  for (const Trashed& one : trash) {
    if (!parse_image_name(one.name)) continue;  // somebody else's
    const std::string spec = spec_of(options_.pool, space, one.id);
    if (clock_.now() > turn.end) {
      turn.purging.insert(spec);
      ++turn.out.waiting;
      continue;
    }
    const auto purge = prepare_purge(turn, io, one.id, one.name);
    if (purge.has_error() && purge.error().code() == ErrorCode::not_found) continue;  // another process was faster
    if (purge.has_error()) return purge.error();
    if (*purge == Purge::foreign) continue;
    turn.purging.insert(spec);
    if (*purge == Purge::later) continue;
    if (turn.is_full) {
      const int code = rbd_trash_remove(io.get(), one.id.c_str(), false);
      if (code != -ENOENT) IRONCORE_CHECK(checked(code, "purge " + spec));
      continue;
    }
    ++turn.out.waiting;
    turn.has_tasks |= give_task("rbd task add trash remove", "image_id_spec", spec);
  }
  return {};
}

/// The last image of a tenant is gone, and was at the last turn: one that is made for a new image is not taken away at once. No image can be entered
/// while librbd removes the namespace, and who comes later makes it again.
Result<void> Store::remove_if_empty(Turn& turn, const std::string& space) {
  if (space == base_space) return {};
  const auto is_of_space = [&](const auto& entry) { return entry.first.starts_with(space + "/"); };
  if (std::ranges::any_of(turn.volumes, is_of_space) || std::ranges::any_of(turn.snapshots, is_of_space)) return {};
  IRONCORE_TRY(const IoContext io, tenant_io(space));
  IRONCORE_TRY(const auto images, images_of(io));
  IRONCORE_TRY(const auto trash, trash_of(io));
  if (!images.empty() || !trash.empty()) return {};
  IRONCORE_TRY(const std::string numbers, credentials_.get(space));
  if (numbers.empty()) return {};  // somebody else's: no volume of ours was ever used there
  turn.empty.insert(space);
  {
    const std::lock_guard lock(mutex_);
    if (!empty_.contains(space)) return {};
    tenants_.erase(space);
  }
  const int code = rbd_namespace_remove(bases_io_.get(), space.c_str());
  if (code == -EBUSY || code == -ENOENT) return {};  // somebody was faster
  return checked(code, "remove the empty namespace " + space);
}

Result<void> Store::separate(Turn& turn, const std::string& space, const std::string& name) {
  const auto image_name = parse_image_name(name);
  if (!image_name || image_name->kind == Kind::base) return {};
  if (clock_.now() > turn.end) {
    ++turn.out.waiting;
    return {};
  }
  IRONCORE_TRY(const IoContext io, tenant_io(space));
  std::optional<ImagePlace> parent;
  {
    const auto image = Image::open(io, name, Image::Mode::read_only);
    if (image.has_error()) {
      return image.error().code() == ErrorCode::not_found ? Result<void>() : Result<void>(image.error());
    }
    IRONCORE_TRY(parent, parent_of(*image));
  }
  const auto measured = depth_of(io, name);
  if (measured.has_error()) {
    // One of the chain went away meanwhile: the next turn comes here again.
    if (measured.error().code() != ErrorCode::not_found) return measured.error();
    ++turn.out.waiting;
    turn.separating.insert(spec_of(options_.pool, space, name));
    return {};
  }
  const std::uint32_t depth = *measured;
  const bool is_volume = image_name->kind == Kind::volume;
  const Table& table = is_volume ? volumes_ : snapshots_;
  const std::string key = index_key({space, image_name->uid});
  IRONCORE_TRY(const auto known, listed(table, key));
  if (!known) return {};
  if (known->entry.depth != depth) {
    Entry entry = known->entry;
    entry.depth = depth;
    // Whoever changed it meanwhile is not disturbed; the next turn comes here again.
    if (const auto put_down = table.replace(key, known->text, to_text(entry)); put_down.has_error()) {
      if (put_down.error().code() != ErrorCode::conflict) return put_down.error();
      ++turn.out.waiting;
    }
  }
  if (!parent || (!parent->is_trash && depth <= options_.max_depth)) return {};
  // Flattening fills what was never written with zeros, which then are read as ciphertext.
  if (known->entry.is_encrypted) return {};
  ++turn.out.waiting;
  const std::string spec = spec_of(options_.pool, space, name);
  turn.separating.insert(spec);
  if (turn.is_full) return {};
  // Of a long chain the first that is too deep: the others may not be any more after it.
  if (!parent->is_trash && depth > options_.max_depth + 1) return {};
  turn.has_tasks |= give_task("rbd task add flatten", "image_spec", spec);
  return {};
}

bool Store::give_task(const char* prefix, const char* key, const std::string& spec) {
  const auto answer = cluster_.ask_manager({{"prefix", prefix}, {key, spec}}, std::string(prefix) + " " + spec);
  if (answer.has_value()) return true;
  if (answer.error().code() != ErrorCode::not_found) {
    log_.warning("the cluster's manager does not take a task; it is tried again",
                 {{"reason", answer.error().message()}});
  }
  return false;
}

void Store::wait_for_tasks(const std::stop_token& stop) {
  const Instant end = clock_.now() + kTaskPatience;
  while (clock_.now() < end && sleep_for(clock_, kTaskPoll, stop)) {
    const auto answer = cluster_.ask_manager({{"prefix", "rbd task list"}}, "ask for tasks");
    if (answer.has_error()) return;
    const auto* tasks = answer->if_array();
    if (tasks == nullptr || tasks->empty()) return;
  }
}

Result<Maintenance> Store::maintain(std::stop_token stop) {
  Turn turn;
  turn.end = clock_.now() + std::chrono::seconds(3);
  for (const std::string& pool : {options_.pool, options_.data_pool}) {
    if (pool.empty()) continue;
    IRONCORE_TRY(const std::string flags, within(flags_of(pool), "maintain"));
    turn.is_full = turn.is_full || is_full(flags);
  }
  // The lists before the images: what is made meanwhile is then looked at twice, not missed.
  IRONCORE_TRY(turn.volumes, lines_of(volumes_));
  IRONCORE_TRY(turn.snapshots, lines_of(snapshots_));
  IRONCORE_TRY(turn.bases, lines_of(bases_));
  for (const auto& [key, text] : turn.bases) {
    if (const auto digest = crypto::Digest::parse(key); digest.has_value()) turn.base_uids.insert(base_uid(*digest));
  }
  std::set<std::string> purging, separating;
  {
    const std::lock_guard lock(mutex_);
    purging = purging_;
    separating = separating_;
  }
  IRONCORE_TRY(const auto spaces, spaces_of(bases_io_));
  for (const std::string& space : spaces) {
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "maintain: stopped");
    IRONCORE_CHECK(within(compare_with_index(turn, space), "maintain"));
    IRONCORE_CHECK(within(purge(turn, space), "maintain"));
    IRONCORE_CHECK(within(remove_if_empty(turn, space), "maintain"));
  }
  IRONCORE_CHECK(within(retire_users(spaces), "maintain"));
  // Those that were given to the manager: their entries say so when it is done.
  for (const std::string& spec : separating) {
    const std::size_t name = spec.rfind('/'), space = spec.find('/');
    turn.dependents.insert({space == name ? "" : spec.substr(space + 1, name - space - 1), spec.substr(name + 1)});
  }
  for (const auto& [space, name] : turn.dependents) {
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "maintain: stopped");
    IRONCORE_CHECK(within(separate(turn, space, name), "maintain"));
  }
  const auto gone = [](const std::set<std::string>& before, const std::set<std::string>& now) {
    return static_cast<std::uint64_t>(
        std::count_if(before.begin(), before.end(), [&](const std::string& one) { return !now.contains(one); }));
  };
  turn.out.removed = gone(purging, turn.purging);
  turn.out.separated = gone(separating, turn.separating);
  {
    const std::lock_guard lock(mutex_);
    empty_ = std::move(turn.empty);
    foreign_ = std::move(turn.foreign);
    purging_ = std::move(turn.purging);
    separating_ = std::move(turn.separating);
  }
  if (turn.has_tasks) wait_for_tasks(stop);
  return turn.out;
}

Result<void> Store::remove_unfinished(const BlockId& id) {
  const bool is_base = id.tenant.empty();
  if (!is_base) IRONCORE_CHECK(check(id));
  const std::string doing = "remove what was left of " + words(is_base ? Kind::base : Kind::volume, id);
  const auto whole = [&] { return Error(ErrorCode::wrong_state, doing + ": it is whole"); };
  const auto claimed_by_us = [&](const std::string& name) {
    auto claimed = claim(id.tenant, name);
    if (claimed.has_value() || claimed.error().code() != ErrorCode::conflict) return claimed;
    return Result<Claim>(Error(ErrorCode::wrong_state, doing + ": a call is making it"));
  };
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const auto names, images_of(io));
  for (const std::string& name : names) {
    const auto image = parse_image_name(name);
    if (!image || image->uid != id.uid || image->kind != (is_base ? Kind::base : Kind::volume)) continue;
    IRONCORE_TRY(Claim claimed, claimed_by_us(name));
    IRONCORE_TRY(const Found found, look(io, name));
    if (found.header) return whole();
    if (found.is_there) {
      IRONCORE_TRY(const bool is_ours, within(is_begun(id.tenant, name), doing));
      if (!is_ours) return foreign(ErrorCode::wrong_state, id.tenant, name).within(doing);
      IRONCORE_CHECK(within(discard_image(io, name), doing));
    }
    claimed.settle();
  }
  if (is_base) return {};
  const std::string name = snapshot_image(id.uid), key = index_key(id);
  IRONCORE_TRY(const Claim claimed, claimed_by_us(name));
  IRONCORE_TRY(const Found found, look(io, name));
  IRONCORE_TRY(const auto known, listed(snapshots_, key));
  if (known && found.header) return whole();
  if (found.header) {
    IRONCORE_TRY(const std::uint32_t depth, depth_of(io, name));
    IRONCORE_CHECK(within(put(snapshots_, key, entry_of(*found.header, depth)), doing));
    return whole();
  }
  IRONCORE_CHECK(within(discard_begun_snapshot(io, id), doing));
  return within(drop(snapshots_, key), doing);
}

}  // namespace ironcore::storage::ceph
