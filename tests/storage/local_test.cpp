// SPDX-License-Identifier: Apache-2.0
// What only local files have: QEMU beside us, half files, links, full disks.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "block_store_suite.hpp"
#include "local_store.hpp"

namespace ironcore::storage::testing {

namespace {

namespace fs = std::filesystem;

bool has_qemu() {
  return std::system(
             "command -v qemu-img >/dev/null 2>&1 && command -v qemu-io >/dev/null 2>&1 && command -v "
             "qemu-system-x86_64 >/dev/null 2>&1") == 0;
}

void run(const std::string& command) {
  CHECK_MESSAGE(std::system(("(" + command + ") >/dev/null").c_str()) == 0, command);
}

fs::path data_of(BlockStore& store, const BlockId& id) {
  return store.access(id)->attributes.at("path");
}
std::string format_of(BlockStore& store, const BlockId& id) {
  return store.access(id)->attributes.at("format");
}

Bytes bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto view = as_bytes(text);
  return {view.begin(), view.end()};
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

/// A base of the store, with data at both ends.
RawImage base_in(const LocalPlace& place, BlockStore& store) {
  RawImage image;
  image.bytes = noise(3 * mib + 512);
  std::fill(image.bytes.begin() + 100'000, image.bytes.begin() + 2 * mib, std::byte{0});
  image.source.path = place.outside() / "image.raw";
  image.source.size_bytes = image.bytes.size();
  image.source.digest = crypto::sha256(image.bytes);
  write_text(image.source.path, std::string(as_text(image.bytes)));
  IRONCORE_BLOCKS_OK(store.import_base(image.source, {}, {}));
  return image;
}

bool eventually(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

/// The command of a machine that does not run yet and ends at `quit`.
std::string machine_with(const fs::path& path, const std::string& format) {
  return "qemu-system-x86_64 -machine pc,accel=tcg -m 32 -S -nodefaults -display none -monitor stdio -drive "
         "if=none,id=d,file=" +
         path.string() + ",format=" + format + " -device virtio-blk-pci,drive=d";
}

/// A machine that has an image as its disk, until this is destroyed; or the test process.
class Qemu {
 public:
  Qemu(const fs::path& path, const std::string& format)
      : pipe_(::popen(
            ("exec setpriv --pdeathsig KILL " + machine_with(path, format) + " >" + said_.string() + " 2>&1").c_str(),
            "w")) {
    REQUIRE(pipe_ != nullptr);
    // It answers when all is set up; before that it opens, locks and reopens its disk.
    std::fputs("info status\n", pipe_);
    std::fflush(pipe_);
    REQUIRE(eventually([&] { return as_text(bytes_of(said_)).find("VM status") != std::string_view::npos; }));
  }
  Qemu(const Qemu&) = delete;
  Qemu& operator=(const Qemu&) = delete;
  ~Qemu() {
    std::fputs("quit\n", pipe_);
    ::pclose(pipe_);
    fs::remove(said_);
  }

 private:
  const fs::path said_ = fs::temp_directory_path() / ("ironcore-qemu-" + Uid::random().to_text());
  std::FILE* pipe_;
};

}  // namespace

TEST_CASE("local: a directory must be absolute and without a comma, and somebody must run the jobs") {
  SystemClock clock;
  const auto inline_executor = [](std::function<void()> job) { job(); };
  const auto open = [&](const fs::path& directory, std::function<void(std::function<void()>)> executor) {
    return LocalStore::open({.directory = directory, .executor = std::move(executor)}, clock);
  };
  const tests::TemporaryDirectory directory;
  IRONCORE_BLOCKS_FAIL(invalid, open("relative", inline_executor));
  IRONCORE_BLOCKS_FAIL(invalid, open(directory.path() / "a,b", inline_executor));
  IRONCORE_BLOCKS_FAIL(invalid, open(directory.path() / "store", {}));
  const auto store = open(directory.path() / "absent" / "store", inline_executor).value();
  IRONCORE_BLOCKS_FAIL(not_found, store->set_mark(std::nullopt, new_mark()));
  CHECK(fs::is_empty(directory.path()));
}

TEST_CASE("local: nothing is made before the first mark, and never again for a store that has one") {
  LocalPlace place;
  {
    const auto store = place.look();
    CHECK_FALSE(store->mark().value());
    IRONCORE_BLOCKS_FAIL(unavailable, store->capacity());
    IRONCORE_BLOCKS_FAIL(unavailable, create(*store, new_id(), empty_spec(mib)));
    CHECK_FALSE(fs::exists(place.root()));
    fs::create_directory(place.root());  // as where something will be mounted
    CHECK_FALSE(store->mark().value());
    IRONCORE_BLOCKS_FAIL(unavailable, store->volumes());
    CHECK(fs::is_empty(place.root()));
    const auto mark = new_mark();
    IRONCORE_BLOCKS_FAIL(conflict, store->set_mark(mark, mark));
    IRONCORE_BLOCKS_OK(store->set_mark(std::nullopt, mark));
    IRONCORE_BLOCKS_OK(store->capacity());
  }
  fs::remove(place.root() / "owner");
  const auto store = place.look();
  IRONCORE_BLOCKS_FAIL(unavailable, store->capacity());
  write_text(place.root() / "owner", "something else\n");
  IRONCORE_BLOCKS_FAIL(corrupt, store->mark());
  IRONCORE_BLOCKS_FAIL(corrupt, store->capacity());
}

TEST_CASE("local: where the directory was moved away nothing answers, until it is back") {
  LocalPlace place;
  const auto store = place.open();
  const auto mark = *store->mark().value();
  const auto id = new_id();
  created(*store, id, empty_spec(mib));
  const auto before = noise(4096);
  put(*store, id, 0, before);
  const auto away = place.outside() / "away";
  const auto nothing_answers = [&] {
    IRONCORE_BLOCKS_FAIL(unavailable, store->capacity());
    IRONCORE_BLOCKS_FAIL(unavailable, create(*store, new_id(), empty_spec(mib)));
    IRONCORE_BLOCKS_FAIL(unavailable, store->volume(id));
    IRONCORE_BLOCKS_FAIL(unavailable, store->volumes());
    IRONCORE_BLOCKS_FAIL(unavailable, store->remove(id));
    IRONCORE_BLOCKS_FAIL(unavailable, store->maintain({}));
  };
  fs::rename(place.root(), away);
  nothing_answers();
  CHECK_FALSE(store->mark().value());
  CHECK_FALSE(fs::exists(place.root()));

  fs::create_directory(place.root());
  nothing_answers();
  CHECK_FALSE(store->mark().value());
  CHECK(fs::is_empty(place.root()));

  {
    const auto other = place.open();
    CHECK(other->mark().value()->store != mark.store);
    nothing_answers();
    fs::remove_all(place.root());
  }

  fs::rename(away, place.root());
  CHECK(*store->mark().value() == mark);
  CHECK(get(*store, id, 0, 4096) == before);

  // As a file system that is mounted again: the same store, another directory.
  fs::copy(place.root(), away, fs::copy_options::recursive);
  fs::rename(place.root(), place.outside() / "old");
  nothing_answers();
  fs::rename(away, place.root());
  CHECK(get(*store, id, 0, 4096) == before);
  fs::remove_all(place.outside() / "old");
  created(*store, new_id(), empty_spec(mib));
  CHECK(count_of(store->volumes(), id) == 1);
}

TEST_CASE("local: files are private, bases are for all, directories are only passed through") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  const auto id = new_id();
  created(*store, id, base_spec(4 * mib, image.source.digest));
  const auto snapshot = taken(*store, id);
  CHECK(mode_of(place.root()) == 0711);
  CHECK(mode_of(place.root() / "volumes" / team_a) == 0711);
  CHECK(mode_of(data_of(*store, id)) == 0600);
  CHECK(mode_of(place.root() / "volumes" / team_a / (id.uid.to_text() + ".record")) == 0600);
  for (const auto& entry : fs::directory_iterator(place.root() / "snapshots" / team_a)) {
    CHECK(entry.path().filename().string().starts_with(snapshot.to_text()));
    CHECK(mode_of(entry.path()) == 0600);
  }
  CHECK(mode_of(place.root() / "bases" / ("sha256-" + image.source.digest.hex() + ".raw")) == 0444);
}

TEST_CASE("local: access says where the file is and what the hypervisor must keep to") {
  LocalPlace place;
  const auto store = place.open();
  const auto id = new_id();
  auto spec = empty_spec(mib);
  spec.limits = {.iops = 100,
                 .bytes_per_second = 0,
                 .burst_iops = 1000,
                 .burst_bytes_per_second = 0,
                 .burst = std::chrono::seconds(15)};
  created(*store, id, spec);
  const auto access = store->access(id);
  IRONCORE_BLOCKS_OK(access);
  CHECK(access->driver == "local");
  CHECK(access->attributes == std::map<std::string, std::string>{
                                  {"path", (place.root() / "volumes" / team_a / (id.uid.to_text() + ".raw")).string()},
                                  {"format", "raw"},
                                  {"iops", "100"},
                                  {"burstIops", "1000"},
                                  {"burstSeconds", "15"}});
  CHECK(access->secrets.empty());
  IRONCORE_BLOCKS_FAIL(unsupported, create(*store, new_id(), empty_spec(mib, EncryptionKey::random())));
  IRONCORE_BLOCKS_FAIL(invalid, create(*store, new_id(), empty_spec(17 * 1024 * gib)));
}

TEST_CASE("local: QEMU reads what is written here, and the other way round") {
  if (!has_qemu()) return;
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  auto volume = new_id();
  created(*store, volume, base_spec(40 * mib, image.source.digest));
  auto expected = longer(image.bytes, 40 * mib);
  // A volume of the base, then one restored from its snapshot: two files on top of each other where extents are not shared.
  for (int round = 0; round < 2; ++round) {
    CAPTURE(round);
    // Near the end of what one block of counts covers, so that the next one is made too.
    if (format_of(*store, volume) == "qcow2") fs::resize_file(data_of(*store, volume), 2 * gib - 192 * kib);
    {
      const auto data = opened(*store, volume);
      const std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces{
          {10, 20}, {2 * mib - 5000, 200'000}, {39 * mib, mib}, {20 * mib + 7, 3 * mib}};
      for (const auto& [offset, size] : pieces) {
        const auto bytes = noise(size);
        IRONCORE_BLOCKS_OK(write(*data, offset, bytes));
        std::ranges::copy(bytes, expected.begin() + static_cast<std::ptrdiff_t>(offset));
      }
      IRONCORE_BLOCKS_OK(flush(*data));
      IRONCORE_BLOCKS_OK(discard(*data, 21 * mib + 3, mib));
      std::fill_n(expected.begin() + 21 * mib + 3, mib, std::byte{0});
      const auto bytes = noise(100);
      IRONCORE_BLOCKS_OK(write(*data, 21 * mib + 300'000, bytes));
      std::ranges::copy(bytes, expected.begin() + 21 * mib + 300'000);
    }
    const auto file = data_of(*store, volume).string();
    const auto format = format_of(*store, volume);
    if (format == "qcow2") run("qemu-img check -f qcow2 " + file);
    const auto flat = place.outside() / "flat.raw";
    run("qemu-img convert -f " + format + " -O raw " + file + " " + flat.string());
    CHECK(bytes_of(flat) == expected);

    run("qemu-io -f " + format + " -c 'write -P 0x5a 5M 70k' -c 'write -z 22M 128k' -c 'discard 39M 64k' " + file);
    std::fill_n(expected.begin() + 5 * mib, 70 * kib, std::byte{0x5a});
    std::fill_n(expected.begin() + 22 * mib, 128 * kib, std::byte{0});
    const auto now = content(*store, volume);
    CHECK(part(now, 0, 39 * mib) == part(expected, 0, 39 * mib));
    put(*store, volume, 39 * mib, part(expected, 39 * mib, mib));
    put(*store, volume, 22 * mib + 5, noise(10));
    std::ranges::copy(get(*store, volume, 22 * mib + 5, 10), expected.begin() + 22 * mib + 5);
    CHECK(content(*store, volume) == expected);
    if (format == "qcow2") run("qemu-img check -f qcow2 " + file);

    const auto snapshot = taken(*store, volume);
    const auto next = new_id();
    created(*store, next, restore_spec(40 * mib, snapshot));
    CHECK(content(*store, next) == expected);
    volume = next;
  }
}

TEST_CASE("local: a volume of a base is what a plain array would be, after any writes, discards and reopenings") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  const auto id = new_id();
  const std::uint64_t size = 6 * mib;
  created(*store, id, base_spec(size, image.source.digest));
  auto expected = longer(image.bytes, size);
  SeededRandom random(11);
  auto data = opened(*store, id);
  for (int i = 0; i < 300; ++i) {
    CAPTURE(i);
    const std::uint64_t length = 1 + random.below(i % 10 == 0 ? 400'000 : i % 3 == 0 ? 10 : 70'000);
    const std::uint64_t offset = random.below(static_cast<std::uint32_t>(size - length + 1));
    const auto at = expected.begin() + static_cast<std::ptrdiff_t>(offset);
    if (i % 4 == 3) {
      IRONCORE_BLOCKS_OK(discard(*data, offset, length));
      std::fill_n(at, length, std::byte{0});
    } else {
      const auto bytes = noise(length);
      IRONCORE_BLOCKS_OK(write(*data, offset, bytes));
      std::ranges::copy(bytes, at);
    }
    if (i % 17 == 0) IRONCORE_BLOCKS_OK(flush(*data));
    if (i % 50 == 49) {
      data.reset();
      data = opened(*store, id);
      REQUIRE(read(*data, 0, size) == expected);
    }
  }
  data.reset();
  CHECK(content(*store, id) == expected);
  CHECK(get(*store, snapshot_id(id, taken(*store, id)), 0, size) == expected);
  if (has_qemu() && format_of(*store, id) == "qcow2") run("qemu-img check -f qcow2 " + data_of(*store, id).string());
}

TEST_CASE("local: a snapshot of a volume that this store writes to holds one moment") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  constexpr std::uint64_t block = 70'000;
  constexpr std::uint64_t blocks = 50;
  for (const bool has_base : {false, true}) {
    CAPTURE(has_base);
    const auto id = new_id();
    created(*store, id, has_base ? base_spec(4 * mib, image.source.digest) : empty_spec(4 * mib));
    const auto data = opened(*store, id);
    IRONCORE_BLOCKS_OK(discard(*data, 0, 4 * mib));
    // One block after the other; so those that a snapshot has are the first ones, and among them are those that were there before.
    std::atomic<std::uint64_t> written{0};
    std::atomic<bool> has_failed{false};
    const Bytes full(block, std::byte{0xff});
    std::jthread writer([&] {
      for (std::uint64_t i = 0; i < blocks; ++i) {
        const auto ended = std::make_shared<std::promise<Result<void>>>();
        auto answer = ended->get_future();
        data->write(i * block, full, [ended](Result<void> result) { ended->set_value(std::move(result)); });
        if (answer.get().has_error()) has_failed = true;
        ++written;
      }
    });
    std::vector<std::pair<std::uint64_t, Uid>> snapshots;
    for (int i = 0; i < 5; ++i) {
      const auto before = written.load();
      snapshots.emplace_back(before, taken(*store, id));
    }
    writer.join();
    CHECK_FALSE(has_failed);
    for (const auto& [before, uid] : snapshots) {
      const auto held = content(*store, snapshot_id(id, uid));
      std::uint64_t count = 0;
      while (count < blocks && held[count * block] == std::byte{0xff}) ++count;
      CHECK(count >= before);
      auto expected = zeros(4 * mib);
      std::fill_n(expected.begin(), count * block, std::byte{0xff});
      CHECK(held == expected);
    }
  }
}

TEST_CASE("local: while QEMU has a volume it is left alone, and the store says who") {
  if (!has_qemu()) return;
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  for (const bool has_base : {false, true}) {
    CAPTURE(has_base);
    const auto id = new_id();
    created(*store, id, has_base ? base_spec(4 * mib, image.source.digest) : empty_spec(4 * mib));
    const auto format = format_of(*store, id);
    {
      const Qemu qemu(data_of(*store, id), format);
      const auto clients = store->clients(id);
      REQUIRE(clients->size() == 1);
      CHECK(clients->front().address.starts_with("pid:"));
      CHECK(clients->front().name == "qemu-system-x86");
      const auto removed = store->remove(id);
      IRONCORE_BLOCKS_FAIL(wrong_state, removed);
      CHECK(removed.error().message().find("qemu-system-x86 (pid:") != std::string::npos);
      IRONCORE_BLOCKS_FAIL(wrong_state, store->open(id, {}));
      const auto snapshot = store->take_snapshot(id, Uid::random(), {});
      if (place.shares_extents()) {
        IRONCORE_BLOCKS_OK(snapshot);
        CHECK(get(*store, snapshot->id, 0, 4096).size() == 4096);
      } else {
        IRONCORE_BLOCKS_FAIL(wrong_state, snapshot);
        // Not this process, which only looked.
        CHECK(snapshot.error().message().find("in use by qemu-system-x86 (pid:") != std::string::npos);
        CHECK(snapshot.error().message().find("pid:" + std::to_string(::getpid())) == std::string::npos);
      }
      IRONCORE_BLOCKS_OK(store->expand(id, 8 * mib));
      CHECK(store->volume(id)->size_bytes == 8 * mib);
      IRONCORE_BLOCKS_OK(store->access(id));
    }
    CHECK(store->clients(id)->empty());
    IRONCORE_BLOCKS_OK(store->access(id));
    run("qemu-img info -f " + format + " " + data_of(*store, id).string() + " | grep -q 'virtual size: 8 MiB'");
    {
      const auto data = opened(*store, id);
      CHECK(data->size() == 8 * mib);
      CHECK(std::system(
                ("echo quit | timeout 60 " + machine_with(data_of(*store, id), format) + " >/dev/null 2>&1").c_str()) !=
            0);
    }
    IRONCORE_BLOCKS_OK(store->remove(id));
  }
}

TEST_CASE("local: what a crash left is not there, and maintenance tells halves from remains") {
  LocalPlace place;
  const auto store = place.open();
  const auto id = new_id();
  created(*store, id, empty_spec(mib));
  const auto files = place.root() / "volumes" / team_a;
  const auto half = new_id(), gone = new_id();
  write_text(files / (half.uid.to_text() + ".raw"), "half");
  write_text(files / (half.uid.to_text() + ".record.new"), "ironcore");
  write_text(files / (gone.uid.to_text() + ".raw"), "gone");
  write_text(files / (gone.uid.to_text() + ".removed"), "");
  write_text(files / "something else", "");
  write_text(place.root() / "bases" / ("sha256-" + std::string(64, 'a') + ".raw"), "half");
  for (const auto& one : {half, gone}) {
    IRONCORE_BLOCKS_FAIL(not_found, store->volume(one));
    IRONCORE_BLOCKS_FAIL(not_found, store->open(one, {}));
    CHECK(count_of(store->volumes(), one) == 0);
  }
  CHECK(store->bases()->empty());

  const auto done = store->maintain({});
  IRONCORE_BLOCKS_OK(done);
  CHECK(done->removed == 2);  // the removed volume and the half base
  CHECK(done->waiting == 0);
  REQUIRE(done->unfinished.size() == 1);
  CHECK(done->unfinished[0] == half);
  CHECK(fs::is_empty(place.root() / "bases"));
  CHECK_FALSE(fs::exists(files / (gone.uid.to_text() + ".raw")));
  CHECK_FALSE(fs::exists(files / (gone.uid.to_text() + ".removed")));
  CHECK(fs::exists(files / "something else"));

  // Whoever comes back finishes it.
  created(*store, half, empty_spec(mib));
  CHECK(content(*store, half) == zeros(mib));
  CHECK(store->maintain({})->unfinished.empty());
  IRONCORE_BLOCKS_OK(store->remove(half));
  write_text(files / (half.uid.to_text() + ".qcow2"), "half");
  IRONCORE_BLOCKS_OK(store->remove_unfinished(half));
  CHECK_FALSE(fs::exists(files / (half.uid.to_text() + ".qcow2")));
  IRONCORE_BLOCKS_OK(store->volume(id));
}

TEST_CASE("local: a damaged record hides nothing but its own volume, which can still be removed") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  const auto id = new_id(), other = new_id();
  created(*store, id, base_spec(4 * mib, image.source.digest));
  created(*store, other, empty_spec(mib));
  const auto record = place.root() / "volumes" / team_a / (id.uid.to_text() + ".record");
  const auto good = std::string(as_text(bytes_of(record)));
  for (std::size_t length = 0; length < good.size(); length += 7) {
    CAPTURE(length);
    write_text(record, good.substr(0, length));
    IRONCORE_BLOCKS_FAIL(corrupt, store->volume(id));
  }
  for (const std::string& bad :
       {good + "x", good + good, "ironcore disk 2" + good.substr(15), std::string(9000, 'x')}) {
    write_text(record, bad);
    IRONCORE_BLOCKS_FAIL(corrupt, store->volume(id));
    IRONCORE_BLOCKS_FAIL(corrupt, store->open(id, {}));
  }
  CHECK(count_of(store->volumes(), other) == 1);
  CHECK(count_of(store->volumes(), id) == 0);
  IRONCORE_BLOCKS_FAIL(corrupt, store->remove_base(image.source.digest));
  IRONCORE_BLOCKS_OK(store->maintain({}));
  IRONCORE_BLOCKS_OK(store->remove(id));
  IRONCORE_BLOCKS_FAIL(not_found, store->volume(id));
  IRONCORE_BLOCKS_OK(store->remove_base(image.source.digest));
}

TEST_CASE("local: a damaged qcow2 file is an error, not a guess") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  const auto id = new_id();
  created(*store, id, base_spec(4 * mib, image.source.digest));
  if (format_of(*store, id) != "qcow2") return;
  const auto file = data_of(*store, id);
  const auto good = std::string(as_text(bytes_of(file)));
  const std::vector<std::pair<std::size_t, char>> damages{{0, 'x'}, {7, 2},  {36, 0x7f}, {40, 0x7f}, {48, 0x7f},
                                                          {56, 1},  {63, 1}, {79, 2},    {99, 5}};
  for (const auto& [offset, value] : damages) {
    CAPTURE(offset);
    auto bad = good;
    bad[offset] = value;
    write_text(file, bad);
    const auto data = store->open(id, {});
    REQUIRE_FALSE(data.has_value());
    CHECK_MESSAGE(is_one_of(data.error(), {ErrorCode::corrupt, ErrorCode::unsupported}), data.error().message());
  }
  write_text(file, good);
  CHECK(content(*store, id) == longer(image.bytes, 4 * mib));
}

TEST_CASE("local: of a volume whose file is gone nothing is made, and it is there again when the file is") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  for (const bool has_base : {false, true}) {
    CAPTURE(has_base);
    const auto id = new_id();
    const auto spec = has_base ? base_spec(4 * mib, image.source.digest) : empty_spec(4 * mib);
    created(*store, id, spec);
    put(*store, id, mib, noise(4096));
    const auto before = content(*store, id);
    const auto file = data_of(*store, id), away = place.outside() / "away";
    fs::rename(file, away);
    const auto seen = store->volume(id);
    IRONCORE_BLOCKS_FAIL(not_found, seen);
    CHECK(seen.error().message().find("the file of volume " + id.tenant + "/" + id.uid.to_text() + " is gone, " +
                                      file.string() + ": bring it back from a backup") != std::string::npos);
    CHECK(count_of(store->volumes(), id) == 0);
    IRONCORE_BLOCKS_FAIL(not_found, store->access(id));
    IRONCORE_BLOCKS_FAIL(not_found, store->open(id, {}));
    IRONCORE_BLOCKS_FAIL(not_found, store->expand(id, 4 * mib));
    IRONCORE_BLOCKS_FAIL(not_found, store->expand(id, 8 * mib));
    IRONCORE_BLOCKS_FAIL(not_found, store->take_snapshot(id, Uid::random(), {}));
    IRONCORE_BLOCKS_FAIL(corrupt, create(*store, id, spec));
    CHECK_FALSE(fs::exists(file));
    CHECK(store->snapshots()->empty());

    fs::rename(away, file);
    CHECK(count_of(store->volumes(), id) == 1);
    CHECK(content(*store, id) == before);
    created(*store, id, spec);
    fs::remove(file);
    IRONCORE_BLOCKS_OK(store->remove(id));
    IRONCORE_BLOCKS_OK(store->maintain({}));
    created(*store, id, spec);
    CHECK(content(*store, id) == (has_base ? longer(image.bytes, 4 * mib) : zeros(4 * mib)));
  }
}

TEST_CASE("local: a volume whose file was cut or replaced is damaged, and is not filled up with zeros") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  for (const bool has_base : {false, true}) {
    CAPTURE(has_base);
    const auto id = new_id();
    const auto spec = has_base ? base_spec(4 * mib, image.source.digest) : empty_spec(4 * mib);
    created(*store, id, spec);
    put(*store, id, 3 * mib, noise(mib));
    const auto before = content(*store, id);
    const auto file = data_of(*store, id), whole = place.outside() / "whole";
    fs::copy_file(file, whole);
    const auto nothing_works = [&] {
      IRONCORE_BLOCKS_FAIL(corrupt, store->volume(id));
      CHECK(count_of(store->volumes(), id) == 0);
      IRONCORE_BLOCKS_FAIL(corrupt, store->access(id));
      IRONCORE_BLOCKS_FAIL(corrupt, store->open(id, {}));
      IRONCORE_BLOCKS_FAIL(corrupt, store->expand(id, 8 * mib));
      IRONCORE_BLOCKS_FAIL(corrupt, create(*store, id, spec));
      const auto snapshot = store->take_snapshot(id, Uid::random(), {});
      IRONCORE_BLOCKS_FAIL(corrupt, snapshot);
      CHECK(snapshot.error().message().find(file.string()) != std::string::npos);
      CHECK(snapshot.error().message().find("bring it back from a backup") != std::string::npos);
      CHECK(store->snapshots()->empty());
      const auto kept = place.root() / "snapshots" / team_a;
      CHECK((!fs::exists(kept) || fs::is_empty(kept)));
    };
    for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{100'000}}) {
      CAPTURE(size);
      fs::resize_file(file, size);
      nothing_works();
      CHECK(fs::file_size(file) == size);
    }
    fs::remove(file);
    fs::create_symlink(whole, file);
    nothing_works();
    fs::remove(file);
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    nothing_works();
    fs::remove(file);
    fs::create_directory(file);
    nothing_works();
    fs::remove(file);
    fs::copy_file(whole, file);
    CHECK(content(*store, id) == before);
    IRONCORE_BLOCKS_OK(store->expand(id, 8 * mib));

    fs::remove(file);
    fs::create_symlink(whole, file);
    IRONCORE_BLOCKS_OK(store->remove(id));
    CHECK_FALSE(fs::exists(fs::symlink_status(file)));
    CHECK(fs::exists(whole));
    fs::remove(whole);
  }
}

TEST_CASE("local: a file that lost its end, whatever its format, is neither read nor copied") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  for (const bool has_base : {false, true}) {
    CAPTURE(has_base);
    const auto id = new_id();
    created(*store, id, has_base ? base_spec(8 * mib, image.source.digest) : empty_spec(8 * mib));
    put(*store, id, 4 * mib, noise(3 * mib));
    put(*store, id, 2 * mib, noise(mib));
    const auto before = content(*store, id);
    const auto file = data_of(*store, id), whole = place.outside() / "whole";
    fs::copy_file(file, whole);
    for (const std::uint64_t lost : {64 * kib, mib, 3 * mib}) {
      CAPTURE(lost);
      fs::resize_file(file, fs::file_size(whole) - lost);
      IRONCORE_BLOCKS_FAIL(corrupt, store->open(id, {}));
      IRONCORE_BLOCKS_FAIL(corrupt, store->take_snapshot(id, Uid::random(), {}));
      CHECK(store->snapshots()->empty());
      CHECK(fs::file_size(file) == fs::file_size(whole) - lost);
      fs::copy_file(whole, file, fs::copy_options::overwrite_existing);
    }
    CHECK(content(*store, id) == before);

    // The same with a snapshot, and what is made from it.
    const auto uid = taken(*store, id);
    const auto snapshot = snapshot_id(id, uid);
    const auto kept = place.root() / "snapshots" / team_a / (uid.to_text() + file.extension().string());
    fs::resize_file(kept, fs::file_size(kept) - 64 * kib);
    IRONCORE_BLOCKS_FAIL(corrupt, store->open(snapshot, {}));
    const auto copy = new_id();
    IRONCORE_BLOCKS_FAIL(corrupt, create(*store, copy, restore_spec(8 * mib, uid)));
    IRONCORE_BLOCKS_FAIL(not_found, store->volume(copy));
    IRONCORE_BLOCKS_OK(store->remove_snapshot(snapshot));
    fs::remove(whole);
  }
}

TEST_CASE("local: a file that is longer than its record says is what a crash leaves, and is used as the record says") {
  LocalPlace place;
  const auto store = place.open();
  const auto id = new_id();
  created(*store, id, empty_spec(2 * mib));
  const auto bytes = noise(2 * mib);
  put(*store, id, 0, bytes);
  fs::resize_file(data_of(*store, id), 4 * mib);
  CHECK(store->volume(id)->size_bytes == 2 * mib);
  CHECK(content(*store, snapshot_id(id, taken(*store, id))) == bytes);
  IRONCORE_BLOCKS_OK(store->expand(id, 4 * mib));
  CHECK(content(*store, id) == longer(bytes, 4 * mib));
}

TEST_CASE("local: a snapshot whose file is gone or was cut is not restored, and can be removed") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  for (const bool has_base : {false, true}) {
    CAPTURE(has_base);
    const auto id = new_id();
    created(*store, id, has_base ? base_spec(4 * mib, image.source.digest) : empty_spec(4 * mib));
    put(*store, id, mib, noise(mib));
    const auto uid = taken(*store, id);
    const auto snapshot = snapshot_id(id, uid);
    const auto child = new_id();
    created(*store, child, restore_spec(4 * mib, uid));
    const auto before = content(*store, child);
    const auto file = place.root() / "snapshots" / team_a / (uid.to_text() + data_of(*store, id).extension().string());
    const auto away = place.outside() / "away";
    const auto check_child = [&] {
      if (place.shares_extents()) {
        CHECK(content(*store, child) == before);
      } else {
        IRONCORE_BLOCKS_FAIL(corrupt, store->volume(child));
        IRONCORE_BLOCKS_FAIL(corrupt, store->access(child));
        IRONCORE_BLOCKS_FAIL(corrupt, store->open(child, {}));
        IRONCORE_BLOCKS_FAIL(corrupt, store->take_snapshot(child, Uid::random(), {}));
      }
    };
    fs::rename(file, away);
    IRONCORE_BLOCKS_FAIL(not_found, store->snapshot(snapshot));
    CHECK(store->snapshots()->empty());
    IRONCORE_BLOCKS_FAIL(not_found, store->open(snapshot, {}));
    IRONCORE_BLOCKS_FAIL(not_found, store->take_snapshot(id, uid, {}));
    IRONCORE_BLOCKS_FAIL(not_found, create(*store, new_id(), restore_spec(4 * mib, uid)));
    check_child();
    write_text(file, "short");
    IRONCORE_BLOCKS_FAIL(corrupt, store->snapshot(snapshot));
    CHECK(store->snapshots()->empty());
    IRONCORE_BLOCKS_FAIL(corrupt, create(*store, new_id(), restore_spec(4 * mib, uid)));
    check_child();
    fs::rename(away, file);
    IRONCORE_BLOCKS_OK(store->snapshot(snapshot));
    CHECK(content(*store, child) == before);
    fs::remove(file);
    IRONCORE_BLOCKS_OK(store->remove(child));
    IRONCORE_BLOCKS_OK(store->remove_snapshot(snapshot));
    IRONCORE_BLOCKS_FAIL(not_found, store->snapshot(snapshot));
    IRONCORE_BLOCKS_OK(store->maintain({}));
    CHECK(fs::is_empty(place.root() / "snapshots" / team_a));
  }
}

TEST_CASE("local: a base whose file is gone or was cut is imported again, for its volumes too") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  const auto id = new_id();
  created(*store, id, base_spec(4 * mib, image.source.digest));
  const bool is_alone = format_of(*store, id) == "raw";
  const auto file = place.root() / "bases" / ("sha256-" + image.source.digest.hex() + ".raw");
  for (const bool is_cut : {false, true}) {
    CAPTURE(is_cut);
    fs::remove(file);
    if (is_cut) write_text(file, "short");
    const auto made = create(*store, new_id(), base_spec(4 * mib, image.source.digest));
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().code() == (is_cut ? ErrorCode::corrupt : ErrorCode::not_found));
    if (!is_alone) {
      IRONCORE_BLOCKS_FAIL(corrupt, store->volume(id));
      IRONCORE_BLOCKS_FAIL(corrupt, store->open(id, {}));
      IRONCORE_BLOCKS_FAIL(corrupt, store->take_snapshot(id, Uid::random(), {}));
    }
    IRONCORE_BLOCKS_OK(store->import_base(image.source, {}, {}));
    CHECK(bytes_of(file) == image.bytes);
    CHECK(mode_of(file) == 0444);
    CHECK(content(*store, id) == longer(image.bytes, 4 * mib));
    CHECK(store->bases()->front().children == (is_alone ? 0 : 1));
  }
}

TEST_CASE("local: links are not followed") {
  LocalPlace place;
  const auto store = place.open();
  const auto id = new_id("linked"), other = new_id();
  fs::create_directory(place.outside() / "elsewhere");
  fs::create_directory_symlink(place.outside() / "elsewhere", place.root() / "volumes" / "linked");
  CHECK(create(*store, id, empty_spec(mib)).has_error());
  CHECK(fs::is_empty(place.outside() / "elsewhere"));
  fs::remove(place.root() / "volumes" / "linked");

  created(*store, other, empty_spec(mib));
  const auto file = data_of(*store, other);
  fs::remove(file);
  write_text(place.outside() / "secret", std::string(mib, 's'));
  fs::create_symlink(place.outside() / "secret", file);
  CHECK(store->open(other, {}).has_error());
  CHECK(store->take_snapshot(other, Uid::random(), {}).has_error());
  CHECK(store->snapshots()->empty());
}

TEST_CASE("local: what does not fit is exhausted, and nothing of it stays") {
  LocalPlace place;
  const auto store = place.open();
  RawImage image;
  image.bytes = noise(12 * mib);
  image.source = {place.outside() / "image.raw", crypto::sha256(image.bytes), image.bytes.size()};
  write_text(image.source.path, std::string(as_text(image.bytes)));
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit low { 8 * mib, before.rlim_max };
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &low) == 0);
  const auto base = store->import_base(image.source, {}, {});
  const auto id = new_id();
  const auto volume = create(*store, id, empty_spec(12 * mib));
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  IRONCORE_BLOCKS_FAIL(exhausted, base);
  IRONCORE_BLOCKS_FAIL(exhausted, volume);
  CHECK(store->bases()->empty());
  CHECK(store->volumes()->empty());
  CHECK(fs::is_empty(place.root() / "bases"));
  CHECK(fs::is_empty(place.root() / "volumes" / team_a));
  IRONCORE_BLOCKS_OK(store->import_base(image.source, {}, {}));
  created(*store, id, empty_spec(12 * mib));
}

TEST_CASE("local: who finds a thing being worked on waits, and then says so") {
  LocalPlace place;
  const auto store = place.open();
  const auto hasty = place.open(std::chrono::milliseconds(30));
  RawImage image;
  image.bytes = noise(2 * mib);
  image.source = {place.outside() / "image.raw", crypto::sha256(image.bytes), image.bytes.size()};
  write_text(image.source.path, std::string(as_text(image.bytes)));
  int asked = 0;
  const auto meanwhile = [&](const image::Progress&) {
    if (asked++ > 0) return;
    IRONCORE_BLOCKS_FAIL(conflict, hasty->remove_base(image.source.digest));
    std::stop_source stop;
    stop.request_stop();
    IRONCORE_BLOCKS_FAIL(cancelled, hasty->import_base(image.source, {}, stop.get_token()));
    CHECK(hasty->maintain({})->removed == 0);
    CHECK(hasty->bases()->empty());
  };
  IRONCORE_BLOCKS_OK(store->import_base(image.source, meanwhile, {}));
  CHECK(asked > 0);
  CHECK(hasty->bases()->size() == 1);
  IRONCORE_BLOCKS_OK(hasty->remove_base(image.source.digest));
}

TEST_CASE("local: what is not flushed does not damage what was") {
  LocalPlace place;
  const auto store = place.open();
  const auto image = base_in(place, *store);
  const auto id = new_id();
  created(*store, id, base_spec(8 * mib, image.source.digest));
  const auto flushed = noise(mib);
  const auto data = opened(*store, id);
  IRONCORE_BLOCKS_OK(write(*data, mib, flushed));
  IRONCORE_BLOCKS_OK(flush(*data));
  IRONCORE_BLOCKS_OK(write(*data, 5 * mib, noise(mib)));
  // The file as a crash of the process would leave it now.
  const auto copy = place.root() / "volumes" / team_a / "copy";
  fs::copy_file(data_of(*store, id), copy);
  if (format_of(*store, id) == "qcow2" && has_qemu()) {
    // Room may be lost, nothing else: qemu-img check says 3 then.
    const int code = std::system(("qemu-img check -q -f qcow2 " + copy.string() + " >/dev/null 2>&1").c_str());
    CHECK((WEXITSTATUS(code) == 0 || WEXITSTATUS(code) == 3));
    run("qemu-img convert -f qcow2 -O raw " + copy.string() + " " + (place.outside() / "flat.raw").string());
    CHECK(part(bytes_of(place.outside() / "flat.raw"), mib, mib) == flushed);
  }
  fs::remove(copy);
}

}  // namespace ironcore::storage::testing
