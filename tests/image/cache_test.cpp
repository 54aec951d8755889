// SPDX-License-Identifier: Apache-2.0
// The cache hands out verified copies, whoever else is busy with it and whatever happens to it.
#include "ironcore/image/cache.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "ironcore/sim/virtual_clock.hpp"
#include "layout_builder.hpp"

using namespace ironcore;
using namespace ironcore::image;
using namespace ironcore::image::test;
using namespace std::chrono_literals;

namespace {

const Platform amd64{"linux", "amd64"};

struct CountingLog final : Log {
  void write(LogLevel level, std::string_view, std::initializer_list<LogField>) override {
    if (level == LogLevel::warning) ++warnings;
  }
  std::atomic<int> warnings{0};
};

/// A layout, a cache directory and what a cache needs.
struct Stage {
  TemporaryDirectory directory;
  SystemClock clock;
  CountingLog log;
  fs::path source = directory.path / "layout";
  fs::path cached = directory.path / "cache";

  std::unique_ptr<Cache> cache(CacheOptions options = {}) {
    options.directory = cached;
    return Cache::open(std::move(options), clock, log).value();
  }
  Reference reference(std::string_view end = ":v1") const {
    return Reference::parse("oci:" + source.string() + std::string(end)).value();
  }
  std::size_t files(const fs::path& below) const {
    std::size_t count = 0;
    for (const auto& file : fs::recursive_directory_iterator(cached / below)) count += file.is_regular_file() ? 1 : 0;
    return count;
  }
};

std::string noise(std::size_t size, std::uint64_t seed = 1) {
  std::string text(size, '\0');
  SeededRandom(seed).fill(std::as_writable_bytes(std::span(text)));
  return text;
}

std::string content(const CachedLayer& layer) {
  return read_file(layer.path, 64 << 20).value();
}

/// Runs `work` in a child that dies with this process and gives how it ended.
template <class Work>
pid_t in_child(Work work) {
  const auto parent = getpid();
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(9);
  _exit(work());
}

int ended(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

TEST_CASE("an image is copied once, verified, and its parts are handed out") {
  Stage stage;
  simple_layout(stage.source);
  const auto cache = stage.cache();
  std::vector<Progress> seen;
  const auto image =
      cache->ensure(stage.reference(), amd64, [&](const Progress& progress) { seen.push_back(progress); }).value();
  REQUIRE(image.rootfs);
  CHECK(content(*image.rootfs) == "the root disk");
  CHECK(image.rootfs->size_bytes == 13);
  CHECK(content(*image.kernel) == "the kernel");
  CHECK(content(*image.initramfs) == "the initramfs");
  CHECK_FALSE(image.uki);
  CHECK_FALSE(image.iso);
  CHECK_FALSE(image.squashfs);
  CHECK(image.command_line == "console=ttyS0");
  REQUIRE_FALSE(seen.empty());
  CHECK(seen.back().done_bytes == seen.back().total_bytes);
  CHECK(seen.back().total_bytes == 13 + 10 + 13);
  struct stat status {};
  REQUIRE(stat(image.rootfs->path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0444);
  CHECK(stage.files("partial") == 0);

  seen.clear();
  const auto again =
      cache->ensure(stage.reference(), amd64, [&](const Progress& progress) { seen.push_back(progress); }).value();
  CHECK(again.digest == image.digest);
  CHECK(seen.empty());
}

TEST_CASE("an image that is only a squashfs, a UKI or an ISO is handed out as such") {
  Stage stage;
  const LayoutBuilder layout(stage.source);
  layout.index({layout.manifest({layout.blob(layer_type("squashfs"), "s"), layout.blob(layer_type("uki"), "u"),
                                 layout.blob(layer_type("iso"), "i")},
                                tag("v1"), "{}")});
  const auto image = stage.cache()->ensure(stage.reference(), amd64).value();
  CHECK(content(*image.squashfs) == "s");
  CHECK(content(*image.uki) == "u");
  CHECK(content(*image.iso) == "i");
  CHECK_FALSE(image.rootfs);
  CHECK(image.command_line.empty());
}

TEST_CASE("a moved tag is noticed") {
  Stage stage;
  simple_layout(stage.source, "old");
  const auto cache = stage.cache();
  const auto old_image = cache->ensure(stage.reference(), amd64).value();
  simple_layout(stage.source, "new");
  const auto new_image = cache->ensure(stage.reference(), amd64).value();
  CHECK(new_image.digest != old_image.digest);
  CHECK(content(*new_image.rootfs) == "new");
  CHECK(content(*old_image.rootfs) == "old");
  // The parts that did not change are shared.
  CHECK(new_image.kernel->path == old_image.kernel->path);
}

TEST_CASE("an image pinned by digest needs its layout only once") {
  Stage stage;
  simple_layout(stage.source);
  const auto digest = stage.cache()->ensure(stage.reference(), amd64).value().digest;
  fs::remove_all(stage.source);
  const auto cache = stage.cache();
  CHECK(content(*cache->ensure(stage.reference("@" + digest.to_text()), amd64).value().rootfs) == "the root disk");
  const auto error = cache->ensure(stage.reference(), amd64).error();
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.message().find("image oci:") == 0);
}

TEST_CASE("an image pinned by the digest of an index needs its layout only once") {
  Stage stage;
  const LayoutBuilder layout(stage.source);
  const auto image = layout.manifest({layout.blob(layer_type("rootfs"), "the root disk")}, platform("amd64"));
  const auto index = layout.blob(index_type, index_of({image}));
  layout.index({index});
  const auto pinned = stage.reference("@" + digest_in(index).to_text());
  CHECK(stage.cache()->ensure(pinned, amd64).value().digest == digest_in(image));
  fs::remove_all(stage.source);
  const auto cache = stage.cache();
  CHECK(cache->ensure(pinned, amd64).value().digest == digest_in(image));
  CHECK(cache->ensure(pinned, {"linux", "arm64"}).error().code() == ErrorCode::not_found);
}

TEST_CASE("a manifest that lies about the size of a blob that is here already is refused") {
  Stage stage;
  const LayoutBuilder layout(stage.source);
  const auto blob = layout.blob(layer_type("rootfs"), "the root disk");
  layout.index({layout.manifest({blob}, tag("v1"))});
  const auto cache = stage.cache();
  REQUIRE(cache->ensure(stage.reference(), amd64).has_value());
  layout.index({layout.manifest({entry(layer_type("rootfs"), digest_in(blob), 3)}, tag("v1"))});
  CHECK(cache->ensure(stage.reference(), amd64).error().code() == ErrorCode::corrupt);
}

TEST_CASE("a large, mostly empty disk arrives whole and stays sparse") {
  Stage stage;
  auto disk = std::string(24 << 20, '\0');
  disk.replace(5 << 20, 100'000, noise(100'000));
  disk.replace(disk.size() - 3, 3, "end");
  simple_layout(stage.source, disk);
  const auto image = stage.cache()->ensure(stage.reference(), amd64).value();
  CHECK(crypto::sha256(content(*image.rootfs)) == image.rootfs->digest);
  struct stat status {};
  REQUIRE(stat(image.rootfs->path.c_str(), &status) == 0);
  CHECK(static_cast<std::uint64_t>(status.st_blocks) * 512 < disk.size() / 2);
}

TEST_CASE("a damaged copy is noticed while the cache is open, and fetched again") {
  Stage stage;
  simple_layout(stage.source);
  const auto cache = stage.cache();
  const auto image = cache->ensure(stage.reference(), amd64).value();
  fs::permissions(image.rootfs->path, fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(image.rootfs->path, std::ios::binary) << "THE ROOT DISK";
  const auto again = cache->ensure(stage.reference(), amd64).value();
  CHECK(content(*again.rootfs) == "the root disk");
  CHECK(stage.log.warnings == 1);
}

TEST_CASE("a copy damaged behind the back of the clock is noticed by the next process") {
  Stage stage;
  simple_layout(stage.source);
  const auto image = stage.cache()->ensure(stage.reference(), amd64).value();
  const auto time = fs::last_write_time(image.rootfs->path);
  fs::permissions(image.rootfs->path, fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(image.rootfs->path, std::ios::binary) << "THE ROOT DISK";
  fs::last_write_time(image.rootfs->path, time);
  const auto again = stage.cache()->ensure(stage.reference(), amd64).value();
  CHECK(content(*again.rootfs) == "the root disk");
  CHECK(stage.log.warnings == 1);
}

TEST_CASE("a damaged copy whose layout is gone is an error, not a damaged disk") {
  Stage stage;
  simple_layout(stage.source);
  const auto image = stage.cache()->ensure(stage.reference(), amd64).value();
  fs::remove_all(stage.source);
  fs::resize_file(image.rootfs->path, 3);
  const auto error = stage.cache()->ensure(stage.reference("@" + image.digest.to_text()), amd64).error();
  CHECK(error.message().find("rootfs layer " + image.rootfs->digest.to_text()) != std::string::npos);
}

TEST_CASE("a broken layer is refused by name and nothing of it stays") {
  Stage stage;
  const auto layout = simple_layout(stage.source);
  const auto digest = crypto::sha256("the root disk");
  const auto cache = stage.cache();
  const std::pair<const char*, const char*> cases[] = {{"the root", "8 bytes instead of the 13"},
                                                       {"the root DISK", "does not match its digest"},
                                                       {"the root disk and more", "22 bytes instead of the 13"}};
  for (const auto& [broken, wanted] : cases) {
    layout.write(layout.path_of(digest), broken);
    const auto error = cache->ensure(stage.reference(), amd64).error();
    CHECK(error.code() == ErrorCode::corrupt);
    CAPTURE(error.message());
    CHECK(error.message().find(wanted) != std::string::npos);
    CHECK(error.message().find(digest.to_text()) != std::string::npos);
    CHECK(stage.files("partial") == 0);
    CHECK_FALSE(fs::exists(stage.cached / "blobs" / "sha256" / digest.hex()));
  }
  fs::remove(layout.path_of(digest));
  CHECK(cache->ensure(stage.reference(), amd64).error().code() == ErrorCode::not_found);
  REQUIRE(mkfifo(layout.path_of(digest).c_str(), 0600) == 0);
  CHECK(cache->ensure(stage.reference(), amd64).error().code() == ErrorCode::invalid);
  fs::remove(layout.path_of(digest));
  layout.write(layout.path_of(digest), "the root disk");
  CHECK(cache->ensure(stage.reference(), amd64).has_value());
}

TEST_CASE("a layer above the limit is refused before it is copied") {
  Stage stage;
  simple_layout(stage.source);
  CacheOptions options;
  options.max_layer_bytes = 12;
  const auto error = stage.cache(options)->ensure(stage.reference(), amd64).error();
  CHECK(error.code() == ErrorCode::exhausted);
  CHECK(stage.files("blobs") == 0);
}

TEST_CASE("a full disk is an error that leaves no part behind") {
  Stage stage;
  simple_layout(stage.source, noise(4 << 20));
  const auto child = in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    const auto image = stage.cache()->ensure(stage.reference(), amd64);
    return image.has_error() && image.error().code() == ErrorCode::exhausted && stage.files("partial") == 0 ? 0 : 1;
  });
  CHECK(ended(child) == 0);
}

TEST_CASE("layouts outside the allowed roots are refused, also through links") {
  Stage stage;
  simple_layout(stage.source);
  CacheOptions options;
  options.layout_roots = {stage.directory.path / "allowed"};
  fs::create_directory(options.layout_roots[0]);
  const auto cache = stage.cache(options);
  CHECK(cache->ensure(stage.reference(), amd64).error().code() == ErrorCode::forbidden);
  fs::create_directory_symlink(stage.source, options.layout_roots[0] / "link");
  const auto link = Reference::parse("oci:" + (options.layout_roots[0] / "link").string() + ":v1").value();
  CHECK(cache->ensure(link, amd64).error().code() == ErrorCode::forbidden);
  simple_layout(options.layout_roots[0] / "real");
  const auto real = Reference::parse("oci:" + (options.layout_roots[0] / "real").string() + ":v1").value();
  CHECK(cache->ensure(real, amd64).has_value());
}

TEST_CASE("a place for layouts that cannot be looked at allows nothing") {
  Stage stage;
  simple_layout(stage.source);
  CacheOptions options;
  const auto loop = stage.directory.path / "loop";
  fs::create_symlink(loop, loop);
  options.layout_roots = {loop, "", stage.directory.path / "absent"};
  CHECK(stage.cache(options)->ensure(stage.reference(), amd64).error().code() == ErrorCode::forbidden);
}

TEST_CASE("a registry reference says what to do instead") {
  Stage stage;
  const auto error = stage.cache()->ensure(Reference::parse("registry.example/debian:12").value(), amd64).error();
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(error.message().find("oci:/path:tag") != std::string::npos);
}

TEST_CASE("many threads share one copy") {
  Stage stage;
  simple_layout(stage.source, noise(8 << 20));
  const auto cache = stage.cache();
  std::atomic<std::uint64_t> copied{0};
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        std::uint64_t mine = 0;
        const auto image =
            cache->ensure(stage.reference(), amd64, [&](const Progress& progress) { mine = progress.done_bytes; });
        copied += mine;
        if (image && crypto::sha256(content(*image->rootfs)) == image->rootfs->digest) ++good;
      });
  }
  CHECK(good == 8);
  CHECK(copied == (8 << 20) + 10 + 13);
}

TEST_CASE("many processes share the directory") {
  Stage stage;
  simple_layout(stage.source, noise(8 << 20));
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i)
    children.push_back(in_child([&] {
      const auto image = stage.cache()->ensure(stage.reference(), amd64);
      return image && crypto::sha256(content(*image->rootfs)) == image->rootfs->digest ? 0 : 1;
    }));
  for (const auto child : children) CHECK(ended(child) == 0);
  CHECK(stage.files("partial") == 0);
  CHECK(stage.files("blobs") == 5);
}

TEST_CASE("a copy interrupted by a crash at any moment is taken up by the next caller") {
  Stage stage;
  simple_layout(stage.source, noise(4 << 20));
  for (std::uint64_t limit = 0; limit < (5 << 20); limit += 1 << 20) {
    const auto child = in_child([&] {
      (void)stage.cache()->ensure(stage.reference(), amd64, [&](const Progress& progress) {
        if (progress.done_bytes > limit) kill(getpid(), SIGKILL);
      });
      return 0;
    });
    const int status = ended(child);
    CHECK((WIFSIGNALED(status) || limit >= (4 << 20)));
    for (const auto& blob : fs::directory_iterator(stage.cached / "blobs" / "sha256"))
      CHECK(crypto::sha256(read_file(blob.path(), 64 << 20).value()).hex() == blob.path().filename().string());
  }
  const auto image = stage.cache()->ensure(stage.reference(), amd64).value();
  CHECK(crypto::sha256(content(*image.rootfs)) == image.rootfs->digest);
  CHECK(stage.files("partial") == 0);
}

TEST_CASE("a stop interrupts the copy and leaves no part behind") {
  Stage stage;
  simple_layout(stage.source, noise(4 << 20));
  const auto cache = stage.cache();
  std::stop_source stop;
  const auto image = cache->ensure(
      stage.reference(), amd64, [&](const Progress&) { stop.request_stop(); }, stop.get_token());
  REQUIRE(image.has_error());
  CHECK(image.error().code() == ErrorCode::cancelled);
  CHECK(stage.files("partial") == 0);
  CHECK(cache->ensure(stage.reference(), amd64).has_value());
}

TEST_CASE("images neither in use nor used recently are removed, with the parts that only they have") {
  Stage stage;
  sim::VirtualClock clock;
  CacheOptions options;
  options.directory = stage.cached;
  const auto cache = Cache::open(options, clock, stage.log).value();
  simple_layout(stage.source, "old");
  const auto old_image = cache->ensure(stage.reference(), amd64).value();
  simple_layout(stage.source, noise(100'000));
  const auto new_image = cache->ensure(stage.reference(), amd64).value();
  std::ofstream(stage.cached / "partial" / "sha256-left-over") << "x";

  // Within the grace period both stay.
  CHECK(cache->remove_unused({}).has_value());
  CHECK(fs::exists(old_image.rootfs->path));
  CHECK(stage.files("partial") == 0);

  clock.advance(11min);
  const std::vector<crypto::Digest> in_use{old_image.digest};
  CHECK(cache->remove_unused(in_use).value() >= 100'000);
  CHECK(fs::exists(old_image.rootfs->path));
  CHECK(fs::exists(old_image.kernel->path));
  CHECK_FALSE(fs::exists(new_image.rootfs->path));
  CHECK(cache->ensure(stage.reference(), amd64).value().digest == new_image.digest);

  clock.advance(11min);
  CHECK(cache->remove_unused({}).has_value());
  CHECK(stage.files("blobs") == 0);
  CHECK(stage.files("used") == 0);
}

TEST_CASE("a layer that is in use stays when its image goes") {
  Stage stage;
  CacheOptions options;
  options.grace = 0s;
  const auto cache = stage.cache(options);
  simple_layout(stage.source);
  const auto image = cache->ensure(stage.reference(), amd64).value();
  const std::vector<crypto::Digest> layers{image.rootfs->digest};
  CHECK(cache->remove_unused({}, layers).has_value());
  CHECK(fs::exists(image.rootfs->path));
  CHECK_FALSE(fs::exists(image.kernel->path));
}

TEST_CASE("nothing is removed when the layers of an image in use cannot be told") {
  Stage stage;
  CacheOptions options;
  options.grace = 0s;
  const auto cache = stage.cache(options);
  simple_layout(stage.source);
  const auto image = cache->ensure(stage.reference(), amd64).value();
  const std::vector<crypto::Digest> in_use{image.digest};
  fs::remove(stage.cached / "blobs" / "sha256" / image.digest.hex());
  const auto result = cache->remove_unused(in_use);
  REQUIRE(result.has_error());
  CHECK(result.error().message().find("nothing was removed") != std::string::npos);
  CHECK(fs::exists(image.rootfs->path));
}

TEST_CASE("a cache directory that cannot be is refused at once") {
  Stage stage;
  std::ofstream(stage.directory.path / "file") << "x";
  CacheOptions options;
  options.directory = stage.directory.path / "file" / "cache";
  CHECK(Cache::open(options, stage.clock, stage.log).has_error());
}
