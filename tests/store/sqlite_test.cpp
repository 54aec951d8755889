// SPDX-License-Identifier: Apache-2.0
// The SQLite body of the Store: the contract, reopening, damaged and foreign files, maintenance.
#include "ironcore/store/sqlite.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "local_fixture.hpp"
#include "objects.hpp"
#include "simulated_disk.hpp"
#include "temporary_directory.hpp"

using namespace ironcore;
using namespace ironcore::test;
namespace sqlite = ironcore::store::sqlite;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<store::LocalStore> open(const fs::path& file, Clock& clock, store::LocalStoreOptions options = {}) {
  static NullLog log;
  auto opened = sqlite::open(file, clock, log, options);
  if (!opened) FAIL(opened.error().message());
  return *std::move(opened);
}

Result<void> try_open(const fs::path& file) {
  SystemClock clock;
  NullLog log;
  IRONCORE_CHECK(sqlite::open(file, clock, log));
  return {};
}

void run_sql(const fs::path& file, const char* sql) {
  sqlite3* handle = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &handle) == SQLITE_OK);
  CHECK(sqlite3_exec(handle, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(handle);
}

/// Makes a store with some objects in it, closed.
void fill(const fs::path& file, int machines) {
  SystemClock clock;
  const auto store = open(file, clock);
  for (int begin = 0; begin < machines; begin += 1000) {
    Transaction many;
    for (int i = begin; i < std::min(begin + 1000, machines); ++i)
      many.operations.push_back(make(machine("m-" + std::to_string(i))));
    REQUIRE(store->commit(many).has_value());
  }
}

std::string bytes_of(const fs::path& file) {
  if (!fs::is_regular_file(file)) return {};
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// The store must refuse the file, with this code and a text that names it, and leave it as it is.
void check_refused(const fs::path& file, ErrorCode code) {
  const auto before = bytes_of(file);
  const auto opened = try_open(file);
  REQUIRE(code_of(opened) == code);
  CHECK(opened.error().message().find(file.filename().string()) != std::string::npos);
  CHECK(opened.error().message().find('\n') == std::string::npos);
  CHECK_MESSAGE(bytes_of(file) == before, "the file was changed");
}

class SqliteUnderTest : public LocalUnderTest {
 public:
  explicit SqliteUnderTest(std::unique_ptr<TemporaryDirectory> directory)
      : LocalUnderTest(sqlite::open_journal(directory->path() / "store.db").value()),
        directory_(std::move(directory)) {}

 private:
  std::unique_ptr<TemporaryDirectory> directory_;
};

}  // namespace

TEST_CASE("the SQLite store keeps the contract of the Store") {
  store_conformance([] { return std::make_unique<SqliteUnderTest>(std::make_unique<TemporaryDirectory>()); });
}

TEST_CASE("everything is there after the store was closed and opened again") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  ShiftedClock clock;
  auto store = open(file, clock);
  const auto start = store->revision().value();
  const auto owner = must(*store, make(machine("owner")));
  auto owned = machine_on("owned", "pool-1");
  owned.metadata.owner_references = {owned_by(owner)};
  owned.metadata.finalizers = {"test.dev/one"};
  must(*store, make(owned));
  must(*store, make(machine("gone")));
  must(*store, Delete{key<api::Machine>("default", "gone")});
  must(*store, Patch{key<api::Machine>("default", "owner"), R"({"metadata":{"labels":{"app":"web"}}})"});
  must(*store, make(namespace_object("space")));
  must(*store, make(machine("inside", "space")));
  const auto lease = store->acquire_lease("scheduler", "one", std::chrono::seconds(10)).value();
  const auto released = store->acquire_lease("other", "one", std::chrono::seconds(10)).value();
  REQUIRE(store->release_lease("other", released.token).has_value());

  const auto objects = store->list(query<api::Machine>()).value().objects;
  const auto revision = store->revision().value();
  const auto epoch = store->epoch();
  auto before = read(*store->watch(query<api::Machine>("app!=db"), start).value(), 6);
  store.reset();
  clock.advance(std::chrono::seconds(9));
  store = open(file, clock);

  CHECK(store->revision().value() == revision);
  CHECK(store->epoch() == epoch);
  CHECK(store->list(query<api::Machine>()).value().objects == objects);
  CHECK(names_of(store->list(query<api::Machine>({}, "spec.machinePoolRef.name=pool-1")).value().objects) ==
        Texts{"owned"});

  SUBCASE("history goes on without hole or duplicate") {
    must(*store, make(machine("later")));
    auto watch = store->watch(query<api::Machine>("app!=db"), start).value();
    const auto after = read(*watch, before.size() + 1);
    REQUIRE(after.size() == before.size() + 1);
    for (std::size_t i = 0; i < before.size(); ++i) {
      CHECK(after[i].type == before[i].type);
      CHECK(after[i].revision == before[i].revision);
      CHECK(after[i].object == before[i].object);
    }
    CHECK(text_of(after.back()) == "added later");
    CHECK(after.back().revision > revision);
  }
  SUBCASE("holders of leases get their whole time again") {
    clock.advance(std::chrono::seconds(9));
    CHECK(code_of(store->acquire_lease("scheduler", "two", std::chrono::seconds(10))) == ErrorCode::conflict);
    CHECK(store->acquire_lease("scheduler", "one", std::chrono::seconds(10)).value().token == lease.token);
    CHECK(store->acquire_lease("other", "two", std::chrono::seconds(10)).value().token > released.token);
    clock.advance(std::chrono::seconds(11));
    CHECK(store->acquire_lease("scheduler", "two", std::chrono::seconds(10)).value().token > lease.token);
  }
  SUBCASE("owners and namespaces are known") {
    must(*store, Delete{key<api::Machine>("default", "owner")});
    CHECK(store->get(key<api::Machine>("default", "owned")).value().metadata().deletion_timestamp.has_value());
    must(*store, Delete{key<api::Namespace>("", "space")});
    CHECK_FALSE(exists<api::Machine>(*store, "inside", "space"));
    CHECK_FALSE(exists<api::Namespace>(*store, "space"));
  }
}

TEST_CASE("a store that is closed without warning has everything that was acknowledged") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    SystemClock clock;
    NullLog log;
    auto store = sqlite::open(file, clock, log).value();
    for (int i = 0; i < 100; ++i)
      (void)store->commit({.operations = {make(machine("m-" + std::to_string(i)))}, .preconditions = {}}).value();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  SystemClock clock;
  CHECK(open(file, clock)->list(query<api::Machine>()).value().objects.size() == 100);
}

TEST_CASE("a power cut while a store is being opened loses nothing") {
  SystemClock clock;
  NullLog log;
  const auto on = [&](SimulatedDisk& disk) -> Result<std::unique_ptr<store::LocalStore>> {
    IRONCORE_TRY(auto journal, sqlite::open_journal("store.db", {.vfs = disk.name(), .checkpoint_pages = 64}));
    return store::LocalStore::open(std::move(journal), {}, clock, log);
  };
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    bool is_cut = true;
    for (std::uint64_t moment = 1; is_cut; ++moment) {
      CAPTURE(seed);
      CAPTURE(moment);
      SimulatedDisk disk(seed);
      auto store = on(disk).value();
      for (int i = 0; i < 12; ++i) must(*store, make(machine("m-" + std::to_string(i))));
      disk.cut_power_after(1);
      CHECK(store->commit({.operations = {make(machine("late"))}, .preconditions = {}}).has_error());
      store.reset();
      disk.power_on();

      disk.cut_power_after(moment);
      (void)on(disk);
      is_cut = !disk.has_power();
      disk.power_on();
      CHECK(on(disk).value()->list(query<api::Machine>()).value().objects.size() == 12);
    }
  }
}

TEST_CASE("the log of writes has its usual size from the beginning") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  SystemClock clock;
  for (const bool is_new : {true, false}) {
    CAPTURE(is_new);
    const auto store = open(file, clock);
    // 1024 pages of 8 KiB with their headers; writing into a file costs half of extending it.
    const auto size = fs::file_size(directory.path() / "store.db-wal");
    CHECK(size == 32 + 1024 * (24 + 8192));
    for (int i = 0; i < 50; ++i) must(*store, make(machine((is_new ? "a-" : "b-") + std::to_string(i))));
    CHECK(fs::file_size(directory.path() / "store.db-wal") == size);
  }
}

TEST_CASE("nothing that was given out before a restore is right after it") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  const auto copy = directory.path() / "copy.db";
  ShiftedClock clock;
  auto store = open(file, clock);
  const auto from = store->revision().value();
  must(*store, make(machine("a")));
  const auto before = store->acquire_lease("scheduler", "one", std::chrono::seconds(10)).value();
  REQUIRE(sqlite::backup(file, copy).has_value());
  clock.advance(std::chrono::seconds(11));
  const auto lost = store->acquire_lease("scheduler", "two", std::chrono::seconds(10)).value();
  auto stale = must(*store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"is":"lost"}}})"});
  const auto end = store->revision().value();
  store.reset();

  REQUIRE(sqlite::restore(copy, file).has_value());
  store = open(file, clock);
  CHECK(store->revision().value().value > end.value + 1'000'000'000);
  const auto first = must(*store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"is":"new"}}})"});
  CHECK(first.metadata().resource_version > end);
  auto changed = stale.as<api::Machine>();
  changed.metadata.labels["is"] = "wrong";
  CHECK(code_of(*store, Update{Object::of(changed)}) == ErrorCode::conflict);
  for (const auto old : {from, end}) CHECK(code_of(store->watch(query<api::Machine>(), old)) == ErrorCode::gone);
  for (const auto& lease : {before, lost})
    CHECK(code_of(store->commit({.operations = {}, .preconditions = {store::HoldsLease{"scheduler", lease.token}}})) ==
          ErrorCode::forbidden);
  CHECK_FALSE(store->leases("").value().at(0).is_held);
  CHECK(store->acquire_lease("scheduler", "three", std::chrono::seconds(10)).value().token > end.value);
  must(*store, make(machine("b")));
  REQUIRE(store->collect().has_value());
  const auto second_end = store->revision().value();
  store.reset();
  REQUIRE(sqlite::check(file).has_value());

  // The same backup once more: also what the life in between gave out is past.
  fs::remove(directory.path() / "store.db.before-restore");
  REQUIRE(sqlite::restore(copy, file).has_value());
  store = open(file, clock);
  CHECK(store->revision().value() > second_end);
  CHECK_FALSE(exists<api::Machine>(*store, "b"));
}

TEST_CASE("only the owner may read a store file") {
  const TemporaryDirectory directory;
  fill(directory.path() / "store.db", 1);
  SystemClock clock;
  const auto store = open(directory.path() / "store.db", clock);
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    CAPTURE(entry.path().string());
    struct stat status {};
    REQUIRE(stat(entry.path().c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
}

TEST_CASE("a second opener is told who has the store") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  SystemClock clock;
  auto store = open(file, clock);
  const auto second = try_open(file);
  REQUIRE(code_of(second) == ErrorCode::wrong_state);
  CHECK(second.error().message().find("process " + std::to_string(getpid())) != std::string::npos);
  must(*store, make(machine("a")));
  store.reset();
  CHECK(try_open(file).has_value());
}

TEST_CASE("what is no store is refused and left alone") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  std::mt19937_64 random(3);

  SUBCASE("random bytes") {
    std::ofstream out(file, std::ios::binary);
    for (int i = 0; i < 4096; ++i) out << static_cast<char>(random());
    out.close();
    check_refused(file, ErrorCode::corrupt);
  }
  SUBCASE("a text") {
    std::ofstream(file) << "kind: Machine\n";
    check_refused(file, ErrorCode::corrupt);
    CHECK(!fs::exists(file.string() + ".lock"));
  }
  SUBCASE("the database of another application") {
    run_sql(file, "CREATE TABLE notes(text TEXT)");
    check_refused(file, ErrorCode::corrupt);
  }
  SUBCASE("a marked database of another application") {
    run_sql(file, "PRAGMA application_id = 17; CREATE TABLE journal(x); CREATE TABLE meta(x)");
    check_refused(file, ErrorCode::corrupt);
  }
  SUBCASE("a newer version") {
    fill(file, 10);
    run_sql(file, "PRAGMA user_version = 99");
    check_refused(file, ErrorCode::unsupported);
  }
  SUBCASE("a store without its tables") {
    fill(file, 10);
    run_sql(file, "DROP TABLE journal");
    check_refused(file, ErrorCode::corrupt);
  }
  SUBCASE("a store without its epoch") {
    fill(file, 10);
    run_sql(file, "DELETE FROM meta");
    check_refused(file, ErrorCode::corrupt);
  }
  SUBCASE("a kind that this program does not know") {
    fill(file, 10);
    SystemClock clock;
    run_sql(file, "UPDATE journal SET resource = 'spaceships.example.dev' WHERE revision = 5");
    // The checksum is wrong as well, and that is noticed first.
    check_refused(file, ErrorCode::corrupt);
  }
  SUBCASE("a directory") {
    fs::create_directory(file);
    check_refused(file, ErrorCode::forbidden);
  }
  SUBCASE("a directory that does not exist") {
    check_refused(directory.path() / "missing" / "store.db", ErrorCode::not_found);
  }
}

TEST_CASE("a truncated store is refused") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  fill(file, 500);
  const auto size = fs::file_size(file);
  for (const auto part :
       {size / 2, size / 2 + 100, size - 4096, std::uintmax_t{4096}, std::uintmax_t{300}, std::uintmax_t{50}}) {
    CAPTURE(part);
    const auto copy = directory.path() / ("cut-" + std::to_string(part) + ".db");
    fs::copy_file(file, copy);
    fs::resize_file(copy, part);
    CHECK(code_of(sqlite::check(copy)) == ErrorCode::corrupt);
    check_refused(copy, ErrorCode::corrupt);
  }
}

TEST_CASE("a damaged byte is noticed wherever it is") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  fill(file, 300);
  const auto size = fs::file_size(file);
  std::mt19937_64 random(5);
  SystemClock clock;
  const auto sound = open(file, clock)->list(query<api::Machine>()).value().objects;
  for (int round = 0; round < 60; ++round) {
    const auto copy = directory.path() / ("damaged-" + std::to_string(round) + ".db");
    fs::copy_file(file, copy);
    const auto at = static_cast<std::streamoff>(random() % size);
    CAPTURE(at);
    char byte = 0;
    {
      std::fstream stream(copy, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekg(at);
      stream.read(&byte, 1);
      byte = static_cast<char>(byte ^ static_cast<char>(1 + random() % 255));
      stream.seekp(at);
      stream.write(&byte, 1);
    }
    NullLog log;
    auto opened = sqlite::open(copy, clock, log);
    // Some bytes mean nothing (free room in a page, counters of SQLite); then everything must still be right.
    if (opened) {
      CHECK((*opened)->list(query<api::Machine>()).value().objects == sound);
    } else {
      const auto code = opened.error().code();
      CHECK_MESSAGE((code == ErrorCode::corrupt || code == ErrorCode::unsupported), opened.error().message());
    }
  }
}

TEST_CASE("a directory that cannot be written is named") {
  const TemporaryDirectory directory;
  const auto place = directory.path() / "place";
  fs::create_directory(place);
  fs::permissions(directory.path(), fs::perms::owner_all | fs::perms::others_exec | fs::perms::others_read);
  fs::permissions(place,
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  // Root may write everywhere, so it is tried as nobody.
  int result[2];
  REQUIRE(pipe(result) == 0);
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(2);
    const auto opened = try_open(place / "store.db");
    const std::string text =
        opened ? "opened" : std::string(name(opened.error().code())) + " " + opened.error().message();
    _exit(write(result[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 3);
  }
  close(result[1]);
  std::string text(1000, 0);
  const auto count = ::read(result[0], text.data(), text.size());
  close(result[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  REQUIRE(count > 0);
  text.resize(static_cast<std::size_t>(count));
  CHECK_MESSAGE(text.starts_with("forbidden"), text);
  CHECK(text.find((place / "store.db").string()) != std::string::npos);
}

TEST_CASE("a store in use can be checked and backed up") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  const auto copy = directory.path() / "copy.db";
  SystemClock clock;
  auto store = open(file, clock);
  Transaction many;
  for (int i = 0; i < 500; ++i) many.operations.push_back(make(machine("m-" + std::to_string(i))));
  REQUIRE(store->commit(many).has_value());
  Texts progress;
  REQUIRE(sqlite::check(file, [&](std::string_view text) { progress.emplace_back(text); }).has_value());
  REQUIRE(progress.size() >= 3);
  CHECK(progress.back().find("501 objects") != std::string::npos);
  REQUIRE(sqlite::backup(file, copy).has_value());
  CHECK(code_of(sqlite::backup(file, copy)) == ErrorCode::already_exists);
  must(*store, make(machine("later")));
  CHECK(code_of(try_open(file)) == ErrorCode::wrong_state);
  store.reset();
  CHECK(sqlite::check(copy).has_value());
  CHECK_FALSE(fs::exists(directory.path() / "copy.db.partial"));
  struct stat status {};
  REQUIRE(stat(copy.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);

  SUBCASE("and restored, with a new epoch and the old file kept") {
    const auto epoch = open(file, clock)->epoch();
    REQUIRE(sqlite::restore(copy, file).has_value());
    store = open(file, clock);
    CHECK(store->epoch() != epoch);
    CHECK(store->list(query<api::Machine>()).value().objects.size() == 500);
    must(*store, make(machine("again")));
    CHECK(
        open(directory.path() / "store.db.before-restore", clock)->list(query<api::Machine>()).value().objects.size() ==
        501);
    store.reset();
    CHECK_MESSAGE(code_of(sqlite::restore(copy, file)) == ErrorCode::already_exists,
                  "the file that was kept is not overwritten");
  }
  SUBCASE("and restored where there was nothing") {
    REQUIRE(sqlite::restore(copy, directory.path() / "new.db").has_value());
    CHECK(open(directory.path() / "new.db", clock)->list(query<api::Machine>()).value().objects.size() == 500);
  }
  SUBCASE("a store in use is not replaced") {
    store = open(file, clock);
    CHECK(code_of(sqlite::restore(copy, file)) == ErrorCode::wrong_state);
    CHECK(exists<api::Machine>(*store, "later"));
  }
  SUBCASE("a damaged backup replaces nothing") {
    fs::resize_file(copy, fs::file_size(copy) / 2);
    CHECK(code_of(sqlite::restore(copy, file)) == ErrorCode::corrupt);
    CHECK(exists<api::Machine>(*open(file, clock), "later"));
  }
  SUBCASE("a backup of nothing is an error") {
    CHECK(code_of(sqlite::backup(directory.path() / "none.db", directory.path() / "x.db")) == ErrorCode::not_found);
    CHECK(code_of(sqlite::check(directory.path() / "none.db")) == ErrorCode::not_found);
    CHECK_FALSE(fs::exists(directory.path() / "none.db"));
    CHECK(code_of(sqlite::backup(file, directory.path() / "missing" / "x.db")) == ErrorCode::not_found);
  }
  SUBCASE("a damaged store is replaced by its backup, and kept") {
    {
      std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekp(0);
      stream << "garbage garbage garbage garbage garbage garbage";
    }
    check_refused(file, ErrorCode::corrupt);
    REQUIRE(sqlite::restore(copy, file).has_value());
    CHECK(open(file, clock)->list(query<api::Machine>()).value().objects.size() == 500);
    CHECK(fs::exists(directory.path() / "store.db.before-restore"));
  }
}
