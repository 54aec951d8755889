// SPDX-License-Identifier: Apache-2.0
// Files are read with a bound and replaced as a whole.
#include "ironcore/base/file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "ironcore/base/random.hpp"
#include "ironcore/base/unique_fd.hpp"

using namespace ironcore;
namespace fs = std::filesystem;

namespace {

struct TemporaryDirectory {
  TemporaryDirectory() : path(fs::temp_directory_path() / ("ironcore-file-test-" + random_suffix(10))) {
    fs::create_directory(path);
  }
  ~TemporaryDirectory() { fs::remove_all(path); }
  fs::path path;
};

std::size_t entries(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a file is replaced as a whole, with the mode asked for") {
  const TemporaryDirectory directory;
  const auto path = directory.path / "state";
  const auto old_mask = umask(0077);
  CHECK(atomic_write_file(path, "one", 0644).has_value());
  CHECK(atomic_write_file(path, "two", 0640).has_value());
  umask(old_mask);
  CHECK(read_file(path, 100).value() == "two");
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
  CHECK(entries(directory.path) == 1);
}

TEST_CASE("a failed replacement leaves the old content and no debris") {
  const TemporaryDirectory directory;
  const auto path = directory.path / "state";
  REQUIRE(atomic_write_file(path / "below", "x", 0600).error().code() == ErrorCode::not_found);
  fs::create_directory(path);
  fs::create_directory(path / "full");
  const auto result = atomic_write_file(path, "x", 0600);
  REQUIRE(result.has_error());
  CHECK(result.error().message().find("replace") == 0);
  CHECK(entries(directory.path) == 1);
  CHECK(atomic_write_file("", "x", 0600).error().code() == ErrorCode::invalid);
}

TEST_CASE("reading is bounded") {
  const TemporaryDirectory directory;
  const auto path = directory.path / "large";
  const std::string content(200000, 'x');
  REQUIRE(atomic_write_file(path, content, 0600).has_value());
  CHECK(read_file(path, content.size()).value() == content);
  const auto result = read_file(path, content.size() - 1);
  REQUIRE(result.has_error());
  CHECK(result.error().code() == ErrorCode::exhausted);
}

TEST_CASE("a file that lies about its size is read to its end, still bounded") {
  const auto content = read_file("/proc/self/status", 100000);
  REQUIRE(content.has_value());
  CHECK(content->find("Name:") == 0);
  CHECK(read_file("/proc/self/status", 10).error().code() == ErrorCode::exhausted);
}

TEST_CASE("what is not a regular file is refused without blocking") {
  const TemporaryDirectory directory;
  const auto fifo = directory.path / "fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(read_file(fifo, 10).error().code() == ErrorCode::invalid);
  CHECK(read_file(directory.path, 10).error().code() == ErrorCode::invalid);
  CHECK(read_file("/dev/zero", 10).error().code() == ErrorCode::invalid);
  const auto missing = read_file(directory.path / "missing", 10);
  CHECK(missing.error().code() == ErrorCode::not_found);
  CHECK(missing.error().message().ends_with("missing: no such file or directory"));
}

TEST_CASE("an error of the operating system keeps its meaning") {
  CHECK(system_error(ENOSPC, "write x").code() == ErrorCode::exhausted);
  CHECK(system_error(EACCES, "open x").code() == ErrorCode::forbidden);
  CHECK(system_error(EADDRINUSE, "listen").code() == ErrorCode::wrong_state);
  CHECK(errno_code(ENOTSUP) == ErrorCode::unsupported);
  CHECK(system_error(EIO, "read x").code() == ErrorCode::unavailable);
  CHECK(system_error(ENOENT, "open x").message() == "open x: no such file or directory");
}

TEST_CASE("a descriptor has one owner") {
  int pipe_ends[2];
  REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
  UniqueFd reader(pipe_ends[0]);
  {
    UniqueFd writer(pipe_ends[1]);
    UniqueFd moved(std::move(writer));
    CHECK_FALSE(writer);
    CHECK(moved.get() == pipe_ends[1]);
    CHECK(fcntl(pipe_ends[1], F_GETFD) >= 0);
  }
  CHECK(fcntl(pipe_ends[1], F_GETFD) == -1);
  const int raw = reader.release();
  CHECK_FALSE(reader);
  reader.reset(raw);
  reader.reset();
  CHECK(fcntl(raw, F_GETFD) == -1);
}
