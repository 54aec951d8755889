// SPDX-License-Identifier: Apache-2.0
// Where things are in the directory of the store, and whether they are there.
#include "place.hpp"

#include <algorithm>

#include "ironcore/base/names.hpp"
#include "qcow2_file.hpp"

namespace ironcore::storage::local {

using image::DiskFormat;

namespace {

constexpr std::size_t record_limit = 4096;

/// A qcow2 file grows with what is written to it, and its header may wait for whoever has it open.
std::uint64_t smallest_file(const Record& record) {
  return record.format == DiskFormat::raw ? record.size_bytes : Qcow2File::smallest_file;
}

bool is_whole(const struct stat& status, const Record& record) {
  return S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) >= smallest_file(record);
}

}  // namespace

std::string stem_of(const crypto::Digest& digest) {
  std::string stem = digest.to_text();
  std::replace(stem.begin(), stem.end(), ':', '-');
  return stem;
}

std::optional<crypto::Digest> parse_stem(std::string stem) {
  std::replace(stem.begin(), stem.end(), '-', ':');
  const auto digest = crypto::Digest::parse(stem);
  if (!digest) return std::nullopt;
  return *digest;
}

std::string words(const BlockId& id) {
  return id.tenant + "/" + id.uid.to_text();
}

Result<void> clear(const Place& place) {
  for (const auto& name :
       {place.data(DiskFormat::raw), place.data(DiskFormat::qcow2), place.record() + ".new", place.removed()}) {
    IRONCORE_CHECK(place.directory.remove(name));
  }
  return {};
}

Result<void> erase(const Place& place) {
  IRONCORE_CHECK(place.directory.rename(place.record(), place.removed()));
  IRONCORE_CHECK(place.directory.sync());
  return clear(place);
}

Result<std::optional<Record>> load(const Place& place) {
  auto text = place.directory.read(place.record(), record_limit);
  if (!text) {
    if (text.error().code() == ErrorCode::not_found) return std::optional<Record>();
    return text.error();
  }
  auto record = Record::parse(*text);
  if (!record) return record.error().within(place.directory.path(place.record()).string());
  return std::optional(std::move(*record));
}

Result<std::optional<Place>> place_of(const Directory& kind, const BlockId& id) {
  auto directory = kind.enter(id.tenant);
  if (!directory) {
    if (directory.error().code() == ErrorCode::not_found) return std::optional<Place>();
    return directory.error();
  }
  return std::optional(Place{std::move(*directory), id.uid.to_text()});
}

Result<Place> make_place(const Directory& kind, const BlockId& id) {
  IRONCORE_TRY(Directory directory, kind.make(id.tenant));
  return Place{std::move(directory), id.uid.to_text()};
}

Result<Found> find(const Directory& kind, const BlockId& id, std::string_view word) {
  IRONCORE_TRY(auto place, place_of(kind, id));
  if (place) {
    IRONCORE_TRY(auto record, load(*place));
    if (record && !record->is_removed) return Found{std::move(*place), std::move(*record)};
  }
  return Error(ErrorCode::not_found, "there is no " + std::string(word) + " " + words(id));
}

bool is_whole(const Place& place, const Record& record) {
  const auto status = place.directory.status(place.data(record.format));
  return status && is_whole(*status, record);
}

Result<void> check_file(const Place& place, const Record& record, std::string_view word, const std::string& name) {
  const auto status = place.directory.status(place.data(record.format));
  if (status && is_whole(*status, record)) return {};
  const auto path = place.path(record.format).string();
  const auto what = std::string(word) + " " + name;
  const std::string advice =
      ": bring it back from a backup, nothing is written to it meanwhile; or remove the " + std::string(word);
  if (!status) {
    if (status.error().code() != ErrorCode::not_found) return status.error();
    return Error(ErrorCode::not_found, "the file of " + what + " is gone, " + path + advice);
  }
  if (!S_ISREG(status->st_mode)) {
    return Error(ErrorCode::corrupt, "the file of " + what + ", " + path + ", is not a regular file any more" + advice);
  }
  return Error(ErrorCode::corrupt, "the file of " + what + ", " + path + ", was cut: it has " +
                                       std::to_string(status->st_size) + " bytes and must have at least " +
                                       std::to_string(smallest_file(record)) + advice);
}

Result<Found> find_whole(const Directory& kind, const BlockId& id, std::string_view word) {
  IRONCORE_TRY(Found first, find(kind, id, word));
  if (check_file(first.place, first.record, word, words(id))) return first;
  // Perhaps somebody removed it, or made it anew, between the look at the record and the one at the file.
  IRONCORE_TRY(Found found, find(kind, id, word));
  IRONCORE_CHECK(check_file(found.place, found.record, word, words(id)));
  return found;
}

Error as_damage(Error error) {
  return error.code() == ErrorCode::not_found ? Error(ErrorCode::corrupt, error.message()) : error;
}

Result<bool> has(const Directory& kind, const BlockId& id) {
  IRONCORE_TRY(const auto place, place_of(kind, id));
  return place && place->directory.has(place->record());
}

Result<void> save(const Place& place, const Record& record) {
  return place.directory.replace(place.record(), record.to_text());
}

Error give_up(const Place& place, Error error) {
  (void)place.directory.remove(place.record());
  (void)clear(place);
  return error;
}

Result<std::vector<std::string>> tenants(const Directory& kind) {
  IRONCORE_TRY(auto names, kind.names());
  std::erase_if(names, [](const std::string& name) { return check_dns_label(name).has_value(); });
  return names;
}

Result<void> each_record(const Directory& kind,
                         const std::function<void(const BlockId&, const Place&, const Record&)>& take) {
  IRONCORE_TRY(const auto all, tenants(kind));
  for (const auto& tenant : all) {
    IRONCORE_CHECK(each_record_of(
        kind, tenant, [&](const BlockId& id, const Place& place, const Result<std::optional<Record>>& record) {
          if (record && *record) take(id, place, **record);
        }));
  }
  return {};
}

Result<void> each_record_of(const Directory& kind, const std::string& tenant, const TakeRecord& take) {
  auto directory = kind.enter(tenant);
  if (!directory) {
    if (directory.error().code() == ErrorCode::not_found) return {};
    return directory.error();
  }
  IRONCORE_TRY(const auto names, directory->names());
  Place place{std::move(*directory), {}};
  for (const auto& name : names) {
    if (!name.ends_with(".record")) continue;
    place.stem = name.substr(0, name.find('.'));
    const auto uid = Uid::parse(place.stem);
    if (uid) take({tenant, *uid}, place, load(place));
  }
  return {};
}

Result<Stems> stems_in(const Directory& directory) {
  IRONCORE_TRY(const auto names, directory.names());
  Stems out;
  for (const auto& name : names) {
    if (name.ends_with(".record")) out.with_record.insert(name.substr(0, name.find('.')));
  }
  for (const auto& name : names) {
    auto stem = name.substr(0, name.find('.'));
    if (!out.with_record.contains(stem)) {
      out.without_record.insert(std::move(stem));
    } else if (name.ends_with(".record.new")) {
      out.with_new_record.insert(std::move(stem));
    }
  }
  return out;
}

}  // namespace ironcore::storage::local
