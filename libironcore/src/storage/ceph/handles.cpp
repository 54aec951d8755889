// SPDX-License-Identifier: Apache-2.0
// Opening and asking images.
#include "handles.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "errors.hpp"

namespace ironcore::storage::ceph {

namespace {

/// Calls one of librbd's functions that fill an array and say ERANGE, with the number wanted, when it is too short.
template <class T, class Count, class Call>
int fill(std::vector<T>& out, Call call) {
  out.resize(16);
  while (true) {
    auto count = static_cast<Count>(out.size());
    const int code = call(out.data(), &count);
    if (code == -ERANGE) {
      out.resize(static_cast<std::size_t>(count) + 16);
      continue;
    }
    out.resize(code < 0 ? 0 : static_cast<std::size_t>(count));
    return code;
  }
}

std::string text(const char* words) {
  return words == nullptr ? "" : words;
}

ImagePlace place(const rbd_linked_image_spec_t& image) {
  return {.space = text(image.pool_namespace),
          .name = text(image.image_name),
          .id = text(image.image_id),
          .is_trash = image.trash};
}

}  // namespace

Result<IoContext> IoContext::open(rados_t rados, const std::string& pool, const std::string& space) {
  rados_ioctx_t io = nullptr;
  IRONCORE_CHECK(checked(rados_ioctx_create(rados, pool.c_str(), &io), "open pool " + pool));
  rados_ioctx_set_namespace(io, space.c_str());
  // A full pool refuses what takes room at once, and lets happen what does not. Else all of it would wait for room, also what makes some.
  rados_set_pool_full_try(io);
  return IoContext(io);
}

IoContext::~IoContext() {
  if (io_ != nullptr) rados_ioctx_destroy(io_);
}

Result<Image> Image::open(const IoContext& io, const std::string& name, Mode mode, const char* snapshot) {
  rbd_image_t image = nullptr;
  const auto call = mode == Mode::read_only ? &rbd_open_read_only : &rbd_open;
  IRONCORE_CHECK(checked(call(io.get(), name.c_str(), &image, snapshot), "open image " + name));
  return Image(image);
}

Result<Image> Image::open_by_id(const IoContext& io, const std::string& id, Mode mode) {
  rbd_image_t image = nullptr;
  const auto call = mode == Mode::read_only ? &rbd_open_by_id_read_only : &rbd_open_by_id;
  IRONCORE_CHECK(checked(call(io.get(), id.c_str(), &image, nullptr), "open image with id " + id));
  return Image(image);
}

Image::~Image() {
  if (image_ != nullptr) rbd_close(image_);
}

Result<std::uint64_t> Image::size() const {
  std::uint64_t size = 0;
  IRONCORE_CHECK(checked(rbd_get_size(image_, &size), "ask for the size of an image"));
  return size;
}

Result<std::string> Image::id() const {
  std::array<char, 128> text{};
  IRONCORE_CHECK(checked(rbd_get_id(image_, text.data(), text.size()), "ask for the id of an image"));
  return std::string(text.data());
}

Result<std::vector<std::string>> Image::snapshots() const {
  std::vector<rbd_snap_info_t> found;
  const int code = fill<rbd_snap_info_t, int>(
      found, [&](rbd_snap_info_t* into, int* count) { return rbd_snap_list(image_, into, count); });
  // This one returns how many there are, and ends the list with an empty entry.
  if (code < 0) return ceph_error(code, "list the snapshots of an image");
  std::vector<std::string> out;
  for (std::size_t i = 0; i < static_cast<std::size_t>(code); ++i) {
    const rbd_snap_info_t& one = found[i];
    rbd_snap_namespace_type_t type{};
    if (rbd_snap_get_namespace_type(image_, one.id, &type) == 0 && type == RBD_SNAP_NAMESPACE_TYPE_USER) {
      out.emplace_back(one.name);
    }
  }
  rbd_snap_list_end(found.data());
  return out;
}

Result<std::optional<ImagePlace>> parent_of(const Image& image) {
  rbd_linked_image_spec_t parent{};
  rbd_snap_spec_t snapshot{};
  const int code = rbd_get_parent(image.get(), &parent, &snapshot);
  if (code == -ENOENT) return std::optional<ImagePlace>();
  if (code < 0) return ceph_error(code, "ask what an image depends on");
  std::optional<ImagePlace> out = place(parent);
  rbd_linked_image_spec_cleanup(&parent);
  rbd_snap_spec_cleanup(&snapshot);
  return out;
}

Result<std::vector<ImagePlace>> children_of(const Image& image) {
  std::vector<rbd_linked_image_spec_t> found;
  const int code = fill<rbd_linked_image_spec_t, std::size_t>(
      found,
      [&](rbd_linked_image_spec_t* into, std::size_t* count) { return rbd_list_children3(image.get(), into, count); });
  if (code < 0) return ceph_error(code, "ask what depends on an image");
  std::vector<ImagePlace> out;
  out.reserve(found.size());
  for (const rbd_linked_image_spec_t& one : found) out.push_back(place(one));
  rbd_linked_image_spec_list_cleanup(found.data(), found.size());
  return out;
}

Result<std::vector<Watcher>> watchers_of(const Image& image) {
  std::vector<rbd_image_watcher_t> found;
  const int code = fill<rbd_image_watcher_t, std::size_t>(found, [&](rbd_image_watcher_t* into, std::size_t* count) {
    return rbd_watchers_list(image.get(), into, count);
  });
  if (code < 0) return ceph_error(code, "ask who has an image open");
  std::vector<Watcher> out;
  out.reserve(found.size());
  for (const rbd_image_watcher_t& one : found)
    out.push_back({.address = text(one.addr), .client = one.id, .cookie = one.cookie});
  rbd_watchers_list_cleanup(found.data(), found.size());
  return out;
}

Result<std::vector<Watcher>> live_watchers_of(const IoContext& io, const Image& image) {
  IRONCORE_TRY(auto watchers, watchers_of(image));
  if (watchers.empty()) return watchers;
  IRONCORE_TRY(const std::string id, image.id());
  constexpr std::uint64_t patience_ms = 2000;
  char* reply = nullptr;
  std::size_t size = 0;
  // librbd takes an empty call for "the header has changed", and looks at it.
  const int code = rados_notify2(io.get(), ("rbd_header." + id).c_str(), nullptr, 0, patience_ms, &reply, &size);
  notify_ack_t* answered = nullptr;
  notify_timeout_t* silent = nullptr;
  std::size_t answered_size = 0, silent_size = 0;
  const bool is_known =
      (code == 0 || code == -ETIMEDOUT) && reply != nullptr &&
      rados_decode_notify_response(reply, size, &answered, &answered_size, &silent, &silent_size) == 0;
  if (is_known) {
    std::erase_if(watchers, [&](const Watcher& one) {
      const auto is_it = [&](const auto& other) {
        return other.notifier_id == static_cast<std::uint64_t>(one.client) && other.cookie == one.cookie;
      };
      return std::none_of(answered, answered + answered_size, is_it) &&
             std::none_of(silent, silent + silent_size, is_it);
    });
    rados_free_notify_response(answered, answered_size, silent);
  }
  if (reply != nullptr) rados_buffer_free(reply);
  return watchers;
}

Result<void> prepare_trash(const IoContext& io) {
  constexpr const char* list = "rbd_trash";
  const rados_write_op_t operation = rados_create_write_op();
  rados_write_op_create(operation, LIBRADOS_CREATE_IDEMPOTENT, nullptr);
  const int code = rados_write_op_operate(operation, io.get(), list, nullptr, 0);
  rados_release_write_op(operation);
  return checked(code, "make the list of the trash");
}

ImageOptions::ImageOptions(const std::string& data_pool) {
  rbd_image_options_create(&options_);
  rbd_image_options_set_uint64(options_, RBD_IMAGE_OPTION_FEATURES, image_features);
  rbd_image_options_set_uint64(options_, RBD_IMAGE_OPTION_ORDER, image_order);
  if (!data_pool.empty()) rbd_image_options_set_string(options_, RBD_IMAGE_OPTION_DATA_POOL, data_pool.c_str());
}

ImageOptions::~ImageOptions() {
  rbd_image_options_destroy(options_);
}

}  // namespace ironcore::storage::ceph
