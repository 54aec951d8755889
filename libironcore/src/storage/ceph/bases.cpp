// SPDX-License-Identifier: Apache-2.0
// Base images: taken in, listed, removed.
#include <cerrno>

#include "errors.hpp"
#include "store.hpp"

namespace ironcore::storage::ceph {

namespace {

Result<std::uint32_t> count_children(const Image& image) {
  IRONCORE_TRY(const auto children, children_of(image));
  return static_cast<std::uint32_t>(children.size());
}

}  // namespace

Result<BaseImage> Store::import_base(const BaseSource& source, const Progress& progress, std::stop_token stop) {
  const std::string key = source.digest.to_text(), name = base_image(source.digest);
  const std::string doing = "import base image " + key;
  if (stop.stop_requested()) return Error(ErrorCode::cancelled, doing + ": stopped");
  if (source.size_bytes == 0 || source.size_bytes > max_size) {
    return Error(ErrorCode::invalid, doing + ": it has " + std::to_string(source.size_bytes) +
                                         " bytes, and an image must have from 1 to " + std::to_string(max_size));
  }
  IRONCORE_TRY(Claim claimed, within(claim_to_make("", name), doing));
  IRONCORE_TRY(const Found found, look(bases_io_, name));
  if (found.header) {
    claimed.settle();
    if (found.header->source != key) {
      return Error(ErrorCode::already_exists, doing + ": its name is taken by " + found.header->source);
    }
    if (found.header->size_bytes != source.size_bytes) {
      return Error(ErrorCode::corrupt, doing + ": an image with this digest has " +
                                           std::to_string(found.header->size_bytes) + " bytes, not " +
                                           std::to_string(source.size_bytes));
    }
    IRONCORE_CHECK(put(bases_, key, entry_of(*found.header, 0)));
    IRONCORE_TRY(const Image image, Image::open(bases_io_, name, Image::Mode::read_only, clone_snapshot));
    IRONCORE_TRY(const std::uint32_t children, count_children(image));
    return BaseImage{.digest = source.digest, .size_bytes = source.size_bytes, .children = children};
  }
  if (found.is_there && !claimed.was_begun()) {
    claimed.settle();
    return foreign(ErrorCode::already_exists, "", name).within(doing);
  }
  if (found.is_there) IRONCORE_CHECK(within(discard_image(bases_io_, name), doing));
  IRONCORE_CHECK(within(claimed.begin(), doing));
  const ImageOptions options(options_.data_pool);
  IRONCORE_CHECK(make_named(bases_io_, name, doing, [&] {
    return rbd_create4(bases_io_.get(), name.c_str(), source.size_bytes, options.get());
  }));
  const auto filled = [&]() -> Result<void> {
    IRONCORE_TRY(const Image image, Image::open(bases_io_, name, Image::Mode::read_write));
    IRONCORE_CHECK(fill_from_file(image, source, keeper(claimed, progress, std::move(stop))));
    IRONCORE_CHECK(claimed.renew());
    return checked(rbd_snap_create2(image.get(), clone_snapshot, RBD_SNAP_CREATE_SKIP_QUIESCE, nullptr, nullptr),
                   "make the snapshot to clone from");
  }();
  if (filled.has_error()) {
    // Whoever lost the claim leaves the image to the one that has it now.
    if (filled.error().code() != ErrorCode::conflict) {
      if (const auto gone = discard_image(bases_io_, name); gone.has_error()) {
        log_.warning("a base image that could not be imported is left for maintenance",
                     {{"digest", key}, {"reason", gone.error().message()}});
      } else {
        claimed.settle();
      }
    }
    return filled.error().within(doing);
  }
  IRONCORE_TRY(const auto number, image_id(bases_io_, name));
  if (!number) return Error(ErrorCode::conflict, doing + ": somebody removed it at once: repeat it");
  IRONCORE_CHECK(within(write_metadata(bases_io_, *number, whole_metadata(name, key, Encryption::none)), doing));
  claimed.settle();
  const Entry entry{.size_bytes = source.size_bytes, .is_encrypted = false, .limits = {}, .source = key};
  IRONCORE_CHECK(within(put(bases_, key, entry), doing));
  return BaseImage{.digest = source.digest, .size_bytes = source.size_bytes, .children = 0};
}

Result<std::vector<BaseImage>> Store::bases() {
  IRONCORE_TRY(const auto lines, bases_.list());
  std::vector<BaseImage> out;
  for (const auto& [key, text] : lines) {
    const auto digest = crypto::Digest::parse(key);
    const auto entry = parse_entry(text);
    if (digest.has_error() || entry.has_error()) continue;
    const auto image = Image::open(bases_io_, base_image(*digest), Image::Mode::read_only, clone_snapshot);
    if (image.has_error()) {
      if (image.error().code() == ErrorCode::not_found) continue;  // just removed
      return image.error();
    }
    IRONCORE_TRY(const std::uint32_t children, count_children(*image));
    out.push_back({.digest = *digest, .size_bytes = entry->size_bytes, .children = children});
  }
  return out;
}

Result<void> Store::remove_base(const crypto::Digest& digest) {
  const std::string key = digest.to_text(), name = base_image(digest);
  const std::string doing = "remove base image " + key;
  {
    const std::lock_guard lock(mutex_);
    base_bytes_.erase(key);
  }
  IRONCORE_TRY(Claim claimed, within(claim("", name), doing));
  IRONCORE_TRY(const Found found, look(bases_io_, name));
  if (found.header) {
    {
      IRONCORE_TRY(const Image image, Image::open(bases_io_, name, Image::Mode::read_only, clone_snapshot));
      IRONCORE_TRY(const auto children, children_of(image));
      if (!children.empty()) {
        const ImagePlace& first = children.front();
        return Error(ErrorCode::wrong_state,
                     doing + ": " + first.space + "/" + first.name + (first.is_trash ? " (in the trash)" : "") +
                         " and perhaps others depend on it: remove those first, and let maintenance run");
      }
    }
    IRONCORE_CHECK(within(move_to_trash(bases_io_, name), doing));
  } else if (found.is_there) {
    IRONCORE_TRY(const bool is_ours, within(is_begun("", name), doing));
    if (!is_ours) return foreign(ErrorCode::wrong_state, "", name).within(doing);
    IRONCORE_CHECK(within(discard_image(bases_io_, name), doing));
  }
  claimed.settle();
  return within(drop(bases_, key), doing);
}

}  // namespace ironcore::storage::ceph
