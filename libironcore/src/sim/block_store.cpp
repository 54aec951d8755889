// SPDX-License-Identifier: Apache-2.0
// The calls of the simulated store, in steps between which everything can stop, and the script of tests.
#include "ironcore/sim/block_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "block_data.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/crypto/digest.hpp"

namespace ironcore::sim {

using namespace blocks;
using storage::Access;
using storage::BaseSource;
using storage::Capacity;
using storage::Credential;
using storage::Limits;
using storage::Maintenance;
using storage::StoreMark;
using storage::VolumeSpec;

namespace {
constexpr std::string_view monitors = "127.0.0.1:3300";
}  // namespace

// ---- the seam ----

BlockStore::BlockStore(Clock& clock) : BlockStore(clock, Options{}) {}
BlockStore::BlockStore(Clock& clock, Options options)
    : BlockStore(std::make_shared<State>(clock, std::move(options))) {}
BlockStore::BlockStore(std::shared_ptr<State> state) : state_(std::move(state)) {
  std::lock_guard guard(state_->mutex);
  client_ = state_->new_client("this host");
}
BlockStore::~BlockStore() = default;

std::unique_ptr<BlockStore> BlockStore::another() const {
  return std::unique_ptr<BlockStore>(new BlockStore(state_));
}

Result<std::optional<StoreMark>> BlockStore::mark() {
  return state_->call("mark", {}, [&]() -> Result<std::optional<StoreMark>> { return state_->mark; });
}

Result<void> BlockStore::set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) {
  return state_->call("set_mark", {}, [&]() -> Result<void> {
    if (state_->mark != before) return Error(ErrorCode::conflict, "somebody else has marked the store");
    state_->mark = mark;
    return {};
  });
}

Result<Capacity> BlockStore::capacity() {
  return state_->call("capacity", {}, [&]() -> Result<Capacity> {
    const auto& options = state_->options;
    const auto at = [&](double part) {
      return static_cast<std::uint64_t>(static_cast<double>(options.total_bytes) * part);
    };
    Capacity capacity;
    capacity.total_bytes = options.total_bytes;
    capacity.used_bytes = state_->room + state_->filled;
    capacity.available_bytes = at(options.full) - std::min(at(options.full), capacity.used_bytes);
    capacity.is_near_full = capacity.used_bytes >= at(options.near_full);
    capacity.is_full = !state_->has_room(page_bytes);
    return capacity;
  });
}

Result<BaseImage> BlockStore::import_base(const BaseSource& source, const Progress& progress, std::stop_token stop) {
  const auto id = id_of(source.digest);
  std::unique_lock lock(state_->mutex);
  State::Steps steps(*state_, "import_base", id);
  IRONCORE_CHECK(steps.begin());
  if (const auto there = state_->find(Kind::base, id)) {
    IRONCORE_CHECK(steps.end());
    return state_->describe_base(there);
  }
  if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped before the import began");
  if (source.size_bytes == 0) return Error(ErrorCode::invalid, "a base image has at least one byte");
  const UniqueFd file(::open(source.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return system_error(errno, "open " + source.path.string());
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return system_error(errno, "look at " + source.path.string());
  if (!S_ISREG(status.st_mode)) return Error(ErrorCode::invalid, source.path.string() + " is not a regular file");
  const Error corrupt(ErrorCode::corrupt, source.path.string() + " is not " + source.digest.to_text() + " with " +
                                              std::to_string(source.size_bytes) + " bytes: fetch it again");
  if (static_cast<std::uint64_t>(status.st_size) != source.size_bytes) return corrupt;

  IRONCORE_TRY(const auto image, state_->begin(Kind::base, id));
  image->digest = source.digest;
  image->size = source.size_bytes;
  IRONCORE_CHECK(steps.next());
  crypto::Hasher hasher(source.digest.algorithm());
  Bytes bytes;
  const auto copied = state_->copy(
      lock, *image, image->size, progress, stop, [&](std::uint64_t offset, std::uint64_t size) -> Result<void> {
        bytes.resize(static_cast<std::size_t>(size));
        for (std::size_t done = 0; done < bytes.size();) {
          const auto n =
              ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
          if (n < 0) return system_error(errno, "read " + source.path.string());
          if (n == 0) return corrupt;  // it became shorter meanwhile
          done += static_cast<std::size_t>(n);
        }
        hasher.update(bytes);
        std::lock_guard guard(state_->mutex);
        return state_->write(*image, {}, offset, bytes);
      });
  if (copied.has_error()) {
    if (copied.error().code() == ErrorCode::corrupt) state_->drop(image);
    return copied.error();
  }
  IRONCORE_CHECK(steps.next());
  if (hasher.finish() != source.digest) {
    state_->drop(image);
    return corrupt;
  }
  image->is_whole = true;
  IRONCORE_CHECK(steps.end());
  return state_->describe_base(image);
}

Result<std::vector<BaseImage>> BlockStore::bases() {
  return state_->call("bases", {}, [&]() -> Result<std::vector<BaseImage>> {
    std::vector<BaseImage> all;
    for (const auto& [id, image] : state_->images) {
      if (image->kind == Kind::base && image->is_whole) all.push_back(state_->describe_base(image));
    }
    return all;
  });
}

Result<void> BlockStore::remove_base(const crypto::Digest& digest) {
  return state_->remove("remove_base", Kind::base, id_of(digest));
}

Result<Volume> BlockStore::create(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                                  std::stop_token stop) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_CHECK(check_size(spec.size_bytes));
  std::unique_lock lock(state_->mutex);
  State::Steps steps(*state_, "create", id);
  IRONCORE_CHECK(steps.begin());

  decltype(Image::source) source;
  if (const auto* base = std::get_if<storage::FromBase>(&spec.source)) source = base->digest;
  if (const auto* snapshot = std::get_if<storage::FromSnapshot>(&spec.source)) source = snapshot->snapshot;
  if (const auto there = state_->find(Kind::volume, id)) {
    const std::string other = there->size != spec.size_bytes     ? "has " + std::to_string(there->size) + " bytes"
                              : there->source != source          ? "was made from another source"
                              : there->key != known_by(spec.key) ? "is encrypted in another way"
                                                                 : "";
    if (!other.empty()) return Error(ErrorCode::already_exists, text(id) + " is there already and " + other);
    IRONCORE_CHECK(steps.end());
    return state_->describe_volume(*there);
  }

  ImagePtr from;
  std::optional<EncryptionKey> from_key;
  if (const auto* base = std::get_if<storage::FromBase>(&spec.source)) {
    from = state_->find(Kind::base, id_of(base->digest));
    if (!from) return Error(ErrorCode::not_found, "no base image " + base->digest.to_text() + ": import it");
  } else if (const auto* snapshot = std::get_if<storage::FromSnapshot>(&spec.source)) {
    IRONCORE_TRY(from, state_->snapshot({id.tenant, snapshot->snapshot}));
    from_key = snapshot->key;
    IRONCORE_CHECK(check_key(*from, from_key));
  }
  if (from && from->size > spec.size_bytes) {
    return Error(ErrorCode::invalid, "the source has " + std::to_string(from->size) + " bytes, which do not fit into " +
                                         std::to_string(spec.size_bytes));
  }

  IRONCORE_TRY(const auto image, state_->begin(Kind::volume, id));
  image->size = spec.size_bytes;
  image->source = source;
  image->key = known_by(spec.key);
  IRONCORE_CHECK(steps.next());
  if (from && from->key == image->key) {
    image->pages = from->pages;
    image->parent = from;
  } else if (from) {
    const Image frozen = *from;  // it may go while it is copied
    IRONCORE_CHECK(state_->copy(lock, *image, frozen.size, progress, stop,
                                [&](std::uint64_t offset, std::uint64_t size) -> Result<void> {
                                  Bytes bytes(static_cast<std::size_t>(size));
                                  read(frozen, seed_of(from_key), offset, bytes);
                                  std::lock_guard guard(state_->mutex);
                                  return state_->write(*image, seed_of(spec.key), offset, bytes);
                                }));
  }
  IRONCORE_CHECK(steps.next());
  image->limits = spec.limits;
  IRONCORE_CHECK(steps.next());
  image->is_whole = true;
  IRONCORE_CHECK(steps.end());
  return state_->describe_volume(*image);
}

Result<Volume> BlockStore::volume(const BlockId& id) {
  return state_->call("volume", id, [&]() -> Result<Volume> {
    IRONCORE_TRY(const auto image, state_->volume(id));
    return state_->describe_volume(*image);
  });
}

Result<std::vector<Volume>> BlockStore::volumes() {
  return state_->call("volumes", {}, [&]() -> Result<std::vector<Volume>> {
    std::vector<Volume> all;
    for (const auto& [id, image] : state_->images) {
      if (image->kind == Kind::volume && image->is_whole) all.push_back(state_->describe_volume(*image));
    }
    return all;
  });
}

Result<Volume> BlockStore::expand(const BlockId& id, std::uint64_t size_bytes) {
  return state_->call("expand", id, [&]() -> Result<Volume> {
    IRONCORE_TRY(const auto image, state_->volume(id));
    IRONCORE_CHECK(check_size(size_bytes));
    if (size_bytes < image->size) {
      return Error(ErrorCode::invalid, text(id) + " has " + std::to_string(image->size) +
                                           " bytes already, and a volume never becomes smaller");
    }
    image->size = size_bytes;
    return state_->describe_volume(*image);
  });
}

Result<void> BlockStore::set_limits(const BlockId& id, const Limits& limits) {
  return state_->call("set_limits", id, [&]() -> Result<void> {
    IRONCORE_TRY(const auto image, state_->volume(id));
    image->limits = limits;
    return {};
  });
}

Result<void> BlockStore::remove(const BlockId& id) {
  return state_->remove("remove", Kind::volume, id);
}

Result<Snapshot> BlockStore::take_snapshot(const BlockId& volume, const Uid& snapshot, std::stop_token) {
  const BlockId id{volume.tenant, snapshot};
  IRONCORE_CHECK(check_id(id));
  std::lock_guard guard(state_->mutex);
  State::Steps steps(*state_, "take_snapshot", id);
  IRONCORE_CHECK(steps.begin());
  if (const auto there = state_->find(Kind::snapshot, id)) {
    if (there->volume != volume.uid) {
      return Error(ErrorCode::already_exists, text(id) + " is there already, of volume " + there->volume.to_text());
    }
    IRONCORE_CHECK(steps.end());
    return State::describe_snapshot(*there);
  }
  IRONCORE_TRY(const auto source, state_->volume(volume));
  IRONCORE_TRY(const auto image, state_->begin(Kind::snapshot, id));
  image->volume = volume.uid;
  image->size = source->size;
  image->key = source->key;
  IRONCORE_CHECK(steps.next());
  image->pages = source->pages;
  image->parent = source;
  IRONCORE_CHECK(steps.next());
  image->is_whole = true;
  IRONCORE_CHECK(steps.end());
  return State::describe_snapshot(*image);
}

Result<Snapshot> BlockStore::snapshot(const BlockId& id) {
  return state_->call("snapshot", id, [&]() -> Result<Snapshot> {
    IRONCORE_TRY(const auto image, state_->snapshot(id));
    return State::describe_snapshot(*image);
  });
}

Result<std::vector<Snapshot>> BlockStore::snapshots() {
  return state_->call("snapshots", {}, [&]() -> Result<std::vector<Snapshot>> {
    std::vector<Snapshot> all;
    for (const auto& [id, image] : state_->images) {
      if (image->kind == Kind::snapshot && image->is_whole) all.push_back(State::describe_snapshot(*image));
    }
    return all;
  });
}

Result<void> BlockStore::remove_snapshot(const BlockId& id) {
  return state_->remove("remove_snapshot", Kind::snapshot, id);
}

Result<std::unique_ptr<storage::BlockData>> BlockStore::open(const BlockId& id,
                                                             const std::optional<EncryptionKey>& key) {
  return state_->call("open", id, [&]() -> Result<std::unique_ptr<storage::BlockData>> {
    auto image = state_->find(Kind::volume, id);
    if (!image) image = state_->find(Kind::snapshot, id);
    if (!image) return Error(ErrorCode::not_found, "no volume or snapshot " + text(id));
    return state_->open_image(image, key, client_);
  });
}

Result<bool> BlockStore::is_key_of(const BlockId& id, const EncryptionKey& key) {
  return state_->call("is_key_of", id, [&]() -> Result<bool> {
    auto image = state_->find(Kind::volume, id);
    if (!image) image = state_->find(Kind::snapshot, id);
    if (!image) return Error(ErrorCode::not_found, "no volume or snapshot " + text(id));
    return image->key == known_by(key);
  });
}

Result<Access> BlockStore::access(const BlockId& id) {
  return state_->call("access", id, [&]() -> Result<Access> {
    IRONCORE_TRY(const auto image, state_->volume(id));
    const auto& secret = state_->current(id.tenant);
    Access access;
    access.driver = "ceph";
    access.handle = crypto::sha256(text(image->id)).hex().substr(0, 16);
    access.attributes = {{"monitors", std::string(monitors)}, {"image", state_->options.pool + "/" + text(image->id)}};
    if (image->key) access.attributes["encryption"] = "luks2";
    access.secrets = {{"userID", secret.name}, {"userKey", secret.key}};
    access.credential = secret.name;
    return access;
  });
}

Result<void> BlockStore::rotate_credential(const std::string& tenant) {
  IRONCORE_CHECK(check_tenant(tenant));
  return state_->call("rotate_credential", {tenant, {}}, [&]() -> Result<void> {
    if (state_->tenants[tenant].secrets.size() > 1) {
      return Error(ErrorCode::wrong_state, "the tenant has an older credential: revoke " +
                                               state_->tenants[tenant].secrets.front().name + " first");
    }
    state_->add_secret(tenant);
    return {};
  });
}

Result<std::vector<Credential>> BlockStore::credentials(const std::string& tenant) {
  return state_->call("credentials", {tenant, {}}, [&]() -> Result<std::vector<Credential>> {
    std::vector<Credential> all;
    const auto found = state_->tenants.find(tenant);
    if (found == state_->tenants.end()) return all;
    for (const auto& secret : found->second.secrets) {
      all.push_back({secret.name, &secret == &found->second.secrets.back()});
    }
    return all;
  });
}

Result<void> BlockStore::revoke_credential(const std::string& tenant, const std::string& name) {
  return state_->call("revoke_credential", {tenant, {}}, [&]() -> Result<void> {
    const auto found = state_->tenants.find(tenant);
    if (found != state_->tenants.end())
      std::erase_if(found->second.secrets, [&](const auto& s) { return s.name == name; });
    return {};
  });
}

Result<std::vector<storage::Client>> BlockStore::clients(const BlockId& id) {
  return state_->call("clients", id, [&]() -> Result<std::vector<storage::Client>> {
    IRONCORE_TRY(const auto image, state_->volume(id));
    return state_->openers(*image, client_.get());
  });
}

Result<void> BlockStore::fence(std::span<const std::string> clients) {
  return state_->call("fence", {}, [&]() -> Result<void> {
    for (auto* data : state_->open) {
      if (std::ranges::find(clients, data->client().name.address) != clients.end()) data->cut_off();
    }
    return {};
  });
}

Result<Maintenance> BlockStore::maintain(std::stop_token stop) {
  std::lock_guard guard(state_->mutex);
  State::Steps steps(*state_, "maintain", {});
  IRONCORE_CHECK(steps.begin());
  Maintenance done;
  const auto separate = [&](const ImagePtr& image) -> Result<void> {
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "maintenance was stopped");
    if (done.separated == state_->options.separations_per_turn || image->is_busy) return {};
    if (state_->separate(*image).has_error()) return {};  // no room now: it waits
    ++done.separated;
    return steps.next();
  };
  for (const auto& [id, image] : state_->images) {
    if (state_->trash.contains(image->parent) || State::depth(*image) > state_->options.max_depth) {
      IRONCORE_CHECK(separate(image));
    }
  }
  // What was removed goes when nothing depends on it; then perhaps also what it depended on.
  for (bool has_removed = true; std::exchange(has_removed, false);) {
    for (auto at = state_->trash.begin(); at != state_->trash.end();) {
      const ImagePtr image = *at++;
      if (!state_->dependents(image).empty()) continue;
      state_->trash.erase(image);
      image->parent = nullptr;
      ++done.removed;
      has_removed = true;
      IRONCORE_CHECK(steps.next());
    }
  }
  done.waiting = state_->trash.size();
  for (const auto& [id, image] : state_->images) {
    if (!image->is_whole) {
      done.unfinished.push_back(id);
    } else if (State::depth(*image) > state_->options.max_depth) {
      ++done.waiting;
    }
  }
  IRONCORE_CHECK(steps.end());
  return done;
}

Result<void> BlockStore::remove_unfinished(const BlockId& id) {
  return state_->call("remove_unfinished", id, [&]() -> Result<void> {
    const auto found = state_->images.find(id);
    if (found == state_->images.end()) return {};
    const auto image = found->second;
    if (image->is_whole) return Error(ErrorCode::wrong_state, text(id) + " is whole: remove it by its name");
    if (image->is_busy) return Error(ErrorCode::wrong_state, "a call is making " + text(id) + " right now");
    state_->drop(image);
    return {};
  });
}

// ---- the script ----

void BlockStore::set_faults(std::function<std::optional<Error>(const Call&)> faults) {
  std::lock_guard guard(state_->mutex);
  state_->faults = std::move(faults);
}
std::uint64_t BlockStore::calls() const {
  std::lock_guard guard(state_->mutex);
  return state_->call_count;
}
void BlockStore::disconnect() {
  std::lock_guard guard(state_->mutex);
  state_->is_connected = false;
}
void BlockStore::reconnect() {
  std::lock_guard guard(state_->mutex);
  state_->is_connected = true;
}
void BlockStore::fill(std::uint64_t bytes) {
  std::lock_guard guard(state_->mutex);
  state_->filled = bytes;
}
void BlockStore::set_total(std::uint64_t bytes) {
  std::lock_guard guard(state_->mutex);
  state_->options.total_bytes = bytes;
}
Result<void> BlockStore::exchange_headers(const BlockId& one, const BlockId& other) {
  std::lock_guard guard(state_->mutex);
  const std::array images{state_->find(Kind::volume, one), state_->find(Kind::volume, other)};
  if (!images[0] || !images[1])
    return Error(ErrorCode::not_found, "there is no volume " + text(images[0] ? other : one));
  if (!images[0]->key || !images[1]->key) return Error(ErrorCode::invalid, "a volume without encryption has no header");
  std::swap(images[0]->key, images[1]->key);
  return {};
}
void BlockStore::hold_data() {
  std::lock_guard guard(state_->mutex);
  state_->is_held = true;
}
void BlockStore::release_data() {
  std::unique_lock lock(state_->mutex);
  state_->is_held = false;
  state_->release(lock, nullptr);
}

Result<std::unique_ptr<storage::BlockData>> BlockStore::attach(const Access& access,
                                                               const std::optional<EncryptionKey>& key,
                                                               std::string_view host) {
  const auto value = [](const std::map<std::string, std::string>& from, const std::string& name) {
    const auto found = from.find(name);
    return found == from.end() ? std::string() : found->second;
  };
  return state_->call("attach", {}, [&]() -> Result<std::unique_ptr<storage::BlockData>> {
    const auto wanted = value(access.attributes, "image");
    const auto found = std::ranges::find_if(state_->images, [&](const auto& entry) {
      const auto& [id, image] = entry;
      return image->is_whole && image->kind == Kind::volume && state_->options.pool + "/" + text(id) == wanted;
    });
    if (found == state_->images.end()) return Error(ErrorCode::not_found, "no image " + wanted);
    const auto& secrets = state_->tenants[found->first.tenant].secrets;
    const bool is_good = std::ranges::any_of(secrets, [&](const State::Secret& secret) {
      return secret.name == value(access.secrets, "userID") && secret.key == value(access.secrets, "userKey");
    });
    if (!is_good) return Error(ErrorCode::forbidden, "the credential is not good for " + wanted + ": ask for access");
    return state_->open_image(found->second, key, state_->new_client(host));
  });
}

void BlockStore::crash() {
  std::lock_guard guard(state_->mutex);
  for (auto* data : state_->open) {
    if (&data->client() == client_.get()) data->cut_off();
  }
  client_ = state_->new_client("this host");
}
void BlockStore::crash_all() {
  std::lock_guard guard(state_->mutex);
  for (auto* data : state_->open) data->cut_off();
}

Result<Bytes> BlockStore::raw(const BlockId& id) const {
  std::lock_guard guard(state_->mutex);
  const auto found = state_->images.find(id);
  if (found == state_->images.end()) return Error(ErrorCode::not_found, "nothing is named " + text(id));
  Bytes all;
  for (const auto& [number, page] : found->second->pages) {
    all.insert(all.end(), page->bytes.begin(), page->bytes.end());
  }
  return all;
}
std::uint64_t BlockStore::occupied() const {
  return state_->room;
}

}  // namespace ironcore::sim
