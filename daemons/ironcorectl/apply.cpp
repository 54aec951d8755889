// SPDX-License-Identifier: Apache-2.0
// The three-way merge of `apply`, object by object.
#include "ironcorectl/apply.hpp"

#include <boost/json.hpp>
#include <ostream>

#include "ironcore/api/core.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcorectl/manifest_files.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

namespace json = boost::json;

/// The member as an object, made when it is absent.
json::object& child(json::object& parent, std::string_view name) {
  auto& member = parent[name];
  if (!member.is_object()) member.emplace_object();
  return member.get_object();
}

/// What is remembered of a manifest: all of it, but of a Secret only which keys it had. That is all the merge
/// needs, and an annotation is printed by whoever prints an object.
std::string remembered(const Manifest& manifest) {
  if (!manifest.object.is<api::Secret>()) return manifest.json;
  auto tree = json::parse(manifest.json).as_object();
  if (auto* data = tree.if_contains("data"); data && data->is_object()) {
    for (auto& [key, value] : data->get_object()) value = "";
  }
  return json::serialize(tree);
}

/// The manifest with its own memory in it.
std::string with_memory(const Manifest& manifest) {
  auto tree = json::parse(manifest.json).as_object();
  child(child(tree, "metadata"), "annotations")[last_applied_annotation] = remembered(manifest);
  return json::serialize(tree);
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
  const std::string wanted = with_memory(manifest);
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
  // The merge was made against this revision; another writer in between makes it a conflict, and it is made
  // again.
  auto tree = json::parse(patch).as_object();
  child(tree, "metadata")["resourceVersion"] = std::to_string(current->metadata().resource_version.value);
  IRONCORE_CHECK(store::commit_one(store, store::Patch{key, json::serialize(tree)}));
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

Result<void> apply(Session& session, const ManifestOptions& options) {
  IRONCORE_TRY(const auto manifests, read_manifests(session, options.files));
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
  IRONCORE_TRY(const auto manifests, read_manifests(session, options.files));
  IRONCORE_TRY(store::Store* const store, session.store());
  return for_each(session, manifests, [&](const Manifest& manifest) -> Result<std::string> {
    IRONCORE_TRY(const auto object, store::commit_one(*store, store::Create{manifest.object}));
    return text_of(object) + " created";
  });
}

}  // namespace ironcore::ctl
