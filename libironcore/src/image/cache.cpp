// SPDX-License-Identifier: Apache-2.0
// The cache directory: who may write what when, and what is known to be good.
//
//   DIRECTORY/lock                    shared by every ensure, exclusive for remove_unused
//   DIRECTORY/blobs/sha256/HEX        whole, verified and synced
//   DIRECTORY/partial/sha256-HEX      being copied by the process that holds its lock
//   DIRECTORY/used/sha256-HEX         empty; its time of change is the last use of the image with this manifest
//   DIRECTORY/pins/sha256-HEX-OS-CPU  which manifest the index with this digest names for a platform
#include "ironcore/image/cache.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <set>

#include "ironcore/base/file.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/image/copy.hpp"
#include "ironcore/image/layout.hpp"

namespace ironcore::image {

namespace fs = std::filesystem;

namespace {

std::string file_name(const crypto::Digest& digest) {
  return std::string(crypto::name(digest.algorithm())) + "-" + digest.hex();
}

/// The digest that a file name of ours stands for.
Result<crypto::Digest> digest_of_name(std::string text) {
  if (const auto dash = text.find('-'); dash != std::string::npos) text[dash] = ':';
  return crypto::Digest::parse(text);
}

Result<> make_directory(const fs::path& path) {
  if (::mkdir(path.c_str(), 0711) != 0) {
    if (errno == EEXIST) return {};
    return system_error(errno, "create " + path.string());
  }
  // Whatever the umask is: those who use the layers run as other users.
  if (::chmod(path.c_str(), 0711) != 0) return system_error(errno, "set the mode of " + path.string());
  return {};
}

/// Names one version of a file's content. The time of the last status change is left out on purpose: libvirt changes
/// the owner of a disk each time a machine starts or stops.
struct Stamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  timespec changed{};
  explicit Stamp(const struct stat& status)
      : device(status.st_dev), inode(status.st_ino), size(status.st_size), changed(status.st_mtim) {}
  friend bool operator==(const Stamp& a, const Stamp& b) {
    return a.device == b.device && a.inode == b.inode && a.size == b.size && a.changed.tv_sec == b.changed.tv_sec &&
           a.changed.tv_nsec == b.changed.tv_nsec;
  }
};

/// Adds up what all layers report.
class Meter {
 public:
  Meter(std::function<void(const Progress&)> report, std::uint64_t total)
      : report_(std::move(report)), progress_{0, total} {}
  void advance(std::uint64_t bytes) {
    progress_.done_bytes += bytes;
    // A copy may start over after a damaged one was read.
    progress_.total_bytes = std::max(progress_.total_bytes, progress_.done_bytes);
    if (report_) report_(progress_);
  }

 private:
  std::function<void(const Progress&)> report_;
  Progress progress_;
};

Error stopped() {
  return Error(ErrorCode::cancelled, "stopped while waiting for another copy of the image");
}

}  // namespace

class Cache::Impl {
 public:
  Impl(CacheOptions options, Clock& clock, Log& log) : options_(std::move(options)), clock_(clock), log_(log) {}

  Result<> prepare() {
    std::error_code failed;
    fs::create_directories(options_.directory.parent_path(), failed);
    IRONCORE_CHECK(make_directory(options_.directory));
    for (const auto* name : {"blobs", "blobs/sha256", "blobs/sha512", "partial", "used", "pins"})
      IRONCORE_CHECK(make_directory(options_.directory / name));
    return {};
  }

  Result<CachedImage> ensure(const Reference& reference, const Platform& platform,
                             const std::function<void(const Progress&)>& report, const std::stop_token& stop) {
    if (reference.kind() == Reference::Kind::registry)
      return Error(
          ErrorCode::unsupported,
          "images are not fetched from registries yet; copy it to an OCI layout on this host (for example with "
          "skopeo) and name that with oci:/path:tag");
    IRONCORE_TRY(const UniqueFd shared, open_lock());
    IRONCORE_CHECK(wait_for_lock(shared.get(), LOCK_SH, stop));

    std::optional<fs::path> source;
    IRONCORE_TRY(const Image image, find(reference, platform, source));
    for (const auto& layer : image.manifest.layers)
      if (layer.blob.size > options_.max_layer_bytes)
        return Error(ErrorCode::exhausted, std::string(name(layer.kind)) + " layer " + layer.blob.digest.to_text() +
                                               " has " + std::to_string(layer.blob.size) + " bytes, more than the " +
                                               std::to_string(options_.max_layer_bytes) + " allowed");
    std::uint64_t total = 0;
    for (const auto& layer : image.manifest.layers)
      if (!is_known_good(layer.blob)) total += layer.blob.size;
    Meter meter(report, total);

    CachedImage cached;
    cached.digest = image.descriptor.digest;
    cached.command_line = image.config.command_line;
    for (const auto& layer : image.manifest.layers) {
      IRONCORE_CHECK(within(ensure_blob(layer.blob, source, meter, stop),
                            std::string(name(layer.kind)) + " layer " + layer.blob.digest.to_text()));
      slot(cached, layer.kind) = CachedLayer{blob_path(blobs(), layer.blob.digest), layer.blob.digest, layer.blob.size};
    }
    // The documents come last: whoever finds them finds all that they name.
    Meter silent({}, 0);
    IRONCORE_CHECK(within(ensure_blob(image.manifest.config, source, silent, stop), "configuration"));
    IRONCORE_CHECK(within(ensure_blob(image.descriptor, source, silent, stop), "manifest"));
    IRONCORE_CHECK(note_use(image.descriptor.digest));
    if (const auto index = reference.digest(); index && *index != image.descriptor.digest)
      IRONCORE_CHECK(atomic_write_file(pin(*index, platform), image.descriptor.digest.to_text(), 0600));
    return cached;
  }

  Result<std::uint64_t> remove_unused(std::span<const crypto::Digest> images_in_use,
                                      std::span<const crypto::Digest> layers_in_use) {
    IRONCORE_TRY(const UniqueFd exclusive, open_lock());
    if (::flock(exclusive.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return 0;
      return system_error(errno, "lock the image cache " + options_.directory.string());
    }
    std::set<crypto::Digest> images(images_in_use.begin(), images_in_use.end());
    std::vector<fs::path> unused_marks;
    IRONCORE_CHECK(each_file("used", [&](const fs::path& path, const struct stat& status) {
      const WallTime used(std::chrono::seconds(status.st_mtim.tv_sec) +
                          std::chrono::nanoseconds(status.st_mtim.tv_nsec));
      const auto digest = digest_of_name(path.filename().string());
      if (digest && images.contains(*digest)) return;
      if (digest && clock_.wall() - used < options_.grace)
        images.insert(*digest);
      else
        unused_marks.push_back(path);
    }));

    std::set<crypto::Digest> kept(layers_in_use.begin(), layers_in_use.end());
    for (const auto& digest : images) {
      Descriptor blob;
      blob.digest = digest;
      const auto manifest = [&]() -> Result<Manifest> {
        IRONCORE_TRY(const auto text, read_document(blobs(), blob));
        return parse_manifest(text);
      }();
      if (!manifest)
        return manifest.error().within("image " + digest.to_text() +
                                       " is in use, but its layers cannot be told; nothing was removed");
      kept.insert(digest);
      kept.insert(manifest->config.digest);
      for (const auto& layer : manifest->layers) kept.insert(layer.blob.digest);
    }

    std::uint64_t freed = 0;
    const auto remove = [&](const fs::path& path, const struct stat& status) {
      if (::unlink(path.c_str()) == 0) freed += static_cast<std::uint64_t>(status.st_blocks) * 512;
    };
    // The marks go first: a mark promises that its blobs are here.
    for (const auto& path : unused_marks) ::unlink(path.c_str());
    IRONCORE_CHECK(each_file("pins", [&](const fs::path& path, const struct stat&) {
      const auto text = read_file(path, 256);
      const auto manifest = text ? crypto::Digest::parse(*text) : Result<crypto::Digest>(text.error());
      if (!manifest || !images.contains(*manifest)) ::unlink(path.c_str());
    }));
    for (const auto algorithm : {crypto::HashAlgorithm::sha256, crypto::HashAlgorithm::sha512}) {
      const std::string prefix(crypto::name(algorithm));
      IRONCORE_CHECK(each_file("blobs/" + prefix, [&](const fs::path& path, const struct stat& status) {
        const auto digest = crypto::Digest::parse(prefix + ":" + path.filename().string());
        if (!digest || !kept.contains(*digest)) remove(path, status);
      }));
    }
    // Nobody copies while we hold the lock, so every part is a leftover.
    IRONCORE_CHECK(each_file("partial", remove));
    return freed;
  }

 private:
  fs::path blobs() const { return options_.directory / "blobs"; }

  static std::optional<CachedLayer>& slot(CachedImage& image, LayerKind kind) {
    switch (kind) {
      case LayerKind::rootfs:
        return image.rootfs;
      case LayerKind::kernel:
        return image.kernel;
      case LayerKind::initramfs:
        return image.initramfs;
      case LayerKind::squashfs:
        return image.squashfs;
      case LayerKind::uki:
        return image.uki;
      case LayerKind::iso:
        return image.iso;
    }
    return image.rootfs;
  }

  template <class Visit>
  Result<> each_file(const fs::path& folder, Visit visit) {
    std::error_code failed;
    const auto path = options_.directory / folder;
    for (fs::directory_iterator entry(path, failed), end; !failed && entry != end; entry.increment(failed)) {
      struct stat status {};
      if (::lstat(entry->path().c_str(), &status) == 0) visit(entry->path(), status);
    }
    if (failed) return system_error(failed.value(), "list " + path.string());
    return {};
  }

  /// Waits for the lock on an open file without losing sight of a stop. flock tells nobody when a lock is free, and other
  /// processes hold it for as long as a copy takes: look now and then.
  Result<> wait_for_lock(int fd, int operation, const std::stop_token& stop) {
    while (::flock(fd, operation | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return system_error(errno, "lock the image cache " + options_.directory.string());
      if (!sleep_for(clock_, std::chrono::milliseconds(20), stop)) return stopped();
    }
    return {};
  }

  Result<UniqueFd> open_lock() const {
    const auto path = options_.directory / "lock";
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return system_error(errno, "open " + path.string());
    return fd;
  }

  /// The image's documents, from the cache if the digest is enough, else from the layout, which is then the `source`.
  Result<Image> find(const Reference& reference, const Platform& platform, std::optional<fs::path>& source) {
    const auto checked = checked_location(reference);
    if (reference.digest()) {
      if (auto image = find_here(pinned(*reference.digest(), platform), platform)) {
        if (checked) source = *checked / "blobs";
        return std::move(*image);
      }
    }
    IRONCORE_TRY(const fs::path location, checked);
    IRONCORE_TRY(const auto layout, Layout::open(location));
    source = layout.blobs();
    return layout.resolve(reference.tag(), reference.digest(), platform);
  }

  fs::path pin(const crypto::Digest& index, const Platform& platform) const {
    std::string text = platform.to_text();
    std::replace(text.begin(), text.end(), '/', '-');
    return options_.directory / "pins" / (file_name(index) + "-" + text);
  }

  /// The manifest that an index stands for on a platform, as was found out before; every other digest for itself.
  crypto::Digest pinned(const crypto::Digest& digest, const Platform& platform) const {
    const auto text = read_file(pin(digest, platform), 256);
    if (!text) return digest;
    const auto manifest = crypto::Digest::parse(*text);
    return manifest ? *manifest : digest;
  }

  std::optional<Image> find_here(const crypto::Digest& digest, const Platform& platform) {
    if (::access((options_.directory / "used" / file_name(digest)).c_str(), F_OK) != 0) return std::nullopt;
    Image image;
    image.descriptor.digest = digest;
    const auto text = read_document(blobs(), image.descriptor);
    if (!text) return std::nullopt;
    image.descriptor.size = text->size();
    auto manifest = parse_manifest(*text);
    if (!manifest) return std::nullopt;
    image.manifest = std::move(*manifest);
    const auto config_text = read_document(blobs(), image.manifest.config);
    if (!config_text) return std::nullopt;
    auto config = parse_config(*config_text);
    if (!config || (config->platform && *config->platform != platform)) return std::nullopt;
    image.config = std::move(*config);
    return image;
  }

  Result<fs::path> checked_location(const Reference& reference) const {
    fs::path location(reference.location());
    if (options_.layout_roots.empty()) return location;
    std::error_code failed;
    const auto real = fs::weakly_canonical(location, failed);
    for (const auto& root : options_.layout_roots) {
      if (failed) break;
      std::error_code unreadable;
      const auto real_root = fs::canonical(root, unreadable);
      if (unreadable) continue;  // nothing lies below a place that cannot be looked at
      const auto [end, rest] = std::mismatch(real_root.begin(), real_root.end(), real.begin(), real.end());
      if (end == real_root.end()) return real;
    }
    std::string roots;
    for (const auto& root : options_.layout_roots) roots += (roots.empty() ? "" : ", ") + root.string();
    return Error(ErrorCode::forbidden,
                 "image layouts of this host must lie below " + roots + ": copy it there, or have its place allowed");
  }

  bool is_known_good(const Descriptor& blob) {
    struct stat status {};
    if (::stat(blob_path(blobs(), blob.digest).c_str(), &status) != 0) return false;
    const std::lock_guard lock(mutex_);
    const auto known = good_.find(blob.digest);
    return known != good_.end() && known->second == Stamp(status) &&
           static_cast<std::uint64_t>(status.st_size) == blob.size;
  }

  void remember(const crypto::Digest& digest, const struct stat& status) {
    const std::lock_guard lock(mutex_);
    good_.insert_or_assign(digest, Stamp(status));
  }

  /// One thread of this process at a time per blob.
  class Turn {
   public:
    static Result<Turn> take(Impl& cache, const crypto::Digest& digest, const std::stop_token& stop) {
      std::unique_lock lock(cache.mutex_);
      const auto free = [&] { return !cache.busy_.contains(digest); };
      if (!cache.clock_.wait(lock, cache.freed_, stop, Instant::max(), free)) return stopped();
      cache.busy_.insert(digest);
      return Turn(cache, digest);
    }
    Turn(Turn&& other) noexcept : cache_(std::exchange(other.cache_, nullptr)), digest_(other.digest_) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (cache_ == nullptr) return;
      const std::lock_guard lock(cache_->mutex_);
      cache_->busy_.erase(digest_);
      cache_->freed_.notify_all();
    }

   private:
    Turn(Impl& cache, const crypto::Digest& digest) : cache_(&cache), digest_(digest) {}
    Impl* cache_;
    crypto::Digest digest_;
  };

  Result<> ensure_blob(const Descriptor& blob, const std::optional<fs::path>& source, Meter& meter,
                       const std::stop_token& stop) {
    if (is_known_good(blob)) return {};
    IRONCORE_TRY(const Turn turn, Turn::take(*this, blob.digest, stop));
    if (is_known_good(blob)) return {};
    std::optional<Stamp> damaged;
    IRONCORE_TRY(const bool there, verify(blob, damaged, meter, stop));
    if (there) return {};
    if (!source)
      return Error(ErrorCode::not_found, "it is not in the cache, and the image's layout may not be read on this host");

    const auto part = options_.directory / "partial" / file_name(blob.digest);
    IRONCORE_TRY(const UniqueFd fd, lock_part(part, stop));
    // Another process may have finished while we waited.
    IRONCORE_TRY(const bool there_now, verify(blob, damaged, meter, stop));
    auto done = there_now ? Result<>() : fill_part(blob, *source, part, fd.get(), meter, stop);
    if (there_now || !done) ::unlink(part.c_str());
    return done;
  }

  /// True if the cached copy is whole; false if there is none, or a damaged one, noted in `damaged`, that must be replaced.
  Result<bool> verify(const Descriptor& blob, std::optional<Stamp>& damaged, Meter& meter,
                      const std::stop_token& stop) {
    const auto path = blob_path(blobs(), blob.digest);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
      if (errno == ENOENT) return false;
      return system_error(errno, "open " + path.string());
    }
    if (damaged == Stamp(status)) return false;
    if (S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) == blob.size) {
      const auto digest = digest_of(
          fd.get(), blob.size, blob.digest.algorithm(), [&](std::uint64_t bytes) { meter.advance(bytes); }, stop);
      if (digest && *digest == blob.digest) {
        remember(blob.digest, status);
        return true;
      }
      if (!digest && digest.error().code() == ErrorCode::cancelled) return digest.error();
    }
    damaged = Stamp(status);
    log_.warning("a cached image blob is damaged and fetched again",
                 {{"blob", blob.digest.to_text()}, {"path", path.string()}});
    return false;
  }

  /// The locked file in which a blob grows. Whoever held the lock before may have renamed or removed the file that we
  /// opened; then the lock protects nothing and a new file is made.
  Result<UniqueFd> lock_part(const fs::path& part, const std::stop_token& stop) {
    for (;;) {
      UniqueFd fd(::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (!fd) return system_error(errno, "create " + part.string());
      IRONCORE_CHECK(wait_for_lock(fd.get(), LOCK_EX, stop));
      struct stat mine {
      }, named{};
      if (::fstat(fd.get(), &mine) == 0 && ::stat(part.c_str(), &named) == 0 && mine.st_ino == named.st_ino) return fd;
    }
  }

  Result<> fill_part(const Descriptor& blob, const fs::path& source, const fs::path& part, int fd, Meter& meter,
                     const std::stop_token& stop) {
    if (::ftruncate(fd, 0) != 0) return system_error(errno, "empty " + part.string());
    IRONCORE_CHECK(copy_blob(
        blob_path(source, blob.digest), fd, part, blob, [&](std::uint64_t bytes) { meter.advance(bytes); }, stop));
    if (::fchmod(fd, 0444) != 0) return system_error(errno, "set the mode of " + part.string());
    if (::fsync(fd) != 0) return system_error(errno, "sync " + part.string());
    const auto path = blob_path(blobs(), blob.digest);
    if (::rename(part.c_str(), path.c_str()) != 0) return system_error(errno, "rename " + part.string());
    struct stat status {};
    if (::fstat(fd, &status) == 0) remember(blob.digest, status);
    return sync_directory(path.parent_path());
  }

  Result<> note_use(const crypto::Digest& digest) {
    const auto path = options_.directory / "used" / file_name(digest);
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return system_error(errno, "create " + path.string());
    const auto now = clock_.wall().time_since_epoch();
    const auto whole = std::chrono::floor<std::chrono::seconds>(now);
    timespec time{};
    time.tv_sec = static_cast<time_t>(whole.count());
    time.tv_nsec = static_cast<long>((now - whole).count());
    const timespec times[2] = {time, time};
    if (::futimens(fd.get(), times) != 0) return system_error(errno, "touch " + path.string());
    return {};
  }

  const CacheOptions options_;
  Clock& clock_;
  Log& log_;
  std::mutex mutex_;
  std::condition_variable_any freed_;
  std::set<crypto::Digest> busy_;
  std::map<crypto::Digest, Stamp> good_;
};

Cache::Cache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cache::~Cache() = default;

Result<std::unique_ptr<Cache>> Cache::open(CacheOptions options, Clock& clock, Log& log) {
  auto impl = std::make_unique<Impl>(std::move(options), clock, log);
  IRONCORE_CHECK(within(impl->prepare(), "open the image cache"));
  return std::unique_ptr<Cache>(new Cache(std::move(impl)));
}

Result<CachedImage> Cache::ensure(const Reference& reference, const Platform& platform,
                                  const std::function<void(const Progress&)>& progress, std::stop_token stop) {
  return within(impl_->ensure(reference, platform, progress, stop), "image " + reference.to_text());
}

Result<std::uint64_t> Cache::remove_unused(std::span<const crypto::Digest> images,
                                           std::span<const crypto::Digest> layers) {
  return within(impl_->remove_unused(images, layers), "clean the image cache");
}

}  // namespace ironcore::image
