// SPDX-License-Identifier: Apache-2.0
// What the rules of a store's server speak of.
#include "ironcore/store/zmq_identities.hpp"

#include "codec.hpp"

namespace ironcore::store::zmq {

namespace {
RuleWords words() {
  return {
      .verbs = {Verb::read, Verb::create, Verb::update, Verb::update_status, Verb::remove, Verb::open, Verb::serve,
                Verb::lease},
      .narrowers = {"namespaces", "pools", "names"},
      .is_resource = [kinds = KindTable()](
                         std::string_view resource) { return resource == "leases" || kinds.find(resource) != nullptr; },
      .example = "machines.compute.ironcore.dev"};
}
}  // namespace

Result<Identities> parse_identities(std::string_view json) {
  return Identities::parse(json, words());
}
Result<Identities> load_identities(const std::filesystem::path& file) {
  return Identities::load(file, words());
}

}  // namespace ironcore::store::zmq
