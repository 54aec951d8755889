// SPDX-License-Identifier: Apache-2.0
// What the identities file of a reflector can say, as rights of nodes.
#include <map>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/routing/zmq.hpp"

namespace ironcore::routing::zmq {

using wire::Identities;
using wire::Rule;
using wire::Verb;

struct KeyRights::Table {
  std::map<std::string, Rights, std::less<>> by_key;
};

namespace {

constexpr std::string_view routes_resource = "routes";
constexpr std::string_view peers_resource = "peers";
constexpr std::string_view status_resource = "status";

wire::RuleWords words() {
  return {.verbs = {Verb::read, Verb::update},
          .narrowers = {"vnis", "prefixes"},
          .is_resource =
              [](std::string_view resource) {
                return resource == routes_resource || resource == peers_resource || resource == status_resource;
              },
          .example = "routes, peers or status",
          .has_verb = [](std::string_view resource,
                         Verb verb) { return verb == Verb::read || resource == routes_resource; },
          .everything = {{"prefixes", R"(["0.0.0.0/0", "::/0"])"}}};
}

Result<VniRange> parse_range(std::string_view text) {
  const auto dash = text.find('-');
  IRONCORE_TRY(const auto from, within(Vni::parse(text.substr(0, dash)), "vnis"));
  if (dash == std::string_view::npos) return VniRange{from.value(), from.value()};
  IRONCORE_TRY(const auto to, within(Vni::parse(text.substr(dash + 1)), "vnis"));
  if (to < from) return Error(ErrorCode::invalid, "vnis: " + in_quotes(text) + " ends before it begins");
  return VniRange{from.value(), to.value()};
}

bool speaks_of(const Rule& rule, std::string_view resource, Verb verb) {
  const auto has = [](const auto& list, const auto& one) {
    return std::find(list.begin(), list.end(), one) != list.end();
  };
  return has(rule.verbs, verb) && (rule.resources.empty() || has(rule.resources, resource));
}

Result<void> add(KeyRights::Rights& rights, const Rule& rule) {
  std::vector<VniRange> vnis;
  for (const auto& text : rule.vnis) {
    IRONCORE_TRY(vnis.emplace_back(), parse_range(text));
  }
  if (vnis.empty()) vnis.emplace_back();
  std::vector<Prefix> prefixes;
  for (const auto& text : rule.prefixes) {
    IRONCORE_TRY(const auto prefix, within(Prefix::parse(text), "prefixes"));
    if (prefix != prefix.network())  // was one address meant, or all of the network?
      return Error(ErrorCode::invalid, "prefixes: " + text + " has host bits: " + prefix.network().to_text());
    prefixes.push_back(prefix);
  }
  if (speaks_of(rule, routes_resource, Verb::read))
    rights.node.subscriptions.insert(rights.node.subscriptions.end(), vnis.begin(), vnis.end());
  if (speaks_of(rule, routes_resource, Verb::update)) {
    if (prefixes.empty())
      return Error(ErrorCode::invalid,
                   R"(prefixes: a rule that lets announce must name them; "prefixes": ["0.0.0.0/0", "::/0"] are all)");
    for (const auto& range : vnis) rights.node.announcements.push_back({range, prefixes});
  }
  if (speaks_of(rule, peers_resource, Verb::read)) rights.node.may_peer = true;
  if (speaks_of(rule, status_resource, Verb::read)) rights.may_read_status = true;
  return {};
}

}  // namespace

KeyRights::KeyRights() : table_(std::make_unique<Table>()) {}
KeyRights::~KeyRights() = default;
KeyRights::KeyRights(KeyRights&&) noexcept = default;
KeyRights& KeyRights::operator=(KeyRights&&) noexcept = default;

namespace {

Result<KeyRights> rights_of(const Identities& identities, std::map<std::string, KeyRights::Rights, std::less<>>& by_key,
                            KeyRights made) {
  for (const auto& [key, identity] : identities.by_key()) {
    auto& rights = by_key[key];
    rights.node.name = identity.name;
    for (const auto& rule : identity.rules)
      IRONCORE_CHECK(within(add(rights, rule), "identity " + in_quotes(identity.name)));
    const auto& node = rights.node;
    const bool is_node = !node.announcements.empty() || !node.subscriptions.empty() || node.may_peer;
    if (const auto reason = check_dns_subdomain(identity.name); is_node && reason)
      return Error(ErrorCode::invalid,
                   "identity " + in_quotes(identity.name) + ": name: is that of a host or reflector, and " + *reason);
  }
  return made;
}

}  // namespace

Result<KeyRights> KeyRights::parse(std::string_view json) {
  IRONCORE_TRY(const auto identities, Identities::parse(json, words()));
  KeyRights rights;
  auto& by_key = rights.table_->by_key;
  return rights_of(identities, by_key, std::move(rights));
}

Result<KeyRights> KeyRights::load(const std::filesystem::path& file) {
  IRONCORE_TRY(const auto identities, Identities::load(file, words()));
  KeyRights rights;
  auto& by_key = rights.table_->by_key;
  return within(rights_of(identities, by_key, std::move(rights)), file.string());
}

const KeyRights::Rights* KeyRights::find(std::string_view public_key) const {
  const auto found = table_->by_key.find(public_key);
  return found == table_->by_key.end() ? nullptr : &found->second;
}

std::size_t KeyRights::size() const {
  return table_->by_key.size();
}

}  // namespace ironcore::routing::zmq
