// SPDX-License-Identifier: Apache-2.0
// Words to keys, and pages to lists.
#include "ironcorectl/dataplane_objects.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <span>
#include <variant>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/network/configuration_json.hpp"

namespace ironcore::ctl {
namespace {

using network::Change;

constexpr std::array<DataplaneKind, 10> kind_words{{
    {"Interface", "interfaces", "interface", {"id"}},
    {"InterfacePrefix", "prefixes", "prefix", {"interface", "prefix", "use"}},
    {"VirtualIp", "virtual-ips", "virtual-ip", {"interface", "family"}},
    {"Nat", "nats", "nat", {"interface"}},
    {"NeighbourNat", "neighbour-nats", "neighbour-nat", {"vni", "address", "firstPort"}},
    {"LoadBalancer", "load-balancers", "load-balancer", {"id"}},
    {"LoadBalancerTarget", "targets", "target", {"loadBalancer", "underlay"}},
    {"Route", "routes", "route", {"vni", "prefix"}},
    {"FirewallRule", "rules", "rule", {"interface", "id"}},
    {"VirtualService", "virtual-services", "virtual-service", {"id"}},
}};

constexpr DataplaneKind vni_kind{"Vni", "vnis", "vni", {"vni"}};

std::string_view view(boost::json::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

std::vector<std::string> dataplane_kinds() {
  std::vector<std::string> words;
  for (const auto& kind : kind_words) words.emplace_back(kind.plural);
  return words;
}

std::vector<std::string> shown_dataplane_kinds() {
  auto words = dataplane_kinds();
  words.emplace_back(vni_kind.plural);
  return words;
}

bool is_vni(const DataplaneKind& kind) {
  return kind.kind == vni_kind.kind;
}

Result<const DataplaneKind*> find_dataplane_kind(const std::string& word) {
  for (const auto& kind : kind_words)
    if (word == kind.kind || word == kind.plural || word == kind.singular) return &kind;
  if (word == vni_kind.kind || word == vni_kind.plural || word == vni_kind.singular) return &vni_kind;
  const auto known = shown_dataplane_kinds();
  std::string list;
  for (const auto& each : known) list += (list.empty() ? "" : ", ") + each;
  return Error(ErrorCode::invalid, "a dataplane has no kind " + in_quotes(word) +
                                       did_you_mean(word, std::span<const std::string>(known)) + "; there are " + list);
}

Result<Change> parse_key(const std::vector<std::string>& words) {
  IRONCORE_TRY(const auto* const kind, find_dataplane_kind(words.front()));
  if (is_vni(*kind))
    return Error(ErrorCode::invalid,
                 "a VNI is there as long as an interface, a route, a load balancer or a neighbour's NAT names it: "
                 "delete those");
  std::string json = "{\"delete\":\"" + std::string(kind->kind) + '"';
  std::string usage = std::string(kind->singular);
  for (std::size_t i = 0; i < kind->key.size() && !kind->key[i].empty(); ++i) {
    usage += " " + std::string(kind->key[i]);
    if (i + 1 >= words.size()) continue;
    const auto& word = words[i + 1];
    const bool is_number = kind->key[i] == "vni" || kind->key[i] == "firstPort";
    json += ",\"" + std::string(kind->key[i]) + "\":";
    const bool is_digits =
        !word.empty() && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    json += is_number && is_digits ? word : boost::json::serialize(boost::json::string(word));
  }
  const auto parts = static_cast<std::size_t>(
      std::count_if(kind->key.begin(), kind->key.end(), [](std::string_view part) { return !part.empty(); }));
  if (words.size() > 1 + parts)
    return Error(ErrorCode::invalid,
                 "expected " + usage + ": " + in_quotes(words[1 + parts]) + " is one word too many");
  auto key = network::parse_change(json + "}");
  if (!key) return Error(ErrorCode::invalid, "expected " + usage + ": " + key.error().message());
  return key;
}

std::string words_of(const Change& change) {
  const auto key = boost::json::parse(network::to_json(key_of_change(change)));
  const auto name = network::kind_of(change);
  const auto* const kind =
      std::find_if(kind_words.begin(), kind_words.end(), [&](const auto& each) { return each.kind == name; });
  std::string words(kind->singular);
  for (const auto part : kind->key) {
    const auto* const value = key.as_object().if_contains({part.data(), part.size()});
    if (value == nullptr) continue;
    words += ' ' + (value->is_string() ? std::string(view(value->get_string())) : boost::json::serialize(*value));
  }
  return words;
}

Change key_of_change(const Change& change) {
  return std::visit(
      [](const auto& object) -> Change {
        if constexpr (requires { key_of(object); })
          return key_of(object);
        else
          return object;
      },
      change);
}

const std::string* interface_of(const Change& change) {
  return std::visit(
      [](const auto& object) -> const std::string* {
        using Object = std::remove_cvref_t<decltype(object)>;
        if constexpr (std::is_same_v<Object, network::Interface> || std::is_same_v<Object, network::InterfaceKey>)
          return &object.id;
        else if constexpr (requires { object.interface; })
          return &object.interface;
        else
          return nullptr;
      },
      change);
}

Result<void> check_has_interface(const DataplaneKind& kind) {
  if (kind.kind == "Interface" || kind.key.front() == "interface") return {};
  std::string list;
  for (const auto& each : kind_words) {
    if (each.kind != "Interface" && each.key.front() != "interface") continue;
    list += (list.empty() ? "" : ", ") + std::string(each.plural);
  }
  return Error(ErrorCode::invalid,
               "--interface: " + std::string(kind.plural) + " belong to no interface; these do: " + list);
}

Result<ObjectList> list_objects(network::zmq::Client& client, std::string_view kind, const std::string& interface,
                                std::size_t limit) {
  constexpr std::size_t page_objects = 1000;
  ObjectList all;
  for (std::optional<Change> after;;) {
    IRONCORE_TRY(auto page, client.list(kind, page_objects, after));
    const bool has_more = page.has_more && !page.objects.empty();
    if (has_more) after = key_of_change(page.objects.back());
    for (auto& object : page.objects) {
      const auto* const owner = interface_of(object);
      if (!interface.empty() && (owner == nullptr || *owner != interface)) continue;
      if (all.objects.size() == limit) {
        all.has_more = true;
        return all;
      }
      all.objects.push_back(std::move(object));
    }
    if (!has_more) return all;
  }
}

}  // namespace ironcore::ctl
