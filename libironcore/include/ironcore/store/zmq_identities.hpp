// SPDX-License-Identifier: Apache-2.0
// Who may do what over the wire: identities, their keys, and rules of kinds x verbs x namespaces and pools.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::store::zmq {

/// What a rule allows. `read` covers get, list and watch.
enum class Verb {
  read,
  create,
  update,  ///< metadata and spec, finalizers included
  update_status,
  remove,
  open,   ///< open a stream (console, log) to an object
  serve,  ///< answer such streams for a pool
  lease,  ///< take, renew, release and read leases
};
std::string_view name(Verb verb) noexcept;

/// Everything that matches one value of each list is allowed. An empty list matches everything, except `verbs`.
struct Rule {
  std::vector<std::string> resources;  ///< `machines.compute.ironcore.dev`; for leases: `leases`
  std::vector<Verb> verbs;
  std::vector<std::string> namespaces;  ///< not empty: only objects of these namespaces
  std::vector<std::string>
      pools;  ///< not empty: only placed objects that are placed here; for `serve` the pools themselves
  std::vector<std::string> names;  ///< not empty: only objects or leases of these names; `x*` matches a prefix
};

struct Identity {
  std::string name;  ///< for logs and errors
  std::vector<Rule> rules;
};

/// The identities file (JSON):
/// `{"roles": {"viewer": [{"verbs": ["read"], "resources": [...], "namespaces": [...], "pools": [...], "names": [...]}]},
///   "identities": [{"name": "host-1", "publicKey": "<Z85>", "roles": ["viewer"], "rules": [...]}]}`
/// `"verbs": ["*"]` is every verb. Unknown members, verbs, roles and resources are `invalid` with their path. Thread: any (immutable).
class Identities {
 public:
  static Result<Identities> parse(std::string_view json);
  static Result<Identities> load(const std::filesystem::path& file);

  /// Null for a key that nobody has.
  const Identity* find(std::string_view public_key) const;
  std::size_t size() const noexcept { return by_key_.size(); }

 private:
  std::map<std::string, Identity, std::less<>> by_key_;
};

}  // namespace ironcore::store::zmq
