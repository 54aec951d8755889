// SPDX-License-Identifier: Apache-2.0
// A process is killed anywhere in the middle of its calls; the next one finds everything that was acknowledged whole, and nothing half.
#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "../compute/temporary_directory.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/storage/local.hpp"

namespace ironcore::storage::testing {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t stamp_offset =
    3 * 65536 + 40;  ///< of what tells contents apart, behind clusters that nobody writes
const std::string tenant = "team";

enum class Step : std::uint8_t {
  import,
  create,
  from_base,
  restore,
  write,
  expand,
  snapshot,
  remove,
  remove_snapshot,
  remove_base
};

/// One call, as the child tells it before it begins; the same with `is_done` when it has succeeded.
struct Call {
  Step step = Step::create;
  bool is_done = false;
  Uid id;     ///< the volume or snapshot
  Uid other;  ///< a snapshot's volume, a restored volume's snapshot
  std::uint64_t size = 0;
  std::uint64_t stamp = 0;
};

struct Thing {
  Uid volume;  ///< of a snapshot
  std::uint64_t size = 0;
  std::uint64_t stamp = 0;
  friend bool operator==(const Thing&, const Thing&) = default;
};

/// What must be there.
struct World {
  bool has_base = false;
  std::map<Uid, Thing> volumes, snapshots;
  friend bool operator==(const World&, const World&) = default;

  void apply(const Call& call, std::uint64_t base_stamp) {
    switch (call.step) {
      case Step::import:
        has_base = true;
        break;
      case Step::create:
        volumes[call.id] = {{}, call.size, 0};
        break;
      case Step::from_base:
        volumes[call.id] = {{}, call.size, base_stamp};
        break;
      case Step::restore:
        volumes[call.id] = {{}, call.size, snapshots.at(call.other).stamp};
        break;
      case Step::write:
        volumes.at(call.id).stamp = call.stamp;
        break;
      case Step::expand:
        volumes.at(call.id).size = call.size;
        break;
      case Step::snapshot:
        snapshots[call.id] = {call.other, volumes.at(call.other).size, volumes.at(call.other).stamp};
        break;
      case Step::remove:
        volumes.erase(call.id);
        break;
      case Step::remove_snapshot:
        snapshots.erase(call.id);
        break;
      case Step::remove_base:
        has_base = false;
        break;
    }
  }
};

struct Image {
  BaseSource source;
  std::uint64_t stamp = 0;
};

std::unique_ptr<BlockStore> open_store(const fs::path& directory) {
  static SystemClock clock;
  auto store = LocalStore::open({.directory = directory, .executor = [](std::function<void()> job) { job(); }}, clock);
  if (!(*store)->mark().value())
    REQUIRE((*store)->set_mark(std::nullopt, {.store = Uid::random(), .pool = Uid::random(), .pool_name = "here"}));
  return *std::move(store);
}

Result<void> finish(const std::function<void(BlockData::Done)>& start) {
  Result<void> out;
  start([&](Result<void> result) { out = std::move(result); });  // it runs before this returns
  return out;
}

Result<std::uint64_t> stamp_of(BlockStore& store, const Uid& uid) {
  IRONCORE_TRY(const auto data, store.open({tenant, uid}, {}));
  std::array<std::byte, 8> bytes{};
  IRONCORE_CHECK(finish([&](auto done) { data->read(stamp_offset, bytes, std::move(done)); }));
  std::uint64_t stamp = 0;
  std::memcpy(&stamp, bytes.data(), bytes.size());
  return stamp;
}

template <class T>
Result<void> without_value(const Result<T>& result) {
  if (result.has_error()) return result.error();
  return {};
}

Result<void> perform(BlockStore& store, const Call& call, const Image& image) {
  const BlockId id{tenant, call.id};
  const auto create = [&](VolumeSource source) {
    VolumeSpec spec;
    spec.size_bytes = call.size;
    spec.source = std::move(source);
    return without_value(store.create(id, spec, {}, {}));
  };
  switch (call.step) {
    case Step::import:
      return without_value(store.import_base(image.source, {}, {}));
    case Step::create:
      return create(Empty{});
    case Step::from_base:
      return create(FromBase{image.source.digest});
    case Step::restore:
      return create(FromSnapshot{call.other, {}});
    case Step::write: {
      IRONCORE_TRY(const auto data, store.open(id, {}));
      std::array<std::byte, 8> bytes{};
      std::memcpy(bytes.data(), &call.stamp, bytes.size());
      IRONCORE_CHECK(finish([&](auto done) { data->write(stamp_offset, bytes, std::move(done)); }));
      return finish([&](auto done) { data->flush(std::move(done)); });
    }
    case Step::expand:
      return without_value(store.expand(id, call.size));
    case Step::snapshot:
      return without_value(store.take_snapshot({tenant, call.other}, call.id, {}));
    case Step::remove:
      return store.remove(id);
    case Step::remove_snapshot:
      return store.remove_snapshot(id);
    case Step::remove_base:
      return store.remove_base(image.source.digest);
  }
  return {};
}

Uid any_of(const std::map<Uid, Thing>& things, Random& random) {
  auto it = things.begin();
  std::advance(it, random.below(static_cast<std::uint32_t>(things.size())));
  return it->first;
}

/// Something that can be done now.
Call next_call(const World& world, Random& random) {
  for (;;) {
    Call call{
        .step = static_cast<Step>(random.below(10)), .is_done = false, .id = {}, .other = {}, .size = 0, .stamp = 0};
    const bool is_full = world.volumes.size() + world.snapshots.size() > 12;
    switch (call.step) {
      case Step::import:
        return call;
      case Step::create:
      case Step::from_base:
        if (is_full || (call.step == Step::from_base && !world.has_base)) continue;
        call.id = Uid::random(random);
        call.size = (2 + random.below(3)) * mib;
        return call;
      case Step::restore:
        if (is_full || world.snapshots.empty()) continue;
        call.id = Uid::random(random);
        call.other = any_of(world.snapshots, random);
        call.size = world.snapshots.at(call.other).size + random.below(2) * mib;
        return call;
      case Step::write:
      case Step::expand:
      case Step::remove:
        if (world.volumes.empty()) continue;
        call.id = any_of(world.volumes, random);
        call.size = world.volumes.at(call.id).size + mib;
        call.stamp = 1 + random.below(1'000'000);
        return call;
      case Step::snapshot:
        if (is_full || world.volumes.empty()) continue;
        call.id = Uid::random(random);
        call.other = any_of(world.volumes, random);
        return call;
      case Step::remove_snapshot:
        if (world.snapshots.empty()) continue;
        call.id = any_of(world.snapshots, random);
        return call;
      case Step::remove_base:
        if (!world.has_base || !world.volumes.empty() || !world.snapshots.empty()) continue;
        return call;
    }
  }
}

/// Calls until it is killed. Never returns.
[[noreturn]] void child(const fs::path& directory, World world, const Image& image, std::uint64_t seed, int pipe) {
  SeededRandom random(seed);
  const auto store = open_store(directory);
  for (;;) {
    Call call = next_call(world, random);
    if (::write(pipe, &call, sizeof call) != sizeof call) ::_exit(1);
    if (const auto done = perform(*store, call, image); done.has_error()) {
      std::fprintf(stderr, "%s\n", done.error().message().c_str());
      ::_exit(2);
    }
    call.is_done = true;
    if (::write(pipe, &call, sizeof call) != sizeof call) ::_exit(1);
    world.apply(call, image.stamp);
  }
}

/// Lets a child work for a moment and kills it. What it has done is applied; what it was doing is returned.
std::optional<Call> run_and_kill(const fs::path& directory, World& world, const Image& image, std::uint64_t seed,
                                 std::chrono::microseconds span) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  UniqueFd reading(ends[0]), writing(ends[1]);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) child(directory, world, image, seed, writing.get());
  writing.reset();
  // The moment begins with the first call.
  pollfd waiting{reading.get(), POLLIN, 0};
  (void)::poll(&waiting, 1, 30'000);
  ::usleep(static_cast<useconds_t>(span.count()));
  ::kill(pid, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status));
  std::optional<Call> open;
  for (Call call; ::read(reading.get(), &call, sizeof call) == sizeof call;) {
    open = call;
    if (!call.is_done) continue;
    world.apply(call, image.stamp);
    open.reset();
  }
  return open;
}

/// What the store says is there.
World seen(BlockStore& store, const Image& image) {
  World out;
  for (const auto& base : store.bases().value()) {
    CHECK(base.digest == image.source.digest);
    CHECK(base.size_bytes == image.source.size_bytes);
    out.has_base = true;
  }
  for (const auto& volume : store.volumes().value()) {
    CHECK(store.volume(volume.id)->size_bytes == volume.size_bytes);
    out.volumes[volume.id.uid] = {{}, volume.size_bytes, stamp_of(store, volume.id.uid).value()};
  }
  for (const auto& snapshot : store.snapshots().value()) {
    out.snapshots[snapshot.id.uid] = {snapshot.volume, snapshot.size_bytes, stamp_of(store, snapshot.id.uid).value()};
  }
  return out;
}

/// Takes the file of a volume away for a moment. Whatever crash there was before, it is missed, and nothing else is.
void lose_one(const fs::path& directory, BlockStore& store, const World& world, Random& random) {
  if (world.volumes.empty()) return;
  const BlockId id{tenant, any_of(world.volumes, random)};
  const fs::path file = store.access(id)->attributes.at("path");
  const auto away = directory.parent_path() / "away";
  fs::rename(file, away);
  CHECK(store.volume(id).error().code() == ErrorCode::not_found);
  CHECK(store.volumes()->size() == world.volumes.size() - 1);
  CHECK(store.take_snapshot(id, Uid::random(), {}).error().code() == ErrorCode::not_found);
  CHECK(store.snapshots()->size() == world.snapshots.size());
  fs::rename(away, file);
}

/// Names in the store that belong to nothing finished.
std::set<std::string> leftovers(const fs::path& directory) {
  std::set<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    const auto name = entry.path().filename();
    if (!entry.is_regular_file() || name == "lock" || name == "owner") continue;
    const auto record = fs::path(entry.path()).replace_extension(".record");
    if (entry.path().extension() == ".new" || !fs::exists(record)) out.insert(entry.path().filename().string());
  }
  return out;
}

}  // namespace

TEST_CASE("local: killed anywhere, what was acknowledged is whole, and what was not can be repeated or dropped") {
  const tests::TemporaryDirectory place;
  const auto directory = place.path() / "store";
  Image image;
  std::string bytes(2 * mib - 512, '\0');
  SeededRandom noise(1);
  noise.fill(std::as_writable_bytes(std::span(bytes).first(300'000)));
  std::memcpy(&image.stamp, &bytes[stamp_offset], sizeof image.stamp);
  image.source = {place.path() / "image.raw", crypto::sha256(bytes), bytes.size()};
  std::ofstream(image.source.path, std::ios::binary) << bytes;

  World world;
  std::set<Step> interrupted;
  const auto end = std::chrono::steady_clock::now() + 8s;
  std::uint64_t round = 0;
  for (; round < 60 || std::chrono::steady_clock::now() < end; ++round) {
    if (round > 20 && std::chrono::steady_clock::now() > end + 20s) break;
    CAPTURE(round);
    SeededRandom random(round);
    const auto open = run_and_kill(directory, world, image, round, std::chrono::microseconds(random.below(30'000)));
    const auto store = open_store(directory);
    auto finished = world;
    if (open) {
      interrupted.insert(open->step);
      CAPTURE(static_cast<int>(open->step));
      finished.apply(*open, image.stamp);
      const auto now = seen(*store, image);
      CHECK((now == world || now == finished));
      if (now == finished || random.below(2) == 0) {
        const auto repeated = perform(*store, *open, image);
        REQUIRE_MESSAGE(repeated.has_value(), repeated.error().message());
        world = finished;
      }
    }
    const auto done = store->maintain({});
    REQUIRE_MESSAGE(done.has_value(), done.error().message());
    for (const auto& id : done->unfinished) {
      REQUIRE(open);
      CHECK(id.uid == open->id);
      REQUIRE(store->remove_unfinished(id).has_value());
    }
    const auto now = seen(*store, image);
    REQUIRE(now == world);
    lose_one(directory, *store, world, random);
    REQUIRE(seen(*store, image) == world);
    if (const auto left = leftovers(directory); !left.empty()) FAIL("left: " << *left.begin());
  }
  MESSAGE("rounds: " << round << ", kinds of calls interrupted: " << interrupted.size());
  CHECK(interrupted.size() >= 4);

  const auto store = open_store(directory);
  for (const auto& [uid, thing] : world.volumes) REQUIRE(store->remove({tenant, uid}).has_value());
  for (const auto& [uid, thing] : world.snapshots) REQUIRE(store->remove_snapshot({tenant, uid}).has_value());
  REQUIRE(store->maintain({}).has_value());
  CHECK(store->remove_base(image.source.digest).has_value());
  CHECK(leftovers(directory).empty());
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) files += entry.is_regular_file() ? 1 : 0;
  CHECK(files == 2);  // the lock and the mark
}

}  // namespace ironcore::storage::testing
