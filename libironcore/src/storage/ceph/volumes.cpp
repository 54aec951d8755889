// SPDX-License-Identifier: Apache-2.0
// Volumes: made, enlarged, limited, removed.
#include <cerrno>

#include "errors.hpp"
#include "luks.hpp"
#include "store.hpp"
#include "whole_image.hpp"

namespace ironcore::storage::ceph {

namespace {

Result<void> check_size(std::uint64_t size) {
  if (size == 0 || size % size_step != 0 || size > max_size) {
    return Error(ErrorCode::invalid, "size " + std::to_string(size) + " must be a multiple of " +
                                         std::to_string(size_step) + ", from there to " + std::to_string(max_size));
  }
  return {};
}

std::string source_text(const VolumeSource& source) {
  if (const auto* base = std::get_if<FromBase>(&source)) return "base " + base->digest.to_text();
  if (const auto* from = std::get_if<FromSnapshot>(&source)) return "snapshot " + from->snapshot.to_text();
  return "empty";
}

Encryption encryption_of(const std::optional<EncryptionKey>& key) {
  return key ? Encryption::luks2 : Encryption::none;
}

std::uint64_t raw_bytes(std::uint64_t size, Encryption encryption) {
  return size + (encryption == Encryption::luks2 ? luks_header_size : 0);
}

bool is_same(const std::optional<EncryptionKey>& a, const std::optional<EncryptionKey>& b) {
  return a.has_value() == b.has_value() && (!a || std::ranges::equal(a->bytes(), b->bytes()));
}

Volume volume_of(const BlockId& id, const Entry& entry) {
  return {.id = id,
          .size_bytes = entry.size_bytes,
          .is_encrypted = entry.is_encrypted,
          .limits = entry.limits,
          .depth = entry.depth};
}

Error absent(const BlockId& id) {
  return {ErrorCode::not_found, words(Kind::volume, id) + ": not found"};
}

Error too_small(std::uint64_t size, const std::string& source, std::uint64_t bytes) {
  return {ErrorCode::invalid,
          "size " + std::to_string(size) + " is smaller than " + source + " with " + std::to_string(bytes) + " bytes"};
}

}  // namespace

Result<void> Store::ensure_tenant(const std::string& tenant) {
  {
    const std::lock_guard lock(mutex_);
    if (tenants_.contains(tenant)) return {};
  }
  const int code = rbd_namespace_create(bases_io_.get(), tenant.c_str());
  if (code != -EEXIST) IRONCORE_CHECK(checked(code, "make namespace " + tenant + " in pool " + options_.pool));
  IRONCORE_TRY(const IoContext io, tenant_io(tenant));
  IRONCORE_CHECK(within(prepare_trash(io), "make the trash of " + tenant + " in pool " + options_.pool));
  const std::lock_guard lock(mutex_);
  tenants_.insert(tenant);
  return {};
}

bool Store::forget_lost(const std::string& tenant) {
  bool is_there = true;
  if (rbd_namespace_exists(bases_io_.get(), tenant.c_str(), &is_there) < 0 || is_there) return false;
  const std::lock_guard lock(mutex_);
  tenants_.erase(tenant);
  return true;
}

Result<std::uint64_t> Store::base_bytes(const crypto::Digest& digest) {
  const std::string key = digest.to_text();
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = base_bytes_.find(key); known != base_bytes_.end()) return known->second;
  }
  IRONCORE_TRY(const auto found, listed(bases_, key));
  if (!found) return Error(ErrorCode::not_found, "base image " + key + ": not found: import it first");
  const std::lock_guard lock(mutex_);
  base_bytes_[key] = found->entry.size_bytes;
  return found->entry.size_bytes;
}

Result<Image> Store::make_image(const IoContext& io, const std::string& name, const VolumeSpec& spec) const {
  const ImageOptions options(options_.data_pool);
  IRONCORE_CHECK(make_named(io, name, "make image " + name, [&] {
    return rbd_create4(io.get(), name.c_str(), raw_bytes(spec.size_bytes, encryption_of(spec.key)), options.get());
  }));
  return Image::open(io, name, Image::Mode::read_write);
}

Result<void> Store::make_empty(const IoContext& io, const std::string& name, const VolumeSpec& spec) const {
  if (spec.key) {
    IRONCORE_TRY(const Image image, make_image(io, name, spec));
    return format_luks(image, *spec.key);
  }
  const ImageOptions options(options_.data_pool);
  return make_named(io, name, "make image " + name,
                    [&] { return rbd_create4(io.get(), name.c_str(), spec.size_bytes, options.get()); });
}

Result<void> Store::make_clone(const IoContext& from_io, const std::string& from, const IoContext& io,
                               const std::string& name, std::uint64_t from_bytes, const VolumeSpec& spec) const {
  const ImageOptions options(options_.data_pool);
  IRONCORE_CHECK(make_named(io, name, "clone " + from + " as " + name, [&] {
    return rbd_clone3(from_io.get(), from.c_str(), clone_snapshot, io.get(), name.c_str(), options.get());
  }));
  if (spec.size_bytes == from_bytes) return {};
  IRONCORE_TRY(const Image image, Image::open(io, name, Image::Mode::read_write));
  return checked(rbd_resize(image.get(), spec.size_bytes), "enlarge " + name);
}

// 16.2 cannot give a clone an encryption of its own, and cannot read an encrypted clone beyond the size of what it was cloned from; and what it copies
// from a parent, when a clone is written to or flattened, it fills up with zeros, which are then read as ciphertext. So what is encrypted is copied, with
// the same key as ciphertext.
Result<void> Store::make_copy(const IoContext& from_io, const std::string& from,
                              const std::optional<EncryptionKey>& from_key, const IoContext& io,
                              const std::string& name, const VolumeSpec& spec, const BetweenPieces& between) const {
  const std::string doing = "copy " + from;
  IRONCORE_TRY(const Image source, Image::open(from_io, from, Image::Mode::read_only, clone_snapshot));
  // Before anything is made: the key may be wrong.
  std::optional<crypto::XtsCipher> from_cipher, into_cipher;
  if (from_key) {
    IRONCORE_TRY(from_cipher, within(unlock_luks(source, *from_key), doing));
  }
  if (is_same(from_key, spec.key)) {
    IRONCORE_TRY(const Image into, make_image(io, name, spec));
    return within(fill_from_image({into}, {source}, between), doing);
  }
  IRONCORE_CHECK(make_empty(io, name, spec));
  IRONCORE_TRY(const Image into, Image::open(io, name, Image::Mode::read_write));
  if (spec.key) {
    IRONCORE_TRY(into_cipher, unlock_luks(into, *spec.key));
  }
  const auto side = [](const Image& image, const auto& cipher) { return Side{image, cipher ? &*cipher : nullptr}; };
  return within(fill_from_image(side(into, into_cipher), side(source, from_cipher), between), doing);
}

Result<std::uint32_t> Store::make(const IoContext& io, const std::string& name, const BlockId& id,
                                  const VolumeSpec& spec, const BetweenPieces& between) {
  if (spec.key && !may_encrypt_) {
    return Error(ErrorCode::unsupported, "data pool " + options_.data_pool +
                                             " is erasure-coded, which cannot hold encrypted volumes: ask for a class "
                                             "of a replicated pool, or for no encryption");
  }
  if (const auto* base = std::get_if<FromBase>(&spec.source)) {
    const std::string what = "base image " + base->digest.to_text();
    IRONCORE_TRY(const std::uint64_t bytes, base_bytes(base->digest));
    if (spec.size_bytes < bytes) return too_small(spec.size_bytes, what, bytes);
    const std::string from = base_image(base->digest);
    const auto made = spec.key ? make_copy(bases_io_, from, std::nullopt, io, name, spec, between)
                               : make_clone(bases_io_, from, io, name, bytes, spec);
    if (made.has_error() && made.error().code() == ErrorCode::not_found) {
      const std::lock_guard lock(mutex_);
      base_bytes_.erase(base->digest.to_text());
    }
    IRONCORE_CHECK(within(made, what));
    return spec.key ? 0U : 1U;
  }
  if (const auto* from = std::get_if<FromSnapshot>(&spec.source)) {
    const BlockId snapshot{id.tenant, from->snapshot};
    const std::string what = words(Kind::snapshot, snapshot);
    IRONCORE_TRY(const auto found, listed(snapshots_, index_key(snapshot)));
    if (!found) return Error(ErrorCode::not_found, what + ": not found");
    if (found->entry.is_encrypted != from->key.has_value()) {
      return Error(ErrorCode::invalid, what + (from->key ? " is not encrypted: give no key to read it with"
                                                         : " is encrypted: give its key to read it with"));
    }
    if (spec.size_bytes < found->entry.size_bytes) return too_small(spec.size_bytes, what, found->entry.size_bytes);
    const std::string image = snapshot_image(from->snapshot);
    if (from->key || spec.key) {
      IRONCORE_CHECK(within(make_copy(io, image, from->key, io, name, spec, between), what));
      return 0U;
    }
    IRONCORE_CHECK(make_clone(io, image, io, name, found->entry.size_bytes, spec));
    return found->entry.depth + 1;
  }
  IRONCORE_CHECK(make_empty(io, name, spec));
  return 0U;
}

Result<void> Store::check_same(const IoContext& io, const std::string& name, const Header& header,
                               const VolumeSpec& spec) const {
  const auto differs = [](const std::string& how) {
    return Error(ErrorCode::already_exists, "there is one already, " + how + ": remove it, or ask for what it is");
  };
  if (header.size_bytes != spec.size_bytes) return differs("with " + std::to_string(header.size_bytes) + " bytes");
  if (header.source != source_text(spec.source)) return differs("made from " + header.source);
  if (header.is_encrypted != spec.key.has_value()) {
    return differs(header.is_encrypted ? "which is encrypted" : "which is not encrypted");
  }
  if (!spec.key) return {};
  IRONCORE_TRY(const Image image, Image::open(io, name, Image::Mode::read_only));
  const auto unlocked = unlock_luks(image, *spec.key);
  if (unlocked.has_value()) return {};
  if (unlocked.error().code() == ErrorCode::forbidden) return differs("with another key");
  return unlocked.error();
}

/// librbd makes the first image of a store: it looks whether the pool can hold any. Images with a data pool are left to it.
bool Store::is_simple(const VolumeSpec& spec) const {
  return has_made_image_ && std::holds_alternative<Empty>(spec.source) && !spec.key && options_.data_pool.empty();
}

Result<Volume> Store::create(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                             std::stop_token stop) {
  auto made = create_once(id, spec, progress, stop);
  if (made.has_value() || made.error().code() != ErrorCode::not_found || !forget_lost(id.tenant)) return made;
  return create_once(id, spec, progress, std::move(stop));
}

Result<Volume> Store::create_once(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                                  std::stop_token stop) {
  IRONCORE_CHECK(check(id));
  IRONCORE_CHECK(check_size(spec.size_bytes));
  const std::string doing = "create " + words(Kind::volume, id);
  if (stop.stop_requested()) return Error(ErrorCode::cancelled, doing + ": stopped");
  IRONCORE_CHECK(ensure_tenant(id.tenant));
  const std::string name = volume_image(id.uid);
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(Claim claimed, within(claim_to_make(id.tenant, name), doing));
  auto metadata = whole_metadata(name, source_text(spec.source), encryption_of(spec.key));
  // A restored one starts with the limits that its snapshot's volume had.
  if (spec.limits != Limits{} || std::holds_alternative<FromSnapshot>(spec.source)) {
    metadata.merge(limit_metadata(spec.limits));
  }
  Entry entry{.size_bytes = spec.size_bytes,
              .is_encrypted = spec.key.has_value(),
              .limits = spec.limits,
              .source = source_text(spec.source),
              .depth = 0};
  if (is_simple(spec)) {
    const auto made = make_whole_image(io, name, spec.size_bytes, metadata);
    if (made.has_value()) {
      claimed.settle();
      IRONCORE_CHECK(within(put(volumes_, index_key(id), entry), doing));
      return volume_of(id, entry);
    }
    if (made.error().code() != ErrorCode::already_exists) return made.error().within(doing);
  }
  IRONCORE_TRY(const Found found, look(io, name));
  if (found.header) {
    claimed.settle();
    IRONCORE_CHECK(within(check_same(io, name, *found.header, spec), doing));
    IRONCORE_TRY(const auto known, listed(volumes_, index_key(id)));
    if (known && known->entry.size_bytes == found.header->size_bytes) return volume_of(id, known->entry);
    IRONCORE_TRY(const std::uint32_t depth, depth_of(io, name));
    entry = entry_of(*found.header, depth);
    IRONCORE_CHECK(put(volumes_, index_key(id), entry));
    return volume_of(id, entry);
  }
  if (found.is_there && !claimed.was_begun()) {
    claimed.settle();
    return foreign(ErrorCode::already_exists, id.tenant, name).within(doing);
  }
  if (found.is_there) IRONCORE_CHECK(within(discard_image(io, name), doing));

  IRONCORE_CHECK(within(claimed.begin(), doing));
  const auto made = make(io, name, id, spec, keeper(claimed, progress, std::move(stop)));
  if (made.has_error()) {
    const auto left = image_id(io, name);
    if (left.has_value() && !*left) claimed.settle();
    return made.error().within(doing);
  }
  entry.depth = *made;
  IRONCORE_TRY(const auto number, image_id(io, name));
  if (!number) return Error(ErrorCode::conflict, doing + ": somebody removed it at once: repeat it");
  IRONCORE_CHECK(within(write_metadata(io, *number, metadata), doing));
  claimed.settle();
  IRONCORE_CHECK(within(put(volumes_, index_key(id), entry), doing));
  has_made_image_ = true;
  return volume_of(id, entry);
}

Result<Volume> Store::volume(const BlockId& id) {
  IRONCORE_CHECK(check(id));
  IRONCORE_TRY(const auto found, listed(volumes_, index_key(id)));
  // A removal that was cut off leaves the entry for a while.
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const auto number, image_id(io, volume_image(id.uid)));
  if (!number) return absent(id);
  if (!found) {
    IRONCORE_TRY(const bool is_ours, is_begun(id.tenant, volume_image(id.uid)));
    if (is_ours) return absent(id);
    return foreign(ErrorCode::not_found, id.tenant, volume_image(id.uid)).within(absent(id).message());
  }
  return volume_of(id, found->entry);
}

Result<std::vector<Volume>> Store::volumes() {
  IRONCORE_TRY(const auto lines, volumes_.list());
  std::vector<Volume> out;
  out.reserve(lines.size());
  for (const auto& [key, text] : lines) {
    const auto id = parse_index_key(key);
    const auto entry = parse_entry(text);
    if (id && entry.has_value()) out.push_back(volume_of(*id, *entry));
  }
  return out;
}

Result<Volume> Store::expand(const BlockId& id, std::uint64_t size_bytes) {
  IRONCORE_CHECK(check(id));
  const std::string doing = "expand " + words(Kind::volume, id);
  IRONCORE_TRY(const auto known, listed(volumes_, index_key(id)));
  if (!known) return absent(id);
  IRONCORE_CHECK(within(check_size(size_bytes), doing));
  const std::string name = volume_image(id.uid);
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const Claim claimed, within(claim(id.tenant, name), doing));
  IRONCORE_TRY(const auto found, look(io, name));
  if (!found.header) return absent(id);
  if (size_bytes < found.header->size_bytes) {
    return Error(ErrorCode::invalid, doing + ": it has " + std::to_string(found.header->size_bytes) +
                                         " bytes and cannot shrink to " + std::to_string(size_bytes));
  }
  if (size_bytes > found.header->size_bytes) {
    IRONCORE_TRY(const Image image, Image::open(io, name, Image::Mode::read_write));
    const auto encryption = found.header->is_encrypted ? Encryption::luks2 : Encryption::none;
    IRONCORE_CHECK(checked(rbd_resize(image.get(), raw_bytes(size_bytes, encryption)), doing));
  }
  IRONCORE_TRY(const auto now, listed(volumes_, index_key(id)));
  if (!now) return absent(id);
  Entry entry = now->entry;
  entry.size_bytes = size_bytes;
  IRONCORE_CHECK(within(volumes_.replace(index_key(id), now->text, to_text(entry)), doing));
  return volume_of(id, entry);
}

Result<void> Store::set_limits(const BlockId& id, const Limits& limits) {
  IRONCORE_CHECK(check(id));
  const std::string doing = "limit " + words(Kind::volume, id);
  const std::string name = volume_image(id.uid);
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const auto known, listed(volumes_, index_key(id)));
  if (!known) return absent(id);
  IRONCORE_TRY(const Claim claimed, within(claim(id.tenant, name), doing));
  IRONCORE_TRY(const auto number, image_id(io, name));
  IRONCORE_TRY(const auto now, listed(volumes_, index_key(id)));
  if (!number || !now) return absent(id);
  const auto settings = limit_metadata(limits);
  IRONCORE_CHECK(within(write_metadata(io, *number, settings), doing));
  IRONCORE_TRY(const Image image, Image::open(io, name, Image::Mode::read_only));
  IRONCORE_TRY(const auto watchers, watchers_of(image));
  if (!watchers.empty()) {
    // One more through librbd, which tells those who have it open to read them anew.
    IRONCORE_TRY(const Image writable, Image::open(io, name, Image::Mode::read_write));
    const auto& [key, value] = *settings.begin();
    IRONCORE_CHECK(checked(rbd_metadata_set(writable.get(), key.c_str(), value.c_str()), doing));
  }
  Entry entry = now->entry;
  entry.limits = limits;
  return within(volumes_.replace(index_key(id), now->text, to_text(entry)), doing);
}

Result<void> Store::remove(const BlockId& id) {
  IRONCORE_CHECK(check(id));
  const std::string doing = "remove " + words(Kind::volume, id);
  const std::string name = volume_image(id.uid);
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(auto claimed, within(claim_to_remove(id.tenant, name), doing));
  IRONCORE_TRY(const auto found, look(io, name));
  if (found.is_there && !found.header) {
    IRONCORE_TRY(const bool is_ours, within(is_begun(id.tenant, name), doing));
    if (!is_ours) return foreign(ErrorCode::wrong_state, id.tenant, name).within(doing);
    IRONCORE_CHECK(within(discard_image(io, name), doing));
  } else if (found.is_there) {
    {
      IRONCORE_TRY(const Image image, Image::open(io, name, Image::Mode::read_only));
      IRONCORE_TRY(const auto watchers, live_watchers_of(io, image));
      if (!watchers.empty()) {
        const bool is_own = watchers.front().address == cluster_.address;
        return Error(ErrorCode::wrong_state,
                     doing + ": " +
                         (is_own ? std::string("this process") : "client." + std::to_string(watchers.front().client)) +
                         " at " + watchers.front().address + " has it open: detach it, or fence that client");
      }
    }
    IRONCORE_CHECK(within(move_to_trash(io, name), doing));
  }
  if (claimed) claimed->settle();
  // Last: what has no entry any more must not come back.
  return within(drop(volumes_, index_key(id)), doing);
}

}  // namespace ironcore::storage::ceph
