// SPDX-License-Identifier: Apache-2.0
// Building manifests, from JSON directly, and finding fields in them.
#include "manifest_builder.hpp"

#include <algorithm>

#include "../json_writer.hpp"

namespace ironcore::api {

namespace {

std::string shown(std::string_view name) {
  return "\"" + std::string(name.substr(0, 64)) + "\"";
}

std::size_t count_characters(std::string_view text) {
  // The further bytes of a UTF-8 sequence start with the bits 10.
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Feeds a reader's values to a builder.
class JsonPlaces {
 public:
  explicit JsonPlaces(std::string_view text) : reader_(text), characters_(text) {
    for (std::size_t i = 0; i < text.size(); ++i)
      if (text[i] == '\n') line_starts_.push_back(i + 1);
  }

  bool read(ManifestBuilder& builder) {
    const auto type = reader_.peek();
    if (reader_.has_failed()) return false;
    const auto here = place(reader_.offset());
    std::string_view key;
    switch (type) {
      case json::Type::object:
        if (!reader_.begin_object()) return false;
        builder.begin_object(here);
        while (reader_.next_member(key)) {
          builder.key(place(reader_.key_offset()), key);
          if (!read(builder)) return false;
        }
        break;
      case json::Type::list:
        if (!reader_.begin_list()) return false;
        builder.begin_list(here);
        while (reader_.next_item())
          if (!read(builder)) return false;
        break;
      default:
        builder.scalar(here, "0");  // only its place counts: the text itself stays the manifest's JSON
        return reader_.skip();
    }
    if (reader_.has_failed()) return false;
    builder.end_container(place(reader_.offset()));
    return true;
  }

  json::Reader& reader() { return reader_; }

 private:
  Place place(std::size_t offset) const {
    const auto line = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset) - 1;
    return {static_cast<std::size_t>(line - line_starts_.begin()) + 1,
            characters_.before(offset) - characters_.before(*line) + 1};
  }

  json::Reader reader_;
  Characters characters_;
  std::vector<std::size_t> line_starts_{0};
};

}  // namespace

Characters::Characters(std::string_view text) : text_(text) {
  std::size_t count = 0;
  for (std::size_t from = 0; from <= text.size(); from += block) {
    before_block_.push_back(count);
    count += count_characters(text.substr(from, block));
  }
}

std::size_t Characters::before(std::size_t offset) const {
  const auto start = std::min(offset, text_.size()) / block;
  return before_block_[start] +
         count_characters(text_.substr(start * block, std::min(offset, text_.size()) - start * block));
}

std::string mebibytes(std::size_t bytes) {
  constexpr std::size_t tenths_of_one = 10;
  constexpr std::size_t mebibyte = 1024 * 1024;
  const auto tenths = bytes * tenths_of_one / mebibyte;
  const auto rest = tenths % tenths_of_one;
  return std::to_string(tenths / tenths_of_one) + (rest == 0 ? "" : "." + std::to_string(rest)) + " MiB";
}

Error ManifestFailure::error() const {
  return Error(code,
               "line " + std::to_string(place.line) + ", column " + std::to_string(place.column) + ": " + message);
}

std::size_t ManifestBuilder::add_entry(std::size_t parent, std::string step, Place place) {
  entries_.push_back({.parent = parent, .step = std::move(step), .place = place});
  return entries_.size() - 1;
}

void ManifestBuilder::check_size(Place place) const {
  if (json_.size() > limits_.json_bytes) throw too_large(place);
}

ManifestFailure ManifestBuilder::too_large(Place place) const {
  return {place, "the document takes more than " + mebibytes(limits_.json_bytes) + " as JSON", ErrorCode::exhausted};
}

std::size_t ManifestBuilder::begin_value(Place place, std::size_t values) {
  values_ += values;
  if (values_ > limits_.values)
    throw ManifestFailure{place,
                          "the document has more than " + std::to_string(limits_.values) +
                              " values, aliases counted as often as they are used",
                          ErrorCode::exhausted};
  check_size(place);
  if (levels_.empty()) return add_entry(0, {}, place);
  auto& level = levels_.back();
  if (level.is_object) return key_entry_;
  if (level.count > 0) json_.add(',');
  return add_entry(level.entry, "[" + std::to_string(level.count++) + "]", place);
}

void ManifestBuilder::end_value(unsigned height) {
  last_height_ = height;
  if (levels_.empty()) return;
  levels_.back().has_key = false;
  levels_.back().height = std::max(levels_.back().height, height);
}

void ManifestBuilder::begin(Place place, bool is_object) {
  if (levels_.size() == json::max_depth)
    throw ManifestFailure{place, "the value is nested deeper than " + std::to_string(json::max_depth) + " levels"};
  const auto entry = begin_value(place, 1);
  json_.add(is_object ? '{' : '[');
  levels_.push_back({.is_object = is_object, .entry = entry, .names = {}});
}

void ManifestBuilder::begin_object(Place place) {
  begin(place, true);
}
void ManifestBuilder::begin_list(Place place) {
  begin(place, false);
}

void ManifestBuilder::key(Place place, std::string_view name) {
  auto& level = levels_.back();
  if (!level.names.emplace(name).second) throw ManifestFailure{place, "the member " + shown(name) + " comes twice"};
  if (level.count++ > 0) json_.add(',');
  json::append_string(json_, name);
  json_.add(':');
  check_size(place);
  level.has_key = true;
  key_entry_ = add_entry(level.entry, "." + std::string(name.substr(0, 256)), place);
}

void ManifestBuilder::end_container(Place place) {
  json_.add(levels_.back().is_object ? '}' : ']');
  check_size(place);
  const auto height = levels_.back().height + 1;
  levels_.pop_back();
  end_value(height);
}

void ManifestBuilder::scalar(Place place, std::string_view json) {
  begin_value(place, 1);
  json_.add(json);
  end_value(0);
}

void ManifestBuilder::string(Place place, std::string_view text) {
  begin_value(place, 1);
  json::append_string(json_, text);
  end_value(0);
}

void ManifestBuilder::repeat(Place place, const Piece& piece) {
  if (levels_.size() + piece.height > json::max_depth)
    throw ManifestFailure{place, "the value is nested deeper than " + std::to_string(json::max_depth) + " levels"};
  if (json_.size() + piece.size > limits_.json_bytes) throw too_large(place);
  begin_value(place, piece.values);
  json_.add(std::string(json_.view().substr(piece.from, piece.size)));  // a copy: the text may move while it grows
  end_value(piece.height);
}

ManifestBuilder::Piece ManifestBuilder::begin_piece() const {
  // A comma that `begin_value` is about to add does not belong to the value.
  const bool has_comma = !levels_.empty() && !levels_.back().is_object && levels_.back().count > 0;
  return {.from = json_.size() + (has_comma ? 1 : 0), .values = values_};
}

ManifestBuilder::Piece ManifestBuilder::end_piece(const Piece& begun) const {
  return {
      .from = begun.from, .size = json_.size() - begun.from, .values = values_ - begun.values, .height = last_height_};
}

Manifest ManifestBuilder::finish() {
  Manifest manifest;
  manifest.json_ = json_.text();
  manifest.entries_ = std::move(entries_);
  return manifest;
}

Manifest ManifestBuilder::finish_with(std::string_view json) {
  const auto from = json.find_first_not_of(" \t\r\n"), to = json.find_last_not_of(" \t\r\n");
  Manifest manifest;
  if (from != std::string_view::npos) manifest.json_ = json.substr(from, to - from + 1);
  manifest.entries_ = std::move(entries_);
  return manifest;
}

Place Manifest::find(std::string_view field) const {
  // How much of `field` each entry stands for; npos: it is somewhere else. Parents come before their
  // children.
  constexpr auto elsewhere = std::string_view::npos;
  std::vector<std::size_t> covered(entries_.size(), elsewhere);
  Place best;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const auto& entry = entries_[i];
    if (i == 0) {
      covered[i] = 0;
      best = entry.place;
      continue;
    }
    const auto start = covered[entry.parent];
    if (start == elsewhere) continue;
    const auto rest = field.substr(start);
    std::string_view step = entry.step;
    std::size_t used = 0;
    if (step.starts_with('[')) {
      if (rest.starts_with(step)) used = step.size();
    } else {
      step.remove_prefix(1);
      // `.name`, `name` at the start, or `[name]` for an entry of a map.
      const std::size_t dot = rest.starts_with('.') ? 1 : 0;
      if (rest.substr(dot).starts_with(step)) {
        const auto after = rest.substr(dot + step.size());
        if (after.empty() || after.front() == '.' || after.front() == '[') used = dot + step.size();
      }
      if (used == 0 && rest.starts_with('[') && rest.substr(1).starts_with(step) &&
          rest.substr(1 + step.size()).starts_with(']'))
        used = step.size() + 2;
    }
    if (used == 0) continue;
    covered[i] = start + used;
    if (covered[i] > longest) {
      longest = covered[i];
      best = entry.place;
    }
  }
  return best;
}

Result<Manifest> read_json_manifest(std::string_view json, const ManifestLimits& limits) {
  JsonPlaces places(json);
  ManifestBuilder builder(limits);
  try {
    if (!places.read(builder) || !places.reader().finish()) return places.reader().error();
  } catch (const ManifestFailure& failure) {
    return failure.error();
  }
  return builder.finish_with(json);
}

std::vector<std::string> locate(const Error& error, const Manifest& manifest, std::string_view file) {
  const auto line = [&](std::string_view field, const std::string& message) {
    const auto place = manifest.find(field);
    return std::string(file) + ":" + std::to_string(place.line) + ":" + std::to_string(place.column) + ": " + message;
  };
  std::vector<std::string> lines;
  for (const auto& field : error.fields())
    lines.push_back(line(field.field, (field.field.empty() ? "" : field.field + ": ") + field.message));
  if (lines.empty()) lines.push_back(line({}, error.message()));
  return lines;
}

}  // namespace ironcore::api
