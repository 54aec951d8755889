// SPDX-License-Identifier: Apache-2.0
// Records tell who is based on whom; files are only opened.
#include "tree.hpp"

#include <fcntl.h>

namespace ironcore::storage::local {

using image::DiskFormat;

Result<Tree> Tree::open(const std::filesystem::path& directory) {
  IRONCORE_TRY(Directory root, Directory::open(directory));
  IRONCORE_TRY(Directory bases, root.make("bases"));
  IRONCORE_TRY(Directory volumes, root.make("volumes"));
  IRONCORE_TRY(Directory snapshots, root.make("snapshots"));
  return Tree{std::move(root), std::move(bases), std::move(volumes), std::move(snapshots)};
}

Result<void> add_file(const Place& place, DiskFormat format, int flags, std::vector<Disk::File>& files) {
  IRONCORE_TRY(UniqueFd fd, place.directory.file(place.data(format), flags));
  files.push_back({std::move(fd), format, place.path(format).string()});
  return {};
}

Result<Place> Tree::base_place(const crypto::Digest& digest) const {
  IRONCORE_TRY(Directory directory, root.enter("bases"));
  return Place{std::move(directory), stem_of(digest)};
}

Result<std::uint32_t> Tree::dependents(const Parent& parent, const std::optional<std::string>& tenant) const {
  std::uint32_t count = 0;
  for (const auto* kind : {&volumes, &snapshots}) {
    IRONCORE_TRY(auto all, tenants(*kind));
    if (tenant) all = {*tenant};
    for (const auto& one : all) {
      Result<void> readable;
      IRONCORE_CHECK(
          each_record_of(*kind, one, [&](const BlockId&, const Place&, const Result<std::optional<Record>>& record) {
            if (!record) {
              readable = record.error();
            } else if (*record && (*record)->backing == parent) {
              ++count;
            }
          }));
      IRONCORE_CHECK(readable);
    }
  }
  return count;
}

Result<Tree::Children> Tree::count_children() const {
  Children out;
  for (const auto* kind : {&volumes, &snapshots}) {
    IRONCORE_CHECK(each_record(*kind, [&](const BlockId&, const Place&, const Record& record) {
      if (const auto* digest = std::get_if<crypto::Digest>(&record.backing)) ++out[*digest];
    }));
  }
  return out;
}

Result<std::uint32_t> Tree::depth_of(const std::string& tenant, Parent backing) const {
  for (std::uint32_t depth = 0; depth < 64; ++depth) {
    if (std::holds_alternative<std::monostate>(backing)) return depth;
    const auto* uid = std::get_if<Uid>(&backing);
    if (uid == nullptr) return depth + 1;
    IRONCORE_TRY(const Found found, layer(tenant, *uid));
    backing = found.record.backing;
  }
  return Error(ErrorCode::corrupt, "the snapshots of tenant " + tenant + " are based on each other in a circle");
}

Result<Found> Tree::layer(const std::string& tenant, const Uid& uid) const {
  const BlockId id{tenant, uid};
  IRONCORE_TRY(auto place, place_of(snapshots, id));
  if (place) {
    IRONCORE_TRY(auto record, load(*place));
    if (record) return Found{std::move(*place), std::move(*record)};
  }
  return Error(ErrorCode::corrupt, "snapshot " + words(id) + ", which it is based on, is missing");
}

Result<std::vector<Found>> Tree::layers(const std::string& tenant, Parent backing) const {
  IRONCORE_CHECK(depth_of(tenant, backing));
  std::vector<Found> out;
  while (!std::holds_alternative<std::monostate>(backing)) {
    if (const auto* digest = std::get_if<crypto::Digest>(&backing)) {
      IRONCORE_TRY(Place place, base_place(*digest));
      IRONCORE_TRY(auto record, load(place));
      if (!record) {
        return Error(ErrorCode::corrupt,
                     "base image " + digest->to_text() + ", which it is based on, is missing: import it again");
      }
      out.push_back({std::move(place), std::move(*record)});
      const auto whole = check_file(out.back().place, out.back().record, "base image", digest->to_text());
      if (!whole) return as_damage(whole.error());
      break;
    }
    const BlockId id{tenant, std::get<Uid>(backing)};
    IRONCORE_TRY(Found found, layer(tenant, id.uid));
    backing = found.record.backing;
    const auto whole = check_file(found.place, found.record, "snapshot", words(id));
    if (!whole) return as_damage(whole.error());
    out.push_back(std::move(found));
  }
  return out;
}

Result<void> Tree::add_layers(const std::string& tenant, const Parent& backing, std::vector<Disk::File>& files) const {
  IRONCORE_TRY(const auto below, layers(tenant, backing));
  for (const auto& found : below) IRONCORE_CHECK(add_file(found.place, found.record.format, O_RDONLY, files));
  return {};
}

}  // namespace ironcore::storage::local
