// SPDX-License-Identifier: Apache-2.0
// YAML text → manifests, through the events of yaml-cpp.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <sstream>

#include "core_schema.hpp"
#include "flow_limits.hpp"
#include "manifest_builder.hpp"

namespace ironcore::api {

namespace {

constexpr std::string_view core_tag = "tag:yaml.org,2002:";

/// Marks of yaml-cpp as places.
class Marks {
 public:
  explicit Marks(std::string_view text) : characters_(text) {}

  Place place(const YAML::Mark& mark) const {
    // yaml-cpp counts from 0, columns in bytes, and gives -1 where it does not know.
    if (mark.line < 0 || mark.column < 0) return {};
    const auto line = static_cast<std::size_t>(mark.line), column = static_cast<std::size_t>(mark.column);
    if (mark.pos < mark.column) return {line + 1, column + 1};
    const auto offset = static_cast<std::size_t>(mark.pos);
    return {line + 1, characters_.before(offset) - characters_.before(offset - column) + 1};
  }

 private:
  Characters characters_;
};

/// What yaml-cpp lets pass although it is not YAML, looked up in the text itself.
class Leniency {
 public:
  Leniency(std::string_view text, const Marks& marks) : text_(text), marks_(marks) {}

  /// A quoted text that the end of the file ends.
  void check_quotes(const YAML::Mark& mark) const {
    auto at = offset(mark);
    // Anchor and tag come before the quote.
    while (at < text_.size() && (text_[at] == '&' || text_[at] == '!')) {
      at = std::min(text_.find_first_of(" \t\r\n", at), text_.size());
      at = std::min(text_.find_first_not_of(" \t\r\n", at), text_.size());
    }
    if (at == text_.size() || (text_[at] != '\'' && text_[at] != '"')) return;
    const char quote = text_[at];
    for (auto i = at + 1; i < text_.size(); ++i) {
      const bool is_escape = quote == '"' ? text_[i] == '\\' : text_.substr(i).starts_with("''");
      if (is_escape) {
        ++i;
      } else if (text_[i] == quote) {
        return;
      }
    }
    throw ManifestFailure{marks_.place(mark), "the quote that starts here does not end"};
  }

  /// A document after the first that nothing separates from the one before.
  void check_separator(const YAML::Mark& mark) const {
    const auto start = offset(mark);
    if (text_.substr(start).starts_with("---")) return;
    auto before = text_.substr(0, start);
    while (!before.empty()) {
      // The last line that is not blank and no comment must end the document before.
      const auto newline = before.substr(0, before.size() - 1).rfind('\n');
      const auto line = before.substr(newline == std::string_view::npos ? 0 : newline + 1);
      const auto content = line.find_first_not_of(" \t\r\n");
      if (content != std::string_view::npos && line[content] != '#') {
        if (line.starts_with("...") || line.starts_with("%")) return;
        break;
      }
      before.remove_suffix(line.size());
    }
    throw ManifestFailure{marks_.place(mark), "something follows the end of the document: separate documents by ---"};
  }

 private:
  std::size_t offset(const YAML::Mark& mark) const {
    return mark.pos < 0 ? text_.size() : std::min(static_cast<std::size_t>(mark.pos), text_.size());
  }

  std::string_view text_;
  const Marks& marks_;
};

/// One document at a time.
class Documents final : public YAML::EventHandler {
 public:
  Documents(std::string_view text, const Marks& marks, const ManifestLimits& limits)
      : limits_(limits), marks_(marks), leniency_(text, marks) {}

  std::vector<Manifest> take() { return std::move(manifests_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // At a stray comma or bracket the parser finds one empty document after the other and never moves on.
    if (mark.pos == last_start_) throw ManifestFailure{place_of(mark), "this does not belong here"};
    last_start_ = mark.pos;
    last_place_ = place_of(mark);
    if (!is_first_) leniency_.check_separator(mark);
    is_first_ = false;
    builder_.emplace(limits_);
    anchors_.clear();
    open_.clear();
    is_empty_ = true;
  }

  void OnDocumentEnd() override {
    if (!is_empty_) manifests_.push_back(builder_->finish());
    builder_.reset();
    if (is_empty_) return;
    all_json_bytes_ += manifests_.back().json().size();
    if (all_json_bytes_ > limits_.all_json_bytes)
      throw ManifestFailure{last_place_,
                            "the documents up to this one take more than " + mebibytes(limits_.all_json_bytes) +
                                " as JSON, aliases counted as often as they are used",
                            ErrorCode::exhausted};
  }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (builder_->depth() == 0) return;  // an empty document
    const auto place = place_of(mark);
    if (builder_->expects_key())
      throw ManifestFailure{place, "the name of a member is missing here; put it in quotes if it is null or ~"};
    const auto piece = builder_->begin_piece();
    builder_->scalar(place, "null");
    remember(anchor, builder_->end_piece(piece));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto place = place_of(mark);
    if (builder_->expects_key()) throw ManifestFailure{place, "an alias cannot be the name of a member: write it out"};
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw ManifestFailure{place, "an alias cannot stand inside what it stands for"};
    builder_->repeat(place, found->second);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const auto place = place_of(mark);
    if (tag != "?") leniency_.check_quotes(mark);
    if (builder_->expects_key()) return on_key(place, tag, anchor, value);
    is_empty_ = false;
    const auto piece = builder_->begin_piece();
    add_scalar(place, tag, value);
    remember(anchor, builder_->end_piece(piece));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    begin(mark, tag, "seq", anchor);
    builder_->begin_list(place_of(mark));
  }
  void OnSequenceEnd() override { end(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    begin(mark, tag, "map", anchor);
    builder_->begin_object(place_of(mark));
  }
  void OnMapEnd() override { end(); }

 private:
  struct Open {
    YAML::anchor_t anchor;
    ManifestBuilder::Piece piece;
    Place place;
  };

  void on_key(Place place, const std::string& tag, YAML::anchor_t anchor, const std::string& name) {
    if (tag == "?" && name == "<<")
      throw ManifestFailure{place, "merge keys (<<) are not supported: write the members out"};
    if (tag != "?" && tag != "!" && tag != std::string(core_tag) + "str")
      throw ManifestFailure{place, "the name of a member is a text: " + tag.substr(0, 64) + " cannot be used here"};
    // Names are not values: an alias of one has nothing to repeat.
    if (anchor != YAML::NullAnchor) throw ManifestFailure{place, "the name of a member cannot have an anchor"};
    builder_->key(place, name);
  }

  void add_scalar(Place place, const std::string& tag, const std::string& value) {
    if (tag == "!" || tag == std::string(core_tag) + "str") return builder_->string(place, value);
    const auto plain = resolve_plain(value);
    if (tag != "?" && !tag.empty()) {
      const bool fits = (tag == std::string(core_tag) + "int" && plain.type == ScalarType::integer) ||
                        (tag == std::string(core_tag) + "float" &&
                         (plain.type == ScalarType::number || plain.type == ScalarType::integer)) ||
                        (tag == std::string(core_tag) + "bool" && plain.type == ScalarType::boolean) ||
                        (tag == std::string(core_tag) + "null" && plain.type == ScalarType::null);
      if (!fits)
        throw ManifestFailure{place, "the tag " + tag.substr(0, 64) + " does not fit here or is not supported"};
    }
    switch (plain.type) {
      case ScalarType::text:
        return builder_->string(place, value);
      case ScalarType::no_json:
        throw ManifestFailure{place, "JSON has no such number; put it in quotes if it is meant as text"};
      default:
        builder_->scalar(place, plain.json);
    }
  }

  void begin(const YAML::Mark& mark, const std::string& tag, std::string_view wanted, YAML::anchor_t anchor) {
    const auto place = place_of(mark);
    is_empty_ = false;
    if (builder_->expects_key())
      throw ManifestFailure{place, "the name of a member is a text, not a list or an object"};
    if (!tag.empty() && tag != "?" && tag != "!" && tag != std::string(core_tag).append(wanted))
      throw ManifestFailure{place, "the tag " + tag.substr(0, 64) + " does not fit here or is not supported"};
    open_.push_back({anchor, builder_->begin_piece(), place});
  }

  void end() {
    const auto [anchor, piece, place] = open_.back();
    open_.pop_back();
    builder_->end_container(place);
    remember(anchor, builder_->end_piece(piece));
  }

  void remember(YAML::anchor_t anchor, const ManifestBuilder::Piece& piece) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = piece;
  }

  Place place_of(const YAML::Mark& mark) const { return marks_.place(mark); }

  const ManifestLimits& limits_;
  const Marks& marks_;
  std::vector<Manifest> manifests_;
  std::size_t all_json_bytes_ = 0;
  Place last_place_;  ///< where the present document starts
  std::optional<ManifestBuilder> builder_;
  std::map<YAML::anchor_t, ManifestBuilder::Piece> anchors_;
  std::vector<Open> open_;
  Leniency leniency_;
  int last_start_ = -1;
  bool is_first_ = true;
  bool is_empty_ = true;
};

Result<std::vector<Manifest>> parse_yaml(std::string_view text, const ManifestLimits& limits) {
  std::istringstream stream{std::string(text)};
  const Marks marks(text);
  Documents documents(text, marks, limits);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(documents)) {
    }
  } catch (const ManifestFailure& failure) {
    return failure.error();
  } catch (const YAML::Exception& failure) {
    return ManifestFailure{marks.place(failure.mark), failure.msg}.error();
  }
  return documents.take();
}

/// Refuses what no text file has: bytes that are not UTF-8, control characters.
Result<> check_characters(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool is_control = c < 0x20 && c != '\n' && c != '\r' && c != '\t';
    const auto length = is_control ? 0 : json::utf8_length(text.substr(i));
    if (length == 0) {
      const auto [line, column] = json::position_of(text, i);
      return ManifestFailure{{line, column}, is_control ? "there is a control character" : "this is not UTF-8"}.error();
    }
    i += length;
  }
  return {};
}

/// Whether the text is JSON, or was meant to be: it starts with an object, whose first name is in quotes.
bool is_json(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return false;
  json::Reader reader(text);
  if (reader.skip()) {
    // A comment or another document makes it YAML.
    auto rest = text.substr(reader.offset());
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
    return !(rest.starts_with("---") || rest.starts_with("...") || rest.starts_with('#'));
  }
  const auto second = text.find_first_not_of(" \t\r\n", first + 1);
  return second == std::string_view::npos || text[second] == '"' || text[second] == '}';
}

}  // namespace

Result<std::vector<Manifest>> parse_manifests(std::string_view text, const ManifestLimits& limits) {
  if (text.size() > limits.file_bytes)
    return Error(ErrorCode::exhausted, "a manifest file may have up to " + mebibytes(limits.file_bytes) +
                                           "; this one has " + std::to_string(text.size()) + " bytes");
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  IRONCORE_CHECK(check_characters(text));
  if (!is_json(text)) {
    IRONCORE_CHECK(check_flow_limits(text, limits.values));
    return parse_yaml(text, limits);
  }
  // JSON goes through our own reader: it knows what YAML's does not (pairs of surrogates) and says better
  // what is missing.
  auto manifest = read_json_manifest(text, limits);
  if (!manifest) {
    // The same form of place as for YAML.
    const Error error = manifest.error();
    const bool has_place = error.message().starts_with("JSON line ");
    return Error(error.code(), error.message().substr(has_place ? 5 : 0));
  }
  std::vector<Manifest> one;
  one.push_back(std::move(*manifest));
  return one;
}

}  // namespace ironcore::api
