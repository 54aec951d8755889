// SPDX-License-Identifier: Apache-2.0
// Rules against requests.
#include "authorizer.hpp"

#include <algorithm>

namespace ironcore::store::zmq {

namespace {

bool is_in(const std::vector<std::string>& allowed, const std::string* value) {
  if (allowed.empty()) return true;
  return value != nullptr && std::find(allowed.begin(), allowed.end(), *value) != allowed.end();
}
/// `is_prefix`: all names that begin like this.
bool is_name_in(const std::vector<std::string>& allowed, const std::string* name, bool is_prefix) {
  if (allowed.empty()) return true;
  if (name == nullptr) return false;
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& pattern) {
    return pattern.ends_with('*') ? name->starts_with(std::string_view(pattern).substr(0, pattern.size() - 1))
                                  : !is_prefix && pattern == *name;
  });
}
bool is_resource_in(const std::vector<std::string>& allowed, std::string_view resource) {
  return allowed.empty() || std::find(allowed.begin(), allowed.end(), resource) != allowed.end();
}

}  // namespace

void Authorizer::replace(Identities identities) {
  std::atomic_store(&identities_, std::make_shared<const Identities>(std::move(identities)));
}
bool Authorizer::knows(std::string_view public_key) const {
  return identities()->find(public_key) != nullptr;
}
std::string Authorizer::name(const Peer& peer) const {
  if (peer.is_local) return "local";
  const auto known = identities();
  const auto* identity = known->find(peer.public_key);
  return identity == nullptr ? "unknown" : identity->name;
}

Result<void> Authorizer::ask(const Peer& peer, const Question& question) const {
  if (peer.is_local) return {};
  const auto known = identities();
  const auto* identity = known->find(peer.public_key);
  if (identity == nullptr) return Error(ErrorCode::forbidden, "this key is not in the server's identities file");
  for (const auto& rule : identity->rules) {
    if (std::find(rule.verbs.begin(), rule.verbs.end(), question.verb) == rule.verbs.end()) continue;
    if (is_resource_in(rule.resources, question.resource) && is_in(rule.namespaces, question.namespace_) &&
        is_in(rule.pools, question.pool) && is_name_in(rule.names, question.name, question.is_prefix))
      return {};
  }
  std::string message =
      identity->name + " may not " + std::string(zmq::name(question.verb)) + " " + std::string(question.resource);
  if (question.name != nullptr) message += " " + *question.name;
  if (question.namespace_ != nullptr && !question.namespace_->empty())
    message += " in namespace " + *question.namespace_;
  if (question.namespace_ == nullptr) message += " of all namespaces";
  if (question.pool != nullptr && !question.pool->empty()) message += " in pool " + *question.pool;
  return Error(ErrorCode::forbidden, message + ": add a rule to the server's identities file");
}

Result<void> Authorizer::may_read(const Peer& peer, const Object& object) const {
  if (peer.is_local) return {};
  const auto resource = object.kind().resource();
  const auto pool = placement_of(object);
  const auto& metadata = object.metadata();
  return ask(peer, {Verb::read, resource, &metadata.namespace_, &pool, &metadata.name});
}

Result<void> Authorizer::may_read(const Peer& peer, const Query& query) const {
  if (peer.is_local) return {};
  const auto resource = query.kind->resource();
  const auto placement = std::string(query.kind->info().placement);
  const std::string* space = query.namespace_.empty() ? query.fields.required("metadata.namespace") : &query.namespace_;
  const std::string cluster;
  if (query.kind->info().scope == api::Scope::cluster) space = &cluster;
  return ask(peer, {Verb::read, resource, space, placement.empty() ? nullptr : query.fields.required(placement),
                    query.fields.required("metadata.name")});
}

Result<void> Authorizer::may_change(const Peer& peer, Verb verb, const Key& key) const {
  const auto resource = key.kind->resource();
  std::string pool;
  if (!key.kind->info().placement.empty()) {
    const auto object = store_.get(key);
    if (object) pool = placement_of(*object);
  }
  return ask(peer, {verb, resource, &key.namespace_, &pool, &key.name});
}

Result<void> Authorizer::may_read_name(const Peer& peer, const Key& key) const {
  const auto resource = key.kind->resource();
  const std::string nowhere;
  return ask(peer, {Verb::read, resource, &key.namespace_, &nowhere, &key.name});
}

Result<void> Authorizer::may_commit(const Peer& peer, const Transaction& transaction) const {
  if (peer.is_local) return {};
  const auto update_verb = [](Part part) { return part == Part::status ? Verb::update_status : Verb::update; };
  for (const auto& operation : transaction.operations) {
    if (const auto* create = std::get_if<Create>(&operation)) {
      const auto resource = create->object.kind().resource();
      const auto pool = placement_of(create->object);
      const auto& metadata = create->object.metadata();
      // A name that is yet to be made is only known by its beginning.
      const bool is_generated = metadata.name.empty();
      const auto name = is_generated ? metadata.generate_name.substr(0, max_generated_prefix) : metadata.name;
      IRONCORE_CHECK(ask(peer, {Verb::create, resource, &metadata.namespace_, &pool, &name, is_generated}));
    } else if (const auto* update = std::get_if<Update>(&operation)) {
      const auto key = store::key_of(update->object);
      IRONCORE_CHECK(may_change(peer, update_verb(update->part), key));
      // Nor may it be moved to where the peer has no right.
      const auto resource = key.kind->resource();
      const auto pool = placement_of(update->object);
      IRONCORE_CHECK(ask(peer, {update_verb(update->part), resource, &key.namespace_, &pool, &key.name}));
    } else if (const auto* patch = std::get_if<Patch>(&operation)) {
      IRONCORE_CHECK(may_change(peer, update_verb(patch->part), patch->key));
      if (patch->part == Part::object && !patch->key.kind->info().placement.empty()) {
        const auto current = store_.get(patch->key);
        const auto patched = current ? api::apply_merge_patch(*current, patch->merge_patch) : current;
        if (patched) {
          const auto resource = patch->key.kind->resource();
          const auto pool = placement_of(*patched);
          IRONCORE_CHECK(ask(peer, {Verb::update, resource, &patch->key.namespace_, &pool, &patch->key.name}));
        }
      }
    } else if (const auto* removal = std::get_if<Delete>(&operation)) {
      IRONCORE_CHECK(may_change(peer, Verb::remove, removal->key));
    }
  }
  // A precondition tells whether something exists and has changed: that is reading.
  for (const auto& precondition : transaction.preconditions) {
    if (const auto* unchanged = std::get_if<Unchanged>(&precondition)) {
      IRONCORE_CHECK(may_change(peer, Verb::read, unchanged->key));
    } else if (const auto* absent = std::get_if<Absent>(&precondition)) {
      IRONCORE_CHECK(may_change(peer, Verb::read, absent->key));
    }
  }
  return {};
}

Result<void> Authorizer::may_lease(const Peer& peer, std::string_view name) const {
  const std::string text(name);
  return ask(peer, {Verb::lease, "leases", nullptr, nullptr, &text});
}

/// Whoever may take them may see them.
Result<void> Authorizer::may_read_leases(const Peer& peer, std::string_view prefix) const {
  if (may_lease(peer, prefix)) return {};
  const std::string text(prefix);
  return ask(peer, {Verb::read, "leases", nullptr, nullptr, &text});
}

Result<void> Authorizer::may_open_stream(const Peer& peer, const Object& object) const {
  const auto resource = object.kind().resource();
  const auto pool = placement_of(object);
  const auto& metadata = object.metadata();
  return ask(peer, {Verb::open, resource, &metadata.namespace_, &pool, &metadata.name});
}

Result<void> Authorizer::may_serve(const Peer& peer, std::string_view resource, std::string_view pool) const {
  const std::string text(pool);
  return ask(peer, {Verb::serve, resource, nullptr, &text, nullptr});
}

}  // namespace ironcore::store::zmq
