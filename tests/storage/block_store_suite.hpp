// SPDX-License-Identifier: Apache-2.0
// What every body of the BlockStore seam must do, as one suite: each body's test program instantiates it.
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

// ---- the suite ----

TEST_CASE_TEMPLATE_DEFINE("volumes, snapshots and base images that are not there", Fixture, blocks_absent) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.expand(id, mib));
  IRONCORE_BLOCKS_FAIL(not_found, store.set_limits(id, {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.take_snapshot(id, Uid::random(), {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.snapshot(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.open(id, {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.clients(id));
  IRONCORE_BLOCKS_FAIL(not_found, create(store, id, base_spec(mib, crypto::sha256(id.uid.to_text()))));
  IRONCORE_BLOCKS_FAIL(not_found, create(store, id, restore_spec(mib, Uid::random())));
  CHECK(count_of(store.volumes(), id) == 0);
  CHECK(count_of(store.snapshots(), id) == 0);
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove_snapshot(id));
  IRONCORE_BLOCKS_OK(store.remove_base(crypto::sha256(id.uid.to_text())));
  IRONCORE_BLOCKS_OK(store.remove_unfinished(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
}

TEST_CASE_TEMPLATE_DEFINE("the store has room", Fixture, blocks_capacity) {
  Fixture fixture;
  const auto capacity = fixture.store().capacity();
  IRONCORE_BLOCKS_OK(capacity);
  CHECK(capacity->total_bytes >= 64 * mib);
  CHECK(capacity->used_bytes <= capacity->total_bytes);
  CHECK(capacity->available_bytes > 0);
  CHECK(capacity->available_bytes <= capacity->total_bytes);
  CHECK_FALSE(capacity->is_full);
}

TEST_CASE_TEMPLATE_DEFINE("a volume is made once, is what was asked for, and goes once", Fixture, blocks_create) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const auto id = new_id();
  auto spec = empty_spec(8 * mib);
  spec.limits = {100, mib, 1000, 10 * mib, std::chrono::seconds(15)};
  CHECK(created(store, id, spec).depth == 0);
  CHECK(content(store, id) == zeros(8 * mib));
  const auto bytes = noise(10'000);
  put(store, id, 12'345, bytes);

  const auto again = create(store, id, spec);
  IRONCORE_BLOCKS_OK(again);
  CHECK(again->size_bytes == 8 * mib);
  CHECK(get(store, id, 12'345, bytes.size()) == bytes);
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(4 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(16 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, image.source.digest)));
  auto unlimited = spec;
  unlimited.limits = {};
  IRONCORE_BLOCKS_OK(create(store, id, unlimited));
  CHECK(get(store, id, 12'345, bytes.size()) == bytes);

  for (const auto& seen : {store.volume(id), fixture.another()->volume(id)}) {
    IRONCORE_BLOCKS_OK(seen);
    CHECK(seen->id == id);
    CHECK(seen->size_bytes == 8 * mib);
    CHECK_FALSE(seen->is_encrypted);
    CHECK(seen->limits == spec.limits);
    CHECK(seen->depth == 0);
  }
  CHECK(count_of(store.volumes(), id) == 1);
  CHECK(count_of(store.snapshots(), id) == 0);
  IRONCORE_BLOCKS_FAIL(not_found, store.snapshot(id));

  // What it is now counts, not what it was made as.
  IRONCORE_BLOCKS_OK(store.expand(id, 16 * mib));
  IRONCORE_BLOCKS_OK(create(store, id, empty_spec(16 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, spec));

  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  IRONCORE_BLOCKS_FAIL(not_found, fixture.another()->volume(id));
  CHECK(count_of(store.volumes(), id) == 0);

  created(store, id, base_spec(8 * mib, image.source.digest));
  CHECK(content(store, id) == longer(image.bytes, 8 * mib));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, spec));
  const auto other = imported(fixture);
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, other.source.digest)));
  IRONCORE_BLOCKS_OK(store.remove(id));
}

TEST_CASE_TEMPLATE_DEFINE("sizes are whole steps, not nothing, not too much", Fixture, blocks_sizes) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, size_step - 1, size_step + 1, max_size + 1,
                                   max_size + size_step, ~std::uint64_t{0}, ~std::uint64_t{0} - size_step + 1}) {
    CAPTURE(size);
    IRONCORE_BLOCKS_FAIL(invalid, create(store, id, empty_spec(size)));
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  }
  created(store, id, empty_spec(size_step));
  for (const std::uint64_t size :
       {std::uint64_t{0}, size_step - 1, size_step + 1, max_size + size_step, ~std::uint64_t{0}}) {
    CAPTURE(size);
    IRONCORE_BLOCKS_FAIL(invalid, store.expand(id, size));
    CHECK(store.volume(id)->size_bytes == size_step);
  }
  const auto large = new_id();
  created(store, large, empty_spec(20 * gib));
  const auto data = opened(store, large);
  CHECK(data->size() == 20 * gib);
  const auto bytes = noise(5000);
  IRONCORE_BLOCKS_OK(write(*data, 20 * gib - bytes.size(), bytes));
  CHECK(read(*data, 20 * gib - bytes.size(), bytes.size()) == bytes);
  CHECK(read(*data, 10 * gib, 4096) == zeros(4096));
}

TEST_CASE_TEMPLATE_DEFINE("nothing is made for a tenant or a uid that cannot be", Fixture, blocks_hostile_names) {
  Fixture fixture;
  auto& store = fixture.store();
  for (const std::string tenant : {"", ".", "..", "../x", "a/b", "A", "a b", "a\n", "-a", "a,b", "a\"", "a=b", "*"}) {
    CAPTURE(tenant);
    IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(tenant), empty_spec(mib)));
    IRONCORE_BLOCKS_FAIL(invalid, store.rotate_credential(tenant));
  }
  IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(std::string(64, 'a')), empty_spec(mib)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(std::string("a\0b", 3)), empty_spec(mib)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, {team_a, Uid()}, empty_spec(mib)));
  const auto longest = new_id(std::string(63, 'a'));
  created(store, longest, empty_spec(mib));
  IRONCORE_BLOCKS_FAIL(invalid, store.take_snapshot(longest, Uid(), {}));
  IRONCORE_BLOCKS_OK(store.remove(longest));
}

TEST_CASE_TEMPLATE_DEFINE("tenants are apart", Fixture, blocks_tenants) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto here = new_id(team_a);
  const BlockId there{team_b, here.uid};
  created(store, here, empty_spec(4 * mib));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(there));
  IRONCORE_BLOCKS_FAIL(not_found, store.open(there, {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(there));
  const auto bytes = noise(4096);
  put(store, here, 0, bytes);
  created(store, there, empty_spec(8 * mib));
  CHECK(get(store, there, 0, 4096) == zeros(4096));
  CHECK(store.volume(here)->size_bytes == 4 * mib);
  CHECK(store.access(here)->handle != store.access(there)->handle);

  const auto snapshot = taken(store, here);
  IRONCORE_BLOCKS_FAIL(not_found, store.snapshot({team_b, snapshot}));
  IRONCORE_BLOCKS_FAIL(not_found, store.open({team_b, snapshot}, {}));
  IRONCORE_BLOCKS_FAIL(not_found, create(store, new_id(team_b), restore_spec(4 * mib, snapshot)));
  IRONCORE_BLOCKS_OK(store.remove_snapshot({team_b, snapshot}));
  IRONCORE_BLOCKS_OK(store.remove(there));
  CHECK(get(store, here, 0, 4096) == bytes);
  CHECK(get(store, snapshot_id(here, snapshot), 0, 4096) == bytes);
}

TEST_CASE_TEMPLATE_DEFINE("what is written anywhere is read there, and nothing else changes", Fixture, blocks_data) {
  Fixture fixture;
  auto& store = fixture.store();
  std::vector<Key> keys{Key()};
  if (fixture.quirks().encrypts) keys.push_back(EncryptionKey::random());
  for (const auto& key : keys) {
    CAPTURE(key.has_value());
    const auto id = new_id();
    const std::uint64_t size = 6 * mib;
    created(store, id, empty_spec(size, key));
    auto data = opened(store, id, key);
    CHECK(data->size() == size);
    Bytes expected = zeros(size);
    SeededRandom random(7);
    for (int i = 0; i < 120; ++i) {
      const std::uint64_t most = i % 10 == 0 ? 300'000 : i % 3 == 0 ? 10 : 9000;
      const std::uint64_t length = 1 + random.below(static_cast<std::uint32_t>(most));
      std::uint64_t offset = random.below(static_cast<std::uint32_t>(size - length + 1));
      if (i % 4 == 0) offset -= offset % 512;
      const auto at = expected.begin() + static_cast<std::ptrdiff_t>(offset);
      if (i % 5 == 4) {
        IRONCORE_BLOCKS_OK(discard(*data, offset, length));
        std::fill_n(at, length, std::byte{0});
      } else {
        const auto bytes = noise(length);
        IRONCORE_BLOCKS_OK(write(*data, offset, bytes));
        std::ranges::copy(bytes, at);
      }
      if (i % 20 == 19) IRONCORE_BLOCKS_OK(flush(*data));
      if (i % 7 == 0) CHECK(read(*data, offset, length) == part(expected, offset, length));
    }
    CHECK(read(*data, 0, size) == expected);
    CHECK(read(*data, 4097, mib + 3) == part(expected, 4097, mib + 3));
    IRONCORE_BLOCKS_OK(write(*data, size - 1, as_bytes("x")));
    expected.back() = std::byte{'x'};
    IRONCORE_BLOCKS_OK(flush(*data));
    CHECK(get(*fixture.another(), id, 0, size, key) == expected);

    // Closing flushes.
    IRONCORE_BLOCKS_OK(write(*data, 1, as_bytes("yz")));
    expected[1] = std::byte{'y'};
    expected[2] = std::byte{'z'};
    data.reset();
    CHECK(content(*fixture.another(), id, key) == expected);
    IRONCORE_BLOCKS_OK(discard(*opened(store, id, key), 0, size));
    CHECK(content(store, id, key) == zeros(size));
  }
}

TEST_CASE_TEMPLATE_DEFINE("beyond the end nothing is read, written or discarded", Fixture, blocks_bounds) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  const std::uint64_t size = 2 * mib;
  created(store, id, empty_spec(size));
  const auto data = opened(store, id);
  const auto bytes = noise(4096);
  IRONCORE_BLOCKS_OK(write(*data, size - 4096, bytes));
  Bytes buffer(4096);
  for (const std::uint64_t offset :
       {size - 4095, size - 1, size, size + 1, max_size, ~std::uint64_t{0} - 4095, ~std::uint64_t{0}}) {
    CAPTURE(offset);
    IRONCORE_BLOCKS_FAIL(invalid, read_into(*data, offset, buffer));
    IRONCORE_BLOCKS_FAIL(invalid, write(*data, offset, zeros(4096)));
    IRONCORE_BLOCKS_FAIL(invalid, discard(*data, offset, 4096));
  }
  IRONCORE_BLOCKS_FAIL(invalid, discard(*data, 0, size + 1));
  IRONCORE_BLOCKS_FAIL(invalid, discard(*data, 4096, ~std::uint64_t{0} - 4095));
  CHECK(read(*data, size - 4096, 4096) == bytes);
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{17}, size}) {
    IRONCORE_BLOCKS_OK(read_into(*data, offset, {}));
    IRONCORE_BLOCKS_OK(write(*data, offset, {}));
    IRONCORE_BLOCKS_OK(discard(*data, offset, 0));
  }
  IRONCORE_BLOCKS_OK(flush(*data));
  CHECK(read(*data, 0, size) == [&] {
    Bytes expected = zeros(size);
    std::ranges::copy(bytes, expected.end() - 4096);
    return expected;
  }());
}

TEST_CASE_TEMPLATE_DEFINE("many operations are under way at once, and each ends once", Fixture,
                          blocks_many_operations) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  const std::uint64_t size = std::min<std::uint64_t>(fixture.quirks().cheap_bytes, 16 * mib);
  constexpr std::uint64_t block = 16 * kib;
  const std::size_t blocks = size / block;
  created(store, id, empty_spec(size));
  auto data = opened(store, id);
  const auto bytes = noise(size);
  std::vector<std::atomic<int>> ends(blocks);
  std::atomic<std::size_t> ended{0};
  std::atomic<std::size_t> failed{0};
  const auto done = [&](std::size_t number) {
    return [&, number](Result<void> result) {
      ++ends[number];
      if (!result.has_value()) ++failed;
      ++ended;
    };
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t i = thread; i < blocks; i += 4) {
          data->write(i * block, BytesView(bytes).subspan(i * block, block), done(i));
        }
      });
    }
  }
  REQUIRE(fixture.wait_until([&] { return ended == blocks; }));
  CHECK(failed == 0);
  IRONCORE_BLOCKS_OK(flush(*data));

  Bytes back(size);
  for (std::size_t i = 0; i < blocks; ++i) {
    data->read(i * block, std::span(back).subspan(i * block, block), done(i));
  }
  REQUIRE(fixture.wait_until([&] { return ended == 2 * blocks; }));
  CHECK(failed == 0);
  CHECK(back == bytes);

  // Destroying it waits for what is under way.
  const auto others = noise(size);
  for (std::size_t i = 0; i < blocks; ++i) {
    data->write(i * block, BytesView(others).subspan(i * block, block), done(i));
  }
  data.reset();
  CHECK(ended == 3 * blocks);
  CHECK(failed == 0);
  for (const auto& count : ends) CHECK(count == 3);
  CHECK(content(store, id) == others);
}

TEST_CASE_TEMPLATE_DEFINE("a volume grows, also while it is in use, and never shrinks", Fixture, blocks_expand) {
  Fixture fixture;
  auto& store = fixture.store();
  std::vector<Key> keys{Key()};
  if (fixture.quirks().encrypts) keys.push_back(EncryptionKey::random());
  for (const auto& key : keys) {
    CAPTURE(key.has_value());
    const auto id = new_id();
    created(store, id, empty_spec(4 * mib, key));
    const auto bytes = noise(mib);
    put(store, id, 3 * mib, bytes, key);
    auto expanded = store.expand(id, 6 * mib);
    IRONCORE_BLOCKS_OK(expanded);
    CHECK(expanded->id == id);
    CHECK(expanded->size_bytes == 6 * mib);
    CHECK(expanded->is_encrypted == key.has_value());
    expanded = store.expand(id, 6 * mib);
    IRONCORE_BLOCKS_OK(expanded);
    CHECK(expanded->size_bytes == 6 * mib);
    IRONCORE_BLOCKS_FAIL(invalid, store.expand(id, 5 * mib));
    CHECK(store.volume(id)->size_bytes == 6 * mib);
    CHECK(get(store, id, 3 * mib, mib, key) == bytes);
    CHECK(get(store, id, 4 * mib, 2 * mib, key) == zeros(2 * mib));

    const auto here = opened(store, id, key);
    CHECK(here->size() == 6 * mib);
    IRONCORE_BLOCKS_OK(store.expand(id, 9 * mib));
    CHECK(here->size() == 9 * mib);
    IRONCORE_BLOCKS_OK(write(*here, 8 * mib, bytes));
    CHECK(read(*here, 8 * mib, mib) == bytes);
    CHECK(read(*here, 6 * mib, 2 * mib) == zeros(2 * mib));
  }
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib));
  auto elsewhere = fixture.open_elsewhere(id, {});
  IRONCORE_BLOCKS_OK(store.expand(id, 8 * mib));
  CHECK(store.volume(id)->size_bytes == 8 * mib);
  if (elsewhere.data != nullptr) {
    CHECK(fixture.wait_until([&] { return elsewhere.data->size() == 8 * mib; }));
    IRONCORE_BLOCKS_OK(write(*elsewhere.data, 8 * mib - 5, as_bytes("there")));
    CHECK(read(*elsewhere.data, 8 * mib - 5, 5) == Bytes(as_bytes("there").begin(), as_bytes("there").end()));
  }
  IRONCORE_BLOCKS_FAIL(not_found, store.expand(snapshot_id(id, Uid::random()), 16 * mib));
}

TEST_CASE_TEMPLATE_DEFINE("limits are kept and shown, also of a volume in use", Fixture, blocks_limits) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(mib));
  CHECK(store.volume(id)->limits == Limits{});
  const Limits limits{100, 1 << 20, 200, 2 << 20, std::chrono::seconds(3)};
  IRONCORE_BLOCKS_OK(store.set_limits(id, limits));
  IRONCORE_BLOCKS_OK(store.set_limits(id, limits));
  CHECK(store.volume(id)->limits == limits);
  CHECK(fixture.another()->volume(id)->limits == limits);
  const auto elsewhere = fixture.open_elsewhere(id, {});
  const Limits others{7, 0, 0, 0, std::chrono::seconds(0)};
  IRONCORE_BLOCKS_OK(store.set_limits(id, others));
  CHECK(store.volume(id)->limits == others);
  const auto all = store.volumes();
  IRONCORE_BLOCKS_OK(all);
  const auto listed = std::ranges::find(*all, id, &Volume::id);
  REQUIRE(listed != all->end());
  CHECK(listed->limits == others);
  IRONCORE_BLOCKS_OK(store.set_limits(id, {}));
  CHECK(store.volume(id)->limits == Limits{});
}

// ---- base images ----

TEST_CASE_TEMPLATE_DEFINE("a base image is taken in when every byte is right, with its holes", Fixture, blocks_import) {
  Fixture fixture;
  auto& store = fixture.store();
  const std::uint64_t before = fixture.occupied().value_or(0);
  const auto image = raw_image(fixture, 64 * mib + 512, {{0, 300'000}, {33 * mib + 7, 5000}, {64 * mib, 512}});
  std::vector<image::Progress> progress;
  const auto here = std::this_thread::get_id();
  const auto base = store.import_base(image.source,
                                      [&](const image::Progress& step) {
                                        CHECK(std::this_thread::get_id() == here);
                                        progress.push_back(step);
                                      },
                                      {});
  IRONCORE_BLOCKS_OK(base);
  CHECK(base->digest == image.source.digest);
  CHECK(base->size_bytes == image.source.size_bytes);
  CHECK(base->children == 0);
  REQUIRE_FALSE(progress.empty());
  CHECK(std::ranges::is_sorted(progress, {}, &image::Progress::done_bytes));
  for (const auto& step : progress) CHECK(step.total_bytes == image.source.size_bytes);
  CHECK(progress.back().done_bytes == image.source.size_bytes);
  if (const auto now = fixture.occupied()) CHECK(*now - before < 16 * mib);

  const auto listed = listed_base(*fixture.another(), image.source.digest);
  REQUIRE(listed.has_value());
  CHECK(listed->size_bytes == image.source.size_bytes);
  CHECK(listed->children == 0);

  // What is there is not read again.
  std::filesystem::remove(image.source.path);
  IRONCORE_BLOCKS_OK(store.import_base(image.source, {}, {}));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(), base_spec(64 * mib, image.source.digest)));
  const auto id = new_id();
  created(store, id, base_spec(65 * mib, image.source.digest));
  CHECK(get(store, id, 0, mib) == part(image.bytes, 0, mib));
  CHECK(get(store, id, 33 * mib, mib) == part(image.bytes, 33 * mib, mib));
  CHECK(get(store, id, 64 * mib - 512, 2048) == longer(part(image.bytes, 64 * mib - 512, 1024), 2048));

  IRONCORE_BLOCKS_OK(store.remove(id));
  maintain(store);
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  maintain(store);
  if (const auto now = fixture.occupied()) CHECK(*now == before);
}

TEST_CASE_TEMPLATE_DEFINE("of a base image that is not what it should be, nothing stays", Fixture, blocks_bad_import) {
  Fixture fixture;
  auto& store = fixture.store();
  const std::uint64_t before = fixture.occupied().value_or(0);
  const auto image = small_image(fixture);
  auto wrong = image.source;
  wrong.digest = crypto::sha256("something else");
  IRONCORE_BLOCKS_FAIL(corrupt, store.import_base(wrong, {}, {}));
  CHECK_FALSE(listed_base(store, wrong.digest).has_value());
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  for (const std::uint64_t size : {image.source.size_bytes - 1, image.source.size_bytes + 1, mib, 4 * mib}) {
    CAPTURE(size);
    wrong = image.source;
    wrong.size_bytes = size;
    IRONCORE_BLOCKS_FAIL(corrupt, store.import_base(wrong, {}, {}));
  }
  // The right digest of a part is not enough.
  wrong = image.source;
  wrong.size_bytes = mib;
  wrong.digest = crypto::sha256(BytesView(image.bytes).first(mib));
  IRONCORE_BLOCKS_FAIL(corrupt, store.import_base(wrong, {}, {}));
  CHECK_FALSE(listed_base(store, wrong.digest).has_value());
  wrong = image.source;
  wrong.path = fixture.directory() / "absent.raw";
  IRONCORE_BLOCKS_FAIL(not_found, store.import_base(wrong, {}, {}));
  wrong.path = fixture.directory();
  const auto directory = store.import_base(wrong, {}, {});
  REQUIRE_FALSE(directory.has_value());
  CHECK_MESSAGE(is_one_of(directory.error(), {ErrorCode::invalid, ErrorCode::corrupt}), directory.error().message());
  wrong = image.source;
  wrong.size_bytes = 0;
  const auto nothing = store.import_base(wrong, {}, {});
  REQUIRE_FALSE(nothing.has_value());
  CHECK_MESSAGE(is_one_of(nothing.error(), {ErrorCode::invalid, ErrorCode::corrupt}), nothing.error().message());
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  maintain(store);
  if (const auto now = fixture.occupied()) CHECK(*now == before);

  // A digest of the other kind is as good.
  wrong = image.source;
  wrong.digest = crypto::sha512(image.bytes);
  IRONCORE_BLOCKS_OK(store.import_base(wrong, {}, {}));
  IRONCORE_BLOCKS_OK(store.import_base(image.source, {}, {}));
  CHECK(listed_base(store, image.source.digest).has_value());
}

TEST_CASE_TEMPLATE_DEFINE("an import that is stopped leaves nothing that is listed, and goes on when called again",
                          Fixture, blocks_stopped_import) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = raw_image(fixture, 24 * mib, {{0, fixture.quirks().cheap_bytes / 2}});
  std::stop_source stopped;
  stopped.request_stop();
  IRONCORE_BLOCKS_FAIL(cancelled, store.import_base(image.source, {}, stopped.get_token()));
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  IRONCORE_BLOCKS_FAIL(not_found, create(store, new_id(), base_spec(24 * mib, image.source.digest)));

  std::stop_source stop;
  const auto half = store.import_base(
      image.source, [&](const image::Progress&) { stop.request_stop(); }, stop.get_token());
  if (half.has_error()) {
    IRONCORE_BLOCKS_FAIL(cancelled, half);
    CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  }
  IRONCORE_BLOCKS_OK(fixture.another()->import_base(image.source, {}, {}));
  CHECK(listed_base(store, image.source.digest).has_value());
  const auto id = new_id();
  created(store, id, base_spec(24 * mib, image.source.digest));
  CHECK(content(store, id) == image.bytes);
}

TEST_CASE_TEMPLATE_DEFINE("two import the same image at the same time, and there is one", Fixture, blocks_two_imports) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto another = fixture.another();
  const auto image = raw_image(fixture, 8 * mib, {{mib, 3 * mib}});
  both(store, *another, [&](BlockStore& one) { return without_value(one.import_base(image.source, {}, {})); });
  REQUIRE(listed_base(store, image.source.digest).has_value());
  const auto id = new_id();
  created(store, id, base_spec(8 * mib, image.source.digest));
  CHECK(content(store, id) == image.bytes);
}

TEST_CASE_TEMPLATE_DEFINE("volumes of one base image share it and are independent", Fixture, blocks_clones) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const std::uint64_t size = 4 * mib;
  const std::array ids{new_id(team_a), new_id(team_a), new_id(team_b)};
  for (const auto& id : ids) created(store, id, base_spec(size, image.source.digest));
  created(store, ids[0], base_spec(size, image.source.digest));
  const auto original = longer(image.bytes, size);
  for (const auto& id : ids) CHECK(content(store, id) == original);

  auto first = original;
  const auto bytes = noise(100'000);
  put(store, ids[0], 65'000, bytes);
  std::ranges::copy(bytes, first.begin() + 65'000);
  auto second = original;
  IRONCORE_BLOCKS_OK(discard(*opened(store, ids[1]), 100, mib + 1000));
  std::fill_n(second.begin() + 100, mib + 1000, std::byte{0});
  CHECK(content(store, ids[0]) == first);
  CHECK(content(store, ids[1]) == second);
  CHECK(content(store, ids[2]) == original);
  const auto late = new_id();
  created(store, late, base_spec(size, image.source.digest));
  CHECK(content(store, late) == original);

  const auto base = listed_base(store, image.source.digest);
  REQUIRE(base.has_value());
  if (store.volume(ids[2])->depth > 0) {
    CHECK(base->children == 4);
    IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_base(image.source.digest));
    REQUIRE(listed_base(store, image.source.digest).has_value());
  } else {
    CHECK(base->children == 0);
  }
  for (const auto& id : {ids[1], ids[2], late}) IRONCORE_BLOCKS_OK(store.remove(id));
  maintain(store);
  if (store.volume(ids[0])->depth > 0) {
    CHECK(listed_base(store, image.source.digest)->children == 1);
    IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_base(image.source.digest));
    CHECK(content(store, ids[0]) == first);
    IRONCORE_BLOCKS_OK(store.remove(ids[0]));
    maintain(store);
    IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
  } else {
    IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
    CHECK(content(store, ids[0]) == first);
    // Whoever lost the answer asks again.
    IRONCORE_BLOCKS_OK(create(store, ids[0], base_spec(size, image.source.digest)));
  }
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
}

// ---- snapshots ----

TEST_CASE_TEMPLATE_DEFINE("a snapshot is taken once and holds what the volume held", Fixture, blocks_snapshot) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib));
  const auto before = noise(200'000);
  put(store, id, 1000, before);
  const Uid uid = Uid::random();
  const auto saved = snapshot_id(id, uid);
  const auto snapshot = store.take_snapshot(id, uid, {});
  IRONCORE_BLOCKS_OK(snapshot);
  CHECK(snapshot->id == saved);
  CHECK(snapshot->volume == id.uid);
  CHECK(snapshot->size_bytes == 4 * mib);
  CHECK_FALSE(snapshot->is_encrypted);

  const auto after = noise(200'000);
  put(store, id, 1000, after);
  IRONCORE_BLOCKS_OK(store.expand(id, 8 * mib));
  IRONCORE_BLOCKS_OK(store.take_snapshot(id, uid, {}));
  for (const auto& seen : {store.snapshot(saved), fixture.another()->snapshot(saved)}) {
    IRONCORE_BLOCKS_OK(seen);
    CHECK(seen->volume == id.uid);
    CHECK(seen->size_bytes == 4 * mib);
  }
  CHECK(count_of(store.snapshots(), saved) == 1);
  CHECK(count_of(store.volumes(), saved) == 0);
  CHECK(count_of(store.volumes(), id) == 1);
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(saved));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(saved));
  CHECK(get(store, saved, 1000, 200'000) == before);
  CHECK(get(store, id, 1000, 200'000) == after);

  const auto data = opened(store, saved);
  CHECK(data->size() == 4 * mib);
  IRONCORE_BLOCKS_FAIL(invalid, write(*data, 0, as_bytes("x")));
  IRONCORE_BLOCKS_FAIL(invalid, discard(*data, 0, mib));
  CHECK(read(*data, 1000, 200'000) == before);

  const auto other = new_id();
  created(store, other, empty_spec(mib));
  IRONCORE_BLOCKS_FAIL(already_exists, store.take_snapshot(other, uid, {}));
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot outlives its volume, and a restored volume both: in any order nothing is lost",
                          Fixture, blocks_any_order) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  // All orders where that is cheap; elsewhere each is once the first and once the last.
  const bool is_cheap = fixture.quirks().cheap_bytes >= 16 * mib;
  std::string order = "0123";
  int round = 0;
  const auto next_order = [&] {
    if (is_cheap) return std::next_permutation(order.begin(), order.end());
    std::rotate(order.begin(), order.begin() + 1, order.end());
    return order.front() != '0';
  };
  do {
    CAPTURE(order);
    // A volume of the base image, a snapshot of it, a volume of that, a snapshot of that one.
    const auto volume = new_id();
    created(store, volume, base_spec(4 * mib, image.source.digest));
    auto first = longer(image.bytes, 4 * mib);
    const auto bytes = noise(5000);
    put(store, volume, 2 * mib, bytes);
    std::ranges::copy(bytes, first.begin() + 2 * mib);
    const auto saved = snapshot_id(volume, taken(store, volume));
    put(store, volume, 0, bytes);
    auto later = first;
    std::ranges::copy(bytes, later.begin());

    const auto restored = new_id();
    created(store, restored, restore_spec(5 * mib, saved.uid));
    auto other = longer(first, 5 * mib);
    const auto more = noise(9000);
    put(store, restored, 3 * mib, more);
    std::ranges::copy(more, other.begin() + 3 * mib);
    const auto again = snapshot_id(restored, taken(store, restored));

    const std::array ids{volume, saved, restored, again};
    const std::array contents{later, first, other, other};
    std::array<bool, 4> is_gone{};
    for (const char next : order) {
      const auto at = static_cast<std::size_t>(next - '0');
      if (at % 2 == 0) {
        IRONCORE_BLOCKS_OK(store.remove(ids[at]));
      } else {
        IRONCORE_BLOCKS_OK(store.remove_snapshot(ids[at]));
      }
      is_gone[at] = true;
      if (round % 2 == 0) maintain(store);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (is_gone[i]) {
          IRONCORE_BLOCKS_FAIL(not_found, store.open(ids[i], {}));
        } else {
          CHECK(content(store, ids[i]) == contents[i]);
        }
      }
      if (!is_gone[1] && is_gone[0]) {
        CHECK(store.snapshot(saved)->volume == volume.uid);
        IRONCORE_BLOCKS_OK(store.take_snapshot(volume, saved.uid, {}));  // a lost answer
        IRONCORE_BLOCKS_FAIL(not_found, store.take_snapshot(volume, Uid::random(), {}));
        const auto late = new_id();
        created(store, late, restore_spec(4 * mib, saved.uid));
        CHECK(content(store, late) == first);
        IRONCORE_BLOCKS_OK(store.remove(late));
      }
      if (is_gone[1] && !is_gone[2]) {
        IRONCORE_BLOCKS_OK(create(store, restored, restore_spec(5 * mib, saved.uid)));  // a lost answer
        IRONCORE_BLOCKS_FAIL(already_exists, create(store, restored, restore_spec(5 * mib, again.uid)));
        IRONCORE_BLOCKS_FAIL(not_found, create(store, new_id(), restore_spec(5 * mib, saved.uid)));
      }
    }
    ++round;
  } while (next_order());
  maintain(store);
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
}

TEST_CASE_TEMPLATE_DEFINE("snapshots of volumes restored from snapshots, further than anything may depend on others",
                          Fixture, blocks_generations) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const std::uint64_t size = 4 * mib;
  auto volume = new_id();
  created(store, volume, base_spec(size, image.source.digest));
  auto expected = longer(image.bytes, size);
  std::vector<std::pair<BlockId, Bytes>> kept;
  for (std::uint32_t i = 0; i < fixture.quirks().generations; ++i) {
    CAPTURE(i);
    const auto bytes = noise(3000);
    put(store, volume, i * 100'000, bytes);
    std::ranges::copy(bytes, expected.begin() + i * 100'000);
    const auto saved = snapshot_id(volume, taken(store, volume));
    kept.emplace_back(saved, expected);
    const auto next = new_id();
    created(store, next, restore_spec(size, saved.uid));
    CHECK(content(store, next) == expected);
    if (i % 3 == 0) IRONCORE_BLOCKS_OK(store.remove(volume));
    if (i % 5 == 4) maintain(store);
    volume = next;
  }
  for (const auto& [id, bytes] : kept) CHECK(content(store, id) == bytes);
  maintain(store);
  for (const auto& [id, bytes] : kept) CHECK(content(store, id) == bytes);
  CHECK(content(store, volume) == expected);
  CHECK(store.volume(volume)->depth <= fixture.quirks().max_depth);
  for (const auto& [id, bytes] : kept) IRONCORE_BLOCKS_OK(store.remove_snapshot(id));
  maintain(store);
  CHECK(content(store, volume) == expected);
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot is restored into more room, never into less", Fixture, blocks_restore_sizes) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib));
  const auto bytes = noise(mib);
  put(store, id, 3 * mib, bytes);
  const auto snapshot = taken(store, id);
  const auto smaller = new_id();
  IRONCORE_BLOCKS_FAIL(invalid, create(store, smaller, restore_spec(3 * mib, snapshot)));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(smaller));
  const auto bigger = new_id();
  created(store, bigger, restore_spec(12 * mib, snapshot));
  CHECK(get(store, bigger, 3 * mib, mib) == bytes);
  CHECK(get(store, bigger, 4 * mib, 8 * mib) == zeros(8 * mib));
  put(store, bigger, 11 * mib, bytes);
  CHECK(get(store, bigger, 11 * mib, mib) == bytes);
  IRONCORE_BLOCKS_OK(store.remove(id));
  const auto equal = new_id();
  created(store, equal, restore_spec(4 * mib, snapshot));
  CHECK(get(store, equal, 3 * mib, mib) == bytes);
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot taken while somebody writes is what a power cut would leave", Fixture,
                          blocks_snapshot_in_use) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  constexpr std::uint64_t block = 4096;
  const std::uint64_t blocks = std::min<std::uint64_t>(fixture.quirks().cheap_bytes, 4 * mib) / block;
  created(store, id, empty_spec(blocks * block));
  auto elsewhere = fixture.open_elsewhere(id, {});
  if (!fixture.quirks().snapshots_in_use) {
    IRONCORE_BLOCKS_FAIL(wrong_state, store.take_snapshot(id, Uid::random(), {}));
    return;
  }
  if (elsewhere.data == nullptr) {
    const auto snapshot = taken(store, id);
    CHECK(content(store, snapshot_id(id, snapshot)) == zeros(blocks * block));
    return;
  }
  // Block after block is written and flushed; so at any moment those are there that were begun, but for the last.
  std::atomic<std::uint64_t> begun{0};
  std::atomic<std::uint64_t> flushed{0};
  std::atomic<bool> has_failed{false};
  std::jthread writer([&](std::stop_token stop) {
    const Bytes full(block, std::byte{0xff});
    for (std::uint64_t i = 0; i < blocks && !stop.stop_requested(); ++i) {
      ++begun;
      std::promise<bool> written, safe;
      elsewhere.data->write(i * block, full, [&](Result<void> result) { written.set_value(result.has_value()); });
      const bool is_written = written.get_future().get();
      elsewhere.data->flush([&](Result<void> result) { safe.set_value(result.has_value()); });
      if (!safe.get_future().get() || !is_written) {
        has_failed = true;
        return;
      }
      ++flushed;
    }
  });
  struct Moment {
    BlockId id;
    std::uint64_t at_least, at_most;
  };
  std::vector<Moment> moments;
  for (int i = 0; i < 4; ++i) {
    const auto least = flushed.load();
    const auto uid = taken(store, id);
    moments.push_back({snapshot_id(id, uid), least, begun.load()});
    CHECK(fixture.wait_until([&] { return flushed > moments.back().at_most || flushed == blocks || has_failed; }));
  }
  writer.request_stop();
  writer.join();
  CHECK_FALSE(has_failed);
  elsewhere.close();
  IRONCORE_BLOCKS_OK(store.remove(id));
  for (const auto& moment : moments) {
    const auto bytes = content(store, moment.id);
    std::uint64_t there = 0;
    while (there < blocks && bytes[there * block] == std::byte{0xff}) ++there;
    CHECK(there >= moment.at_least);
    CHECK(there <= moment.at_most);
    // No byte is there of what came later, and none is missing of what came before; the last block may be torn.
    const std::uint64_t whole = (there > 0 ? there - 1 : 0) * block;
    CHECK(part(bytes, 0, whole) == Bytes(whole, std::byte{0xff}));
    if (there < blocks) {
      const std::uint64_t rest = there * block;
      CHECK(part(bytes, rest, bytes.size() - rest) == zeros(bytes.size() - rest));
    }
  }
}

// ---- encryption ----

/// What lies on the medium shows nothing of what was written, and is not empty.
inline void check_raw(BlockStoreFixture& fixture, const BlockId& id, const Bytes& written) {
  const auto raw = fixture.raw(id);
  if (!raw.has_value()) return;
  REQUIRE(written.size() >= 256);
  CHECK(std::ranges::any_of(*raw, [](std::byte byte) { return byte != std::byte{0}; }));
  for (std::size_t offset = 0; offset + 32 <= written.size(); offset += 4096) {
    CHECK(std::ranges::search(*raw, std::span(written).subspan(offset, 32)).empty());
  }
}

TEST_CASE_TEMPLATE_DEFINE("an encrypted volume has the size asked for, and is read only with its key", Fixture,
                          blocks_encrypted) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  const Key key = EncryptionKey::random();
  const Key wrong = EncryptionKey::random();
  if (!fixture.quirks().encrypts) {
    IRONCORE_BLOCKS_FAIL(unsupported, create(store, id, empty_spec(4 * mib, key)));
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
    created(store, id, empty_spec(4 * mib));
    IRONCORE_BLOCKS_FAIL(invalid, store.open(id, key));
    return;
  }
  created(store, id, empty_spec(4 * mib, key));
  CHECK(store.volume(id)->is_encrypted);
  CHECK(content(store, id, key) == zeros(4 * mib));
  const auto bytes = noise(100'000);
  put(store, id, 777, bytes, key);
  {
    const auto data = opened(store, id, key);
    CHECK(data->size() == 4 * mib);
    IRONCORE_BLOCKS_OK(write(*data, 4 * mib - 10, as_bytes("0123456789")));
    IRONCORE_BLOCKS_FAIL(invalid, write(*data, 4 * mib - 9, as_bytes("0123456789")));
  }
  check_raw(fixture, id, bytes);

  IRONCORE_BLOCKS_OK(create(store, id, empty_spec(4 * mib, key)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(4 * mib, wrong)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(4 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(8 * mib, key)));
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(id, wrong));
  IRONCORE_BLOCKS_FAIL(invalid, store.open(id, {}));
  CHECK(get(*fixture.another(), id, 777, bytes.size(), key) == bytes);
  CHECK(get(store, id, 4 * mib - 10, 10, key) == Bytes(as_bytes("0123456789").begin(), as_bytes("0123456789").end()));

  const auto plain = new_id();
  created(store, plain, empty_spec(mib));
  IRONCORE_BLOCKS_FAIL(invalid, store.open(plain, key));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, plain, empty_spec(mib, key)));

  const auto smallest = new_id();
  created(store, smallest, empty_spec(mib, key));
  const auto full = noise(mib);
  put(store, smallest, 0, full, key);
  CHECK(content(store, smallest, key) == full);
  IRONCORE_BLOCKS_OK(store.remove(smallest));
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.open(id, key));
}

TEST_CASE_TEMPLATE_DEFINE("an encrypted volume of a plain base image is a copy through the encryption", Fixture,
                          blocks_encrypted_base) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const Key key = EncryptionKey::random();
  const auto id = new_id();
  std::vector<image::Progress> progress;
  const auto volume = store.create(id, base_spec(8 * mib, image.source.digest, key),
                                   [&](const image::Progress& step) { progress.push_back(step); }, {});
  IRONCORE_BLOCKS_OK(volume);
  CHECK(volume->is_encrypted);
  CHECK(volume->size_bytes == 8 * mib);
  CHECK(std::ranges::is_sorted(progress, {}, &image::Progress::done_bytes));
  if (!progress.empty()) CHECK(progress.back().done_bytes == progress.back().total_bytes);
  CHECK(content(store, id, key) == longer(image.bytes, 8 * mib));
  check_raw(fixture, id, part(image.bytes, 0, 65'000));
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(id, EncryptionKey::random()));
  const auto other = new_id();
  const Key other_key = EncryptionKey::random();
  created(store, other, base_spec(4 * mib, image.source.digest, other_key));
  CHECK(content(store, other, other_key) == longer(image.bytes, 4 * mib));
  IRONCORE_BLOCKS_OK(create(store, id, base_spec(8 * mib, image.source.digest, key)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, image.source.digest, other_key)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, image.source.digest)));

  const auto bytes = noise(70'000);
  put(store, id, mib, bytes, key);
  CHECK(get(store, id, mib, bytes.size(), key) == bytes);
  CHECK(content(store, other, other_key) == longer(image.bytes, 4 * mib));
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot of an encrypted volume is restored with the same key, another or none", Fixture,
                          blocks_encrypted_snapshot) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const Key key = EncryptionKey::random();
  const Key other = EncryptionKey::random();
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib, key));
  const auto bytes = noise(mib + 100);
  put(store, id, mib + 50, bytes, key);
  auto expected = zeros(4 * mib);
  std::ranges::copy(bytes, expected.begin() + mib + 50);
  const auto uid = Uid::random();
  const auto snapshot = store.take_snapshot(id, uid, {});
  IRONCORE_BLOCKS_OK(snapshot);
  CHECK(snapshot->is_encrypted);
  CHECK(snapshot->size_bytes == 4 * mib);
  const auto saved = snapshot_id(id, uid);
  put(store, id, mib, noise(mib), key);
  CHECK(content(store, saved, key) == expected);
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(saved, other));
  IRONCORE_BLOCKS_FAIL(invalid, store.open(saved, {}));

  const auto refused = new_id();
  IRONCORE_BLOCKS_FAIL(forbidden, create(store, refused, restore_spec(4 * mib, uid, other, other)));
  IRONCORE_BLOCKS_FAIL(forbidden, create(store, refused, restore_spec(4 * mib, uid, other)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, refused, restore_spec(4 * mib, uid, {}, key)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, refused, restore_spec(4 * mib, uid)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, refused, restore_spec(3 * mib, uid, key, key)));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(refused));

  struct Way {
    bool is_copy;
    Key key;
    std::uint64_t size;
    BlockId id;
  };
  std::vector<Way> ways{{false, key, 4 * mib, new_id()},         {false, key, 7 * mib, new_id()},
                        {true, other, 4 * mib, new_id()},        {true, other, 7 * mib, new_id()},
                        {true, std::nullopt, 4 * mib, new_id()}, {true, std::nullopt, 7 * mib, new_id()}};
  for (int pass = 0; pass < 2; ++pass) {
    for (const auto& way : ways) {
      CAPTURE(way.size);
      created(store, way.id, restore_spec(way.size, uid, key, way.key));
      CHECK(content(store, way.id, way.key) == longer(expected, way.size));
      if (way.key.has_value()) check_raw(fixture, way.id, bytes);
      if (way.is_copy) CHECK(store.volume(way.id)->depth == 0);
    }
    // The second time everything is there already.
  }
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(ways[2].id, key));

  // They are independent of each other and of what they came from.
  std::vector<Bytes> now;
  for (const auto& way : ways) {
    now.push_back(longer(expected, way.size));
    const auto some = noise(20'000);
    put(store, way.id, way.size - 30'000, some, way.key);
    std::ranges::copy(some, now.back().end() - 30'000);
  }
  CHECK(content(store, saved, key) == expected);
  IRONCORE_BLOCKS_OK(store.remove(id));
  maintain(store);
  CHECK(content(store, saved, key) == expected);
  IRONCORE_BLOCKS_OK(store.remove_snapshot(saved));
  maintain(store);
  for (std::size_t i = 0; i < ways.size(); ++i) CHECK(content(store, ways[i].id, ways[i].key) == now[i]);
  for (std::size_t i = 0; i < ways.size(); ++i) {
    IRONCORE_BLOCKS_OK(store.expand(ways[i].id, 10 * mib));
    CHECK(content(store, ways[i].id, ways[i].key) == longer(now[i], 10 * mib));
  }
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot of a plain volume is restored with a key", Fixture, blocks_encrypted_restore) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const auto id = new_id();
  created(store, id, base_spec(4 * mib, image.source.digest));
  auto expected = longer(image.bytes, 4 * mib);
  const auto bytes = noise(40'000);
  put(store, id, 2 * mib, bytes);
  std::ranges::copy(bytes, expected.begin() + 2 * mib);
  const auto snapshot = taken(store, id);
  const Key key = EncryptionKey::random();
  const auto restored = new_id();
  IRONCORE_BLOCKS_FAIL(invalid, create(store, restored, restore_spec(4 * mib, snapshot, key, key)));
  created(store, restored, restore_spec(6 * mib, snapshot, {}, key));
  CHECK(content(store, restored, key) == longer(expected, 6 * mib));
  check_raw(fixture, restored, bytes);
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove_snapshot(snapshot_id(id, snapshot)));
  maintain(store);
  CHECK(content(store, restored, key) == longer(expected, 6 * mib));
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
}

TEST_CASE_TEMPLATE_DEFINE("generations of encrypted volumes keep their data when what they came from goes", Fixture,
                          blocks_encrypted_generations) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const Key key = EncryptionKey::random();
  const auto image = imported(fixture);
  auto volume = new_id();
  created(store, volume, base_spec(4 * mib, image.source.digest, key));
  auto expected = longer(image.bytes, 4 * mib);
  for (std::uint64_t i = 1; i <= 4; ++i) {
    CAPTURE(i);
    const auto bytes = noise(50'000);
    put(store, volume, i * 300'001, bytes, key);
    std::ranges::copy(bytes, expected.begin() + static_cast<std::ptrdiff_t>(i * 300'001));
    const auto snapshot = taken(store, volume);
    const auto next = new_id();
    const auto size = (4 + i) * mib;
    created(store, next, restore_spec(size, snapshot, key, key));
    expected.resize(size);
    IRONCORE_BLOCKS_OK(store.remove(volume));
    if (i % 2 == 0) maintain(store);
    IRONCORE_BLOCKS_OK(store.remove_snapshot(snapshot_id(volume, snapshot)));
    CHECK(content(store, next, key) == expected);
    if (i % 2 == 1) maintain(store);
    CHECK(content(store, next, key) == expected);
    volume = next;
  }
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(volume, EncryptionKey::random()));
}

TEST_CASE_TEMPLATE_DEFINE("a copy that is stopped is not a volume, and is finished or given up", Fixture,
                          blocks_stopped_copy) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = raw_image(fixture, 16 * mib, {{0, fixture.quirks().cheap_bytes / 2}});
  IRONCORE_BLOCKS_OK(store.import_base(image.source, {}, {}));
  const Key key = fixture.quirks().encrypts ? Key(EncryptionKey::random()) : Key();
  const auto spec = base_spec(16 * mib, image.source.digest, key);
  for (const std::string_view way : {"again", "remove", "remove_unfinished"}) {
    CAPTURE(way);
    const auto id = new_id();
    std::stop_source stop;
    const auto half = store.create(
        id, spec, [&](const image::Progress&) { stop.request_stop(); }, stop.get_token());
    if (half.has_error()) {
      IRONCORE_BLOCKS_FAIL(cancelled, half);
      IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
      CHECK(count_of(store.volumes(), id) == 0);
      IRONCORE_BLOCKS_FAIL(not_found, store.open(id, key));
      IRONCORE_BLOCKS_FAIL(not_found, store.access(id));
      IRONCORE_BLOCKS_FAIL(not_found, store.take_snapshot(id, Uid::random(), {}));
    }
    if (way == "again") {
      created(*fixture.another(), id, spec);
      CHECK(content(store, id, key) == image.bytes);
      IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_unfinished(id));
      CHECK(content(store, id, key) == image.bytes);
    } else if (way == "remove" || half.has_value()) {
      IRONCORE_BLOCKS_OK(store.remove(id));
    } else {
      IRONCORE_BLOCKS_OK(store.remove_unfinished(id));
      IRONCORE_BLOCKS_OK(store.remove_unfinished(id));
    }
    maintain(store);
    const auto left = store.maintain({});
    IRONCORE_BLOCKS_OK(left);
    CHECK(std::ranges::count(left->unfinished, id) == 0);
  }
  std::stop_source stop;
  stop.request_stop();
  const auto id = new_id();
  const auto never = store.create(id, spec, {}, stop.get_token());
  if (never.has_error()) {
    IRONCORE_BLOCKS_FAIL(cancelled, never);
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  }
  created(store, id, spec);
}

// ---- access, credentials, clients ----

TEST_CASE_TEMPLATE_DEFINE("access names the volume the same way each time, and keeps secrets among the secrets",
                          Fixture, blocks_access) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto one = new_id();
  const auto other = new_id();
  created(store, one, empty_spec(mib));
  created(store, other, empty_spec(mib));
  const auto access = store.access(one);
  IRONCORE_BLOCKS_OK(access);
  CHECK_FALSE(access->driver.empty());
  CHECK(access->handle.size() == 16);
  CHECK(access->handle.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos);
  CHECK(("vda-" + access->handle).size() <= 20);
  CHECK_FALSE(access->attributes.empty());
  for (const auto& [name, value] : access->attributes) {
    CHECK_FALSE(name.empty());
    CHECK_FALSE(value.empty());
  }
  if (access->driver == "ceph") {
    CHECK(access->attributes.contains("monitors"));
    CHECK(access->attributes.contains("image"));
    CHECK(access->secrets.contains("userID"));
    REQUIRE(access->secrets.contains("userKey"));
    for (const auto& [name, value] : access->attributes) {
      CHECK(value.find(access->secrets.at("userKey")) == std::string::npos);
    }
  }
  CHECK(access->secrets.empty() != fixture.quirks().has_credentials);
  CHECK(access->credential.empty() != fixture.quirks().has_credentials);
  for (const auto& again : {store.access(one), fixture.another()->access(one)}) {
    IRONCORE_BLOCKS_OK(again);
    CHECK(again->driver == access->driver);
    CHECK(again->handle == access->handle);
    CHECK(again->attributes == access->attributes);
    CHECK(again->secrets == access->secrets);
  }
  const auto others = store.access(other);
  IRONCORE_BLOCKS_OK(others);
  CHECK(others->handle != access->handle);
  CHECK(others->attributes != access->attributes);
  CHECK(others->secrets == access->secrets);
  if (const auto is_reached = fixture.reaches(*access)) CHECK(*is_reached);
  IRONCORE_BLOCKS_OK(store.expand(one, 2 * mib));
  CHECK(store.access(one)->handle == access->handle);
  IRONCORE_BLOCKS_OK(store.remove(one));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(one));
}

TEST_CASE_TEMPLATE_DEFINE("a tenant's credential is replaced, and the old one is good until it is revoked", Fixture,
                          blocks_credentials) {
  Fixture fixture;
  auto& store = fixture.store();
  const std::string tenant = "team-" + Uid::random().to_text();
  const std::string neighbour = "team-" + Uid::random().to_text();
  const auto listed = [&] {
    const auto credentials = store.credentials(tenant);
    REQUIRE_MESSAGE(credentials.has_value(), credentials.error().message());
    return *credentials;
  };
  const auto current = [&] {
    std::string name;
    for (const auto& credential : listed()) {
      if (!credential.is_current) continue;
      CHECK(name.empty());
      name = credential.name;
    }
    CHECK_FALSE(name.empty());
    return name;
  };
  const auto reaches = [&](const Access& access) { return fixture.reaches(access).value_or(true); };
  CHECK(listed().empty());
  const auto id = new_id(tenant);
  created(store, id, empty_spec(mib));
  if (!fixture.quirks().has_credentials) {
    IRONCORE_BLOCKS_FAIL(unsupported, store.rotate_credential(tenant));
    IRONCORE_BLOCKS_OK(store.access(id));
    CHECK(listed().empty());
    IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, "absent"));
    return;
  }
  const auto neighbours = new_id(neighbour);
  created(store, neighbours, empty_spec(mib));
  const auto beside = store.access(neighbours);
  IRONCORE_BLOCKS_OK(beside);

  const auto first = store.access(id);
  IRONCORE_BLOCKS_OK(first);
  CHECK(first->secrets != beside->secrets);
  REQUIRE(listed().size() == 1);
  const auto first_name = current();
  IRONCORE_BLOCKS_OK(store.rotate_credential(tenant));
  const auto second = store.access(id);
  IRONCORE_BLOCKS_OK(second);
  CHECK(second->secrets != first->secrets);
  CHECK(second->handle == first->handle);
  CHECK(second->attributes == first->attributes);
  CHECK(fixture.another()->access(id)->secrets == second->secrets);
  REQUIRE(listed().size() == 2);
  const auto second_name = current();
  CHECK(second_name != first_name);
  CHECK(reaches(*first));
  CHECK(reaches(*second));

  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, first_name));
  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, first_name));
  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, "absent"));
  REQUIRE(listed().size() == 1);
  CHECK(current() == second_name);
  CHECK(store.access(id)->secrets == second->secrets);
  if (const auto is_reached = fixture.reaches(*first)) CHECK_FALSE(*is_reached);
  CHECK(reaches(*second));

  // The one in use is no longer good: a new one is made for who asks.
  IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, second_name));
  CHECK(listed().empty());
  if (const auto is_reached = fixture.reaches(*second)) CHECK_FALSE(*is_reached);
  const auto third = store.access(id);
  IRONCORE_BLOCKS_OK(third);
  CHECK(third->secrets != first->secrets);
  CHECK(third->secrets != second->secrets);
  CHECK(listed().size() == 1);
  CHECK(reaches(*third));
  IRONCORE_BLOCKS_OK(store.rotate_credential(tenant));
  const auto fourth = store.access(id);
  IRONCORE_BLOCKS_OK(fourth);
  CHECK(fourth->secrets != third->secrets);

  CHECK(store.access(neighbours)->secrets == beside->secrets);
  CHECK(reaches(*beside));
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove(neighbours));
  for (const auto& credential : listed()) IRONCORE_BLOCKS_OK(store.revoke_credential(tenant, credential.name));
  CHECK(listed().empty());
  const auto others = store.credentials(neighbour);
  IRONCORE_BLOCKS_OK(others);
  for (const auto& credential : *others) {
    IRONCORE_BLOCKS_OK(store.revoke_credential(neighbour, credential.name));
  }
}

TEST_CASE_TEMPLATE_DEFINE("who has a volume open is known by name, and it is not removed", Fixture, blocks_clients) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(2 * mib));
  const auto clients = [&] {
    const auto all = store.clients(id);
    REQUIRE_MESSAGE(all.has_value(), all.error().message());
    return *all;
  };
  CHECK(clients().empty());
  {
    const auto mine = opened(store, id);
    CHECK(clients().empty());
    IRONCORE_BLOCKS_FAIL(wrong_state, store.remove(id));
  }
  {
    auto elsewhere = fixture.open_elsewhere(id, {});
    const auto removed = store.remove(id);
    REQUIRE_FALSE(removed.has_value());
    CHECK(removed.error().code() == ErrorCode::wrong_state);
    if (fixture.quirks().knows_clients) {
      const auto seen = clients();
      REQUIRE(seen.size() == 1);
      CHECK_FALSE(seen[0].address.empty());
      CHECK_FALSE(seen[0].name.empty());
      CHECK_MESSAGE(removed.error().message().find(seen[0].address) != std::string::npos, removed.error().message());
    } else {
      CHECK(clients().empty());
    }
    IRONCORE_BLOCKS_OK(store.volume(id));
    if (elsewhere.data != nullptr) {
      IRONCORE_BLOCKS_OK(write(*elsewhere.data, 0, as_bytes("still here")));
      IRONCORE_BLOCKS_OK(flush(*elsewhere.data));
    }
  }
  CHECK(fixture.wait_until([&] { return clients().empty(); }));
  CHECK(fixture.wait_until([&] { return store.remove(id).has_value(); }));
}

TEST_CASE_TEMPLATE_DEFINE("from who is fenced nothing reaches a volume any more", Fixture, blocks_fence) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(2 * mib));
  if (!fixture.quirks().fences) {
    const std::vector<std::string> somebody{"127.0.0.1:0/1"};
    IRONCORE_BLOCKS_FAIL(unsupported, store.fence(somebody));
    return;
  }
  IRONCORE_BLOCKS_OK(store.fence({}));
  auto elsewhere = fixture.open_elsewhere(id, {});
  REQUIRE(elsewhere.data != nullptr);
  const auto before = noise(8192);
  IRONCORE_BLOCKS_OK(write(*elsewhere.data, 0, before));
  IRONCORE_BLOCKS_OK(flush(*elsewhere.data));
  IRONCORE_BLOCKS_OK(write(*elsewhere.data, mib, before));  // may still be in its cache
  auto seen = store.clients(id);
  IRONCORE_BLOCKS_OK(seen);
  REQUIRE(seen->size() == 1);
  const std::vector<std::string> addresses{seen->front().address};
  IRONCORE_BLOCKS_OK(store.fence(addresses));
  IRONCORE_BLOCKS_OK(store.fence(addresses));
  CHECK(fixture.wait_until([&] {
    seen = store.clients(id);
    return seen.has_value() && seen->empty();
  }));

  // The next one writes at once, and is not disturbed.
  const auto after = noise(8192);
  put(store, id, 4096, after);
  const auto late = write(*elsewhere.data, 0, noise(4096));
  const auto safe = flush(*elsewhere.data);
  CHECK_FALSE((late.has_value() && safe.has_value()));
  CHECK(get(store, id, 0, 4096) == part(before, 0, 4096));
  CHECK(get(store, id, 4096, 8192) == after);
  elsewhere.close();
  CHECK(get(store, id, 0, 4096) == part(before, 0, 4096));
  CHECK(get(store, id, 4096, 8192) == after);

  // Not the host is shut out, but what it had.
  {
    const auto again = fixture.open_elsewhere(id, {});
    REQUIRE(again.data != nullptr);
    IRONCORE_BLOCKS_OK(write(*again.data, 0, after));
    IRONCORE_BLOCKS_OK(flush(*again.data));
  }
  CHECK(get(store, id, 0, 4096) == part(after, 0, 4096));
  CHECK(fixture.wait_until([&] { return store.remove(id).has_value(); }));
}

// ---- several at once ----

TEST_CASE_TEMPLATE_DEFINE("maintenance ends, removes nothing that is wanted, and may be stopped", Fixture,
                          blocks_maintain) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(2 * mib));
  const auto bytes = noise(mib);
  put(store, id, 0, bytes);
  const auto saved = snapshot_id(id, taken(store, id));
  const std::uint64_t before = fixture.occupied().value_or(0);
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = store.maintain(stop.get_token());
  if (stopped.has_error()) CHECK(stopped.error().code() == ErrorCode::cancelled);
  maintain(store);
  const auto done = store.maintain({});
  IRONCORE_BLOCKS_OK(done);
  CHECK(std::ranges::count(done->unfinished, id) == 0);
  CHECK(std::ranges::count(done->unfinished, saved) == 0);
  IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_unfinished(id));
  IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_unfinished(saved));
  CHECK(get(store, id, 0, mib) == bytes);
  CHECK(get(store, saved, 0, mib) == bytes);
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove_snapshot(saved));
  maintain(store);
  if (const auto now = fixture.occupied()) CHECK(*now + mib <= before);
}

TEST_CASE_TEMPLATE_DEFINE("two processes do the same at the same time, and it is done once", Fixture,
                          blocks_concurrent) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto another = fixture.another();
  const auto image = imported(fixture);
  const auto expected = longer(image.bytes, 4 * mib);
  for (int round = 0; round < 3; ++round) {
    const auto id = new_id();
    const auto spec = base_spec(4 * mib, image.source.digest);
    both(store, *another, [&](BlockStore& one) { return without_value(create(one, id, spec)); });
    CHECK(count_of(store.volumes(), id) == 1);
    CHECK(content(store, id) == expected);

    const Uid snapshot = Uid::random();
    both(store, *another, [&](BlockStore& one) { return without_value(one.take_snapshot(id, snapshot, {})); });
    CHECK(count_of(store.snapshots(), snapshot_id(id, snapshot)) == 1);
    CHECK(content(store, snapshot_id(id, snapshot)) == expected);

    both(store, *another, [&](BlockStore& one) { return without_value(one.expand(id, 6 * mib)); });
    CHECK(store.volume(id)->size_bytes == 6 * mib);
    CHECK(content(store, id) == longer(image.bytes, 6 * mib));
    both(store, *another, [&](BlockStore& one) { return one.set_limits(id, {.iops = 5}); });

    both(store, *another, [&](BlockStore& one) { return one.remove(id); });
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
    both(store, *another, [&](BlockStore& one) { return without_value(one.maintain({})); });
    CHECK(content(store, snapshot_id(id, snapshot)) == expected);
    both(store, *another, [&](BlockStore& one) { return one.remove_snapshot(snapshot_id(id, snapshot)); });
    IRONCORE_BLOCKS_FAIL(not_found, store.snapshot(snapshot_id(id, snapshot)));
  }
  maintain(store);
  both(store, *another, [&](BlockStore& one) { return one.remove_base(image.source.digest); });
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
}

TEST_CASE_TEMPLATE_DEFINE("many volumes are made, saved and removed at the same time", Fixture, blocks_many_volumes) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto another = fixture.another();
  const auto image = imported(fixture);
  constexpr int threads = 4, each = 6;
  std::array<std::vector<std::string>, threads> errors;
  {
    std::vector<std::jthread> running;
    for (std::size_t thread = 0; thread < threads; ++thread) {
      running.emplace_back([&, thread] {
        BlockStore& mine = thread % 2 == 0 ? store : *another;
        const auto note = [&](const auto& result) {
          if (result.has_error()) errors[thread].push_back(result.error().message());
        };
        for (int i = 0; i < each; ++i) {
          const auto id = new_id(i % 2 == 0 ? team_a : team_b);
          const Uid snapshot = Uid::random();
          note(create(mine, id, base_spec(4 * mib, image.source.digest)));
          note(mine.take_snapshot(id, snapshot, {}));
          note(mine.volumes());
          note(mine.expand(id, 5 * mib));
          note(mine.access(id));
          note(mine.remove(id));
          note(mine.snapshots());
          note(mine.remove_snapshot(snapshot_id(id, snapshot)));
        }
      });
    }
  }
  for (const auto& list : errors) {
    for (const auto& error : list) FAIL_CHECK(error);
  }
  maintain(store);
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
}

#define IRONCORE_BLOCK_STORE_CONFORMANCE(Fixture)                   \
  TEST_CASE_TEMPLATE_INVOKE(blocks_absent, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_capacity, Fixture);              \
  TEST_CASE_TEMPLATE_INVOKE(blocks_create, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_sizes, Fixture);                 \
  TEST_CASE_TEMPLATE_INVOKE(blocks_hostile_names, Fixture);         \
  TEST_CASE_TEMPLATE_INVOKE(blocks_tenants, Fixture);               \
  TEST_CASE_TEMPLATE_INVOKE(blocks_data, Fixture);                  \
  TEST_CASE_TEMPLATE_INVOKE(blocks_bounds, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_many_operations, Fixture);       \
  TEST_CASE_TEMPLATE_INVOKE(blocks_expand, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_limits, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_import, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_bad_import, Fixture);            \
  TEST_CASE_TEMPLATE_INVOKE(blocks_stopped_import, Fixture);        \
  TEST_CASE_TEMPLATE_INVOKE(blocks_two_imports, Fixture);           \
  TEST_CASE_TEMPLATE_INVOKE(blocks_clones, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_snapshot, Fixture);              \
  TEST_CASE_TEMPLATE_INVOKE(blocks_any_order, Fixture);             \
  TEST_CASE_TEMPLATE_INVOKE(blocks_generations, Fixture);           \
  TEST_CASE_TEMPLATE_INVOKE(blocks_restore_sizes, Fixture);         \
  TEST_CASE_TEMPLATE_INVOKE(blocks_snapshot_in_use, Fixture);       \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted, Fixture);             \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_base, Fixture);        \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_snapshot, Fixture);    \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_restore, Fixture);     \
  TEST_CASE_TEMPLATE_INVOKE(blocks_encrypted_generations, Fixture); \
  TEST_CASE_TEMPLATE_INVOKE(blocks_stopped_copy, Fixture);          \
  TEST_CASE_TEMPLATE_INVOKE(blocks_access, Fixture);                \
  TEST_CASE_TEMPLATE_INVOKE(blocks_credentials, Fixture);           \
  TEST_CASE_TEMPLATE_INVOKE(blocks_clients, Fixture);               \
  TEST_CASE_TEMPLATE_INVOKE(blocks_fence, Fixture);                 \
  TEST_CASE_TEMPLATE_INVOKE(blocks_maintain, Fixture);              \
  TEST_CASE_TEMPLATE_INVOKE(blocks_concurrent, Fixture);            \
  TEST_CASE_TEMPLATE_INVOKE(blocks_many_volumes, Fixture)

}  // namespace ironcore::storage::testing
