// SPDX-License-Identifier: Apache-2.0
// Writing the list of finalizers: a merge patch replaces lists whole, so it is done only on the version that was read.
#include "ironcore/control/finalizers.hpp"

#include <algorithm>

namespace ironcore::control {

namespace {

Result<store::Object> write(store::Store& store, const store::Object& object, std::vector<std::string> finalizers) {
  auto metadata = object.metadata();
  metadata.finalizers = std::move(finalizers);
  const auto wanted = object.kind().with_metadata(object, std::move(metadata));
  const auto key = store::key_of(object);
  store::Transaction transaction;
  transaction.operations.emplace_back(store::Patch{key, api::merge_patch(object, wanted)});
  transaction.preconditions.emplace_back(store::Unchanged{key, object.metadata().resource_version});
  IRONCORE_TRY(auto committed, store.commit(transaction));
  return std::move(committed.objects.front());
}

}  // namespace

bool has_finalizer(const api::Metadata& metadata, std::string_view finalizer) {
  return std::find(metadata.finalizers.begin(), metadata.finalizers.end(), finalizer) != metadata.finalizers.end();
}

Result<store::Object> add_finalizer(store::Store& store, const store::Object& object, std::string_view finalizer) {
  if (has_finalizer(object.metadata(), finalizer)) return object;
  auto finalizers = object.metadata().finalizers;
  finalizers.emplace_back(finalizer);
  return write(store, object, std::move(finalizers));
}

Result<store::Object> drop_finalizer(store::Store& store, const store::Object& object, std::string_view finalizer) {
  if (!has_finalizer(object.metadata(), finalizer)) return object;
  auto finalizers = object.metadata().finalizers;
  std::erase(finalizers, finalizer);
  return write(store, object, std::move(finalizers));
}

}  // namespace ironcore::control
