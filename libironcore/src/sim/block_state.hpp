// SPDX-License-Identifier: Apache-2.0
// The place of a simulated store: what all of its objects share, and the steps of its calls.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <utility>

#include "block_image.hpp"
#include "ironcore/sim/block_store.hpp"

namespace ironcore::sim {

using blocks::Image;
using blocks::ImagePtr;
using blocks::Kind;
using storage::BaseImage;
using storage::BlockId;
using storage::EncryptionKey;
using storage::Snapshot;
using storage::Volume;

/// Somebody who has images open: a store's object or a hypervisor.
struct BlockStore::Client {
  storage::Client name;
};

/// With the mutex held, except `call` and `remove`, which take it.
struct BlockStore::State : std::enable_shared_from_this<BlockStore::State> {
  State(Clock& clock_, Options options_) : clock(clock_), options(std::move(options_)) {}

  struct Secret {
    std::string name;
    std::string key;
  };
  struct Tenant {
    std::vector<Secret> secrets;  // the last is the current one
    std::uint64_t last = 0;
  };

  Clock& clock;
  Options options;

  mutable std::mutex mutex;
  blocks::Room room{0};  // before the images, whose pages count in it
  std::uint64_t filled = 0;
  std::optional<storage::StoreMark> mark;
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

  bool has_room(std::uint64_t bytes) const;

  /// `bytes` in clear; whole pages of zeros take no room.
  Result<void> write(Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset, BytesView bytes);

  Result<void> put(Image& image, std::optional<std::uint64_t> seed, std::uint64_t number, blocks::PageBytes& page);

  Result<void> discard(Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset, std::uint64_t size);

  // ---- images ----

  /// Whole ones only.
  ImagePtr find(Kind kind, const BlockId& id) const;
  Result<ImagePtr> volume(const BlockId& id) const;
  Result<ImagePtr> snapshot(const BlockId& id) const;

  static std::uint32_t depth(const Image& image);
  std::vector<ImagePtr> dependents(const ImagePtr& parent) const;
  /// It is no longer there by name; its pages stay as long as others depend on it. By value: the map's own pointer may be meant.
  void drop(ImagePtr image);
  /// Gets pages of its own.
  Result<void> separate(Image& image);

  Volume describe_volume(const Image& image) const;
  static Snapshot describe_snapshot(const Image& image);
  BaseImage describe_base(const ImagePtr& image) const;

  /// A half image that nobody is at makes place for a new one.
  Result<ImagePtr> begin(Kind kind, const BlockId& id);

  /// Removes what has this name, whole or half, if nobody is making it.
  Result<void> remove(std::string_view name, Kind kind, const BlockId& id);

  // ---- copies ----

  /// Copies what is in `from`, chunk by chunk, without the mutex between two of them.
  using Chunk = std::function<Result<void>(std::uint64_t offset, std::uint64_t size)>;
  Result<void> copy(std::unique_lock<std::mutex>& lock, Image& into, std::uint64_t size, const Progress& progress,
                    const std::stop_token& stop, const Chunk& chunk);

  // ---- clients ----

  std::shared_ptr<Client> new_client(std::string_view host);
  std::vector<storage::Client> openers(const Image& image, const Client* except) const;
  Result<void> check_closed(const Image& image) const;
  Result<std::unique_ptr<storage::BlockData>> open_image(const ImagePtr& image, const std::optional<EncryptionKey>& key,
                                                         const std::shared_ptr<Client>& client);

  // ---- credentials ----

  const Secret& current(const std::string& tenant);
  void add_secret(const std::string& tenant);
};

}  // namespace ironcore::sim
