// SPDX-License-Identifier: Apache-2.0
// Opening a store, its room, and what its topics share.
#include "store.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "encrypted_data.hpp"
#include "errors.hpp"
#include "ironcore/base/text.hpp"
#include "luks.hpp"
#include "whole_image.hpp"

namespace ironcore::storage::ceph {

namespace {

/// In the table of the store's owner.
constexpr const char* mark_key = "mark";

/// Pools are named in capabilities, which have a grammar.
Result<void> check_pool(const std::string& pool) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  if (pool.empty() || pool.find_first_not_of(kLetters) != std::string::npos) {
    return Error(ErrorCode::invalid, "pool " + in_quotes(pool) + " must be named by letters, digits, '.', '_' and '-'");
  }
  return {};
}

std::uint64_t number(const boost::json::value& value) {
  boost::system::error_code wrong;
  const auto out = value.to_number<std::uint64_t>(wrong);
  return wrong ? 0 : out;
}

/// What is at the end of the path of members, or null.
const boost::json::value& at(const boost::json::value& value, std::initializer_list<std::string_view> path) {
  static const boost::json::value nothing;
  const boost::json::value* here = &value;
  for (const std::string_view key : path) {
    const auto* object = here->if_object();
    here = object == nullptr ? nullptr : object->if_contains(key);
    if (here == nullptr) return nothing;
  }
  return *here;
}

const boost::json::value* find_by(const boost::json::value& list, std::string_view key, std::string_view name) {
  const auto* array = list.if_array();
  if (array == nullptr) return nullptr;
  const auto found = std::find_if(array->begin(), array->end(), [&](const boost::json::value& one) {
    const auto* text = at(one, {key}).if_string();
    return text != nullptr && *text == name;
  });
  return found == array->end() ? nullptr : &*found;
}

/// Whether its OSDs tell what was never written inside an object. Those of an erasure-coded pool answer with zeros, and librbd takes them for ciphertext.
Result<bool> tells_holes(const Cluster::Impl& cluster, const std::string& pool) {
  constexpr std::uint64_t replicated = 1;
  IRONCORE_TRY(const auto pools, cluster.ask_monitor({{"prefix", "osd pool ls"}, {"detail", "detail"}},
                                                     "ask for the kind of pool " + pool));
  const auto* state = find_by(pools, "pool_name", pool);
  if (state == nullptr) return Error(ErrorCode::not_found, "pool " + pool + ": not found");
  return number(at(*state, {"type"})) == replicated;
}

}  // namespace

Result<std::unique_ptr<BlockStore>> open(Cluster& cluster, StoreOptions options, Clock& clock, Log& log) {
  IRONCORE_CHECK(check_pool(options.pool));
  if (options.data_pool == options.pool) options.data_pool.clear();
  bool may_encrypt = true;
  if (!options.data_pool.empty()) {
    IRONCORE_CHECK(check_pool(options.data_pool));
    IRONCORE_CHECK(within(IoContext::open(cluster.impl().rados, options.data_pool, ""), "data pool"));
    IRONCORE_TRY(may_encrypt, tells_holes(cluster.impl(), options.data_pool));
  }
  IRONCORE_TRY(IoContext own, IoContext::open(cluster.impl().rados, options.pool, own_space));
  IRONCORE_TRY(IoContext bases, IoContext::open(cluster.impl().rados, options.pool, base_space));
  return std::unique_ptr<BlockStore>(std::make_unique<Store>(cluster.impl(), std::move(options), may_encrypt,
                                                             std::move(own), std::move(bases), clock, log));
}

Store::Store(Cluster::Impl& cluster, StoreOptions options, bool may_encrypt, IoContext own, IoContext bases,
             Clock& clock, Log& log)
    : cluster_(cluster),
      options_(std::move(options)),
      may_encrypt_(may_encrypt),
      own_(std::move(own)),
      bases_io_(std::move(bases)),
      clock_(clock),
      log_(log) {}

Result<std::optional<StoreMark>> Store::mark() {
  IRONCORE_TRY(const std::string text, owner_.get(mark_key));
  if (text.empty()) return std::optional<StoreMark>();
  IRONCORE_TRY(auto mark, within(StoreMark::parse(text), "pool " + options_.pool));
  return std::optional(std::move(mark));
}

Result<void> Store::set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) {
  if (before == mark) {  // nothing would be asked
    IRONCORE_TRY(const auto now, this->mark());
    return now == before ? Result<void>()
                         : Error(ErrorCode::conflict, "somebody else has marked pool " + options_.pool);
  }
  return within(owner_.replace(mark_key, before ? before->to_text() : "", mark.to_text()),
                "mark pool " + options_.pool);
}

Result<Capacity> Store::capacity() {
  const std::string& pool = options_.data_pool.empty() ? options_.pool : options_.data_pool;
  IRONCORE_TRY(const auto usage,
               cluster_.ask_monitor({{"prefix", "df"}, {"detail", "detail"}}, "ask how full the cluster is"));
  const auto* mine = find_by(at(usage, {"pools"}), "name", pool);
  if (mine == nullptr) {
    if (rados_pool_lookup(cluster_.rados, pool.c_str()) < 0)
      return Error(ErrorCode::not_found, "pool " + pool + ": not found");
    return Error(ErrorCode::unavailable, "pool " + pool + " is new, and the cluster has no figures of it yet");
  }
  Capacity out;
  out.used_bytes = number(at(*mine, {"stats", "stored"}));
  out.available_bytes = number(at(*mine, {"stats", "max_avail"}));
  const std::uint64_t quota = number(at(*mine, {"stats", "quota_bytes"}));
  if (quota != 0) out.available_bytes = std::min(out.available_bytes, quota - std::min(quota, out.used_bytes));
  out.total_bytes = out.used_bytes + out.available_bytes;

  IRONCORE_TRY(const std::string flags, flags_of(pool));
  out.is_full = is_full(flags);
  out.is_near_full =
      out.is_full || flags.find(",nearfull,") != std::string::npos || flags.find(",backfillfull,") != std::string::npos;
  if (out.is_full) out.available_bytes = 0;
  return out;
}

Result<std::string> Store::flags_of(const std::string& pool) const {
  IRONCORE_TRY(const auto pools,
               cluster_.ask_monitor({{"prefix", "osd pool ls"}, {"detail", "detail"}}, "ask for the state of pools"));
  const auto* state = find_by(pools, "pool_name", pool);
  const auto* words = state == nullptr ? nullptr : at(*state, {"flags_names"}).if_string();
  return words == nullptr ? std::string() : "," + std::string(*words) + ",";
}

bool Store::is_full(const std::string& flags) {
  return flags.find(",full,") != std::string::npos || flags.find(",full_quota,") != std::string::npos;
}

Result<IoContext> Store::tenant_io(const std::string& tenant) const {
  return IoContext::open(cluster_.rados, options_.pool, tenant);
}

Result<Claim> Store::claim(const std::string& tenant, const std::string& image) const {
  return Claim::take(own_, tenant + "." + image, options_.claim);
}

Result<Claim> Store::claim_to_make(const std::string& tenant, const std::string& image) const {
  return Claim::take_to_make(own_, tenant + "." + image, options_.claim);
}

Result<bool> Store::is_begun(const std::string& tenant, const std::string& image) const {
  return Claim::is_begun(own_, tenant + "." + image);
}

Error Store::foreign(ErrorCode code, const std::string& space, const std::string& image) const {
  return {
      code,
      "an image lies there that does not say that it is whole, and none of our calls began it: look at " +
          options_.pool + "/" + (space.empty() ? "" : space + "/") + image +
          ", and move or remove it; if it is the data that was lost, docs/storage-ceph.md says how to have it taken"};
}

Result<std::optional<Claim>> Store::claim_to_remove(const std::string& tenant, const std::string& image) const {
  auto claimed = claim(tenant, image);
  if (claimed.has_error() && claimed.error().code() == ErrorCode::exhausted) return std::optional<Claim>();
  if (claimed.has_error()) return claimed.error();
  return std::optional<Claim>(std::move(*claimed));
}

Result<Store::Found> Store::look(const IoContext& io, const std::string& name) {
  IRONCORE_TRY(const auto id, image_id(io, name));
  if (!id) return Found{};
  const auto image = Image::open(io, name, Image::Mode::read_only);
  if (image.has_error()) {
    // Only begun: the name is there, the rest is not.
    if (image.error().code() == ErrorCode::not_found) return Found{.is_there = true, .header = {}};
    return image.error();
  }
  IRONCORE_TRY(auto header, read_header(*image, name));
  return Found{.is_there = true, .header = std::move(header)};
}

Result<std::optional<Store::Listed>> Store::listed(const Table& table, const std::string& key) {
  IRONCORE_TRY(std::string text, table.get(key));
  if (text.empty()) return std::optional<Listed>();
  IRONCORE_TRY(Entry entry, parse_entry(text));
  if (entry.is_pending) return std::optional<Listed>();
  return std::optional(Listed{std::move(text), std::move(entry)});
}

Result<void> Store::put(const Table& table, const std::string& key, const Entry& entry, const std::string& likely) {
  // Most often nobody was there since: one round trip instead of two.
  const auto done = table.replace(key, likely, to_text(entry));
  if (done.has_value() || done.error().code() != ErrorCode::conflict) return done;
  IRONCORE_TRY(const std::string old, table.get(key));
  return table.replace(key, old, to_text(entry));
}

Result<void> Store::drop(const Table& table, const std::string& key) {
  IRONCORE_TRY(const std::string old, table.get(key));
  if (old.empty()) return {};
  return table.remove(key, old);
}

Result<void> Store::discard_image(const IoContext& io, const std::string& name) {
  const std::string doing = "remove what was left of image " + name;
  {
    const auto image = Image::open(io, name, Image::Mode::read_write);
    if (image.has_error() && image.error().code() != ErrorCode::not_found) return image.error().within(doing);
    if (image.has_value()) {
      IRONCORE_TRY(const auto snapshots, image->snapshots());
      for (const std::string& one : snapshots) {
        const int code = rbd_snap_remove(image->get(), one.c_str());
        if (code != -ENOENT) IRONCORE_CHECK(checked(code, doing));
      }
    } else {
      IRONCORE_TRY(const auto id, image_id(io, name));
      if (id) IRONCORE_CHECK(within(remove_object_map(io, *id), doing));
    }
  }
  int code = rbd_remove(io.get(), name.c_str());
  if (code == -ENOTEMPTY) return move_to_trash(io, name);
  return code == -ENOENT ? Result<void>() : checked(code, doing);
}

Result<void> Store::move_to_trash(const IoContext& io, const std::string& name) {
  IRONCORE_TRY(const auto number, image_id(io, name));
  if (!number) return {};
  const auto written = write_metadata(io, *number, removed_metadata(name));
  if (written.has_error() && written.error().code() != ErrorCode::not_found) return written;
  const int code = rbd_trash_move(io.get(), name.c_str(), 0);
  return code == -ENOENT ? Result<void>() : checked(code, "move image " + name + " to the trash");
}

Result<void> Store::make_named(const IoContext& io, const std::string& name, const std::string& doing,
                               const std::function<int()>& call) {
  int code = call();
  if (code == -EEXIST) {
    IRONCORE_TRY(const auto id, image_id(io, name));
    if (id) return checked(code, doing);
    IRONCORE_CHECK(within(discard_image(io, name), doing));
    code = call();
  }
  return checked(code, doing);
}

Result<std::uint32_t> Store::depth_of(const IoContext& io, const std::string& name) const {
  IRONCORE_TRY(const Image image, Image::open(io, name, Image::Mode::read_only));
  IRONCORE_TRY(auto parent, parent_of(image));
  std::uint32_t depth = 0;
  constexpr std::uint32_t kMost = 100;  // librbd itself opens all of them with each image
  while (parent && depth < kMost) {
    ++depth;
    IRONCORE_TRY(const IoContext parent_io, tenant_io(parent->space));
    IRONCORE_TRY(const Image above, Image::open_by_id(parent_io, parent->id, Image::Mode::read_only));
    IRONCORE_TRY(parent, parent_of(above));
  }
  return depth;
}

BetweenPieces Store::keeper(const Claim& claim, const Progress& progress, std::stop_token stop) const {
  return [this, &claim, &progress, stop = std::move(stop),
          renewed = clock_.now()](const image::Progress& step) mutable -> Result<void> {
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped while data was copied: repeat it");
    if (clock_.now() - renewed > options_.claim / 4) {
      IRONCORE_CHECK(claim.renew());
      renewed = clock_.now();
    }
    if (progress) progress(step);
    return {};
  };
}

Result<Store::Opened> Store::open_image(const BlockId& id, Image::Mode mode) const {
  IRONCORE_CHECK(check(id));
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  auto kind = Kind::volume;
  IRONCORE_TRY(auto found, listed(volumes_, index_key(id)));
  if (!found) {
    kind = Kind::snapshot;
    IRONCORE_TRY(found, listed(snapshots_, index_key(id)));
  }
  if (!found) return Error(ErrorCode::not_found, words(Kind::volume, id) + ": not found, nor a snapshot");
  const std::string what = "open " + words(kind, id);
  const bool is_volume = kind == Kind::volume;
  auto image = is_volume ? Image::open(io, volume_image(id.uid), mode)
                         : Image::open(io, snapshot_image(id.uid), Image::Mode::read_only, clone_snapshot);
  if (image.has_error()) return image.error().within(what);
  return Opened{.what = what,
                .image = std::move(*image),
                .use = is_volume ? ImageData::Use::read_write : ImageData::Use::read_only,
                .is_encrypted = found->entry.is_encrypted};
}

Result<std::unique_ptr<BlockData>> Store::open(const BlockId& id, const std::optional<EncryptionKey>& key) {
  IRONCORE_TRY(auto opened, open_image(id, Image::Mode::read_write));
  if (opened.is_encrypted != key.has_value()) {
    return Error(ErrorCode::invalid,
                 opened.what + (key ? ": it is not encrypted: give no key" : ": it is encrypted: give its key"));
  }
  if (!key) return std::unique_ptr<BlockData>(std::make_unique<ImageData>(std::move(opened.image), opened.use));
  IRONCORE_TRY(auto cipher, within(unlock_luks(opened.image, *key), opened.what));
  return std::unique_ptr<BlockData>(
      std::make_unique<EncryptedData>(std::move(opened.image), opened.use, std::move(cipher)));
}

Result<bool> Store::is_key_of(const BlockId& id, const EncryptionKey& key) {
  IRONCORE_TRY(const auto opened, open_image(id, Image::Mode::read_only));
  if (!opened.is_encrypted) return false;
  const auto unlocked = unlock_luks(opened.image, key);
  if (unlocked.has_value()) return true;
  if (unlocked.error().code() == ErrorCode::forbidden) return false;
  return unlocked.error().within(opened.what);
}

}  // namespace ironcore::storage::ceph
