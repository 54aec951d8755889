// SPDX-License-Identifier: Apache-2.0
// Rules against requests, and what such rules can speak of.
#include "access.hpp"

#include <algorithm>
#include <utility>

#include "ironcore/network/configuration_json.hpp"

namespace ironcore::network::zmq {

namespace {

ironcore::wire::RuleWords words() {
  return {.verbs = {Verb::read, Verb::update},
          .narrowers = {},
          .is_resource =
              [](std::string_view resource) {
                const auto kinds = configuration_kinds();
                return resource == ports_resource || resource == counters_resource || resource == packets_resource ||
                       std::find(kinds.begin(), kinds.end(), resource) != kinds.end();
              },
          .example = "Interface, ports, counters or packets"};
}

Error unknown_key() {
  return {ErrorCode::forbidden, "this key is not in the server's identities file"};
}

bool allows(const Rule& rule, Verb verb, std::string_view resource) {
  const auto& resources = rule.resources;
  return std::find(rule.verbs.begin(), rule.verbs.end(), verb) != rule.verbs.end() &&
         (resources.empty() || std::find(resources.begin(), resources.end(), resource) != resources.end());
}

}  // namespace

Result<Identities> parse_identities(std::string_view json) {
  return Identities::parse(json, words());
}
Result<Identities> load_identities(const std::filesystem::path& file) {
  return Identities::load(file, words());
}

void Access::replace(Identities identities) {
  auto fresh = std::make_shared<const Identities>(std::move(identities));
  const std::lock_guard lock(mutex_);
  identities_ = std::move(fresh);
}

bool Access::knows(std::string_view public_key) const {
  return identities()->find(public_key) != nullptr;
}

Result<void> Access::may(std::string_view public_key) const {
  if (knows(public_key)) return {};
  return unknown_key();
}

Result<void> Access::may(std::string_view public_key, Verb verb, std::string_view resource) const {
  const auto known = identities();
  const auto* identity = known->find(public_key);
  if (identity == nullptr) return unknown_key();
  for (const auto& rule : identity->rules)
    if (allows(rule, verb, resource)) return {};
  return Error(ErrorCode::forbidden, identity->name + " may not " + std::string(name(verb)) + " " +
                                         std::string(resource) + ": add a rule to the server's identities file");
}

}  // namespace ironcore::network::zmq
