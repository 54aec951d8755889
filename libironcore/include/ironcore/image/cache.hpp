// SPDX-License-Identifier: Apache-2.0
// Verified copies of images on this host, kept by digest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/image/manifest.hpp"
#include "ironcore/image/reference.hpp"

namespace ironcore::image {

struct CacheOptions {
  std::filesystem::path directory;  ///< created (0711) when absent; blobs inside are 0444
  std::vector<std::filesystem::path>
      layout_roots;  ///< layouts must lie below one of these existing places; empty = anywhere
  std::uint64_t max_layer_bytes = std::uint64_t{1} << 40;  ///< larger layers are refused
  Duration grace = std::chrono::minutes(10);               ///< an image used more recently is never removed
};

/// How far `ensure` is with the layers that it has to copy or check.
struct Progress {
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};

struct CachedLayer {
  std::filesystem::path path;
  crypto::Digest digest;
  std::uint64_t size_bytes = 0;
};

/// The files are valid until the image is removed by `remove_unused`. Never write to them.
struct CachedImage {
  crypto::Digest digest;  ///< of the manifest: what to keep and to hand to `remove_unused`
  std::optional<CachedLayer> rootfs, kernel, initramfs, squashfs, uki, iso;
  std::string command_line;
};

/// Copies layers from their layout, verifying every byte, and hands out the copies. A copy appears only when it is whole
/// and synced. Copies found in the directory are verified when first used by this object and whenever their size or
/// time of change differ from then; a damaged one is fetched again. Several caches, also of several processes, may
/// share the directory. Thread: any.
class Cache {
 public:
  static Result<std::unique_ptr<Cache>> open(CacheOptions options, Clock& clock, Log& log);
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  /// Blocks while copying; concurrent callers for the same blob share one copy. Tags are looked up anew each time; an
  /// image pinned by digest needs its layout no more once it is here. `progress` is called on this thread.
  /// `cancelled` on a stop; `unsupported` for registry references; otherwise the error names reference and blob.
  Result<CachedImage> ensure(const Reference& reference, const Platform& platform,
                             const std::function<void(const Progress&)>& progress = {}, std::stop_token stop = {});

  /// Removes images that are not among `images` (manifest digests) and were not used within the grace period, layers that
  /// neither such an image nor `layers` names, and what interrupted copies left. Returns the bytes freed. While an
  /// `ensure` runs, also in another process, nothing is removed. If the manifest of an image in use is damaged, nothing is
  /// removed either: its layers are not known.
  Result<std::uint64_t> remove_unused(std::span<const crypto::Digest> images,
                                      std::span<const crypto::Digest> layers = {});

 private:
  class Impl;
  explicit Cache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ironcore::image
