// SPDX-License-Identifier: Apache-2.0
// The writer's view.
#include "head.hpp"

#include <functional>
#include <tuple>

namespace ironcore::store::local_store {

bool KeyOrder::operator()(const Key& a, const Key& b) const {
  const auto parts = [](const Key& key) {
    const auto& info = key.kind->info();
    return std::tie(info.group, info.kind, key.namespace_, key.name);
  };
  return parts(a) < parts(b);
}

std::size_t Head::hash_of(const Name& name) {
  const std::hash<std::string_view> hash;
  std::size_t result = hash(name.name.name);
  result = result * 31 + hash(name.name.namespace_);
  return result ^ std::hash<const void*>()(name.kind);
}

const Object* Head::find(const api::Kind& kind, NameView name) const {
  const auto found = objects_.find(Name{&kind, name});
  return found == objects_.end() ? nullptr : &found->object;
}

void Head::change(const Object* before, const Object* after) {
  if (before == nullptr) {
    objects_.insert(Entry{hash_of({&after->kind(), name_of(*after)}), *after});
    index(*after);
    return;
  }
  unindex(*before);
  const auto found = objects_.find(Name{&before->kind(), name_of(*before)});
  if (after == nullptr) {
    objects_.erase(found);
  } else {
    // Kind and name are the same, so hash and equality do not change under the set's feet.
    const_cast<Object&>(found->object) = *after;
    index(*after);
  }
}

void Head::index(const Object& object) {
  const auto& metadata = object.metadata();
  if (!metadata.namespace_.empty()) {
    const auto found = namespaces_.find(std::string_view(metadata.namespace_));
    if (found == namespaces_.end()) {
      namespaces_.emplace(metadata.namespace_, 1);
    } else {
      ++found->second;
    }
  }
  for (const auto& owner : metadata.owner_references) owned_[owner.uid].insert(key_of(object));
}

void Head::unindex(const Object& object) {
  const auto& metadata = object.metadata();
  if (!metadata.namespace_.empty()) {
    const auto found = namespaces_.find(std::string_view(metadata.namespace_));
    if (--found->second == 0) namespaces_.erase(found);
  }
  for (const auto& owner : metadata.owner_references) {
    const auto found = owned_.find(owner.uid);
    if (found == owned_.end()) continue;  // the same uid twice in one object
    found->second.erase(key_of(object));
    if (found->second.empty()) owned_.erase(found);
  }
}

std::size_t Head::count_in(std::string_view namespace_) const {
  const auto found = namespaces_.find(namespace_);
  return found == namespaces_.end() ? 0 : found->second;
}

std::vector<Key> Head::owned_by(const std::string& uid) const {
  const auto found = owned_.find(uid);
  if (found == owned_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

}  // namespace ironcore::store::local_store
