// SPDX-License-Identifier: Apache-2.0
// Finding and verifying an image's documents in a layout directory.
#include "ironcore/image/layout.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "ironcore/base/file.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::image {

namespace {

constexpr int max_levels = 4;
constexpr int max_documents = 100;

std::string joined(const std::set<std::string>& words) {
  std::string text;
  std::size_t count = 0;
  for (const auto& word : words) {
    if (++count > 10) return text + ", ...";
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

/// Follows indexes down to the one manifest for the platform.
class Search {
 public:
  Search(std::filesystem::path blobs, const Platform& platform) : blobs_(std::move(blobs)), platform_(platform) {}

  /// Manifests made for the platform, among those of the given entries and of the indexes that they name.
  Result<> visit(const std::vector<Descriptor>& entries, int level) {
    for (const auto& entry : entries) {
      if (entry.platform && *entry.platform != platform_) {
        others_.insert(entry.platform->to_text());
        continue;
      }
      auto visited = within(visit(entry, level), "blob " + entry.digest.to_text());
      if (visited) continue;
      const auto code = visited.error().code();
      if (code == ErrorCode::exhausted || (entry.platform && code != ErrorCode::unsupported)) return visited;
      // What is no image is passed over, as the specification of the index wants. What cannot be read and does not say
      // which platform it is for may be another one's.
      auto& first = code == ErrorCode::unsupported ? foreign_ : unreadable_;
      if (!first) first = visited.error();
    }
    return {};
  }

  /// The one manifest found; those that say their platform come before those that do not.
  Result<Image> found(std::string_view what) const {
    if (exact_.empty() && unreadable_) return *unreadable_;
    if (exact_.empty() && unnamed_.empty()) {
      if (foreign_) return *foreign_;
      if (others_.empty()) return Error(ErrorCode::not_found, std::string(what) + " holds no image");
      return Error(ErrorCode::not_found,
                   std::string(what) + " has no image for " + platform_.to_text() + "; it has " + joined(others_));
    }
    const auto& candidates = exact_.empty() ? unnamed_ : exact_;
    const auto& first = candidates.front();
    for (const auto& other : candidates)
      if (other.descriptor.digest != first.descriptor.digest)
        return Error(ErrorCode::invalid, std::string(what) + " has several images for " + platform_.to_text() +
                                             "; name one of them by tag or digest (" +
                                             first.descriptor.digest.to_text() + ", " +
                                             other.descriptor.digest.to_text() + ")");
    return first;
  }

 private:
  Result<> visit(const Descriptor& entry, int level) {
    if (is_index_type(entry.media_type)) {
      if (level >= max_levels) return Error(ErrorCode::invalid, "indexes are nested more than four levels deep");
      if (!seen_.insert(entry.digest).second) return {};
      IRONCORE_TRY(const auto text, document(entry));
      IRONCORE_TRY(const auto index, parse_index(text));
      return visit(index.manifests, level + 1);
    }
    if (!is_manifest_type(entry.media_type))
      return Error(ErrorCode::unsupported,
                   "the media type " + in_quotes(entry.media_type) + " is neither an index nor a manifest");

    Image image{entry, {}, {}};
    IRONCORE_TRY(const auto text, document(entry));
    IRONCORE_TRY(image.manifest, parse_manifest(text));
    IRONCORE_TRY(const auto config_text,
                 within(document(image.manifest.config), "config " + image.manifest.config.digest.to_text()));
    IRONCORE_TRY(image.config, within(parse_config(config_text), "config " + image.manifest.config.digest.to_text()));
    if (image.config.platform && *image.config.platform != platform_) {
      others_.insert(image.config.platform->to_text());
      return {};
    }
    (entry.platform || image.config.platform ? exact_ : unnamed_).push_back(std::move(image));
    return {};
  }

  Result<std::string> document(const Descriptor& blob) {
    if (++documents_ > max_documents)
      return Error(ErrorCode::exhausted, "the image consists of more than 100 documents");
    return read_document(blobs_, blob);
  }

  std::filesystem::path blobs_;
  const Platform& platform_;
  std::set<crypto::Digest> seen_;
  std::vector<Image> exact_, unnamed_;
  std::optional<Error> foreign_;     // the first entry that is no image
  std::optional<Error> unreadable_;  // the first one that may be for our platform and is damaged
  std::set<std::string> others_;
  int documents_ = 0;
};

/// What a document found by digest alone claims to be; the media type is optional in OCI documents.
Result<std::string> media_type_of(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = 16;
  boost::system::error_code failed;
  const auto value = boost::json::parse(boost::json::string_view(text.data(), text.size()), failed, {}, options);
  if (failed || !value.is_object()) return Error(ErrorCode::invalid, "this is neither an index nor a manifest");
  const auto& object = value.get_object();
  if (const auto* type = object.if_contains("mediaType"); type != nullptr && type->is_string())
    return std::string(type->get_string().data(), type->get_string().size());
  if (object.contains("manifests")) return std::string("application/vnd.oci.image.index.v1+json");
  return std::string("application/vnd.oci.image.manifest.v1+json");
}

}  // namespace

std::filesystem::path blob_path(const std::filesystem::path& blobs, const crypto::Digest& digest) {
  return blobs / std::string(crypto::name(digest.algorithm())) / digest.hex();
}

Result<std::string> read_document(const std::filesystem::path& blobs, const Descriptor& blob) {
  if (blob.size > max_document_bytes) return Error(ErrorCode::exhausted, "the document is larger than 4 MiB");
  IRONCORE_TRY(auto text, read_file(blob_path(blobs, blob.digest), max_document_bytes));
  if (blob.size != 0 && text.size() != blob.size)
    return Error(ErrorCode::corrupt, "it has " + std::to_string(text.size()) + " bytes instead of " +
                                         std::to_string(blob.size) + "; copy the image again");
  if (crypto::hash(blob.digest.algorithm(), as_bytes(text)) != blob.digest)
    return Error(ErrorCode::corrupt, "its content does not match its digest; copy the image again");
  return text;
}

Result<Layout> Layout::open(std::filesystem::path directory) {
  const auto context = "image layout " + directory.string();
  const auto open = [&]() -> Result<Layout> {
    auto marker = read_file(directory / "oci-layout", 4096);
    if (!marker && marker.error().code() == ErrorCode::not_found)
      return Error(ErrorCode::not_found, "there is no OCI image layout here (the file oci-layout is missing)");
    if (!marker) return marker.error();
    boost::system::error_code failed;
    const auto value = boost::json::parse(*marker, failed);
    const auto* object = failed ? nullptr : value.if_object();
    const auto* version = object == nullptr ? nullptr : object->if_contains("imageLayoutVersion");
    if (version == nullptr || !version->is_string())
      return Error(ErrorCode::invalid, "oci-layout: imageLayoutVersion is missing");
    if (!version->get_string().starts_with("1."))
      return Error(ErrorCode::unsupported,
                   "the layout's version " + in_quotes(std::string_view(version->get_string())) + " is not 1.x");
    IRONCORE_TRY(const auto text, read_file(directory / "index.json", max_document_bytes));
    IRONCORE_TRY(auto index, within(parse_index(text), "index.json"));
    return Layout(directory, std::move(index));
  };
  return within(open(), context);
}

std::vector<std::string> Layout::tags() const {
  std::set<std::string> tags;
  for (const auto& entry : index_.manifests)
    if (!entry.reference_name.empty()) tags.insert(entry.reference_name);
  return {tags.begin(), tags.end()};
}

Result<Image> Layout::resolve(const std::optional<std::string>& tag, const std::optional<crypto::Digest>& digest,
                              const Platform& platform) const {
  const auto context = "image layout " + directory_.string();
  std::vector<Descriptor> entries;
  for (const auto& entry : index_.manifests) {
    if (digest ? entry.digest == *digest : (!tag || entry.reference_name == *tag)) entries.push_back(entry);
  }
  std::string what = "the layout";
  if (digest) {
    // The digest alone decides; the tag beside it is for people and may have been moved since.
    what = digest->to_text();
    if (entries.empty()) {
      // Not in the top index, so perhaps named by an index below.
      Descriptor blob;
      blob.digest = *digest;
      auto text = read_document(blobs(), blob);
      if (!text && text.error().code() == ErrorCode::not_found)
        return Error(ErrorCode::not_found, what + " is not there").within(context);
      if (!text) return text.error().within("blob " + what).within(context);
      auto type = media_type_of(*text);
      if (!type) return type.error().within("blob " + what).within(context);
      blob.media_type = *type;
      blob.size = text->size();
      entries.push_back(std::move(blob));
    }
  } else if (tag) {
    what = "tag " + *tag;
    if (entries.empty()) {
      const auto known = tags();
      const auto there = joined({known.begin(), known.end()});
      return Error(ErrorCode::not_found, "there is no tag " + in_quotes(*tag) +
                                             did_you_mean(*tag, std::span<const std::string>(known)) +
                                             (there.empty() ? "; no image has a tag" : "; there is " + there))
          .within(context);
    }
  } else if (const auto known = tags(); known.size() > 1) {
    return Error(ErrorCode::invalid,
                 "there are several images; name one of the tags " + joined({known.begin(), known.end()}))
        .within(context);
  }
  Search search(blobs(), platform);
  IRONCORE_CHECK(within(search.visit(entries, 0), context));
  return within(search.found(what), context);
}

}  // namespace ironcore::image
