// SPDX-License-Identifier: Apache-2.0
// Base images: taken in, listed, removed.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "ironcore/base/file.hpp"
#include "ironcore/image/copy.hpp"
#include "positional.hpp"
#include "store.hpp"

namespace ironcore::storage::local {

using image::DiskFormat;

namespace {

BaseImage base_of(const crypto::Digest& digest, const Record& record, const Tree::Children& children) {
  const auto found = children.find(digest);
  return {digest, record.size_bytes, found == children.end() ? 0 : found->second};
}

}  // namespace

Result<BaseImage> Store::import_base(const BaseSource& source, const Progress& progress, std::stop_token stop) {
  const auto what = "base image " + source.digest.to_text();
  return within(import_checked(what, source, progress, stop), what);
}

Result<std::vector<BaseImage>> Store::bases() {
  IRONCORE_TRY(const auto names, tree_.bases.names());
  IRONCORE_TRY(const auto children, tree_.count_children());
  std::vector<BaseImage> out;
  for (const auto& name : names) {
    if (!name.ends_with(".record")) continue;
    const auto digest = parse_stem(name.substr(0, name.find('.')));
    if (!digest) continue;
    IRONCORE_TRY(const Place place, tree_.base_place(*digest));
    const auto record = load(place);
    if (!record || !*record) continue;
    out.push_back(base_of(*digest, **record, children));
  }
  return out;
}

Result<void> Store::remove_base(const crypto::Digest& digest) {
  const auto what = "base image " + digest.to_text();
  IRONCORE_TRY(const UniqueFd held, hold(what));
  IRONCORE_TRY(const Place place, tree_.base_place(digest));
  if (!place.directory.has(place.record())) return clear(place);
  IRONCORE_TRY(const UniqueFd alone, hold(bases_key));
  IRONCORE_TRY(const auto children, tree_.dependents(digest, {}));
  if (children > 0) {
    return Error(ErrorCode::wrong_state,
                 what + " is the base of " + std::to_string(children) + " volumes or snapshots: remove them first");
  }
  return within(erase(place), what);
}

Result<BaseImage> Store::import_checked(const std::string& what, const BaseSource& source, const Progress& progress,
                                        const std::stop_token& stop) {
  if (source.size_bytes == 0) return Error(ErrorCode::invalid, "an image needs at least one byte");
  // A second caller waits for the first one's copy, however long it takes.
  IRONCORE_TRY(const UniqueFd held,
               lock(tree_.root, what, LockMode::exclusive, {clock_, std::chrono::hours(24 * 365), stop}));
  IRONCORE_TRY(const Place place, tree_.base_place(source.digest));
  IRONCORE_TRY(const auto existing, load(place));
  if (existing && is_whole(place, *existing)) {
    IRONCORE_TRY(const auto children, tree_.count_children());
    return base_of(source.digest, *existing, children);
  }
  if (existing) {
    // Its file is gone or was cut. The digest says that the next one is the same, also for those who are based on it.
    IRONCORE_TRY(const UniqueFd alone, hold(bases_key));
    IRONCORE_CHECK(erase(place));
  }
  IRONCORE_CHECK(clear(place));
  Record record;
  record.size_bytes = source.size_bytes;
  const auto made = [&]() -> Result<void> {
    const auto path = place.path(DiskFormat::raw);
    IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(DiskFormat::raw)));
    image::Progress now{0, source.size_bytes};
    const image::Descriptor blob{
        .media_type = {}, .digest = source.digest, .size = source.size_bytes, .platform = {}, .reference_name = {}};
    IRONCORE_CHECK(image::copy_blob(
        source.path, fd.get(), path, blob,
        [&](std::uint64_t bytes) {
          now.done_bytes += bytes;
          if (progress) progress(now);
        },
        stop));
    if (::fchmod(fd.get(), 0444) != 0) return system_error(errno, "set the mode of " + path.string());
    IRONCORE_CHECK(sync_file(fd.get(), path));
    return save(place, record);
  }();
  if (!made) return give_up(place, made.error());
  return base_of(source.digest, record, {});
}

}  // namespace ironcore::storage::local
