// SPDX-License-Identifier: Apache-2.0
// Who may do what over the wire: identities, their keys, and rules of resources x verbs, the same file for every server.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::wire {

/// What a rule allows. `read` covers get, list and watch.
enum class Verb {
  read,
  create,
  update,  ///< metadata and spec, finalizers included
  update_status,
  remove,
  open,   ///< open a stream (console, log) to an object
  serve,  ///< answer such streams for a pool
  lease,  ///< take, renew and release leases; reading them is `read`, and part of this
};
std::string_view name(Verb verb) noexcept;

/// Everything that matches one value of each list is allowed. An empty list matches everything, except `verbs`.
struct Rule {
  std::vector<std::string> resources;  ///< `machines.compute.ironcore.dev`; for leases: `leases`
  std::vector<Verb> verbs;
  std::vector<std::string> namespaces;  ///< not empty: only objects of these namespaces
  std::vector<std::string>
      pools;  ///< not empty: only placed objects that are placed here; for `serve` the pools themselves
  std::vector<std::string> names;     ///< not empty: only objects or leases of these names; `x*` matches a prefix
  std::vector<std::string> vnis;      ///< not empty: only in these networks; `100` or `100-199`
  std::vector<std::string> prefixes;  ///< not empty: only these prefixes, and what they contain
};

struct Identity {
  std::string name;  ///< for logs and errors: ASCII without blanks and quotes, at most `max_identity_name_bytes`
  std::vector<Rule> rules;
};

/// What the rules of one kind of server can speak of.
struct RuleWords {
  std::vector<Verb> verbs;
  std::vector<std::string_view> narrowers;  ///< of `namespaces`, `pools`, `names`, `vnis` and `prefixes`
  std::function<bool(std::string_view)> is_resource;
  std::string_view example;  ///< a resource, for error messages
  /// Whether the verb means something for the resource; empty = each one does. A rule that names a verb which means nothing for any of its
  /// resources is wrong.
  std::function<bool(std::string_view resource, Verb verb)> has_verb;
  /// Narrowers that match nothing when they are left out, and what to write for everything.
  std::map<std::string_view, std::string_view> everything;
};

inline constexpr std::size_t max_identity_name_bytes = 253;

/// The identities file (JSON):
/// `{"roles": {"viewer": [{"verbs": ["read"], "resources": [...], "namespaces": [...], "pools": [...], "names": [...]}]},
///   "identities": [{"name": "host-1", "publicKey": "<Z85>", "roles": ["viewer"], "rules": [...]}]}`
/// `"verbs": ["*"]` is every verb. Unknown members, verbs, roles and resources are `invalid` with their path. Thread: any (immutable).
class Identities {
 public:
  static Result<Identities> parse(std::string_view json, const RuleWords& words);
  static Result<Identities> load(const std::filesystem::path& file, const RuleWords& words);

  /// Null for a key that nobody has.
  const Identity* find(std::string_view public_key) const;
  std::size_t size() const noexcept { return by_key_.size(); }
  const std::map<std::string, Identity, std::less<>>& by_key() const noexcept { return by_key_; }

 private:
  std::map<std::string, Identity, std::less<>> by_key_;
};

}  // namespace ironcore::wire
