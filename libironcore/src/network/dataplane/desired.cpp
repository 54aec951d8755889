// SPDX-License-Identifier: Apache-2.0
// Applying a batch: what it touches is taken out, then put in as it shall be; if something does not fit, the same backwards.
#include "desired.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "object_checks.hpp"

namespace ironcore::network::dataplane {

namespace {

/// As it is kept: whoever names the same next hops in another order says the same.
NextHopSets::Set in_order(NextHopSets::Set set) {
  std::sort(set.begin(), set.end(), [](const auto& a, const auto& b) { return a.underlay < b.underlay; });
  return set;
}

/// What all objects of an interface have in their keys first.
template <class Table, class Each>
void each_of_interface(const Table& table, const std::string& interface, Each each) {
  typename Table::key_type first{};
  first.interface = interface;
  for (auto it = table.lower_bound(first); it != table.end() && it->first.interface == interface; ++it) each(*it);
}

}  // namespace

// ---- next hops -------------------------------------------------------------------------------------------------------

bool NextHopSets::Less::operator()(const Set& a, const Set& b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return std::pair(x.underlay, x.weight) < std::pair(y.underlay, y.weight);
  });
}

std::uint32_t NextHopSets::use(const Set& set) {
  const auto [entry, is_new] = known_.try_emplace(set, 0);
  if (!is_new) {
    ++entries_[entry->second].users;
    return entry->second;
  }
  const auto number = numbers_.take();
  if (number == entries_.size()) entries_.emplace_back();
  entries_[number] = {&entry->first, 1};
  entry->second = number;
  return number;
}

void NextHopSets::release(std::uint32_t number) {
  auto& entry = entries_[number];
  if (--entry.users > 0) return;
  known_.erase(known_.find(*entry.set));
  entry.set = nullptr;
  numbers_.give_back(number);
}

// ---- batches -----------------------------------------------------------------------------------------------------------

class Desired::Batch {
 public:
  enum class Underlays { checked, trusted };
  Batch(Desired& desired, std::span<const Change> changes, Underlays underlays)
      : desired_(desired), changes_(changes), underlays_(underlays) {}

  Result<Dirty> apply(const Keep& keep);

 private:
  /// What shall be under a key, and which change says so.
  template <class Object>
  struct Touched {
    std::optional<Object> wanted;
    std::size_t change = 0;
    bool is_moved = false;      ///< into another network, though it may be the same
    bool is_different = false;  ///< from what was there
  };
  template <class Object>
  using TouchedTable = std::map<decltype(key_of(std::declval<Object>())), Touched<Object>>;

  auto parents_first() {
    return std::tie(interfaces_, prefixes_, virtual_ips_, nats_, neighbour_nats_, load_balancers_, targets_, rules_,
                    services_);
  }
  auto children_first() {
    return std::tie(services_, rules_, targets_, load_balancers_, neighbour_nats_, nats_, virtual_ips_, prefixes_,
                    interfaces_);
  }
  Table<Interface>& table_of(const TouchedTable<Interface>&) { return desired_.interfaces_; }
  Table<InterfacePrefix>& table_of(const TouchedTable<InterfacePrefix>&) { return desired_.prefixes_; }
  Table<VirtualIp>& table_of(const TouchedTable<VirtualIp>&) { return desired_.virtual_ips_; }
  Table<Nat>& table_of(const TouchedTable<Nat>&) { return desired_.nats_; }
  Table<NeighbourNat>& table_of(const TouchedTable<NeighbourNat>&) { return desired_.neighbour_nats_; }
  Table<LoadBalancer>& table_of(const TouchedTable<LoadBalancer>&) { return desired_.load_balancers_; }
  Table<LoadBalancerTarget>& table_of(const TouchedTable<LoadBalancerTarget>&) { return desired_.targets_; }
  Table<FirewallRule>& table_of(const TouchedTable<FirewallRule>&) { return desired_.rules_; }
  Table<VirtualService>& table_of(const TouchedTable<VirtualService>&) { return desired_.virtual_services_; }

  // ---- looking at the changes ----

  FieldErrors fields() { return FieldErrors("changes[" + std::to_string(at_) + "]", errors_); }

  void check_each() {
    for (at_ = 0; at_ < changes_.size(); ++at_) {
      std::visit(
          [&](const auto& change) {
            if constexpr (requires { key_of(change); }) check_one(change);
          },
          changes_[at_]);
    }
  }

  template <class Object>
  void check_one(const Object& object) {
    auto errors = fields();
    if constexpr (has_own_underlay<Object>) {
      // What a list has told may be told back, also the address that we have made.
      const auto& table = table_of(TouchedTable<Object>());
      const auto known = table.find(key_of(object));
      const bool is_told_back = known != table.end() && known->second.underlay == object.underlay;
      if (is_told_back || underlays_ == Underlays::trusted) {
        auto without = object;
        without.underlay.reset();
        return check(without, desired_.underlay_, errors);
      }
    }
    check(object, desired_.underlay_, errors);
  }

  // The last word on a key counts.
  void note(const Interface& object) { interfaces_[key_of(object)] = {object, at_}; }
  void note(const InterfacePrefix& object) { prefixes_[key_of(object)] = {object, at_}; }
  void note(const VirtualIp& object) { virtual_ips_[key_of(object)] = {object, at_}; }
  void note(const Nat& object) { nats_[key_of(object)] = {object, at_}; }
  void note(const NeighbourNat& object) { neighbour_nats_[key_of(object)] = {object, at_}; }
  void note(const LoadBalancer& object) { load_balancers_[key_of(object)] = {object, at_}; }
  void note(const LoadBalancerTarget& object) { targets_[key_of(object)] = {object, at_}; }
  void note(const FirewallRule& object) { rules_[key_of(object)] = {object, at_}; }
  void note(const VirtualService& object) { services_[key_of(object)] = {object, at_}; }
  void note(const Route& object) { routes_[key_of(object)] = in_order(object.next_hops); }
  void note(const InterfaceKey& key) { interfaces_[key] = {std::nullopt, at_}; }
  void note(const InterfacePrefixKey& key) {
    prefixes_[{key.interface, key.prefix.network(), key.use}] = {std::nullopt, at_};
  }
  void note(const VirtualIpKey& key) { virtual_ips_[key] = {std::nullopt, at_}; }
  void note(const NatKey& key) { nats_[key] = {std::nullopt, at_}; }
  void note(const NeighbourNatKey& key) { neighbour_nats_[key] = {std::nullopt, at_}; }
  void note(const LoadBalancerKey& key) { load_balancers_[key] = {std::nullopt, at_}; }
  void note(const LoadBalancerTargetKey& key) { targets_[key] = {std::nullopt, at_}; }
  void note(const FirewallRuleKey& key) { rules_[key] = {std::nullopt, at_}; }
  void note(const VirtualServiceKey& key) { services_[key] = {std::nullopt, at_}; }
  void note(const RouteKey& key) { routes_[{key.vni, key.prefix.network()}].clear(); }

  /// They go with their parent; and what children of an interface may not share depends on its network.
  void touch_children() {
    for (const auto& [key, touched] : interfaces_) {
      const auto known = desired_.interfaces_.find(key);
      if (known == desired_.interfaces_.end()) continue;
      if (touched.wanted && touched.wanted->vni == known->second.vni) continue;
      const auto touch = [&, &id = key.id, &parent = touched](auto& children) {
        each_of_interface(table_of(children), id, [&](const auto& child) {
          const auto [entry, is_new] = children.try_emplace(child.first);
          entry->second.is_moved = true;
          if (!is_new) return;
          entry->second.change = parent.change;
          if (parent.wanted) entry->second.wanted = child.second;
        });
      };
      touch(prefixes_);
      touch(virtual_ips_);
      touch(nats_);
      touch(rules_);
    }
    for (const auto& [key, touched] : load_balancers_) {
      if (touched.wanted) continue;
      const auto& targets = desired_.targets_;
      for (auto it = targets.lower_bound({key.id, {}}); it != targets.end() && it->first.load_balancer == key.id; ++it)
        targets_.try_emplace(it->first, Touched<LoadBalancerTarget>{{}, touched.change});
    }
  }

  // ---- changing ----

  template <class Key, class Object>
  void take_out(std::map<Key, Touched<Object>>& touched) {
    auto& table = table_of(touched);
    for (auto it = touched.begin(); it != touched.end();) {
      auto& wanted = it->second.wanted;
      const auto known = table.find(it->first);
      const bool is_there = known != table.end();
      if constexpr (has_own_underlay<Object>)
        if (is_there && wanted && !wanted->underlay) wanted->underlay = known->second.underlay;
      const bool is_same = is_there ? wanted == known->second && !it->second.is_moved : !wanted;
      if (is_same) {
        it = touched.erase(it);
        continue;
      }
      if (!wanted) dirty_.changes.emplace_back(it->first);
      it->second.is_different = !is_there || wanted != known->second;
      if (is_there) {
        mark(known->second);
        release(known->second);
        undo_.push_back([&table, old = std::move(known->second)] { table.insert_or_assign(key_of(old), old); });
        table.erase(known);
      }
      ++it;
    }
  }

  template <class Key, class Object>
  void put_in(std::map<Key, Touched<Object>>& touched) {
    auto& table = table_of(touched);
    for (auto& [key, entry] : touched) {
      if (!entry.wanted) continue;
      at_ = entry.change;
      Object& object = *entry.wanted;
      if constexpr (has_own_underlay<Object>) {
        while (!object.underlay) {
          const auto address = desired_.underlay_.next(use_of(object));
          if (desired_.underlays_.count(address) == 0) object.underlay = address;
        }
      }
      claim(object);
      mark(object);
      if (entry.is_different) dirty_.changes.emplace_back(object);
      undo_.push_back([&table, key = key] { table.erase(key); });
      table.emplace(key, std::move(object));
    }
  }

  /// The same as putting in and taking out, for what may be many: the maps of a network are copied, not their steps noted.
  void set_routes() {
    for (const auto& [key, wanted] : routes_) {
      auto& routes = desired_.routes_[key.vni];
      if (before_.empty() || before_.back().first != key.vni) before_.emplace_back(key.vni, routes);
      auto& map = routes.of(key.prefix.address().is_v6());
      const auto bits = bits_of(key.prefix.address());
      const auto old = map.get(bits, key.prefix.length());
      if (wanted.empty() ? !old : old && desired_.next_hops_[*old] == wanted) continue;
      if (wanted.empty()) {
        map.erase(bits, key.prefix.length());
        dirty_.changes.emplace_back(key);
      } else {
        const auto number = desired_.next_hops_.use(wanted);
        used_.push_back(number);
        map.set(bits, key.prefix.length(), number);
        dirty_.changes.emplace_back(Route{key.vni, key.prefix, wanted});
      }
      if (old) unused_.push_back(*old);
      dirty_.routes[key.vni].push_back(key.prefix);
    }
  }

  void undo() {
    for (auto step = undo_.rbegin(); step != undo_.rend(); ++step) (*step)();
    for (auto& [vni, routes] : before_) desired_.routes_[vni] = std::move(routes);
    for (const auto number : used_) desired_.next_hops_.release(number);
    drop_empty_networks();
  }

  void commit() {
    for (const auto number : unused_) desired_.next_hops_.release(number);
    drop_empty_networks();
  }

  void drop_empty_networks() {
    for (const auto& [vni, routes] : before_) {
      const auto now = desired_.routes_.find(vni);
      if (now->second.v4.size() + now->second.v6.size() == 0) desired_.routes_.erase(now);
    }
  }

  void check_limits() {
    const auto limit = [&](std::size_t count, std::size_t most, const std::string& what) {
      if (count > most)
        errors_.push_back(
            {"changes", FieldError::Reason::too_long,
             what + ": " + std::to_string(count) + ", and at most " + std::to_string(most) + " are possible"});
    };
    limit(desired_.interfaces_.size(), max_interfaces, "interfaces");
    limit(desired_.virtual_services_.size(), max_virtual_services, "virtual services");
    limit(desired_.routes_.size(), max_vnis, "networks with routes");
    for (const auto& [vni, routes] : before_)
      for (const bool is_v6 : {false, true})
        limit(desired_.routes_[vni].of(is_v6).size(), max_routes, "routes of network " + vni.to_text());
    std::set<std::string> with_rules;
    for (const auto& [key, touched] : rules_) with_rules.insert(key.interface);
    for (const auto& id : with_rules) {
      std::size_t count = 0;
      each_of_interface(desired_.rules_, id, [&](const auto&) { ++count; });
      limit(count, max_rules, "firewall rules of interface " + id);
    }
    std::set<std::string> with_targets;
    for (const auto& [key, touched] : targets_) with_targets.insert(key.load_balancer);
    for (const auto& id : with_targets) {
      std::size_t count = 0;
      const auto& targets = desired_.targets_;
      for (auto it = targets.lower_bound({id, {}}); it != targets.end() && it->first.load_balancer == id; ++it) ++count;
      limit(count, max_targets, "targets of load balancer " + id);
    }
  }

  // ---- what must be compiled again ----

  void mark(const Interface& object) { dirty_.interfaces.insert(object.id); }
  void mark(const InterfacePrefix& object) { dirty_.interfaces.insert(object.interface); }
  void mark(const VirtualIp& object) { dirty_.interfaces.insert(object.interface); }
  void mark(const Nat& object) { dirty_.interfaces.insert(object.interface); }
  void mark(const FirewallRule& object) { dirty_.interfaces.insert(object.interface); }
  void mark(const NeighbourNat& object) { dirty_.neighbours.insert(key_of(object)); }
  void mark(const LoadBalancer& object) { dirty_.load_balancers.insert(object.id); }
  void mark(const LoadBalancerTarget& object) { dirty_.load_balancers.insert(object.load_balancer); }

  void mark(const VirtualService& object) { dirty_.virtual_services.insert(object.id); }

  // ---- underlay addresses ----

  template <class Object>
  static constexpr bool has_own_underlay = requires(Object object) {
    object.underlay.has_value();
  };

  static UnderlayUse use_of(const Interface&) { return UnderlayUse::interface; }
  static UnderlayUse use_of(const InterfacePrefix& object) {
    return object.use == InterfacePrefix::Use::alias ? UnderlayUse::prefix : UnderlayUse::load_balancer_target;
  }
  static UnderlayUse use_of(const VirtualIp&) { return UnderlayUse::virtual_ip; }
  static UnderlayUse use_of(const Nat&) { return UnderlayUse::nat; }
  static UnderlayUse use_of(const LoadBalancer&) { return UnderlayUse::load_balancer; }
  static UnderlayUse use_of(const VirtualService&) { return UnderlayUse::virtual_service; }

  // ---- what may be had once ----

  template <class Map>
  void claim_in(Map& map, const typename Map::key_type& key, const typename Map::mapped_type& owner,
                std::string_view field, const std::string& what) {
    const auto [entry, is_new] = map.emplace(key, owner);
    if (is_new) {
      undo_.push_back([&map, key] { map.erase(key); });
    } else {
      fields().add(field, what + " is of " + entry->second + " already", FieldError::Reason::duplicate);
    }
  }
  template <class Map>
  void release_in(Map& map, const typename Map::key_type& key) {
    const auto entry = map.find(key);
    undo_.push_back([&map, key, owner = std::move(entry->second)] { map.insert_or_assign(key, owner); });
    map.erase(entry);
  }
  void claim_underlay(const IpAddress& address) {
    if (!desired_.underlays_.insert(address).second)
      return fields().add("underlay", address.to_text() + " is used already", FieldError::Reason::duplicate);
    undo_.push_back([this, address] { desired_.underlays_.erase(address); });
  }
  void release_underlay(const IpAddress& address) {
    desired_.underlays_.erase(address);
    undo_.push_back([this, address] { desired_.underlays_.insert(address); });
  }

  /// Null, and an error, if it is not there.
  const Interface* parent(const std::string& id) {
    const auto found = desired_.interfaces_.find({id});
    if (found != desired_.interfaces_.end()) return &found->second;
    fields().add("interface", "no interface is called " + id);
    return nullptr;
  }

  void claim(const Interface& object) {
    claim_in(desired_.ports_, object.port, object.id, "port", "the port");
    for (const auto& address : {object.ipv4, object.ipv6}) {
      if (!address) continue;
      const auto* field = address->is_v4() ? "ipv4" : "ipv6";
      claim_in(desired_.addresses_, {object.vni, *address}, object.id, field, address->to_text());
      const auto alias = desired_.alias_prefixes_.find({object.vni, Prefix::host(*address)});
      if (alias != desired_.alias_prefixes_.end() && alias->second != object.id)
        fields().add(field, address->to_text() + " is a prefix of " + alias->second, FieldError::Reason::duplicate);
      const auto balancer = desired_.balanced_.find({object.vni, *address});
      if (balancer != desired_.balanced_.end())
        fields().add(field, address->to_text() + " is the address of load balancer " + balancer->second,
                     FieldError::Reason::duplicate);
    }
    claim_underlay(*object.underlay);
  }
  void release(const Interface& object) {
    release_in(desired_.ports_, object.port);
    for (const auto& address : {object.ipv4, object.ipv6})
      if (address) release_in(desired_.addresses_, {object.vni, *address});
    release_underlay(*object.underlay);
  }

  void claim(const InterfacePrefix& object) {
    const auto* interface = parent(object.interface);
    if (interface != nullptr && object.use == InterfacePrefix::Use::alias) {
      claim_in(desired_.alias_prefixes_, {interface->vni, object.prefix}, object.interface, "prefix",
               object.prefix.to_text());
      const auto other = desired_.addresses_.find({interface->vni, object.prefix.address()});
      if (object.prefix == Prefix::host(object.prefix.address()) && other != desired_.addresses_.end() &&
          other->second != object.interface)
        fields().add("prefix", object.prefix.to_text() + " is the address of " + other->second,
                     FieldError::Reason::duplicate);
    }
    claim_underlay(*object.underlay);
  }
  void release(const InterfacePrefix& object) {
    if (object.use == InterfacePrefix::Use::alias)
      release_in(desired_.alias_prefixes_, {desired_.interfaces_.at({object.interface}).vni, object.prefix});
    release_underlay(*object.underlay);
  }

  void claim(const VirtualIp& object) {
    const auto* interface = parent(object.interface);
    if (interface != nullptr && !(object.address.is_v4() ? interface->ipv4 : interface->ipv6))
      fields().add("address", "the interface has no address of this family that it could stand for");
    claim_in(desired_.virtual_addresses_, object.address, object.interface, "address", object.address.to_text());
    const auto nat = desired_.nat_ports_.lower_bound({object.address, 0});
    if (nat != desired_.nat_ports_.end() && nat->first.first == object.address)
      fields().add("address", object.address.to_text() + " is used for NAT", FieldError::Reason::duplicate);
    claim_no_service(object.address);
    claim_underlay(*object.underlay);
  }
  void release(const VirtualIp& object) {
    release_in(desired_.virtual_addresses_, object.address);
    release_underlay(*object.underlay);
  }

  void claim(const Nat& object) {
    parent(object.interface);
    claim_ports(object.address, object.first_port, object.last_port);
    claim_underlay(*object.underlay);
  }
  void release(const Nat& object) {
    release_in(desired_.nat_ports_, {object.address, object.first_port});
    release_underlay(*object.underlay);
  }

  void claim(const NeighbourNat& object) { claim_ports(object.address, object.first_port, object.last_port); }
  void release(const NeighbourNat& object) { release_in(desired_.nat_ports_, {object.address, object.first_port}); }

  void claim(const LoadBalancer& object) {
    claim_in(desired_.balanced_, {object.vni, object.address}, object.id, "address", object.address.to_text());
    const auto machine = desired_.addresses_.find({object.vni, object.address});
    if (machine != desired_.addresses_.end())
      fields().add("address", object.address.to_text() + " is the address of " + machine->second,
                   FieldError::Reason::duplicate);
    claim_underlay(*object.underlay);
  }
  void release(const LoadBalancer& object) {
    release_in(desired_.balanced_, {object.vni, object.address});
    release_underlay(*object.underlay);
  }

  void claim(const LoadBalancerTarget& object) {
    if (desired_.load_balancers_.count({object.load_balancer}) == 0)
      fields().add("loadBalancer", "no load balancer is called " + object.load_balancer);
  }
  void release(const LoadBalancerTarget&) {}

  void claim(const FirewallRule& object) { parent(object.interface); }
  void release(const FirewallRule&) {}

  void claim(const VirtualService& object) {
    const auto& address = object.address;
    claim_in(desired_.served_, {address, object.protocol, object.port}, object.id, "port",
             "port " + std::to_string(object.port) + " of " + address.to_text());
    if (desired_.virtual_addresses_.count(address) != 0)
      fields().add("address", address.to_text() + " is a virtual IP", FieldError::Reason::duplicate);
    const auto nat = desired_.nat_ports_.lower_bound({address, 0});
    if (nat != desired_.nat_ports_.end() && nat->first.first == address)
      fields().add("address", address.to_text() + " is used for NAT", FieldError::Reason::duplicate);
    claim_underlay(*object.underlay);
  }
  void release(const VirtualService& object) {
    release_in(desired_.served_, {object.address, object.protocol, object.port});
    release_underlay(*object.underlay);
  }
  void claim_no_service(const IpAddress& address) {
    const auto served = desired_.served_.lower_bound({address, 0, 0});
    if (served != desired_.served_.end() && std::get<IpAddress>(served->first) == address)
      fields().add("address", address.to_text() + " is of virtual service " + served->second,
                   FieldError::Reason::duplicate);
  }

  /// Nobody else may have any of them, in whatever network: outside there is only one.
  void claim_ports(const IpAddress& address, std::uint16_t first, std::uint16_t last) {
    auto& ports = desired_.nat_ports_;
    if (desired_.virtual_addresses_.count(address) != 0)
      fields().add("address", address.to_text() + " is a virtual IP", FieldError::Reason::duplicate);
    claim_no_service(address);
    const auto after = ports.upper_bound({address, last});
    const auto before = after == ports.begin() ? ports.end() : std::prev(after);
    if (before != ports.end() && before->first.first == address && before->second >= first) {
      fields().add("firstPort",
                   "the ports " + std::to_string(before->first.second) + " to " + std::to_string(before->second) +
                       " of " + address.to_text() + " are used already",
                   FieldError::Reason::duplicate);
      return;
    }
    ports.emplace(std::pair(address, first), last);
    undo_.push_back([&ports, address, first] { ports.erase({address, first}); });
  }

  Desired& desired_;
  const std::span<const Change> changes_;
  const Underlays underlays_;
  std::size_t at_ = 0;  ///< the change that is being worked on
  std::vector<FieldError> errors_;
  Dirty dirty_;
  std::vector<std::function<void()>> undo_;

  TouchedTable<Interface> interfaces_;
  TouchedTable<InterfacePrefix> prefixes_;
  TouchedTable<VirtualIp> virtual_ips_;
  TouchedTable<Nat> nats_;
  TouchedTable<NeighbourNat> neighbour_nats_;
  TouchedTable<LoadBalancer> load_balancers_;
  TouchedTable<LoadBalancerTarget> targets_;
  TouchedTable<FirewallRule> rules_;
  TouchedTable<VirtualService> services_;

  std::map<RouteKey, NextHopSets::Set> routes_;  ///< an empty one shall go
  std::vector<std::pair<Vni, PrefixMaps>> before_;
  std::vector<std::uint32_t> used_;    ///< next-hop sets that new routes use
  std::vector<std::uint32_t> unused_;  ///< and that old ones do not use any more
};

Result<Dirty> Desired::Batch::apply(const Keep& keep) {
  check_each();
  if (errors_.empty()) {
    for (at_ = 0; at_ < changes_.size(); ++at_) std::visit([&](const auto& change) { note(change); }, changes_[at_]);
    touch_children();
    // Children leave before their parents and come after them: both ask what network these are in.
    std::apply([&](auto&... touched) { (take_out(touched), ...); }, children_first());
    std::apply([&](auto&... touched) { (put_in(touched), ...); }, parents_first());
    set_routes();
    if (errors_.empty()) check_limits();
  }
  if (!errors_.empty()) {
    undo();
    return Error(std::move(errors_));
  }
  if (keep && !dirty_.changes.empty()) {
    if (auto kept = keep(dirty_.changes); !kept) {
      undo();
      return kept.error();
    }
  }
  commit();
  return std::move(dirty_);
}

Result<Dirty> Desired::apply(std::span<const Change> batch, const Keep& keep) {
  return Batch(*this, batch, Batch::Underlays::checked).apply(keep);
}

Result<Dirty> Desired::restore(std::span<const Change> batch) {
  return Batch(*this, batch, Batch::Underlays::trusted).apply({});
}

void Dirty::add(const Dirty& later) {
  interfaces.insert(later.interfaces.begin(), later.interfaces.end());
  load_balancers.insert(later.load_balancers.begin(), later.load_balancers.end());
  neighbours.insert(later.neighbours.begin(), later.neighbours.end());
  virtual_services.insert(later.virtual_services.begin(), later.virtual_services.end());
  for (const auto& [vni, prefixes] : later.routes) {
    auto& all = routes[vni];
    all.insert(all.end(), prefixes.begin(), prefixes.end());
  }
}

}  // namespace ironcore::network::dataplane
