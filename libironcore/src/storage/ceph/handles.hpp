// SPDX-License-Identifier: Apache-2.0
// Owners of librados' and librbd's handles.
#pragma once

#include <rados/librados.h>
#include <rbd/librbd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::storage::ceph {

/// A namespace of a pool. Thread: any.
class IoContext {
 public:
  static Result<IoContext> open(rados_t rados, const std::string& pool, const std::string& space);
  IoContext(IoContext&& other) noexcept : io_(std::exchange(other.io_, nullptr)) {}
  IoContext& operator=(IoContext&&) = delete;
  ~IoContext();
  rados_ioctx_t get() const noexcept { return io_; }

 private:
  explicit IoContext(rados_ioctx_t io) noexcept : io_(io) {}
  rados_ioctx_t io_;
};

/// An open image. Closing one flushes it. Thread: any.
class Image {
 public:
  enum class Mode { read_write, read_only };
  /// At `snapshot`, if that is not null. `not_found` if there is none of this name.
  static Result<Image> open(const IoContext& io, const std::string& name, Mode mode, const char* snapshot = nullptr);
  static Result<Image> open_by_id(const IoContext& io, const std::string& id, Mode mode);
  Image(Image&& other) noexcept : image_(std::exchange(other.image_, nullptr)) {}
  Image& operator=(Image&&) = delete;
  ~Image();
  rbd_image_t get() const noexcept { return image_; }

  Result<std::uint64_t> size() const;
  /// What its objects are called after, as opposed to its name.
  Result<std::string> id() const;
  /// Names of the snapshots that users made.
  Result<std::vector<std::string>> snapshots() const;

 private:
  explicit Image(rbd_image_t image) noexcept : image_(image) {}
  rbd_image_t image_;
};

/// Where an image is, also one in the trash.
struct ImagePlace {
  std::string space;
  std::string name;
  std::string id;
  bool is_trash = false;
};
/// What the image was cloned from; nothing if it depends on no other.
Result<std::optional<ImagePlace>> parent_of(const Image& image);
/// What was cloned from it: from the snapshot it is open at, or from any.
Result<std::vector<ImagePlace>> children_of(const Image& image);

struct Watcher {
  std::string address;
  std::int64_t client = 0;
  std::uint64_t cookie = 0;
};
/// As Ceph lists them. After a client was fenced Ceph may list its watch for as long as the OSD runs.
Result<std::vector<Watcher>> watchers_of(const Image& image);
/// Those that the OSD still waits for when all are called: without the ones that it only lists. Calling takes time (2 s at most) when one does not answer.
Result<std::vector<Watcher>> live_watchers_of(const IoContext& io, const Image& image);

/// Makes the object where librbd keeps the list of what is in the trash. A full pool takes no new object, and nothing could be removed from it.
Result<void> prepare_trash(const IoContext& io);

/// The options that new images and clones have.
class ImageOptions {
 public:
  explicit ImageOptions(const std::string& data_pool);
  ImageOptions(const ImageOptions&) = delete;
  ImageOptions& operator=(const ImageOptions&) = delete;
  ~ImageOptions();
  rbd_image_options_t get() const noexcept { return options_; }

 private:
  rbd_image_options_t options_ = nullptr;
};

/// What new images can, and clones: as librbd has it by default.
constexpr std::uint64_t image_features = RBD_FEATURE_LAYERING | RBD_FEATURE_EXCLUSIVE_LOCK | RBD_FEATURE_OBJECT_MAP |
                                         RBD_FEATURE_FAST_DIFF | RBD_FEATURE_DEEP_FLATTEN;
constexpr std::uint8_t image_order = 22;
/// Bytes of one object of an image, the unit of copying.
constexpr std::uint64_t object_size = std::uint64_t{1} << image_order;

}  // namespace ironcore::storage::ceph
