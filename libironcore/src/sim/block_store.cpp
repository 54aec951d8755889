// SPDX-License-Identifier: Apache-2.0
// The simulated store: one table of images made of shared pages, and steps between which everything can stop.
#include "ironcore/sim/block_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <tuple>
#include <utility>
#include <variant>

#include "ironcore/base/base64.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/crypto/digest.hpp"

namespace ironcore::sim {

using storage::Access;
using storage::BaseImage;
using storage::BaseSource;
using storage::BlockId;
using storage::Capacity;
using storage::Credential;
using storage::EncryptionKey;
using storage::Limits;
using storage::Maintenance;
using storage::Snapshot;
using storage::Volume;
using storage::VolumeSpec;

namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t chunk_bytes = 1 << 20;  // what is copied between two looks at the stop
constexpr std::size_t cache_operations = 1024;
constexpr std::string_view monitors = "127.0.0.1:3300";

using Room = std::atomic<std::uint64_t>;

struct Page {
  explicit Page(Room& room_) : room(room_) { room += page_bytes; }
  Page(const Page& other) : bytes(other.bytes), room(other.room) { room += page_bytes; }
  Page& operator=(const Page&) = delete;
  ~Page() { room -= page_bytes; }
  std::array<std::byte, page_bytes> bytes{};
  Room& room;
};
using Pages = std::map<std::uint64_t, std::shared_ptr<Page>>;

enum class Kind { volume, snapshot, base };

struct Image {
  Kind kind = Kind::volume;
  BlockId id;
  crypto::Digest digest;  // of a base image
  std::uint64_t size = 0;
  std::optional<crypto::Digest> key;  // what the key is known by
  Limits limits;
  std::variant<std::monostate, crypto::Digest, Uid> source;  // of a volume
  Uid volume;                                                // of a snapshot
  std::shared_ptr<Image> parent;
  Pages pages;
  bool is_whole = false;
  bool is_busy = false;  // a call is at it and does not hold the mutex
};
using ImagePtr = std::shared_ptr<Image>;

struct Secret {
  std::string name;
  std::string key;
};
struct Tenant {
  std::vector<Secret> secrets;  // the last is the current one
  std::uint64_t last = 0;
};

bool is_zero(BytesView bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

std::uint64_t mixed(std::uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

/// Both ways. The same for the same key and place, so that volumes with one key can share pages.
void scramble(std::uint64_t seed, std::uint64_t page, std::array<std::byte, page_bytes>& bytes) {
  for (std::size_t i = 0; i < page_bytes; i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
    word ^= mixed(seed ^ mixed(page * page_bytes + i));
    std::memcpy(bytes.data() + i, &word, sizeof(word));
  }
}

std::optional<std::uint64_t> seed_of(const std::optional<EncryptionKey>& key) {
  if (!key) return {};
  std::uint64_t seed = 0;
  std::memcpy(&seed, key->bytes().data(), sizeof(seed));
  return seed;
}
std::optional<crypto::Digest> known_by(const std::optional<EncryptionKey>& key) {
  if (!key) return {};
  return crypto::sha256(key->bytes());
}

BlockId id_of(const crypto::Digest& digest) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), digest.bytes().data(), bytes.size());
  return {"", Uid(bytes)};
}

/// For messages and names; a tenant that cannot be is not repeated.
std::string text(const BlockId& id) {
  const bool is_tenant = id.tenant.empty() || !check_dns_label(id.tenant).has_value();
  return (is_tenant ? id.tenant : "(no tenant)") + "/" + id.uid.to_text();
}

Result<void> check_tenant(const std::string& tenant) {
  if (const auto problem = check_dns_label(tenant)) return Error(ErrorCode::invalid, "the tenant " + *problem);
  return {};
}
Result<void> check_id(const BlockId& id) {
  IRONCORE_CHECK(check_tenant(id.tenant));
  if (id.uid.is_nil()) return Error(ErrorCode::invalid, "the uid must not be nil");
  return {};
}
Result<void> check_size(std::uint64_t size) {
  if (size == 0 || size % storage::size_step != 0 || size > storage::max_size) {
    return Error(ErrorCode::invalid, "the size of a volume is a multiple of " + std::to_string(storage::size_step) +
                                         " bytes, at least one and at most " + std::to_string(storage::max_size) +
                                         " bytes, not " + std::to_string(size));
  }
  return {};
}

Error busy(const BlockId& id) {
  return {ErrorCode::conflict, "another call is making " + text(id) + ": repeat this one later"};
}
Error no_room() {
  return {ErrorCode::exhausted, "the pool is full: remove volumes or enlarge it"};
}

Result<void> check_key(const Image& image, const std::optional<EncryptionKey>& key) {
  if (image.key.has_value() != key.has_value()) {
    return Error(ErrorCode::invalid,
                 text(image.id) + (key ? " is not encrypted: give no key" : " is encrypted: give its key"));
  }
  if (image.key != known_by(key)) return Error(ErrorCode::forbidden, "the key is not that of " + text(image.id));
  return {};
}

/// A change of data that was not flushed yet; without bytes it is a discard.
struct Change {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  Bytes bytes;
};

}  // namespace

/// Somebody who has images open: a store's object or a hypervisor.
struct BlockStore::Client {
  storage::Client name;
};

struct BlockStore::State : std::enable_shared_from_this<BlockStore::State> {
  State(Clock& clock_, Options options_) : clock(clock_), options(std::move(options_)) {}

  Clock& clock;
  Options options;

  mutable std::mutex mutex;
  Room room{0};  // before the images, whose pages count in it
  std::uint64_t filled = 0;
  std::map<BlockId, ImagePtr> images;  // volumes, snapshots, base images: all have names of their own
  std::set<ImagePtr> trash;            // removed, and others depend on it
  std::map<std::string, Tenant> tenants;
  std::set<Data*> open;
  struct Held {
    Data* data;
    std::function<Result<void>()> operation;
    storage::BlockData::Done done;
  };
  std::deque<Held> held;
  std::condition_variable ended;  // an operation that was held
  std::uint64_t last_client = 0;
  std::uint64_t call_count = 0;
  bool is_connected = true;
  bool is_held = false;
  std::function<std::optional<Error>(const Call&)> faults;

  // ---- calls and their steps ----

  /// Where a call is. Its creation is the moment before the first step.
  class Steps {
   public:
    Steps(State& state, std::string_view name, BlockId id)
        : state_(state), call_{name, std::move(id), state.call_count++, 0, false} {}
    Result<void> begin() {
      if (!state_.is_connected) return Error(ErrorCode::unavailable, "the store does not answer");
      return ask();
    }
    /// One more step was done, and there are others to come.
    Result<void> next() {
      ++call_.step;
      return ask();
    }
    /// The last step was done.
    Result<void> end() {
      ++call_.step;
      call_.is_done = true;
      return ask();
    }

   private:
    Result<void> ask() {
      if (!state_.faults) return {};
      if (auto error = state_.faults(call_)) return std::move(*error);
      return {};
    }
    State& state_;
    Call call_;
  };

  /// A call of one step.
  template <class Body>
  auto call(std::string_view name, const BlockId& id, Body body) -> decltype(body()) {
    std::lock_guard guard(mutex);
    Steps steps(*this, name, id);
    IRONCORE_CHECK(steps.begin());
    auto result = body();
    if (result.has_value()) IRONCORE_CHECK(steps.end());
    return result;
  }

  /// Begins and ends what was held: of one, or of all.
  void release(std::unique_lock<std::mutex>& lock, const Data* only);

  // ---- room and pages ----

  bool has_room(std::uint64_t bytes) const {
    const auto limit = static_cast<std::uint64_t>(static_cast<double>(options.total_bytes) * options.full);
    return room + filled + bytes <= limit;
  }

  /// Fills `into` with what the image has there, in clear.
  static void read(const Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset,
                   std::span<std::byte> into) {
    while (!into.empty()) {
      const std::uint64_t number = offset / page_bytes;
      const std::uint64_t within = offset % page_bytes;
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(page_bytes - within, into.size()));
      const auto found = image.pages.find(number);
      if (found == image.pages.end()) {
        std::fill_n(into.begin(), length, std::byte{0});
      } else if (seed) {
        auto bytes = found->second->bytes;
        scramble(*seed, number, bytes);
        std::memcpy(into.data(), bytes.data() + within, length);
      } else {
        std::memcpy(into.data(), found->second->bytes.data() + within, length);
      }
      into = into.subspan(length);
      offset += length;
    }
  }

  /// `bytes` in clear; whole pages of zeros take no room.
  Result<void> write(Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset, BytesView bytes) {
    while (!bytes.empty()) {
      const std::uint64_t number = offset / page_bytes;
      const std::uint64_t within = offset % page_bytes;
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(page_bytes - within, bytes.size()));
      std::array<std::byte, page_bytes> page{};
      if (length < page_bytes) read(image, seed, number * page_bytes, page);
      std::memcpy(page.data() + within, bytes.data(), length);
      IRONCORE_CHECK(put(image, seed, number, page));
      bytes = bytes.subspan(length);
      offset += length;
    }
    return {};
  }

  Result<void> put(Image& image, std::optional<std::uint64_t> seed, std::uint64_t number,
                   std::array<std::byte, page_bytes>& page) {
    auto found = image.pages.find(number);
    if (is_zero(page)) {
      if (found != image.pages.end()) image.pages.erase(found);
      return {};
    }
    if (seed) scramble(*seed, number, page);
    if (found == image.pages.end() || found->second.use_count() > 1) {
      if (!has_room(page_bytes)) return no_room();
      found = image.pages.insert_or_assign(number, std::make_shared<Page>(room)).first;
    }
    found->second->bytes = page;
    return {};
  }

  Result<void> discard(Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset, std::uint64_t size) {
    const std::uint64_t end = offset + size;
    const std::uint64_t first = (offset + page_bytes - 1) / page_bytes;
    const std::uint64_t last = end / page_bytes;
    if (first >= last) {  // no whole page
      return size == 0 ? Result<void>() : write(image, seed, offset, Bytes(static_cast<std::size_t>(size)));
    }
    image.pages.erase(image.pages.lower_bound(first), image.pages.lower_bound(last));
    IRONCORE_CHECK(write(image, seed, offset, Bytes(static_cast<std::size_t>(first * page_bytes - offset))));
    return write(image, seed, last * page_bytes, Bytes(static_cast<std::size_t>(end - last * page_bytes)));
  }

  // ---- images ----

  /// Whole ones only.
  ImagePtr find(Kind kind, const BlockId& id) const {
    const auto found = images.find(id);
    if (found == images.end() || !found->second->is_whole || found->second->kind != kind) return nullptr;
    return found->second;
  }
  Result<ImagePtr> volume(const BlockId& id) const {
    if (auto image = find(Kind::volume, id)) return image;
    return Error(ErrorCode::not_found, "no volume " + text(id));
  }
  Result<ImagePtr> snapshot(const BlockId& id) const {
    if (auto image = find(Kind::snapshot, id)) return image;
    return Error(ErrorCode::not_found, "no snapshot " + text(id));
  }

  static std::uint32_t depth(const Image& image) {
    std::uint32_t depth = 0;
    for (const Image* next = image.parent.get(); next != nullptr; next = next->parent.get()) ++depth;
    return depth;
  }
  std::vector<ImagePtr> dependents(const ImagePtr& parent) const {
    std::vector<ImagePtr> all;
    for (const auto& [id, image] : images) {
      if (image->parent == parent) all.push_back(image);
    }
    for (const auto& image : trash) {
      if (image->parent == parent) all.push_back(image);
    }
    return all;
  }
  /// It is no longer there by name; its pages stay as long as others depend on it. By value: the map's own pointer may be meant.
  void drop(ImagePtr image) {
    images.erase(image->id);
    if (dependents(image).empty()) {
      image->parent = nullptr;
    } else {
      trash.insert(std::move(image));
    }
  }
  /// Gets pages of its own.
  Result<void> separate(Image& image) {
    std::uint64_t shared = 0;
    for (const auto& [number, page] : image.pages) {
      if (page.use_count() > 1) shared += page_bytes;
    }
    if (!has_room(shared)) return no_room();
    for (auto& [number, page] : image.pages) {
      if (page.use_count() > 1) page = std::make_shared<Page>(*page);
    }
    image.parent = nullptr;
    return {};
  }

  Volume describe_volume(const Image& image) const {
    return {image.id, image.size, image.key.has_value(), image.limits, depth(image)};
  }
  static Snapshot describe_snapshot(const Image& image) {
    return {image.id, image.volume, image.size, image.key.has_value()};
  }
  BaseImage describe_base(const ImagePtr& image) const {
    return {image->digest, image->size, static_cast<std::uint32_t>(dependents(image).size())};
  }

  /// A half image that nobody is at makes place for a new one.
  Result<ImagePtr> begin(Kind kind, const BlockId& id) {
    if (const auto found = images.find(id); found != images.end()) {
      if (found->second->is_busy) return busy(id);
      if (found->second->is_whole) {
        return Error(ErrorCode::already_exists, text(id) + " is there already, and is something else");
      }
      drop(found->second);
    }
    auto image = std::make_shared<Image>();
    image->kind = kind;
    image->id = id;
    images[id] = image;
    return image;
  }

  /// Removes what has this name, whole or half, if nobody is making it.
  Result<void> remove(std::string_view name, Kind kind, const BlockId& id) {
    std::lock_guard guard(mutex);
    Steps steps(*this, name, id);
    IRONCORE_CHECK(steps.begin());
    const auto found = images.find(id);
    if (found != images.end() && found->second->kind == kind) {
      const auto image = found->second;
      if (image->is_busy) return busy(id);
      if (kind == Kind::volume) IRONCORE_CHECK(check_closed(*image));
      if (kind == Kind::base && image->is_whole) {
        if (const auto users = dependents(image); !users.empty()) {
          return Error(ErrorCode::wrong_state, std::to_string(users.size()) + " images depend on " +
                                                   image->digest.to_text() + ", one of them " + text(users[0]->id));
        }
      }
      image->is_whole = false;  // from here on only to be removed
      IRONCORE_CHECK(steps.next());
      drop(image);
    }
    return steps.end();
  }

  // ---- copies ----

  /// Copies what is in `from`, chunk by chunk, without the mutex between two of them.
  using Chunk = std::function<Result<void>(std::uint64_t offset, std::uint64_t size)>;
  Result<void> copy(std::unique_lock<std::mutex>& lock, Image& into, std::uint64_t size, const Progress& progress,
                    const std::stop_token& stop, const Chunk& chunk) {
    into.is_busy = true;
    const struct Idle {
      Image& image;
      std::unique_lock<std::mutex>& lock;
      ~Idle() {
        if (!lock.owns_lock()) lock.lock();
        image.is_busy = false;
      }
    } idle{into, lock};
    const Error cancelled(ErrorCode::cancelled, "stopped while data was copied: call again to go on");
    for (std::uint64_t done = 0; done < size;) {
      lock.unlock();
      const std::uint64_t length = std::min(chunk_bytes, size - done);
      if (stop.stop_requested()) return cancelled;
      if (options.copy_per_mib > Duration{0} && !sleep_for(clock, options.copy_per_mib, stop)) return cancelled;
      IRONCORE_CHECK(chunk(done, length));
      done += length;
      if (progress) progress({done, size});
      lock.lock();
      if (!is_connected) return Error(ErrorCode::unavailable, "the store does not answer");
    }
    return {};
  }

  // ---- clients ----

  std::shared_ptr<Client> new_client(std::string_view host) {
    auto client = std::make_shared<Client>();
    const auto number = std::to_string(++last_client);
    client->name.address = "127.0.0.1:0/" + number;
    client->name.name = "client." + number + " of " + std::string(host);
    return client;
  }
  std::vector<storage::Client> openers(const Image& image, const Client* except) const;
  Result<void> check_closed(const Image& image) const;
  Result<std::unique_ptr<storage::BlockData>> open_image(const ImagePtr& image, const std::optional<EncryptionKey>& key,
                                                         const std::shared_ptr<Client>& client);

  // ---- credentials ----

  const Secret& current(const std::string& tenant) {
    auto& has = tenants[tenant];
    if (has.secrets.empty()) add_secret(tenant);
    return has.secrets.back();
  }
  void add_secret(const std::string& tenant) {
    auto& has = tenants[tenant];
    const auto name = tenant + "-" + std::to_string(++has.last);
    has.secrets.push_back({name, base64_encode(crypto::sha256("key of " + name).bytes().first(16))});
  }
};

// ---- data ----

class BlockStore::Data final : public storage::BlockData {
 public:
  Data(std::shared_ptr<State> state, ImagePtr image, std::optional<std::uint64_t> seed, std::shared_ptr<Client> client)
      : state_(std::move(state)), image_(std::move(image)), seed_(seed), client_(std::move(client)) {
    state_->open.insert(this);
  }
  ~Data() override {
    std::unique_lock lock(state_->mutex);
    state_->release(lock, this);
    state_->ended.wait(lock, [this] { return under_way_ == 0; });
    if (!is_cut_off_ && state_->is_connected) (void)apply();
    state_->open.erase(this);
  }

  std::uint64_t size() const override {
    std::lock_guard guard(state_->mutex);
    return image_->size;
  }
  void read(std::uint64_t offset, std::span<std::byte> into, Done done) override {
    start("read", std::move(done), [this, offset, into] { return do_read(offset, into); });
  }
  void write(std::uint64_t offset, BytesView bytes, Done done) override {
    start("write", std::move(done), [this, offset, bytes]() -> Result<void> {
      IRONCORE_CHECK(check_change(offset, bytes.size()));
      return cache({offset, bytes.size(), Bytes(bytes.begin(), bytes.end())});
    });
  }
  void discard(std::uint64_t offset, std::uint64_t size, Done done) override {
    start("discard", std::move(done), [this, offset, size]() -> Result<void> {
      IRONCORE_CHECK(check_change(offset, size));
      return cache({offset, size, {}});
    });
  }
  void flush(Done done) override {
    start("flush", std::move(done), [this] { return apply(); });
  }

  // With the mutex held:
  const Image& image() const { return *image_; }
  const Client& client() const { return *client_; }
  bool is_cut_off() const { return is_cut_off_; }
  /// Its client is dead or fenced: what was not flushed is lost, and nothing comes after it.
  void cut_off() {
    is_cut_off_ = true;
    cached_.clear();
    cached_bytes_ = 0;
  }
  void begins() { ++under_way_; }
  void ends() { --under_way_; }

 private:
  using Operation = std::function<Result<void>()>;

  void start(std::string_view name, Done done, Operation operation) {
    std::unique_lock lock(state_->mutex);
    Operation whole = [this, name, operation = std::move(operation)]() -> Result<void> {
      if (is_cut_off_) return Error(ErrorCode::unavailable, "this client was shut out: open the volume again");
      State::Steps steps(*state_, name, image_->id);
      IRONCORE_CHECK(steps.begin());
      IRONCORE_CHECK(operation());
      return steps.end();
    };
    if (state_->is_held) {
      state_->held.push_back({this, std::move(whole), std::move(done)});
      return;
    }
    const auto result = whole();
    lock.unlock();
    done(result);
  }

  Result<void> check(std::uint64_t offset, std::uint64_t size) const {
    if (offset > image_->size || size > image_->size - offset) {
      return Error(ErrorCode::invalid, std::to_string(size) + " bytes at " + std::to_string(offset) +
                                           " are not within the " + std::to_string(image_->size) + " bytes of " +
                                           text(image_->id));
    }
    return {};
  }
  Result<void> check_change(std::uint64_t offset, std::uint64_t size) const {
    if (image_->kind != Kind::volume) return Error(ErrorCode::invalid, "a snapshot cannot be changed");
    return check(offset, size);
  }

  Result<void> do_read(std::uint64_t offset, std::span<std::byte> into) const {
    IRONCORE_CHECK(check(offset, into.size()));
    State::read(*image_, seed_, offset, into);
    for (const auto& change : cached_) {
      const std::uint64_t begin = std::max(offset, change.offset);
      const std::uint64_t end = std::min(offset + into.size(), change.offset + change.size);
      if (begin >= end) continue;
      const auto place = into.subspan(static_cast<std::size_t>(begin - offset), static_cast<std::size_t>(end - begin));
      if (change.bytes.empty()) {
        std::ranges::fill(place, std::byte{0});
      } else {
        std::memcpy(place.data(), change.bytes.data() + (begin - change.offset), place.size());
      }
    }
    return {};
  }

  Result<void> cache(Change change) {
    if (change.size == 0) return {};
    cached_bytes_ += change.bytes.size();
    cached_.push_back(std::move(change));
    while (cached_bytes_ > state_->options.cache_bytes || cached_.size() > cache_operations ||
           state_->options.cache_bytes == 0) {
      if (cached_.empty()) break;
      IRONCORE_CHECK(apply_first());
    }
    return {};
  }
  Result<void> apply_first() {
    const auto& change = cached_.front();
    if (change.bytes.empty()) {
      IRONCORE_CHECK(state_->discard(*image_, seed_, change.offset, change.size));
    } else {
      IRONCORE_CHECK(state_->write(*image_, seed_, change.offset, change.bytes));
    }
    cached_bytes_ -= change.bytes.size();
    cached_.pop_front();
    return {};
  }
  Result<void> apply() {
    while (!cached_.empty()) IRONCORE_CHECK(apply_first());
    return {};
  }

  std::shared_ptr<State> state_;
  ImagePtr image_;
  std::optional<std::uint64_t> seed_;
  std::shared_ptr<Client> client_;
  bool is_cut_off_ = false;
  std::deque<Change> cached_;
  std::uint64_t cached_bytes_ = 0;
  std::size_t under_way_ = 0;  // of those that were held, on the thread that releases them
};

void BlockStore::State::release(std::unique_lock<std::mutex>& lock, const Data* only) {
  for (;;) {
    const auto next = std::ranges::find_if(held, [&](const Held& one) { return only == nullptr || one.data == only; });
    if (next == held.end()) return;
    const Held one = std::move(*next);
    held.erase(next);
    one.data->begins();
    const auto result = one.operation();
    lock.unlock();
    one.done(result);
    lock.lock();
    one.data->ends();
    ended.notify_all();
  }
}

std::vector<storage::Client> BlockStore::State::openers(const Image& image, const Client* except) const {
  std::vector<storage::Client> all;
  for (const auto* data : open) {
    if (&data->image() != &image || data->is_cut_off() || &data->client() == except) continue;
    if (std::ranges::find(all, data->client().name) == all.end()) all.push_back(data->client().name);
  }
  std::ranges::sort(all, {}, &storage::Client::address);
  return all;
}

Result<void> BlockStore::State::check_closed(const Image& image) const {
  std::string who;
  for (const auto& client : openers(image, nullptr)) {
    who += (who.empty() ? "" : ", ") + client.address + " (" + client.name + ")";
  }
  if (who.empty()) return {};
  return Error(ErrorCode::wrong_state, text(image.id) + " is open: detach it from " + who);
}

Result<std::unique_ptr<storage::BlockData>> BlockStore::State::open_image(const ImagePtr& image,
                                                                          const std::optional<EncryptionKey>& key,
                                                                          const std::shared_ptr<Client>& client) {
  IRONCORE_CHECK(check_key(*image, key));
  return std::unique_ptr<storage::BlockData>(std::make_unique<Data>(shared_from_this(), image, seed_of(key), client));
}

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
                                  State::read(frozen, seed_of(from_key), offset, bytes);
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

Result<Access> BlockStore::access(const BlockId& id) {
  return state_->call("access", id, [&]() -> Result<Access> {
    IRONCORE_TRY(const auto image, state_->volume(id));
    const auto& secret = state_->current(id.tenant);
    Access access;
    access.driver = "ceph";
    access.handle = crypto::sha256(text(image->id)).hex().substr(0, 16);
    access.attributes = {{"monitors", std::string(monitors)}, {"image", state_->options.pool + "/" + text(image->id)}};
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
    const bool is_good = std::ranges::any_of(secrets, [&](const Secret& secret) {
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
