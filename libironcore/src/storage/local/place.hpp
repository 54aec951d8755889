// SPDX-License-Identifier: Apache-2.0
// The files of one thing in the store: which they are, when it counts as being there, how it comes and goes.
//
//   DIRECTORY/lock                                byte by byte: who works on what
//   DIRECTORY/bases/<digest>.raw                  sha256-HEX; 0444
//   DIRECTORY/volumes/<tenant>/<uid>.{raw,qcow2}
//   DIRECTORY/snapshots/<tenant>/<uid>.{raw,qcow2}
//
// Beside each of them is `<name>.record`, which comes last and goes first: what has none is not there. While something is removed its record is called
// `<name>.removed`, so that a half removed thing and a half made one differ. `.record.new` is a record that is being written.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "directory.hpp"
#include "record.hpp"

namespace ironcore::storage::local {

/// The name of a base's files.
std::string stem_of(const crypto::Digest& digest);
std::optional<crypto::Digest> parse_stem(std::string stem);
/// `team/<uid>`: for people, and what is locked.
std::string words(const BlockId& id);

/// Where the files of one thing are.
struct Place {
  Directory directory;
  std::string stem;

  std::string record() const { return stem + ".record"; }
  std::string removed() const { return stem + ".removed"; }
  std::string data(image::DiskFormat format) const { return stem + "." + std::string(image::name(format)); }
  std::filesystem::path path(image::DiskFormat format) const { return directory.path(data(format)); }
};

/// A thing that is there.
struct Found {
  Place place;
  Record record;
};

/// Nothing if it is not there.
Result<std::optional<Record>> load(const Place& place);
/// From its return on the thing is there.
Result<void> save(const Place& place, const Record& record);
/// From the first step on the thing is gone.
Result<void> erase(const Place& place);
/// Removes everything except the record. The mark of a removal goes last.
Result<void> clear(const Place& place);
/// After a failure nothing stays. Returns `error`.
Error give_up(const Place& place, Error error);

/// `kind` is the directory of all volumes or of all snapshots.
/// Nothing if the tenant has no directory yet.
Result<std::optional<Place>> place_of(const Directory& kind, const BlockId& id);
Result<Place> make_place(const Directory& kind, const BlockId& id);
/// `not_found`, with this word, if it is not there or was removed.
Result<Found> find(const Directory& kind, const BlockId& id, std::string_view word);
/// Whether the file of a thing can be what its record says, as far as one look tells.
bool is_whole(const Place& place, const Record& record);
/// The same: `not_found` if it is gone, `corrupt` if it is no file or was cut. `word` and `name` say what it is.
Result<void> check_file(const Place& place, const Record& record, std::string_view word, const std::string& name);
/// `find`, with its file.
Result<Found> find_whole(const Directory& kind, const BlockId& id, std::string_view word);
/// For a file that something else rests on: that it is gone is no `not_found` of what was asked for.
Error as_damage(Error error);
/// Whether a thing of this kind has the uid.
Result<bool> has(const Directory& kind, const BlockId& id);

Result<std::vector<std::string>> tenants(const Directory& kind);
/// Damaged records are left out.
Result<void> each_record(const Directory& kind,
                         const std::function<void(const BlockId&, const Place&, const Record&)>& take);
/// The `Place` is good until `take` returns.
using TakeRecord = std::function<void(const BlockId&, const Place&, const Result<std::optional<Record>>&)>;
Result<void> each_record_of(const Directory& kind, const std::string& tenant, const TakeRecord& take);

/// The stems of the files in a directory.
struct Stems {
  std::set<std::string> with_record, without_record;
  std::set<std::string> with_new_record;  ///< that never took the place of the one that is there
};
Result<Stems> stems_in(const Directory& directory);

}  // namespace ironcore::storage::local
