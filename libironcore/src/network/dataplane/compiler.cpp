// SPDX-License-Identifier: Apache-2.0
// What is dirty is taken out of the tables, and put in again as it is now.
#include "compiler.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "hash.hpp"

namespace ironcore::network::dataplane {

namespace {

/// Underlay addresses of this host are told apart by their last 8 bytes.
PrefixBits suffix_bits(const IpAddress& address) {
  return {bits_of(address).low, 0};
}
constexpr unsigned suffix_length = 64;

void add(PrefixMaps& maps, const Prefix& prefix, std::uint32_t value) {
  maps.of(prefix.address().is_v6()).set(bits_of(prefix.address()), prefix.length(), value);
}
void remove(PrefixMaps& maps, const Prefix& prefix) {
  maps.of(prefix.address().is_v6()).erase(bits_of(prefix.address()), prefix.length());
}

Classifier::Rule compiled(const FirewallRule& rule) {
  const auto prefix = [](const Prefix& from) { return Classifier::Prefix{bits_of(from.address()), from.length()}; };
  Classifier::Rule out;
  out.priority = rule.priority;
  out.is_v6 = rule.source.address().is_v6();
  out.source = prefix(rule.source);
  out.destination = prefix(rule.destination);
  out.protocol = rule.protocol;
  out.source_ports = {rule.source_ports.first, rule.source_ports.last};
  out.destination_ports = {rule.destination_ports.first, rule.destination_ports.last};
  out.icmp_type = rule.icmp_type;
  out.icmp_code = rule.icmp_code;
  return out;
}

RuleSet compiled(std::vector<const FirewallRule*> rules) {
  // Among equals the first one wins.
  std::stable_sort(rules.begin(), rules.end(), [](const auto* a, const auto* b) {
    return a->action == FirewallRule::Action::deny && b->action == FirewallRule::Action::allow;
  });
  RuleSet out;
  std::vector<Classifier::Rule> classified;
  for (const auto* rule : rules) {
    classified.push_back(compiled(*rule));
    out.actions.push_back(rule->action);
    out.ids.push_back(rule->id);
  }
  out.classifier = Classifier(classified);
  return out;
}

}  // namespace

UnderlayBytes underlay_bytes(const IpAddress& address) noexcept {
  UnderlayBytes out{};
  const auto bytes = address.bytes();
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

const UnderlayView* Snapshot::underlay(const std::uint8_t* suffix) const noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word = word << 8 | suffix[i];
  const auto found = underlays.get({word, 0}, suffix_length);
  return found ? &underlay_views[*found] : nullptr;
}

const PublicRange* Snapshot::public_range(PrefixBits address, bool is_v6, std::uint16_t port) const noexcept {
  const auto found = publics.get(address, is_v6 ? 128 : 32);
  if (!found) return nullptr;
  const auto& ranges = public_ranges[*found];
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), port,
                                      [](std::uint16_t value, const auto& range) { return value < range.first_port; });
  return after != ranges.begin() && std::prev(after)->last_port >= port ? &*std::prev(after) : nullptr;
}

Compiler::Compiler(const Prefix& host, const CompilerOptions& options) : options_(options) {
  next_.host = underlay_bytes(host.first());
  next_.followed_nats = std::make_shared<FollowedNats>(options_.workers);
  if (options_.kept != nullptr) remember(*options_.kept);
}

std::unique_ptr<const Snapshot> Compiler::compile(const Desired& desired, const Dirty& dirty,
                                                  Generations& generations) {
  next_number();
  generations_ = &generations;
  let_go_of_nats();
  // All leave before the first one comes: an address may go from one to another.
  for (const auto& id : dirty.interfaces)
    if (const auto known = interfaces_.find(id); known != interfaces_.end()) take_out(known->second);
  for (const auto& id : dirty.load_balancers)
    if (const auto known = load_balancers_.find(id); known != load_balancers_.end()) take_out(known->second);
  for (const auto& id : dirty.virtual_services)
    if (const auto known = virtual_services_.find(id); known != virtual_services_.end())
      take_out_service(known->second);
  for (const auto& key : dirty.neighbours) remove_public(key.address, key.first_port);
  for (const auto& id : dirty.interfaces) compile_interface(desired, id);
  for (const auto& id : dirty.load_balancers) compile_load_balancer(desired, id);
  for (const auto& id : dirty.virtual_services) compile_virtual_service(desired, id);
  for (const auto& [vni, prefixes] : dirty.routes) compile_routes(desired, vni, prefixes);
  for (const auto& key : dirty.neighbours) compile_neighbour(desired, key);
  finish_networks();
  if (!dirty.virtual_services.empty()) finish_link_routes(desired);
  finish_publics();
  finish_hops();
  return std::make_unique<const Snapshot>(next_);
}

// ---- numbers that outlive the process --------------------------------------------------------------------------------

void Compiler::remember(const KeptFlows& kept) {
  is_restoring_ = true;
  next_.number = kept.number();
  interface_numbers_ = Numbers(KeptFlows::interfaces);
  hop_numbers_ = Numbers(KeptFlows::hops);
  // The smallest free one is the last to be given back, and so the next to be taken.
  for (auto index = KeptFlows::interfaces; index-- > 0;) {
    const std::string id(kept.interface_at(index));
    if (id.empty() || !remembered_interfaces_.emplace(id, index).second) {
      interface_numbers_.give_back(index);
    } else if (const auto mac = kept.mac_of(index)) {
      learned_[id] = *mac;
    }
  }
  virtual_service_numbers_ = Numbers(KeptFlows::services);
  for (auto index = KeptFlows::services; index-- > 0;) {
    const auto [suffix, born] = kept.service_at(index);
    if (suffix == 0 || !remembered_services_.emplace(suffix, RememberedService{index, born}).second)
      virtual_service_numbers_.give_back(index);
  }
  for (auto number = KeptFlows::hops; number-- > 0;) {
    const auto underlay = kept.hop_at(number);
    if (!underlay || !remembered_hops_.emplace(*underlay, number).second) hop_numbers_.give_back(number);
  }
}

std::unique_ptr<const Snapshot> Compiler::finish_restoring(Generations& generations) {
  auto& kept = *options_.kept;
  for (const auto& [id, index] : std::exchange(remembered_interfaces_, {})) {
    kept.clear_interface(index);
    interface_numbers_.give_back(index);
    learned_.erase(id);
  }
  for (const auto& [suffix, service] : std::exchange(remembered_services_, {})) {
    kept.set_service(service.index, {});
    virtual_service_numbers_.give_back(service.index);
  }
  for (const auto& [underlay, number] : std::exchange(remembered_hops_, {})) {
    kept.clear_hop(number);
    hop_numbers_.give_back(number);
  }
  is_restoring_ = false;
  for (const auto& [id, entries] : interfaces_)
    if (const auto& pool = next_.interfaces[entries.index]->nat_pool) kept.set_nat_born(entries.index, pool->born());
  for (const auto& [id, entries] : virtual_services_)
    note_service(*next_.virtual_services[entries.index], entries.index);
  next_number();
  generations_ = &generations;
  change(Generations::restored);
  return std::make_unique<const Snapshot>(next_);
}

/// The numbers between are of no configuration: flows that have followed their NAT to the next pool, but were not checked otherwise, have them.
void Compiler::next_number() {
  next_.number += 2;
  if (options_.kept != nullptr) options_.kept->set_number(next_.number);
}

std::uint32_t Compiler::interface_number(const std::string& id) {
  if (const auto known = remembered_interfaces_.extract(id)) return known.mapped();
  const auto number = interface_numbers_.take();
  if (options_.kept != nullptr) {
    options_.kept->set_interface(number, id);
    // Whose number it was before the restart had its ports of another NAT.
    if (is_restoring_) options_.kept->set_nat_born(number, UINT64_MAX);
  }
  return number;
}

void Compiler::note_service(const VirtualServiceView& view, std::uint32_t index) {
  options_.kept->set_service(index, {suffix_bits(*view.told.underlay).high, view.pool->born()});
}

std::uint32_t Compiler::hop_number(const IpAddress& underlay) {
  if (const auto known = remembered_hops_.extract(underlay)) return known.mapped();
  const auto number = hop_numbers_.take();
  if (options_.kept != nullptr) options_.kept->set_hop(number, underlay);
  return number;
}

/// That of its port; but who has flows from before a restart stays where these are, whatever number its port has now.
std::uint32_t Compiler::home_of(std::uint32_t interface, std::uint32_t port) {
  if (options_.kept != nullptr) {
    if (const auto home = options_.kept->home_of(interface)) return *home;
    if (port != no_port) options_.kept->set_home(interface, port);
  }
  return port == no_port ? interface : port;
}

// ---- shared tables ---------------------------------------------------------------------------------------------------

/// For changes; in the snapshot when the batch is finished.
NetworkView& Compiler::network(Vni vni) {
  auto& open = open_networks_[vni];
  if (!open) {
    const auto* before = next_.network(vni);
    open = before == nullptr ? std::make_shared<NetworkView>() : std::make_shared<NetworkView>(*before);
  }
  return *open;
}

void Compiler::finish_networks() {
  const auto is_empty = [](const PrefixMaps& maps) { return maps.v4.size() + maps.v6.size() == 0; };
  for (auto& [vni, view] : open_networks_) {
    const auto bits = Snapshot::vni_bits(vni);
    auto number = next_.networks.get(bits, Snapshot::vni_length);
    if (is_empty(view->local) && is_empty(view->routes) && is_empty(view->balanced)) {
      if (!number) continue;
      next_.networks.erase(bits, Snapshot::vni_length);
      next_.network_views.set(*number, nullptr);
      network_numbers_.give_back(*number);
      continue;
    }
    if (!number) {
      number = network_numbers_.take();
      next_.networks.set(bits, Snapshot::vni_length, *number);
    }
    next_.network_views.set(*number, std::move(view));
  }
  open_networks_.clear();
}

void Compiler::take_out(const Entries& entries) {
  if (!entries.port.empty()) disconnect(entries.port, entries.index);
  for (const auto& prefix : entries.local) {
    remove(network(entries.vni).local, prefix);
    change(Generations::prefix(entries.vni, prefix.address().is_v6(), bits_of(prefix.address()), prefix.length()));
  }
  if (entries.balanced) {
    remove(network(entries.vni).balanced, Prefix::host(*entries.balanced));
    change(Generations::route(entries.vni, entries.balanced->is_v6(), bits_of(*entries.balanced)));
  }
  for (const auto& [address, first_port] : entries.publics) remove_public(address, first_port);
  for (const auto& target : entries.targets) release_hop(target);
  for (const auto& address : entries.underlays) {
    underlay_numbers_.give_back(*next_.underlays.get(suffix_bits(address), suffix_length));
    next_.underlays.erase(suffix_bits(address), suffix_length);
  }
}

void Compiler::add_local(Entries& entries, const Prefix& prefix) {
  add(network(entries.vni).local, prefix, entries.index);
  change(Generations::prefix(entries.vni, prefix.address().is_v6(), bits_of(prefix.address()), prefix.length()));
  entries.local.push_back(prefix);
}

void Compiler::add_underlay(Entries& entries, const std::optional<IpAddress>& address, UnderlayUse use) {
  const auto number = underlay_numbers_.take();
  next_.underlay_views.set(number, {use, entries.index});
  next_.underlays.set(suffix_bits(*address), suffix_length, number);
  entries.underlays.push_back(*address);
}

// ---- ports -------------------------------------------------------------------------------------------------------------

void Compiler::attach(std::uint32_t interface, std::uint32_t port) {
  Attachment attachment;
  if (interface < next_.attachments.size()) attachment = next_.attachments[interface];
  attachment.port = port;
  attachment.home = home_of(interface, port);
  const auto mac = port == no_port ? MacAddress() : next_.ports[port].mac;
  std::memcpy(attachment.addresses.data() + 6, mac.bytes().data(), 6);
  next_.attachments.set(interface, attachment);
}

/// Both ways, if the port is there.
void Compiler::connect(const std::string& port, std::uint32_t interface) {
  const auto there = ports_.find(port);
  attach(interface, there == ports_.end() ? no_port : there->second);
  if (there == ports_.end()) return;
  auto view = next_.ports[there->second];
  view.kind = PortView::Kind::machine;
  view.interface = interface;
  next_.ports.set(there->second, view);
}

void Compiler::disconnect(const std::string& port, std::uint32_t interface) {
  port_users_.erase(port);
  attach(interface, no_port);
  const auto there = ports_.find(port);
  if (there == ports_.end()) return;
  auto view = next_.ports[there->second];
  view.kind = PortView::Kind::none;
  next_.ports.set(there->second, view);
}

void Compiler::add_port(const std::string& name, std::uint32_t number, const MacAddress& mac) {
  ports_[name] = number;
  next_.ports.set(number, {PortView::Kind::none, 0, mac});
  const auto user = port_users_.find(name);
  if (user != port_users_.end()) connect(name, interfaces_.at(user->second).index);
}

void Compiler::remove_port(const std::string& name) {
  const auto there = ports_.find(name);
  if (there == ports_.end()) return;
  next_.ports.set(there->second, {});
  ports_.erase(there);
  const auto user = port_users_.find(name);
  if (user != port_users_.end()) attach(interfaces_.at(user->second).index, no_port);
}

void Compiler::add_uplink(const UplinkView& uplink, const MacAddress& mac) {
  next_.ports.set(uplink.port, {PortView::Kind::uplink, 0, mac});
  next_.uplinks.push_back(uplink);
}

void Compiler::change_uplink(const UplinkView& uplink) {
  for (auto& known : next_.uplinks)
    if (known.port == uplink.port) known = uplink;
}

void Compiler::remove_uplink(std::uint32_t port) {
  next_.ports.set(port, {});
  std::erase_if(next_.uplinks, [&](const auto& uplink) { return uplink.port == port; });
}

void Compiler::learn_mac(const std::string& interface, const MacAddress& mac) {
  learned_[interface] = mac;
  const auto known = interfaces_.find(interface);
  if (known == interfaces_.end()) return;
  const auto& before = next_.interfaces[known->second.index];
  if (before->told.mac || before->mac == mac) return;
  auto view = std::make_shared<InterfaceView>(*before);
  view->mac = mac;
  next_.interfaces.set(known->second.index, std::move(view));
  auto attachment = next_.attachments[known->second.index];
  attachment.has_mac = true;
  std::memcpy(attachment.addresses.data(), mac.bytes().data(), 6);
  next_.attachments.set(known->second.index, attachment);
  if (options_.kept != nullptr) options_.kept->set_mac(known->second.index, mac);
}

// ---- interfaces ------------------------------------------------------------------------------------------------------

void Compiler::compile_interface(const Desired& desired, const std::string& id) {
  const auto told = desired.interfaces().find({id});
  const auto known = interfaces_.find(id);
  if (told == desired.interfaces().end()) {
    if (known == interfaces_.end()) return;
    change(Generations::interface(known->second.index));
    next_.interfaces.set(known->second.index, nullptr);
    interface_numbers_.give_back(known->second.index);
    if (options_.kept != nullptr) options_.kept->clear_interface(known->second.index);
    interfaces_.erase(known);
    learned_.erase(id);
    return;
  }
  Entries entries;
  entries.index = known == interfaces_.end() ? interface_number(id) : known->second.index;
  entries.vni = told->second.vni;

  entries.port = told->second.port;
  port_users_[entries.port] = id;
  connect(entries.port, entries.index);

  auto view = std::make_shared<InterfaceView>();
  view->told = told->second;
  view->mac = told->second.mac;
  if (const auto learned = learned_.find(id); !view->mac && learned != learned_.end()) view->mac = learned->second;
  // What is told again without a change keeps its buckets, and below its ports.
  const auto* before = known == interfaces_.end() ? nullptr : next_.interfaces[entries.index].get();
  view->born = before == nullptr ? next_.number : before->born;
  if (before != nullptr) view->meter_tally = before->meter_tally;
  const bool is_limited = told->second.total != MeterRates() || told->second.public_traffic != MeterRates();
  if (is_limited) {
    const bool is_same = before != nullptr && before->told.total == told->second.total &&
                         before->told.public_traffic == told->second.public_traffic;
    if (!view->meter_tally) view->meter_tally = std::make_shared<MeterTally>();
    view->meters =
        is_same ? before->meters
                : std::make_shared<InterfaceMeters>(told->second.total, told->second.public_traffic, view->meter_tally);
  }
  view->underlay = underlay_bytes(*told->second.underlay);
  view->next_hop = use_hop(*told->second.underlay);
  entries.targets.push_back(*told->second.underlay);
  add_underlay(entries, told->second.underlay, UnderlayUse::interface);
  for (const auto& address : {told->second.ipv4, told->second.ipv6}) {
    if (!address) continue;
    add(view->own, Prefix::host(*address), 0);
    add_local(entries, Prefix::host(*address));
  }
  const auto& prefixes = desired.prefixes();
  for (auto it = prefixes.lower_bound({id, {}, {}}); it != prefixes.end() && it->first.interface == id; ++it) {
    const bool is_alias = it->second.use == InterfacePrefix::Use::alias;
    add(view->own, it->second.prefix, 0);
    if (is_alias) add_local(entries, it->second.prefix);
    add_underlay(entries, it->second.underlay, is_alias ? UnderlayUse::prefix : UnderlayUse::load_balancer_target);
  }
  for (const bool is_v6 : {false, true}) {
    const auto found = desired.virtual_ips().find({id, is_v6});
    if (found == desired.virtual_ips().end()) continue;
    (is_v6 ? view->virtual_ipv6 : view->virtual_ipv4) = found->second;
    add_underlay(entries, found->second.underlay, UnderlayUse::virtual_ip);
    add_public(entries, found->second.address, {0, 0xffff, 0, entries.index, entries.vni}, *found->second.underlay);
  }
  if (const auto nat = desired.nats().find({id}); nat != desired.nats().end()) {
    view->nat = nat->second;
    compile_nat(*view, entries.index, before);
    // Flows from before a restart are still to be compared with what is noted there.
    if (options_.kept != nullptr && !is_restoring_) options_.kept->set_nat_born(entries.index, view->nat_pool->born());
    add_underlay(entries, nat->second.underlay, UnderlayUse::nat);
    add_public(entries, nat->second.address,
               {nat->second.first_port, nat->second.last_port, 0, entries.index, entries.vni}, *nat->second.underlay);
  }
  std::vector<const FirewallRule*> ingress;
  std::vector<const FirewallRule*> egress;
  const auto& rules = desired.rules();
  for (auto it = rules.lower_bound({id, {}}); it != rules.end() && it->first.interface == id; ++it)
    (it->second.direction == FirewallRule::Direction::ingress ? ingress : egress).push_back(&it->second);
  view->ingress = compiled(std::move(ingress));
  view->egress = compiled(std::move(egress));

  auto attachment = next_.attachments[entries.index];
  attachment.has_mac = view->mac.has_value();
  const auto mac = view->mac.value_or(MacAddress());
  std::memcpy(attachment.addresses.data(), mac.bytes().data(), 6);
  attachment.is_limited = view->meters != nullptr;
  attachment.underlay = view->underlay;
  next_.attachments.set(entries.index, attachment);
  change(Generations::interface(entries.index));
  next_.interfaces.set(entries.index, std::move(view));
  interfaces_[id] = std::move(entries);
}

/// Flows keep their ports while the address is the same.
void Compiler::compile_nat(InterfaceView& view, std::uint32_t index, const InterfaceView* before) {
  const auto& nat = *view.nat;
  const bool is_known = before != nullptr && before->nat && before->nat->address == nat.address;
  if (is_known) {
    auto same = *before->nat;
    same.underlay = nat.underlay;
    view.nat_pool = before->nat_pool;
    if (same == nat) return;
  }
  view.nat_pool = std::make_shared<NatPool>(nat, next_.number, options_.workers, options_.connections, options_.secret);
  if (!is_known) return;
  view.nat_pool->succeed(before->nat_pool, next_.number - 1, next_.followed_nats);
  next_.nats_renewed = next_.number;
  renewed_nats_.push_back(index);
}

void Compiler::let_go_of_nats() {
  std::erase_if(renewed_nats_, [&](std::uint32_t index) {
    const auto* view = next_.interfaces[index].get();
    return view == nullptr || !view->nat_pool || view->nat_pool->let_go();
  });
}

// ---- load balancers --------------------------------------------------------------------------------------------------

void Compiler::compile_load_balancer(const Desired& desired, const std::string& id) {
  const auto told = desired.load_balancers().find({id});
  const auto known = load_balancers_.find(id);
  if (told == desired.load_balancers().end()) {
    if (known == load_balancers_.end()) return;
    change(Generations::load_balancer(known->second.index));
    next_.load_balancers.set(known->second.index, nullptr);
    load_balancer_numbers_.give_back(known->second.index);
    load_balancers_.erase(known);
    return;
  }
  Entries entries;
  entries.index = known == load_balancers_.end() ? load_balancer_numbers_.take() : known->second.index;
  entries.vni = told->second.vni;
  entries.balanced = told->second.address;

  auto view = std::make_shared<LoadBalancerView>();
  view->told = told->second;
  std::vector<Maglev::Target> targets;
  const auto& all = desired.targets();
  for (auto it = all.lower_bound({id, {}}); it != all.end() && it->first.load_balancer == id; ++it) {
    const auto bits = bits_of(it->second.underlay);
    const std::uint64_t words[] = {bits.high, bits.low};
    view->targets.push_back(use_hop(it->second.underlay));
    entries.targets.push_back(it->second.underlay);
    targets.push_back({hash_words(words), it->second.weight});
  }
  if (!targets.empty()) view->choice = Maglev(targets, options_.maglev_size);

  add(network(entries.vni).balanced, Prefix::host(told->second.address), entries.index);
  change(Generations::route(entries.vni, told->second.address.is_v6(), bits_of(told->second.address)));
  add_underlay(entries, told->second.underlay, UnderlayUse::load_balancer);
  change(Generations::load_balancer(entries.index));
  next_.load_balancers.set(entries.index, std::move(view));
  load_balancers_[id] = std::move(entries);
}

// ---- virtual services ------------------------------------------------------------------------------------------------

void Compiler::take_out_service(const Entries& entries) {
  const auto& told = next_.virtual_services[entries.index]->told;
  const auto address = bits_of(told.address);
  next_.served.erase(Snapshot::served_bits(address, told.protocol, told.port), Snapshot::served_length);
  change(Generations::nat(address));
  take_out(entries);
}

void Compiler::compile_virtual_service(const Desired& desired, const std::string& id) {
  const auto told = desired.virtual_services().find({id});
  const auto known = virtual_services_.find(id);
  if (told == desired.virtual_services().end()) {
    if (known == virtual_services_.end()) return;
    next_.virtual_services.set(known->second.index, nullptr);
    if (options_.kept != nullptr && !is_restoring_) options_.kept->set_service(known->second.index, {});
    virtual_service_numbers_.give_back(known->second.index);
    virtual_services_.erase(known);
    return;
  }
  Entries entries;
  auto view = std::make_shared<VirtualServiceView>();
  view->former_born = UINT64_MAX;
  if (known != virtual_services_.end()) {
    entries.index = known->second.index;
  } else if (const auto remembered = remembered_services_.extract(suffix_bits(*told->second.underlay).high)) {
    entries.index = remembered.mapped().index;
    view->former_born = remembered.mapped().born;
  } else {
    entries.index = virtual_service_numbers_.take();
  }
  const auto* before = known == virtual_services_.end() ? nullptr : next_.virtual_services[entries.index].get();
  view->told = told->second;
  if (before != nullptr && before->told.underlay == told->second.underlay) {
    view->pool = before->pool;
  } else {
    // All flows are towards one outside, so a port can be shared by nobody; the kind that shares takes less memory for that.
    Nat ports;
    ports.first_port = 1024;
    ports.last_port = 65'535;
    ports.ports = Nat::Ports::shared;
    const std::size_t all = ports.last_port - ports.first_port + 1U;
    const auto most = static_cast<std::uint32_t>((all + options_.workers - 1) / options_.workers);
    view->pool = std::make_shared<NatPool>(ports, next_.number, options_.workers, std::min(most, options_.connections),
                                           options_.secret);
  }
  const auto address = bits_of(told->second.address);
  next_.served.set(Snapshot::served_bits(address, told->second.protocol, told->second.port), Snapshot::served_length,
                   entries.index);
  change(Generations::nat(address));
  add_underlay(entries, told->second.underlay, UnderlayUse::virtual_service);
  if (options_.kept != nullptr && !is_restoring_) note_service(*view, entries.index);
  next_.virtual_services.set(entries.index, std::move(view));
  virtual_services_[id] = std::move(entries);
}

/// By 256 addresses, so that a DHCP message has room for them.
void Compiler::finish_link_routes(const Desired& desired) {
  std::set<Prefix> routes;
  for (const auto& [key, service] : desired.virtual_services())
    if (service.address.is_link_local()) routes.insert(Prefix::make(service.address, 24).value().network());
  next_.link_routes.assign(routes.begin(), routes.end());
}

// ---- routes ----------------------------------------------------------------------------------------------------------

void Compiler::compile_routes(const Desired& desired, Vni vni, const std::vector<Prefix>& prefixes) {
  auto& routes = network(vni).routes;
  const auto told = desired.routes().find(vni);
  std::set<std::uint32_t> sets;
  for (const auto& prefix : prefixes) {
    const bool is_v6 = prefix.address().is_v6();
    const auto bits = bits_of(prefix.address());
    change(Generations::prefix(vni, is_v6, bits, prefix.length()));
    const auto set = told == desired.routes().end() ? std::nullopt : told->second.of(is_v6).get(bits, prefix.length());
    if (set) sets.insert(*set);
  }
  for (const auto set : sets) compile_next_hops(desired, set);
  // The same trees: nothing is copied.
  routes = told == desired.routes().end() ? PrefixMaps{} : told->second;
}

/// A number may stand for other next hops than it did. What the old ones were is given back only now; so there are never more of
/// them than sets that were ever used at once.
void Compiler::compile_next_hops(const Desired& desired, std::uint32_t set) {
  const auto& wanted = desired.next_hops()[set];
  auto& now = sets_[set];
  if (now == wanted) return;
  std::vector<NextHop> compiled;
  for (const auto& hop : wanted) compiled.push_back({use_hop(hop.underlay), hop.weight});
  for (const auto& hop : now) release_hop(hop.underlay);
  now = wanted;
  next_.next_hop_sets.set(set, std::move(compiled));
}

std::uint32_t Compiler::use_hop(const IpAddress& underlay) {
  auto& known = hops_[underlay];
  if (known.users++ == 0) {
    known.number = hop_number(underlay);
    next_.next_hops.set(known.number, underlay_bytes(underlay));
  }
  return known.number;
}

/// At the end of the batch, so that one that is used again keeps its number: flows know their choice by it.
void Compiler::release_hop(const IpAddress& underlay) {
  released_hops_.push_back(underlay);
}

void Compiler::finish_hops() {
  for (const auto& underlay : released_hops_) {
    const auto known = hops_.find(underlay);
    if (--known->second.users > 0) continue;
    hop_numbers_.give_back(known->second.number);
    if (options_.kept != nullptr) options_.kept->clear_hop(known->second.number);
    hops_.erase(known);
  }
  released_hops_.clear();
}

// ---- public addresses ------------------------------------------------------------------------------------------------

void Compiler::add_public(Entries& entries, const IpAddress& address, PublicRange range, const IpAddress& underlay) {
  set_public(address, range, underlay);
  entries.publics.emplace_back(address, range.first_port);
}

void Compiler::set_public(const IpAddress& address, PublicRange range, const IpAddress& underlay) {
  range.next_hop = use_hop(underlay);
  publics_[address].insert_or_assign(range.first_port, Public{range, underlay});
  changed_publics_.insert(address);
}

void Compiler::remove_public(const IpAddress& address, std::uint16_t first_port) {
  const auto known = publics_.find(address);
  if (known == publics_.end()) return;
  const auto range = known->second.find(first_port);
  if (range == known->second.end()) return;
  release_hop(range->second.underlay);
  known->second.erase(range);
  changed_publics_.insert(address);
}

void Compiler::compile_neighbour(const Desired& desired, const NeighbourNatKey& key) {
  const auto told = desired.neighbour_nats().find(key);
  if (told == desired.neighbour_nats().end()) return;
  const auto& nat = told->second;
  set_public(nat.address, {nat.first_port, nat.last_port, 0, PublicRange::elsewhere, nat.vni}, nat.underlay);
}

void Compiler::finish_publics() {
  for (const auto& address : changed_publics_) {
    const auto bits = bits_of(address);
    change(Generations::nat(bits));
    const auto known = publics_.find(address);
    auto number = next_.publics.get(bits, address.bits());
    if (known->second.empty()) {
      publics_.erase(known);
      if (!number) continue;
      next_.publics.erase(bits, address.bits());
      public_numbers_.give_back(*number);
      continue;
    }
    if (!number) {
      number = public_numbers_.take();
      next_.publics.set(bits, address.bits(), *number);
    }
    std::vector<PublicRange> ranges;
    for (const auto& [first_port, one] : known->second) ranges.push_back(one.range);
    next_.public_ranges.set(*number, std::move(ranges));
  }
  changed_publics_.clear();
}

}  // namespace ironcore::network::dataplane
