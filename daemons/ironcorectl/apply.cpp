// SPDX-License-Identifier: Apache-2.0
// The three-way merge of `apply`, object by object.
#include "ironcorectl/apply.hpp"

#include <optional>
#include <ostream>
#include <set>

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

/// What has to be written for a manifest; no operation when nothing has to.
struct Step {
  Outcome outcome = Outcome::unchanged;
  std::optional<store::Operation> operation;
};

/// Looks at what is there, and says what the server would say about the change; writes nothing.
Result<Step> plan(store::Store& store, const Manifest& manifest) {
  if (manifest.object.name().empty()) {
    return Error(ErrorCode::invalid, "metadata.name is missing: apply needs one, create takes generateName");
  }
  const api::Kind& kind = manifest.object.kind();
  IRONCORE_TRY(const std::string wanted, with_memory(manifest));
  const auto current = store.get(store::key_of(manifest.object));
  const auto& told = manifest.object.metadata();
  if (!current && current.error().code() == ErrorCode::not_found) {
    if (told.resource_version.value != 0 || !told.uid.empty()) {
      return Error(ErrorCode::wrong_state,
                   text_of(manifest.object) + " is not there, and the manifest means one that was (it names a " +
                       (told.uid.empty() ? "resourceVersion" : "uid") + "): leave that out to create a new one");
    }
    IRONCORE_TRY(auto object, kind.decode(wanted));
    IRONCORE_CHECK(kind.admit_create(object));
    return Step{Outcome::created, store::Create{std::move(object)}};
  }
  IRONCORE_CHECK(current);
  if (!told.uid.empty() && told.uid != current->metadata().uid) {
    return Error(ErrorCode::wrong_state, text_of(manifest.object) + " is another one now: the manifest names uid " +
                                             told.uid + ", it has " + current->metadata().uid +
                                             "; leave uid out, or start from what is there");
  }
  const auto& meant = told.resource_version;
  if (meant.value != 0 && meant != current->metadata().resource_version) {
    return Error(ErrorCode::wrong_state, text_of(manifest.object) +
                                             " has changed: the manifest names resourceVersion " +
                                             std::to_string(meant.value) + ", it is " +
                                             std::to_string(current->metadata().resource_version.value) +
                                             " now; leave resourceVersion out, or start from what is there");
  }
  if (current->metadata().deletion_timestamp) {
    return Error(ErrorCode::wrong_state,
                 text_of(manifest.object) + " is being deleted: wait until it is gone, then apply again");
  }
  const auto& annotations = current->metadata().annotations;
  const auto last = annotations.find(std::string(last_applied_annotation));
  IRONCORE_TRY(const std::string patch,
               api::three_way_patch(last == annotations.end() ? "" : last->second, wanted, *current));
  if (patch == "{}") return Step{};
  IRONCORE_TRY(const api::Object merged, api::apply_merge_patch(*current, patch));
  IRONCORE_CHECK(kind.admit_update(*current, merged));
  IRONCORE_TRY(json::Tree tree, json::parse_tree(patch, json::Nulls::keep));
  return Step{Outcome::configured, patch_at(*current, std::move(tree))};
}

Result<Outcome> apply_once(store::Store& store, const Manifest& manifest) {
  IRONCORE_TRY(Step step, plan(store, manifest));
  if (step.operation) IRONCORE_CHECK(store::commit_one(store, std::move(*step.operation)));
  return step.outcome;
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
Result<void> for_each(const std::vector<Manifest>& manifests, F one) {
  std::optional<Error> errors;
  for (const Manifest& manifest : manifests) {
    const Result<void> done = one(manifest);
    if (done) continue;
    const Error error = manifest.located(done.error());
    errors = errors ? Error(errors->code(), errors->message() + '\n' + error.message()) : error;
  }
  if (errors) return *errors;
  return {};
}

/// Namespaces that objects need are there, or come from the same files.
class NamespaceCheck {
 public:
  NamespaceCheck(store::Store& store, const std::vector<Manifest>& manifests) : store_(store) {
    for (const Manifest& manifest : manifests) {
      if (manifest.object.is<api::Namespace>()) known_.insert(manifest.object.name());
    }
  }
  Result<void> operator()(const Manifest& manifest) {
    const std::string& name = manifest.object.metadata().namespace_;
    if (name.empty() || known_.contains(name)) return {};
    const auto found = store_.get(store::key<api::Namespace>("", name));
    if (!found && found.error().code() == ErrorCode::not_found) {
      return Error(ErrorCode::not_found, "namespace " + name + " does not exist: create it first");
    }
    // Who may not read namespaces is told by the server whether this one will do.
    known_.insert(name);
    return {};
  }

 private:
  store::Store& store_;
  std::set<std::string> known_;
};

}  // namespace

store::Patch patch_at(const api::Object& current, api::json::Tree patch) {
  patch.object_at("metadata")
      .set("resourceVersion", json::Tree::string(std::to_string(current.metadata().resource_version.value)));
  return {store::key_of(current), json::to_text(patch)};
}

Result<void> apply(Session& session, const ManifestOptions& options) {
  IRONCORE_TRY(const auto manifests, read_manifests(session, options.files, UnknownMembers::as_stored));
  IRONCORE_TRY(store::Store* const store, session.store());
  NamespaceCheck has_namespace(*store, manifests);
  const auto check = [&](const Manifest& manifest) -> Result<void> {
    IRONCORE_CHECK(has_namespace(manifest));
    IRONCORE_CHECK(plan(*store, manifest));
    return {};
  };
  IRONCORE_CHECK(for_each(manifests, check));
  return for_each(manifests, [&](const Manifest& manifest) -> Result<void> {
    IRONCORE_TRY(const Outcome outcome, apply_one(*store, manifest));
    session.out() << text_of(manifest.object) << ' ' << word(outcome) << std::endl;
    return {};
  });
}

Result<void> create(Session& session, const ManifestOptions& options) {
  IRONCORE_TRY(const auto manifests, read_manifests(session, options.files, UnknownMembers::refuse));
  IRONCORE_TRY(store::Store* const store, session.store());
  NamespaceCheck has_namespace(*store, manifests);
  std::set<std::string> seen;
  const auto check = [&](const Manifest& manifest) -> Result<void> {
    IRONCORE_CHECK(has_namespace(manifest));
    IRONCORE_CHECK(manifest.object.kind().admit_create(manifest.object));
    if (manifest.object.name().empty()) return {};  // gets a name that nobody has
    const store::Key key = store::key_of(manifest.object);
    if (!seen.insert(key.to_text()).second)
      return Error(ErrorCode::invalid, text_of(key) + " is in the files twice: create makes each object once");
    if (store->get(key)) {
      return Error(ErrorCode::already_exists, text_of(key) + " exists already: apply changes what is there");
    }
    return {};
  };
  IRONCORE_CHECK(for_each(manifests, check));
  return for_each(manifests, [&](const Manifest& manifest) -> Result<void> {
    IRONCORE_TRY(const auto object, store::commit_one(*store, store::Create{manifest.object}));
    session.out() << text_of(object) << " created" << std::endl;
    return {};
  });
}

}  // namespace ironcore::ctl
