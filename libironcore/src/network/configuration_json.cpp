// SPDX-License-Identifier: Apache-2.0
// Each struct is described once; reading, writing and the names follow from that.
#include "ironcore/network/configuration_json.hpp"

#include <algorithm>
#include <array>
#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <concepts>
#include <limits>
#include <utility>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "json_tree.hpp"

namespace ironcore::network {

BOOST_DESCRIBE_STRUCT(BothWays, (), (egress, ingress))
BOOST_DESCRIBE_STRUCT(MeterRates, (), (egress, ingress, burst, excess, excess_burst))
BOOST_DESCRIBE_STRUCT(Pxe, (), (server, path))
BOOST_DESCRIBE_STRUCT(Interface, (), (id, port, vni, ipv4, ipv6, mac, hostname, pxe, total, public_traffic, underlay))
BOOST_DESCRIBE_ENUM(InterfacePrefix::Use, alias, load_balancer)
BOOST_DESCRIBE_STRUCT(InterfacePrefix, (), (interface, prefix, use, underlay))
BOOST_DESCRIBE_STRUCT(VirtualIp, (), (interface, address, underlay))
BOOST_DESCRIBE_ENUM(Nat::Ports, own, shared)
BOOST_DESCRIBE_ENUM(Nat::Filtering, address_and_port_dependent, address_dependent, endpoint_independent)
BOOST_DESCRIBE_STRUCT(Nat, (), (interface, address, first_port, last_port, ports, filtering, underlay))
BOOST_DESCRIBE_STRUCT(NeighbourNat, (), (vni, address, first_port, last_port, underlay))
BOOST_DESCRIBE_STRUCT(LoadBalancer::Service, (), (protocol, first_port, last_port))
BOOST_DESCRIBE_STRUCT(LoadBalancer, (), (id, vni, address, services, underlay))
BOOST_DESCRIBE_STRUCT(LoadBalancerTarget, (), (load_balancer, underlay, weight))
BOOST_DESCRIBE_STRUCT(Route::NextHop, (), (underlay, weight))
BOOST_DESCRIBE_STRUCT(Route, (), (vni, prefix, next_hops))
BOOST_DESCRIBE_ENUM(FirewallRule::Direction, ingress, egress)
BOOST_DESCRIBE_ENUM(FirewallRule::Action, allow, deny)
BOOST_DESCRIBE_STRUCT(FirewallRule::Ports, (), (first, last))
BOOST_DESCRIBE_STRUCT(FirewallRule, (),
                      (interface, id, direction, action, priority, source, destination, protocol, source_ports,
                       destination_ports, icmp_type, icmp_code))
BOOST_DESCRIBE_STRUCT(VirtualService, (), (id, protocol, address, port, service_address, service_port, underlay))
BOOST_DESCRIBE_STRUCT(InterfaceKey, (), (id))
BOOST_DESCRIBE_STRUCT(InterfacePrefixKey, (), (interface, prefix, use))
BOOST_DESCRIBE_STRUCT(VirtualIpKey, (), (interface, is_v6))
BOOST_DESCRIBE_STRUCT(NatKey, (), (interface))
BOOST_DESCRIBE_STRUCT(NeighbourNatKey, (), (vni, address, first_port))
BOOST_DESCRIBE_STRUCT(LoadBalancerKey, (), (id))
BOOST_DESCRIBE_STRUCT(LoadBalancerTargetKey, (), (load_balancer, underlay))
BOOST_DESCRIBE_STRUCT(RouteKey, (), (vni, prefix))
BOOST_DESCRIBE_STRUCT(FirewallRuleKey, (), (interface, id))
BOOST_DESCRIBE_STRUCT(VirtualServiceKey, (), (id))

namespace {

namespace mp11 = boost::mp11;
using Reason = FieldError::Reason;

/// As `Change`: objects first, then their keys in the same order.
constexpr std::array<std::string_view, 10> kinds{"Interface",    "InterfacePrefix", "VirtualIp",          "Nat",
                                                 "NeighbourNat", "LoadBalancer",    "LoadBalancerTarget", "Route",
                                                 "FirewallRule", "VirtualService"};
static_assert(std::variant_size_v<Change> == 2 * kinds.size());

/// Members that need not be said, beside the optional ones.
constexpr std::array<std::string_view, 20> with_default{"hostname", "total",        "public_traffic",
                                                        "egress",   "ingress",      "burst",
                                                        "excess",   "excess_burst", "use",
                                                        "ports",    "filtering",    "protocol",
                                                        "weight",   "direction",    "action",
                                                        "priority", "source_ports", "destination_ports",
                                                        "first",    "last"};

constexpr std::size_t max_errors = 64;

/// `first_port` → `firstPort`, or `FirstPort`. A key's `is_v6` is its `family`.
struct Spelling {
  std::array<char, 32> characters{};
  std::size_t size = 0;
  constexpr std::string_view view() const { return {characters.data(), size}; }
};
enum class Case { camel, pascal };
constexpr Spelling spell(std::string_view name, Case first) {
  if (name == "is_v6") name = "family";
  Spelling out;
  bool is_upper = first == Case::pascal;
  for (const char c : name) {
    if (c != '_') out.characters.at(out.size++) = is_upper ? static_cast<char>(c - 'a' + 'A') : c;
    is_upper = c == '_';
  }
  return out;
}

template <class Member>
inline constexpr Spelling spelling = spell(Member::name, Case::camel);
template <class Enumerator>
inline constexpr Spelling word = spell(Enumerator::name, Case::pascal);

template <class T>
concept Struct = boost::describe::has_describe_members<T>::value;
template <Struct T>
using Members = boost::describe::describe_members<T, boost::describe::mod_public>;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
concept Address = std::same_as<T, IpAddress> || std::same_as<T, Prefix> || std::same_as<T, MacAddress>;

template <class Member>
constexpr bool has_default() {
  return Member::name == std::string_view("is_v6") ||
         std::find(with_default.begin(), with_default.end(), Member::name) != with_default.end();
}
template <class Member>
constexpr bool is_protocol() {
  return Member::name == std::string_view("protocol");
}

// ---- writing ----------------------------------------------------------------------------------------------------

template <Struct T>
void write_members(std::string& out, const T& object, bool is_first);

template <class T>
void write(std::string& out, const T& value) {
  if constexpr (std::same_as<T, std::string>) {
    append_json_text(out, value);
  } else if constexpr (Address<T>) {
    append_json_text(out, value.to_text());
  } else if constexpr (std::same_as<T, Vni>) {
    out += value.to_text();
  } else if constexpr (std::same_as<T, bool>) {
    out += value ? "\"IPv6\"" : "\"IPv4\"";
  } else if constexpr (std::unsigned_integral<T>) {
    out += std::to_string(value);
  } else if constexpr (std::is_enum_v<T>) {
    mp11::mp_for_each<boost::describe::describe_enumerators<T>>([&](auto enumerator) {
      if (enumerator.value == value) append_json_text(out, word<decltype(enumerator)>.view());
    });
  } else if constexpr (Struct<T>) {
    out += '{';
    write_members(out, value, true);
    out += '}';
  } else {
    out += '[';
    for (const auto& element : value) {
      if (&element != &value.front()) out += ',';
      write(out, element);
    }
    out += ']';
  }
}

void write_protocol(std::string& out, std::uint8_t protocol) {
  const auto* const at = std::find_if(protocol_words.begin(), protocol_words.end(),
                                      [&](const auto& known) { return known.second == protocol; });
  if (at == protocol_words.end())
    out += std::to_string(protocol);
  else
    append_json_text(out, at->first);
}

template <class Member, class T>
void write_member(std::string& out, const T& value) {
  if constexpr (is_protocol<Member>())
    write_protocol(out, value);
  else
    write(out, value);
}

template <Struct T>
void write_members(std::string& out, const T& object, bool is_first) {
  mp11::mp_for_each<Members<T>>([&](auto member) {
    using Member = decltype(member);
    const auto& value = object.*member.pointer;
    using Value = std::remove_cvref_t<decltype(value)>;
    if constexpr (is_optional<Value>) {
      if (!value) return;
    } else if constexpr (has_default<Member>() && (Struct<Value> || std::same_as<Value, std::string>)) {
      if (value == T().*member.pointer) return;
    }
    if (!is_first) out += ',';
    is_first = false;
    append_json_text(out, spelling<Member>.view());
    out += ':';
    if constexpr (is_optional<Value>)
      write_member<Member>(out, *value);
    else
      write_member<Member>(out, value);
  });
}

void write_change(std::string& out, const Change& change) {
  out += change.index() < kinds.size() ? "{\"kind\":" : "{\"delete\":";
  append_json_text(out, kind_of(change));
  std::visit([&](const auto& object) { write_members(out, object, false); }, change);
  out += '}';
}

// ---- reading ----------------------------------------------------------------------------------------------------

/// Where a field is; made into a text only when something is wrong.
struct Path {
  const Path* around = nullptr;
  std::string_view name;
  std::size_t index = 0;
  bool is_index = false;

  std::string text() const {
    std::string out = around == nullptr ? "" : around->text();
    if (is_index) return out + "[" + std::to_string(index) + "]";
    if (!out.empty() && !name.empty()) out += '.';
    return out += name;
  }
};

class Reader {
 public:
  std::vector<FieldError> errors;

  void wrong(const Path& at, std::string message, Reason reason = Reason::invalid) {
    if (errors.size() < max_errors)
      errors.push_back({at.text(), reason, std::move(message)});
    else
      ++more_;
  }

  /// Nothing if nothing is wrong.
  Result<void> finish() {
    if (errors.empty()) return {};
    if (more_ > 0) errors.push_back({"", Reason::invalid, "… and " + std::to_string(more_) + " more"});
    return Error(std::move(errors));
  }

  Change read_change(const JsonTree& tree, const Path& at) {
    if (tree.type != JsonTree::Type::object) {
      wrong(at, "must be an object with a kind");
      return {};
    }
    const auto* const kind = tree.find("kind");
    const auto* const removed = tree.find("delete");
    if ((kind == nullptr) == (removed == nullptr)) {
      wrong({&at, "kind"}, "or delete is required, and only one of them", Reason::required);
      return {};
    }
    const std::string_view verb = kind != nullptr ? "kind" : "delete";
    const JsonTree& named = kind != nullptr ? *kind : *removed;
    const auto found = std::find(kinds.begin(), kinds.end(), named.text);
    if (named.type != JsonTree::Type::text || found == kinds.end()) {
      wrong({&at, verb}, "must be one of " + list_of(kinds) + did_you_mean(named.text.substr(0, 64), kinds),
            Reason::not_supported);
      return {};
    }
    const auto index = static_cast<std::size_t>(found - kinds.begin()) + (kind != nullptr ? 0 : kinds.size());
    return mp11::mp_with_index<std::variant_size_v<Change>>(index, [&](auto place) {
      std::variant_alternative_t<place, Change> object;
      read_members(tree, at, object, verb);
      return Change(std::move(object));
    });
  }

 private:
  std::size_t more_ = 0;  ///< things that are wrong, besides `errors`

  template <std::size_t N>
  static std::string list_of(const std::array<std::string_view, N>& words) {
    std::string out;
    for (const auto text : words) out += (out.empty() ? "" : ", ") + std::string(text);
    return out;
  }

  /// `verb` is the member that has been read already.
  template <Struct T>
  void read_members(const JsonTree& tree, const Path& at, T& object, std::string_view verb = {}) {
    constexpr auto names = []<class... M>(mp11::mp_list<M...>) {
      return std::array<std::string_view, sizeof...(M)>{spelling<M>.view()...};
    }(mp11::mp_rename<Members<T>, mp11::mp_list>());
    for (const auto& [name, value] : tree.members) {
      if (name == verb || std::find(names.begin(), names.end(), name) != names.end()) continue;
      const auto shown = in_quotes(name, 64);
      wrong({&at, std::string_view(shown).substr(1, shown.size() - 2)},
            "unknown field" + did_you_mean(name.substr(0, 64), names), Reason::unknown);
    }
    mp11::mp_for_each<Members<T>>([&](auto member) {
      using Member = decltype(member);
      auto& target = object.*member.pointer;
      using Value = std::remove_cvref_t<decltype(target)>;
      const Path here{&at, spelling<Member>.view()};
      const auto* const value = tree.find(here.name);
      if (value == nullptr) {
        if (!is_optional<Value> && !has_default<Member>()) wrong(here, "is required", Reason::required);
      } else if constexpr (is_optional<Value>) {
        read_member<Member>(*value, here, target.emplace());
      } else {
        read_member<Member>(*value, here, target);
      }
    });
  }

  template <class Member, class T>
  void read_member(const JsonTree& tree, const Path& at, T& target) {
    if constexpr (is_protocol<Member>())
      read_protocol(tree, at, target);
    else
      read(tree, at, target);
  }

  template <class T>
  void read(const JsonTree& tree, const Path& at, T& target) {
    if constexpr (std::same_as<T, std::string>) {
      if (tree.type != JsonTree::Type::text) return wrong(at, "must be a text");
      target = tree.text;
    } else if constexpr (Address<T>) {
      if (tree.type != JsonTree::Type::text) return wrong(at, "must be a text, such as " + std::string(example(T())));
      if (auto parsed = T::parse(tree.text))
        target = *parsed;
      else
        wrong(at, parsed.error().message());
    } else if constexpr (std::same_as<T, Vni>) {
      std::uint32_t number = 0;
      read(tree, at, number);
      if (auto made = Vni::make(number))
        target = *made;
      else
        wrong(at, made.error().message());
    } else if constexpr (std::same_as<T, bool>) {
      if (tree.type != JsonTree::Type::text || (tree.text != "IPv4" && tree.text != "IPv6"))
        return wrong(at, "must be IPv4 or IPv6", Reason::not_supported);
      target = tree.text == "IPv6";
    } else if constexpr (std::unsigned_integral<T>) {
      constexpr auto most = std::numeric_limits<T>::max();
      if (!tree.number || *tree.number > most)
        return wrong(at, "must be a whole number from 0 to " + std::to_string(most));
      target = static_cast<T>(*tree.number);
    } else if constexpr (std::is_enum_v<T>) {
      read_enumerator(tree, at, target);
    } else if constexpr (Struct<T>) {
      if (tree.type != JsonTree::Type::object) return wrong(at, "must be an object");
      read_members(tree, at, target);
    } else {
      if (tree.type != JsonTree::Type::list) return wrong(at, "must be a list");
      target.reserve(tree.items.size());
      for (std::size_t i = 0; i < tree.items.size(); ++i)
        read(tree.items[i], {&at, {}, i, true}, target.emplace_back());
    }
  }

  static std::string_view example(const IpAddress&) { return "10.0.0.1"; }
  static std::string_view example(const Prefix&) { return "10.0.0.0/24"; }
  static std::string_view example(const MacAddress&) { return "02:00:00:00:00:01"; }

  template <class T>
  void read_enumerator(const JsonTree& tree, const Path& at, T& target) {
    constexpr auto words = []<class... E>(mp11::mp_list<E...>) {
      return std::array<std::string_view, sizeof...(E)>{word<E>.view()...};
    }(mp11::mp_rename<boost::describe::describe_enumerators<T>, mp11::mp_list>());
    const bool is_text = tree.type == JsonTree::Type::text;
    if (!is_text || std::find(words.begin(), words.end(), tree.text) == words.end())
      return wrong(at, "must be one of " + list_of(words) + did_you_mean(tree.text.substr(0, 64), words),
                   Reason::not_supported);
    mp11::mp_for_each<boost::describe::describe_enumerators<T>>([&](auto enumerator) {
      if (word<decltype(enumerator)>.view() == tree.text) target = enumerator.value;
    });
  }

  void read_protocol(const JsonTree& tree, const Path& at, std::uint8_t& target) {
    for (const auto& [name, number] : protocol_words) {
      if (tree.type == JsonTree::Type::text && tree.text == name) target = number;
      if (tree.type == JsonTree::Type::text && tree.text == name) return;
    }
    if (!tree.number || *tree.number > 255)
      return wrong(at, "must be TCP, UDP, SCTP, ICMP, ICMPv6 or a number from 0 to 255", Reason::not_supported);
    target = static_cast<std::uint8_t>(*tree.number);
  }
};

Result<JsonTree> parse_bounded(std::string_view json) {
  if (json.size() > max_configuration_json)
    return Error(ErrorCode::exhausted, "a configuration may take up to 16 MiB as JSON: apply it in several batches");
  return parse_json_tree(json);
}

/// The elements, if the tree is a list of changes in either form.
const std::vector<JsonTree>* elements_of(const JsonTree& tree) {
  if (tree.type == JsonTree::Type::list) return &tree.items;
  const auto* const kind = tree.find("kind");
  const auto* const items = tree.find("items");
  const bool is_list =
      kind != nullptr && kind->text == "List" && items != nullptr && items->type == JsonTree::Type::list;
  return is_list ? &items->items : nullptr;
}

}  // namespace

std::string to_json(const Change& change) {
  std::string out;
  write_change(out, change);
  return out;
}

std::string to_json(std::span<const Change> changes) {
  std::string out = "[";
  for (const auto& change : changes) {
    if (&change != changes.data()) out += ',';
    write_change(out, change);
  }
  return out + "]";
}

Result<Change> parse_change(std::string_view json) {
  IRONCORE_TRY(const auto tree, parse_bounded(json));
  Reader reader;
  auto change = reader.read_change(tree, {});
  IRONCORE_CHECK(reader.finish());
  return change;
}

Result<std::vector<Change>> parse_changes(std::string_view json) {
  IRONCORE_TRY(const auto tree, parse_bounded(json));
  const auto* const elements = elements_of(tree);
  const std::span<const JsonTree> all = elements == nullptr ? std::span(&tree, 1) : std::span(*elements);
  Reader reader;
  std::vector<Change> changes;
  changes.reserve(all.size());
  const Path list{nullptr, "changes"};
  for (std::size_t i = 0; i < all.size(); ++i) changes.push_back(reader.read_change(all[i], {&list, {}, i, true}));
  IRONCORE_CHECK(reader.finish());
  return changes;
}

std::span<const std::string_view> configuration_kinds() noexcept {
  return kinds;
}

std::string_view kind_of(const Change& change) noexcept {
  return kinds[change.index() % kinds.size()];
}

}  // namespace ironcore::network
