// SPDX-License-Identifier: Apache-2.0
// Manifests as people write and read them: YAML or JSON text → JSON, with the place of each field; and back
// to YAML.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::api {

/// Link unit `libironcore-yaml`. Everything here is for the edge: programs that read files and print objects.

/// How much of a file is read: what bounds memory. The defaults are for objects of the store.
struct ManifestLimits {
  std::size_t file_bytes = 4 * 1024 * 1024;       ///< all documents together
  std::size_t values = 100'000;                   ///< in one document, aliases counted as often as they are used
  std::size_t json_bytes = 1'572'864;             ///< of one document as JSON, likewise
  std::size_t all_json_bytes = 16 * 1024 * 1024;  ///< of all documents as JSON
};

/// Line and column, both from 1. Columns count characters.
struct Place {
  std::size_t line = 1;
  std::size_t column = 1;
  friend bool operator==(const Place&, const Place&) = default;
};

/// One document of a file: its JSON, and where in the file its fields are. Thread: any (immutable).
class Manifest {
 public:
  /// One object, ready for `Object::decode`.
  const std::string& json() const noexcept { return json_; }
  /// Where a field (`spec.volumes[1].device`, as in a FieldError) is, or the innermost field around it that
  /// is there.
  Place find(std::string_view field) const;

 private:
  friend class ManifestBuilder;
  struct Entry {
    std::size_t parent = 0;  // index of an entry before this one; the root is its own parent
    std::string step;        // `.name` of a member, `[1]` of an element
    Place place;
  };
  std::string json_;
  std::vector<Entry> entries_;
};

/// The documents of a file, separated by `---`; empty ones are left out. A text that starts with `{"` is JSON (several
/// of them: with `---` between). YAML follows the 1.2 core schema:
/// `on` and `yes` are texts, quoted text stays text. Anchors and aliases work; merge keys (`<<`), tags of
/// one's own, duplicate members, names of members that are no text, and nesting deeper than 32 levels do not.
/// `invalid` (or `exhausted` for the sizes above) with line and column: `line 3, column 7: …`.
Result<std::vector<Manifest>> parse_manifests(std::string_view text, const ManifestLimits& limits = {});

/// An error about the object of a manifest, for the person who wrote the file: one line for each wrong field,
/// or one in all. `web.yaml:12:5: spec.powr: unknown field (did you mean "power"?)`
std::vector<std::string> locate(const Error& error, const Manifest& manifest, std::string_view file);

/// Block style, as `kubectl get -o yaml` prints; what YAML 1.1 would take for something else is quoted.
/// `invalid` for text that is no JSON.
Result<std::string> to_yaml(std::string_view json);
/// Indented by two blanks.
Result<std::string> to_indented_json(std::string_view json);

}  // namespace ironcore::api
