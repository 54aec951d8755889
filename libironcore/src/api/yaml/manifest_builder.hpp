// SPDX-License-Identifier: Apache-2.0
// Puts a Manifest together: JSON text and the place of each field, within the limits.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../json_reader.hpp"
#include "../json_text.hpp"
#include "ironcore/api/yaml.hpp"

namespace ironcore::api {

/// Counts characters where parsers count bytes. Takes an eighth of the text's size, so that each question is
/// answered in constant time.
class Characters {
 public:
  explicit Characters(std::string_view text);
  /// How many start before this byte.
  std::size_t before(std::size_t offset) const;

 private:
  static constexpr std::size_t block = 64;
  std::string_view text_;
  std::vector<std::size_t> before_block_;
};

/// What is wrong with the text of a file, and where.
struct ManifestFailure {
  Place place;
  std::string message;
  ErrorCode code = ErrorCode::invalid;
  Error error() const;
};

/// `4 MiB`, `1.5 MiB`.
std::string mebibytes(std::size_t bytes);

/// Takes the values of one document in their order; throws ManifestFailure (parsers of YAML report by
/// exceptions, so this travels through one).
class ManifestBuilder {
 public:
  /// A piece of JSON that can be repeated: what an anchor stands for.
  struct Piece {
    std::size_t from = 0, size = 0;
    std::size_t values = 0;  // in it, itself included
    unsigned height = 0;     // containers inside each other
  };

  /// `limits` must outlive it.
  explicit ManifestBuilder(const ManifestLimits& limits) : limits_(limits) {}

  void begin_object(Place place);
  void begin_list(Place place);
  void key(Place place, std::string_view name);
  void end_container(Place place);
  /// A scalar in its JSON form.
  void scalar(Place place, std::string_view json);
  void string(Place place, std::string_view text);
  void repeat(Place place, const Piece& piece);

  /// Where the next value will start in the JSON, how many values there were before.
  Piece begin_piece() const;
  /// What came since `begin_piece`: exactly one value.
  Piece end_piece(const Piece& begun) const;

  bool expects_key() const { return !levels_.empty() && levels_.back().is_object && !levels_.back().has_key; }
  std::size_t depth() const { return levels_.size(); }
  Manifest finish();
  /// With `json` as its text: only the places come from what was built.
  Manifest finish_with(std::string_view json);

 private:
  struct Level {
    bool is_object = false;
    bool has_key = false;
    std::size_t entry = 0;
    std::size_t count = 0;
    unsigned height = 0;  // of the highest container inside so far
    std::set<std::string, std::less<>> names;
  };
  void begin(Place place, bool is_object);
  /// Comma, and an entry for an element. Before each value.
  std::size_t begin_value(Place place, std::size_t values);
  void end_value(unsigned height);
  std::size_t add_entry(std::size_t parent, std::string step, Place place);
  void check_size(Place place) const;
  ManifestFailure too_large(Place place) const;

  const ManifestLimits& limits_;
  json::Text json_;
  std::vector<Manifest::Entry> entries_;
  std::vector<Level> levels_;
  std::size_t key_entry_ = 0;
  std::size_t values_ = 0;
  unsigned last_height_ = 0;
};

/// The places of a JSON text; `json` becomes the manifest's text as it is.
Result<Manifest> read_json_manifest(std::string_view json, const ManifestLimits& limits);

}  // namespace ironcore::api
