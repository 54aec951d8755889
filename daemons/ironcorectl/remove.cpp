// SPDX-License-Identifier: Apache-2.0
// Deletes and waits.
#include "ironcorectl/remove.hpp"

#include <algorithm>
#include <ostream>

#include "ironcore/store/typed.hpp"
#include "ironcorectl/manifest_files.hpp"
#include "ironcorectl/target.hpp"
#include "ironcorectl/wait.hpp"

namespace ironcore::ctl {
namespace {

Result<std::vector<store::Key>> wanted_keys(Session& session, const DeleteOptions& options) {
  std::vector<store::Key> keys;
  if (!options.files.empty()) {
    if (!options.words.empty()) return Error(ErrorCode::invalid, "give either -f or names, not both");
    // They would not choose among what the files name.
    if (!options.labels.empty() || options.is_all)
      return Error(ErrorCode::invalid, "-f takes neither -l nor --all: delete by file, or by kind and selector");
    IRONCORE_TRY(const auto manifests, read_manifests(session, options.files, UnknownMembers::as_stored));
    for (const Manifest& manifest : manifests) keys.push_back(store::key_of(manifest.object));
    // What a manifest names later leans on what it names earlier.
    std::reverse(keys.begin(), keys.end());
    return keys;
  }
  if (options.is_all && !options.labels.empty()) return Error(ErrorCode::invalid, "give either -l or --all, not both");
  if (!options.is_all && options.labels.empty()) return parse_keys(session, options.words);

  IRONCORE_TRY(const auto selections, parse_selections(options.words));
  IRONCORE_TRY(store::Store* const store, session.store());
  for (const Selection& selection : selections) {
    if (!selection.names.empty()) return Error(ErrorCode::invalid, "give either names or -l or --all, not both");
    store::Query query{.kind = selection.kind, .namespace_ = session.namespace_of(*selection.kind)};
    IRONCORE_TRY(query.labels, store::LabelSelector::parse(options.labels));
    IRONCORE_TRY(const auto page, store->list(query));
    for (const api::Object& object : page.objects) keys.push_back(store::key_of(object));
  }
  return keys;
}

}  // namespace

Result<void> remove(Session& session, const DeleteOptions& options) {
  IRONCORE_TRY(const auto keys, wanted_keys(session, options));
  IRONCORE_TRY(store::Store* const store, session.store());
  std::optional<Error> errors;
  std::vector<store::Key> marked;
  for (const store::Key& key : keys) {
    const auto propagation = options.is_orphan ? store::Propagation::orphan : store::Propagation::cascade;
    const auto done = store::commit_one(*store, store::Delete{.key = key, .propagation = propagation});
    if (done) {
      marked.push_back(key);
    } else if (!(options.is_missing_fine && done.error().code() == ErrorCode::not_found)) {
      errors = errors ? Error(errors->code(), errors->message() + '\n' + done.error().message()) : done.error();
    }
  }
  const Instant deadline = session.clock().now() + options.timeout;
  for (const store::Key& key : marked) {
    if (!options.is_now) {
      IRONCORE_CHECK(wait_for(session, key, "delete", deadline - session.clock().now()));
    }
    session.out() << text_of(key) << (options.is_now ? " being deleted" : " deleted") << std::endl;
  }
  if (errors) return *errors;
  return {};
}

}  // namespace ironcore::ctl
