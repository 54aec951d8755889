// SPDX-License-Identifier: Apache-2.0
// The three-way merge of `apply`, object by object.
#include "ironcorectl/apply.hpp"

#include <ostream>

#include "ironcore/api/core.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcorectl/manifest_files.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

namespace json = api::json;

/// What is remembered of a manifest: all of it, but of a Secret only which keys it had. That is all the merge
/// needs, and an annotation is printed by whoever prints an object.
std::string remembered(const Manifest& manifest, json::Tree tree) {
  if (!manifest.object.is<api::Secret>()) return manifest.json;
  if (auto* const data = tree.find("data")) {
    for (auto& [key, value] : data->members) value = json::Tree::string("");
  }
  return json::to_text(tree);
}

/// The manifest with its own memory in it.
Result<std::string> with_memory(const Manifest& manifest) {
  IRONCORE_TRY(json::Tree tree, json::parse_tree(manifest.json, json::Nulls::drop));
  const std::string memory = remembered(manifest, tree);
  std::size_t size = last_applied_annotation.size() + memory.size();
  for (const auto& [key, value] : manifest.object.metadata().annotations) size += key.size() + value.size();
  if (size > api::max_annotation_bytes) {
    return Error(ErrorCode::exhausted,
                 "is too large for apply, which keeps the manifest in an annotation (up to 256 KiB): use create, and "
                 "edit for changes");
  }
  tree.object_at("metadata").object_at("annotations").set(last_applied_annotation, json::Tree::string(memory));
  return json::to_text(tree);
}

enum class Outcome { created, configured, unchanged };

std::string_view word(Outcome outcome) {
  switch (outcome) {
    case Outcome::created:
      return "created";
    case Outcome::configured:
      return "configured";
    case Outcome::unchanged:
      return "unchanged";
  }
  return "";
}

Result<Outcome> apply_once(store::Store& store, const Manifest& manifest) {
  const store::Key key = store::key_of(manifest.object);
  IRONCORE_TRY(const std::string wanted, with_memory(manifest));
  const auto current = store.get(key);
  if (!current && current.error().code() == ErrorCode::not_found) {
    IRONCORE_TRY(auto object, manifest.object.kind().decode(wanted));
    IRONCORE_CHECK(store::commit_one(store, store::Create{std::move(object)}));
    return Outcome::created;
  }
  IRONCORE_CHECK(current);
  const auto& meant = manifest.object.metadata().resource_version;
  if (meant.value != 0 && meant != current->metadata().resource_version) {
    return Error(ErrorCode::wrong_state, text_of(manifest.object) +
                                             " has changed: the manifest names resourceVersion " +
                                             std::to_string(meant.value) + ", it is " +
                                             std::to_string(current->metadata().resource_version.value) +
                                             " now; leave resourceVersion out, or start from what is there");
  }
  if (current->metadata().deletion_timestamp) {
    return Error(ErrorCode::wrong_state, "is being deleted: wait until it is gone, then apply again");
  }
  const auto& annotations = current->metadata().annotations;
  const auto last = annotations.find(std::string(last_applied_annotation));
  IRONCORE_TRY(std::string patch,
               api::three_way_patch(last == annotations.end() ? "" : last->second, wanted, *current));
  if (patch == "{}") return Outcome::unchanged;
  IRONCORE_TRY(json::Tree tree, json::parse_tree(patch, json::Nulls::keep));
  IRONCORE_CHECK(store::commit_one(store, patch_at(*current, std::move(tree))));
  return Outcome::configured;
}

Result<Outcome> apply_one(store::Store& store, const Manifest& manifest) {
  constexpr int attempts = 8;
  for (int attempt = 1;; ++attempt) {
    auto outcome = apply_once(store, manifest);
    const bool is_race = !outcome && (outcome.error().code() == ErrorCode::conflict ||
                                      outcome.error().code() == ErrorCode::already_exists);
    if (!is_race || attempt == attempts) return outcome;
  }
}

/// Runs `one` for each manifest, also after one that failed; the error has a line for each failure.
template <class F>
Result<void> for_each(Session& session, const std::vector<Manifest>& manifests, F one) {
  std::optional<Error> errors;
  for (const Manifest& manifest : manifests) {
    const Result<std::string> done = one(manifest);
    if (done) {
      session.out() << *done << std::endl;
      continue;
    }
    const Error error = manifest.located(done.error());
    errors = errors ? Error(errors->code(), errors->message() + '\n' + error.message()) : error;
  }
  if (errors) return *errors;
  return {};
}

}  // namespace

store::Patch patch_at(const api::Object& current, api::json::Tree patch) {
  patch.object_at("metadata")
      .set("resourceVersion", json::Tree::string(std::to_string(current.metadata().resource_version.value)));
  return {store::key_of(current), json::to_text(patch)};
}

Result<void> apply(Session& session, const ManifestOptions& options) {
  IRONCORE_TRY(const auto manifests, read_manifests(session, options.files, UnknownMembers::as_stored));
  IRONCORE_TRY(store::Store* const store, session.store());
  return for_each(session, manifests, [&](const Manifest& manifest) -> Result<std::string> {
    if (manifest.object.name().empty()) {
      return Error(ErrorCode::invalid, "metadata.name is missing: apply needs one, create takes generateName");
    }
    IRONCORE_TRY(const Outcome outcome, apply_one(*store, manifest));
    return text_of(manifest.object) + ' ' + std::string(word(outcome));
  });
}

Result<void> create(Session& session, const ManifestOptions& options) {
  IRONCORE_TRY(const auto manifests, read_manifests(session, options.files, UnknownMembers::refuse));
  IRONCORE_TRY(store::Store* const store, session.store());
  return for_each(session, manifests, [&](const Manifest& manifest) -> Result<std::string> {
    IRONCORE_TRY(const auto object, store::commit_one(*store, store::Create{manifest.object}));
    return text_of(object) + " created";
  });
}

}  // namespace ironcore::ctl
