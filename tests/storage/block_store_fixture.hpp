// SPDX-License-Identifier: Apache-2.0
// What the suite of BlockStore needs to know about a body, and its small words.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "ironcore/base/random.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::storage::testing {

constexpr std::uint64_t kib = std::uint64_t{1} << 10;
constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t gib = std::uint64_t{1} << 30;

/// What a body cannot do, or does in its own way.
struct BlockStoreQuirks {
  bool encrypts = true;                  ///< otherwise a key is `unsupported`
  bool snapshots_in_use = true;          ///< otherwise a snapshot of a volume that somebody has open is `wrong_state`
  bool knows_clients = true;             ///< otherwise `clients` is empty
  bool has_credentials = true;           ///< otherwise there are none, and `rotate_credential` is `unsupported`
  bool fences = true;                    ///< otherwise `fence` is `unsupported`
  std::uint64_t cheap_bytes = 16 * mib;  ///< what the suite may write into one volume; at least 4 MiB
  std::uint32_t generations = 12;  ///< of snapshots of restored volumes, more than the body lets depend on each other
  std::uint32_t max_depth = 0;     ///< of volumes, after `maintain` had nothing more to do
};

/// What the suite needs to know about a body. One object per test case; its destructor removes everything it made. Others may use the same place.
class BlockStoreFixture {
 public:
  /// Somebody else who has a volume open, until this is destroyed.
  struct Elsewhere {
    std::shared_ptr<void> keeper;     ///< what `data` needs
    std::unique_ptr<BlockData> data;  ///< null if the body cannot reach into it
    void close() {
      data.reset();
      keeper.reset();
    }
  };

  virtual ~BlockStoreFixture() = default;
  virtual BlockStore& store() = 0;
  /// A second object for the same place, as a restarted or another process has.
  virtual std::unique_ptr<BlockStore> another() = 0;
  /// For files of base images.
  virtual std::filesystem::path directory() = 0;
  virtual BlockStoreQuirks quirks() const = 0;
  /// Somebody else opens the volume for writing, as a guest does.
  virtual Elsewhere open_elsewhere(const BlockId& id, const std::optional<EncryptionKey>& key) {
    std::shared_ptr<BlockStore> other = another();
    auto data = other->open(id, key);
    REQUIRE_MESSAGE(data.has_value(), data.error().message());
    return {other, std::move(*data)};
  }
  /// What lies on the medium of an encrypted volume, with all it has of header; nothing if the body cannot tell.
  virtual std::optional<Bytes> raw(const BlockId&) { return {}; }
  /// Somebody puts the header of each of two encrypted volumes in the place of the other's; false if the body cannot tell where they are.
  virtual bool exchange_headers(const BlockId&, const BlockId&) { return false; }
  /// How many bytes everything in the store occupies now; nothing if the body cannot tell exactly.
  virtual std::optional<std::uint64_t> occupied() { return {}; }
  /// Whether somebody who was given this reaches the volume's data now; nothing if the body cannot tell.
  virtual std::optional<bool> reaches(const Access&) { return {}; }
  /// Waits until `done` holds; false after a long time.
  virtual bool wait_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  }
};

#define IRONCORE_BLOCKS_OK(...)                                                      \
  do {                                                                               \
    const auto& ironcore_result = (__VA_ARGS__);                                     \
    REQUIRE_MESSAGE(ironcore_result.has_value(), ironcore_result.error().message()); \
  } while (false)

#define IRONCORE_BLOCKS_FAIL(code_, ...)                                                                          \
  do {                                                                                                            \
    const auto& ironcore_result = (__VA_ARGS__);                                                                  \
    REQUIRE_FALSE(ironcore_result.has_value());                                                                   \
    CHECK_MESSAGE(ironcore_result.error().code() == ErrorCode::code_, name(ironcore_result.error().code()), ": ", \
                  ironcore_result.error().message());                                                             \
    CHECK_FALSE(ironcore_result.error().message().empty());                                                       \
    CHECK(ironcore_result.error().message().find('\n') == std::string::npos);                                     \
  } while (false)

// ---- small words of the suite ----

inline const std::string team_a = "team-a";
inline const std::string team_b = "team-b";

inline BlockId new_id(const std::string& tenant = team_a) {
  return {tenant, Uid::random()};
}
inline BlockId snapshot_id(const BlockId& volume, const Uid& snapshot) {
  return {volume.tenant, snapshot};
}

/// Bytes that compress, repeat and deduplicate badly; none of its pages is all zeros.
inline Bytes noise(std::uint64_t size) {
  Bytes bytes(size);
  static std::atomic<std::uint64_t> seed{std::random_device{}()};
  SeededRandom(++seed).fill(bytes);
  return bytes;
}
inline Bytes zeros(std::uint64_t size) {
  return Bytes(size);
}
inline Bytes part(const Bytes& bytes, std::uint64_t offset, std::uint64_t size) {
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}
inline Bytes longer(Bytes bytes, std::uint64_t size) {
  bytes.resize(size);
  return bytes;
}

/// Starts one operation and waits for it.
inline Result<void> finish(const std::function<void(BlockData::Done)>& start) {
  const auto answer = std::make_shared<std::promise<Result<void>>>();
  auto future = answer->get_future();
  start([answer](Result<void> result) { answer->set_value(std::move(result)); });
  REQUIRE_MESSAGE(future.wait_for(std::chrono::seconds(120)) == std::future_status::ready, "an operation never ends");
  return future.get();
}
inline Result<void> write(BlockData& data, std::uint64_t offset, BytesView bytes) {
  return finish([&](auto done) { data.write(offset, bytes, std::move(done)); });
}
inline Result<void> discard(BlockData& data, std::uint64_t offset, std::uint64_t size) {
  return finish([&](auto done) { data.discard(offset, size, std::move(done)); });
}
inline Result<void> flush(BlockData& data) {
  return finish([&](auto done) { data.flush(std::move(done)); });
}
inline Result<void> read_into(BlockData& data, std::uint64_t offset, std::span<std::byte> into) {
  return finish([&](auto done) { data.read(offset, into, std::move(done)); });
}
/// What is there; what was in the buffer before does not shine through.
inline Bytes read(BlockData& data, std::uint64_t offset, std::uint64_t size) {
  Bytes bytes(size, std::byte{0xa5});
  IRONCORE_BLOCKS_OK(read_into(data, offset, bytes));
  return bytes;
}

using Key = std::optional<EncryptionKey>;

inline std::unique_ptr<BlockData> opened(BlockStore& store, const BlockId& id, const Key& key = {}) {
  auto data = store.open(id, key);
  REQUIRE_MESSAGE(data.has_value(), data.error().message());
  return std::move(*data);
}
/// Written and flushed.
inline void put(BlockStore& store, const BlockId& id, std::uint64_t offset, const Bytes& bytes, const Key& key = {}) {
  const auto data = opened(store, id, key);
  IRONCORE_BLOCKS_OK(write(*data, offset, bytes));
  IRONCORE_BLOCKS_OK(flush(*data));
}
inline Bytes get(BlockStore& store, const BlockId& id, std::uint64_t offset, std::uint64_t size, const Key& key = {}) {
  return read(*opened(store, id, key), offset, size);
}
/// All of it.
inline Bytes content(BlockStore& store, const BlockId& id, const Key& key = {}) {
  const auto data = opened(store, id, key);
  return read(*data, 0, data->size());
}

inline Result<Volume> create(BlockStore& store, const BlockId& id, const VolumeSpec& spec) {
  return store.create(id, spec, {}, {});
}
inline Volume created(BlockStore& store, const BlockId& id, const VolumeSpec& spec) {
  const auto volume = create(store, id, spec);
  REQUIRE_MESSAGE(volume.has_value(), volume.error().message());
  CHECK(volume->id == id);
  CHECK(volume->size_bytes == spec.size_bytes);
  CHECK(volume->is_encrypted == spec.key.has_value());
  CHECK(volume->limits == spec.limits);
  return *volume;
}
inline VolumeSpec empty_spec(std::uint64_t size, const Key& key = {}) {
  VolumeSpec spec;
  spec.size_bytes = size;
  spec.key = key;
  return spec;
}
inline VolumeSpec base_spec(std::uint64_t size, const crypto::Digest& digest, const Key& key = {}) {
  auto spec = empty_spec(size, key);
  spec.source = FromBase{digest};
  return spec;
}
inline VolumeSpec restore_spec(std::uint64_t size, const Uid& snapshot, const Key& snapshot_key = {},
                               const Key& key = {}) {
  auto spec = empty_spec(size, key);
  FromSnapshot source;  // not as an aggregate: GCC 12 takes its key for uninitialised then
  source.snapshot = snapshot;
  source.key = snapshot_key;
  spec.source = source;
  return spec;
}
inline Uid taken(BlockStore& store, const BlockId& volume) {
  const Uid uid = Uid::random();
  const auto snapshot = store.take_snapshot(volume, uid, {});
  REQUIRE_MESSAGE(snapshot.has_value(), snapshot.error().message());
  CHECK(snapshot->id == snapshot_id(volume, uid));
  CHECK(snapshot->volume == volume.uid);
  return uid;
}

template <class Things>
std::size_t count_of(const Result<Things>& things, const BlockId& id) {
  REQUIRE_MESSAGE(things.has_value(), things.error().message());
  return static_cast<std::size_t>(std::ranges::count(*things, id, [](const auto& one) { return one.id; }));
}
inline std::optional<BaseImage> listed_base(BlockStore& store, const crypto::Digest& digest) {
  const auto bases = store.bases();
  REQUIRE_MESSAGE(bases.has_value(), bases.error().message());
  std::optional<BaseImage> found;
  for (const auto& base : *bases) {
    if (base.digest != digest) continue;
    CHECK_FALSE(found.has_value());
    found = base;
  }
  return found;
}

/// Until nothing is left to be done.
inline void maintain(BlockStore& store) {
  for (int i = 0; i < 1000; ++i) {
    const auto done = store.maintain({});
    REQUIRE_MESSAGE(done.has_value(), done.error().message());
    if (done->waiting == 0) return;
    std::this_thread::yield();
  }
  FAIL("maintain never comes to an end");
}

/// A raw image in a file, sparse where `parts` has nothing.
struct RawImage {
  Bytes bytes;
  BaseSource source;
};
inline RawImage raw_image(BlockStoreFixture& fixture, std::uint64_t size,
                          const std::vector<std::pair<std::uint64_t, std::uint64_t>>& parts) {
  RawImage image;
  image.bytes = zeros(size);
  image.source.path = fixture.directory() / (Uid::random().to_text() + ".raw");
  image.source.size_bytes = size;
  std::ofstream(image.source.path, std::ios::binary).close();
  std::filesystem::resize_file(image.source.path, size);
  std::fstream file(image.source.path, std::ios::binary | std::ios::in | std::ios::out);
  for (const auto& [offset, length] : parts) {
    const auto some = noise(length);
    std::ranges::copy(some, image.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(as_text(some).data(), static_cast<std::streamsize>(some.size()));
  }
  file.close();
  REQUIRE(file.good());
  image.source.digest = crypto::sha256(image.bytes);
  return image;
}
/// 3 MiB and a little, with holes.
inline RawImage small_image(BlockStoreFixture& fixture) {
  return raw_image(fixture, 3 * mib + 1536, {{0, 70'000}, {mib + 512, 4096}, {3 * mib - 100, 1000}});
}
inline RawImage imported(BlockStoreFixture& fixture) {
  auto image = small_image(fixture);
  IRONCORE_BLOCKS_OK(fixture.store().import_base(image.source, {}, {}));
  return image;
}

inline bool is_one_of(const Error& error, std::initializer_list<ErrorCode> codes) {
  return std::ranges::find(codes, error.code()) != codes.end();
}

/// The same call from two objects at the same time, until both have succeeded; only `conflict` may come in between.
inline void both(BlockStore& one, BlockStore& other, const std::function<Result<void>(BlockStore&)>& call) {
  std::array<Result<void>, 2> last;
  const auto insist = [&](BlockStore& store, Result<void>& result) {
    for (int i = 0; i < 1000; ++i) {
      result = call(store);
      if (result.has_value() || result.error().code() != ErrorCode::conflict) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  };
  {
    std::jthread first([&] { insist(one, last[0]); });
    std::jthread second([&] { insist(other, last[1]); });
  }
  for (const auto& result : last) IRONCORE_BLOCKS_OK(result);
}
template <class T>
Result<void> without_value(const Result<T>& result) {
  if (result.has_error()) return result.error();
  return {};
}

}  // namespace ironcore::storage::testing
